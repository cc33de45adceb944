//! MULTI, EXEC, DISCARD, WATCH and UNWATCH.

use super::super::wire;
use super::{Redis, SEQUENCE, Tag, any_tag, array, null_array, tag_of, text};

/// The outcome of a transaction, and the number of writes before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All its commands were executed, by this EXEC: these tags.
    Done(u64, Vec<Tag>, usize),
    /// A watched key had been written.
    Null(usize),
    /// A command could not be queued.
    Abort,
    /// DISCARD, or the end of the connection.
    Discarded,
}

/// An executed WATCH.
#[derive(Debug)]
pub(crate) struct Watch {
    /// The number of writes before it.
    pub(crate) at: usize,
    pub(crate) keys: Vec<(u32, String)>,
}

const ABORTED: &str = "EXECABORT Transaction discarded because of previous errors.";

/// The arity of the commands for which it is checked here; 0: unknown command.
fn takes(name: &str) -> std::ops::RangeInclusive<usize> {
    match name {
        "MULTI" | "EXEC" | "DISCARD" | "UNWATCH" => 1..=1,
        "PING" => 1..=2,
        "NOSUCH" => 0..=0,
        _ => 1..=usize::MAX,
    }
}

impl Redis {
    /// The error of a request before its command is executed; it aborts a transaction.
    pub(super) fn miscounted(&mut self, id: u64, name: &str, args: &[Vec<u8>]) -> Option<String> {
        if takes(name).contains(&args.len()) {
            return None;
        }
        let session = self.at(id);
        session.queue_failed |= session.queue.is_some();
        let name = name.to_lowercase();
        Some(match name.as_str() {
            "nosuch" => "ERR unknown command 'NOSUCH'".to_owned(),
            _ => format!("ERR wrong number of arguments for '{name}' command"),
        })
    }

    /// The reply of a request inside a transaction. `None`: it is executed.
    pub(super) fn transaction(
        &mut self,
        id: u64,
        name: &str,
        args: &[Vec<u8>],
    ) -> Result<Option<Vec<u8>>, String> {
        let session = self.at(id);
        let ok = b"+OK\r\n".to_vec();
        let inside = session.queue.is_some();
        Ok(Some(match name {
            "MULTI" if inside => wire::error("ERR MULTI calls can not be nested"),
            "MULTI" => {
                self.begin_dedicated(id, None)?;
                let session = self.at(id);
                session.used = true;
                session.queue = Some(Vec::new());
                ok
            }
            "EXEC" if inside => return self.exec(id).map(Some),
            "EXEC" => wire::error("ERR EXEC without MULTI"),
            "DISCARD" if inside => {
                self.end_transaction(id, &Outcome::Discarded);
                ok
            }
            "DISCARD" => wire::error("ERR DISCARD without MULTI"),
            "WATCH" if inside => wire::error("ERR WATCH inside MULTI is not allowed"),
            "WATCH" => self.watch(id, args)?,
            "AUTH" | "HELLO" if inside => return Err(format!("{name} was sent after MULTI")),
            _ if inside => {
                let tag = any_tag(args);
                let client = tag.map(|tag| tag / SEQUENCE);
                if client.is_some() && session.client.is_some_and(|other| Some(other) != client) {
                    return Err(format!("{tag:?} came into another's transaction"));
                }
                session.client = client.or(session.client);
                session.transaction.extend(tag);
                session.queue.get_or_insert_default().push(args.to_vec());
                b"+QUEUED\r\n".to_vec()
            }
            "UNWATCH" => {
                session.watched.clear();
                (session.touched, session.transaction) = (false, Vec::new());
                ok
            }
            _ => return Ok(None),
        }))
    }

    fn watch(&mut self, id: u64, args: &[Vec<u8>]) -> Result<Vec<u8>, String> {
        let tag = tag_of(args.last()).ok_or("WATCH without a tag")?;
        self.begin_dedicated(id, Some(tag / SEQUENCE))?;
        self.begin(id, "WATCH", tag)?;
        let session = self.at(id);
        let keys: Vec<(u32, String)> = (args[1..].iter())
            .map(|key| (session.db, text(key)))
            .collect();
        session.watched.extend(keys.iter().cloned());
        session.transaction.push(tag);
        let at = self.writes.len();
        self.watches.insert(tag, Watch { at, keys });
        self.record(id, "WATCH", tag, b"+OK\r\n", None)?;
        Ok(b"+OK\r\n".to_vec())
    }

    fn end_transaction(&mut self, id: u64, outcome: &Outcome) {
        let session = self.at(id);
        session.queue = None;
        session.watched.clear();
        (session.queue_failed, session.touched) = (false, false);
        for tag in std::mem::take(&mut session.transaction) {
            self.outcomes.insert(tag, outcome.clone());
        }
    }

    fn exec(&mut self, id: u64) -> Result<Vec<u8>, String> {
        let writes = self.writes.len();
        let session = self.at(id);
        let protocol = session.protocol;
        if session.queue_failed {
            self.end_transaction(id, &Outcome::Abort);
            return Ok(wire::error(ABORTED));
        }
        if session.touched {
            self.end_transaction(id, &Outcome::Null(writes));
            return Ok(null_array(protocol));
        }
        if let Some(text) = self.refused_exec(id) {
            self.end_transaction(id, &Outcome::Abort);
            return Ok(wire::error(&text));
        }
        self.execs += 1;
        let exec = self.execs;
        let queue = self.at(id).queue.take().unwrap_or_default();
        let mut elements = Vec::new();
        let mut tags = Vec::new();
        for args in queue {
            let name = text(&args[0]).to_ascii_uppercase();
            let element = match name.as_str() {
                "UNWATCH" => b"+OK\r\n".to_vec(),
                _ => (self.perform(id, &name, &args, super::Moment::default(), Some(exec))?)
                    .ok_or_else(|| format!("{name} has no reply inside a transaction"))?,
            };
            elements.push(element);
            tags.extend(any_tag(&args));
        }
        self.end_transaction(id, &Outcome::Done(exec, tags, writes));
        Ok(array(&elements))
    }
}
