//! Commands with a tag: their effects, and their records in the journal.

use super::super::wire;
use super::replies::nest;
use super::{Execution, Invalidation, Redis, SEQUENCE, Tag, array, null, text};

/// Whether the command changes nothing, so that it may be executed twice.
pub(crate) fn is_read(name: &str) -> bool {
    let names = ["GET", "GETRANGE", "LRANGE", "PING", "ECHO", "ROLE"];
    names.iter().any(|read| read.eq_ignore_ascii_case(name))
}

/// The request whose tag this argument is.
pub(super) fn tag_of(arg: Option<&Vec<u8>>) -> Option<Tag> {
    text(arg?).strip_prefix('t')?.parse().ok()
}

/// The tag of a request, at any position.
pub(crate) fn any_tag(args: &[Vec<u8>]) -> Option<Tag> {
    let last_but_one = args.len().checked_sub(2).and_then(|at| args.get(at));
    tag_of(args.last()).or_else(|| tag_of(last_but_one))
}

impl Redis {
    /// A request of a client is executed: not before an earlier one, and with which user? Returns
    /// whether it is late: a read may be retried on another connection, and is then executed on the
    /// first one at any later time. The read may even return to the first connection.
    pub(super) fn begin(&mut self, id: u64, name: &str, tag: Tag) -> Result<bool, String> {
        let (client, number) = (tag / SEQUENCE, tag % SEQUENCE);
        let session = self.at(id);
        let here = session.lasts.insert(client, number).unwrap_or(0);
        let held = session.holds();
        let before = self.executed.get(&tag).into_iter().flatten();
        let again = before.map(|it| it.session).any(|session| session == id);
        let last = self.last.entry(client).or_insert(0);
        let late = number <= *last;
        if number <= here && !again || late && (held || !is_read(name)) {
            return Err(format!(
                "request {tag} was executed after {client}'s {last}, and {here} here"
            ));
        }
        *last = number.max(*last);
        let session = self.at(id);
        session.used = true;
        if session.own && session.holds() && session.client.is_some_and(|other| other != client) {
            return Err(format!(
                "request {tag} came over {:?}'s own connection",
                session.client
            ));
        }
        session.client = Some(client);
        Ok(late)
    }

    /// Records an execution.
    pub(super) fn record(
        &mut self,
        id: u64,
        name: &str,
        tag: Tag,
        reply: &[u8],
        exec: Option<u64>,
    ) -> Result<(), String> {
        let offset = self.replication.record();
        let session = self.at(id);
        session.written = offset.unwrap_or(session.written);
        let execution = Execution {
            session: id,
            user: session.user.clone().unwrap_or_default(),
            password: session.password.clone(),
            db: session.db,
            protocol: session.protocol,
            reply: reply.to_vec(),
            offset,
            tracking: session.tracking,
            no_touch: session.no_touch,
            exec,
            unblocked: false,
            late: false,
            heard: false,
            at: self.now,
        };
        let all = self.executed.entry(tag).or_default();
        let whose = |it: &Execution| (it.user.clone(), it.db, it.protocol, it.exec);
        let again = exec.is_none() && is_read(name);
        if let Some(first) = all.first()
            && !(again && whose(first) == whose(&execution))
        {
            return Err(format!("request {tag} was executed twice"));
        }
        all.push(execution);
        Ok(())
    }

    pub(super) fn data_command(
        &mut self,
        id: u64,
        name: &str,
        args: &[Vec<u8>],
        exec: Option<u64>,
    ) -> Result<Vec<u8>, String> {
        let tag = tag_of(args.last())
            .ok_or_else(|| format!("{name} without a tag reached server {}", self.index))?;
        let late = self.begin(id, name, tag)?;
        let session = self.at(id);
        let (db, protocol) = (session.db, session.protocol);
        let user = session.user.clone().unwrap_or_default();
        let stamp = format!("s{}.{id}/{user}/{db}/{protocol}/t{tag}", self.index);
        let reply = match name {
            "RPUSH" | "LPUSH" | "LPOP" => self.list_command(name, args, db, protocol),
            "PUBLISH" => {
                self.replication.write();
                self.publish(&text(&args[1]), tag)
            }
            _ => self.reply(name, args, db, protocol, &stamp, tag),
        };
        if name == "GET" && self.at(id).tracking {
            self.at(id).tracked.insert(text(&args[1]));
        }
        self.record(id, name, tag, &reply, exec)?;
        let done = self.executed.get_mut(&tag).and_then(|all| all.last_mut());
        if let Some(done) = done {
            done.late = late;
        }
        Ok(reply)
    }

    fn reply(
        &mut self,
        name: &str,
        args: &[Vec<u8>],
        db: u32,
        protocol: u8,
        stamp: &str,
        tag: Tag,
    ) -> Vec<u8> {
        let key = || (db, text(&args[1]));
        match name {
            "GET" => {
                let value = self.data.get(&key()).map(|value| wire::bulk(value));
                array(&[
                    wire::bulk(stamp.as_bytes()),
                    value.unwrap_or_else(|| null(protocol)),
                ])
            }
            "SET" => {
                self.data.insert(key(), args[2].clone());
                self.written(key());
                format!("+{stamp}\r\n").into_bytes()
            }
            "INCR" => {
                let value = self.data.entry(key()).or_insert_with(|| b"0".to_vec());
                let next = text(value).parse::<u64>().unwrap_or(0) + 1;
                *value = next.to_string().into_bytes();
                self.written(key());
                array(&[
                    wire::bulk(stamp.as_bytes()),
                    format!(":{next}\r\n").into_bytes(),
                ])
            }
            "LRANGE" => {
                let len: usize = text(&args[1]).parse().unwrap_or(0);
                let mut all = vec![wire::bulk(stamp.as_bytes())];
                let element = format!("\r\n-{tag}\r\n>1\r\n").repeat(40);
                all.resize(1 + len / element.len(), wire::bulk(element.as_bytes()));
                array(&all)
            }
            "BIG" | "GETRANGE" => {
                let len = text(&args[1]).parse().unwrap_or(0);
                let mut body = stamp.as_bytes().to_vec();
                // The value depends on the server, and contains text that confuses a wrong scanner.
                let filler = format!("\r\n+{tag}\r\n$5\r\n*3\r\n:1\r\n");
                body.extend(filler.bytes().cycle().take(len));
                wire::bulk(&body)
            }
            "MSET" => {
                self.replication.write();
                format!("+{stamp}\r\n").into_bytes()
            }
            "NEST" => nest(protocol, stamp),
            "FAIL" => wire::error(&format!("ERR failed as asked: {stamp}")),
            "TAG" => format!(":{tag}\r\n").into_bytes(),
            "NIL" => null(protocol),
            _ => {
                let mut all: Vec<Vec<u8>> = args.iter().map(|arg| wire::bulk(arg)).collect();
                all.push(wire::bulk(stamp.as_bytes()));
                array(&all)
            }
        }
    }

    /// A key was written: sessions that watch it or have read it are notified.
    pub(super) fn written(&mut self, key: (u32, String)) {
        for (id, session) in &mut self.sessions {
            session.touched |= session.watched.contains(&key);
            if session.tracked.remove(&key.1) && session.protocol == 3 {
                // With a second key that identifies the invalidation.
                let number = format!("i{}.{}", self.index, self.invalidations.len());
                let keys = [key.1.as_bytes(), number.as_bytes()].map(wire::bulk);
                let push = [&b">2\r\n$10\r\ninvalidate\r\n"[..], &array(&keys)].concat();
                self.late.push((*id, push));
                self.invalidations.push(Invalidation {
                    session: *id,
                    client: session.client,
                    key: key.1.clone(),
                });
            }
        }
        self.replication.write();
        self.writes.push(key);
    }
}
