//! Lists, and sessions that are blocked until an element is pushed.

use super::super::wire;
use super::{Moment, Redis, SEQUENCE, Tag, array, null, null_array, tag_of, text};

/// A blocked session.
#[derive(Debug)]
pub(crate) struct Blocked {
    pub(crate) tag: Tag,
    keys: Vec<String>,
    right: bool,
    /// Its timeout, ms.
    until: Option<u64>,
}

/// The longest timeout in the calm, ms.
const CALM_MS: u64 = 100;

impl Redis {
    /// RPUSH, LPUSH and LPOP.
    pub(super) fn list_command(
        &mut self,
        name: &str,
        args: &[Vec<u8>],
        db: u32,
        protocol: u8,
    ) -> Vec<u8> {
        let key = (db, text(&args[1]));
        let list = self.lists.entry(key.clone()).or_default();
        let reply = match name {
            "LPOP" => match list.pop_front() {
                Some(element) => wire::bulk(element.as_bytes()),
                None => return null(protocol),
            },
            _ => {
                for element in &args[2..args.len() - 1] {
                    match name {
                        "LPUSH" => list.push_front(text(element)),
                        _ => list.push_back(text(element)),
                    }
                }
                format!(":{}\r\n", list.len()).into_bytes()
            }
        };
        self.written(key);
        reply
    }

    /// BLPOP and BRPOP: `BLPOP key ... tag timeout`. No reply: it blocks.
    pub(super) fn pop(
        &mut self,
        id: u64,
        name: &str,
        args: &[Vec<u8>],
        at: Moment,
        exec: Option<u64>,
    ) -> Result<Option<Vec<u8>>, String> {
        let (right, tag_at) = (name == "BRPOP", args.len() - 2);
        let tag = tag_of(args.get(tag_at)).ok_or("BLPOP without a tag")?;
        if exec.is_none() {
            self.begin_dedicated(id, Some(tag / SEQUENCE))?;
        }
        self.begin(id, name, tag)?;
        let keys: Vec<String> = args[1..tag_at].iter().map(|key| text(key)).collect();
        let protocol = self.at(id).protocol;
        if let Some(reply) = self.take(id, &keys, right) {
            self.record(id, name, tag, &reply, exec)?;
            return Ok(Some(reply));
        }
        if exec.is_some() {
            let reply = null_array(protocol);
            self.record(id, name, tag, &reply, exec)?;
            return Ok(Some(reply));
        }
        let seconds: f64 = text(&args[tag_at + 1]).parse().unwrap_or(0.0);
        let until = (seconds > 0.0).then(|| at.ms + (seconds * 1000.0) as u64);
        self.at(id).blocked = Some(Blocked {
            tag,
            keys,
            right,
            until,
        });
        self.waiters.push(id);
        Ok(None)
    }

    /// The first element of the first of these lists that has one.
    fn take(&mut self, id: u64, keys: &[String], right: bool) -> Option<Vec<u8>> {
        let db = self.at(id).db;
        for key in keys {
            let place = (db, key.clone());
            let list = self.lists.entry(place.clone()).or_default();
            let element = if right {
                list.pop_back()
            } else {
                list.pop_front()
            };
            if let Some(element) = element {
                self.written(place);
                return Some(array(&[
                    wire::bulk(key.as_bytes()),
                    wire::bulk(element.as_bytes()),
                ]));
            }
        }
        None
    }

    /// Serves the blocked sessions that can be served, in order.
    pub(super) fn serve_waiters(&mut self) -> Result<(), String> {
        for id in self.waiters.clone() {
            let Some(Blocked { keys, right, .. }) = &self.at(id).blocked else {
                continue;
            };
            let (keys, right) = (keys.clone(), *right);
            if let Some(reply) = self.take(id, &keys, right) {
                self.release(id, reply, false)?;
            }
        }
        Ok(())
    }

    fn release(&mut self, id: u64, reply: Vec<u8>, unblocked: bool) -> Result<(), String> {
        self.waiters.retain(|waiter| *waiter != id);
        let session = self.at(id);
        let noisy = session.protocol == 3;
        let Some(blocked) = session.blocked.take() else {
            return Ok(());
        };
        self.record(id, "BLPOP", blocked.tag, &reply, None)?;
        let done = self.executed.get_mut(&blocked.tag);
        if let Some(done) = done.and_then(|all| all.last_mut()) {
            done.unblocked = unblocked;
        }
        self.at(id).output.push((reply, noisy));
        Ok(())
    }

    /// Ends the blocked sessions whose timeout is over.
    pub(crate) fn expire(&mut self, now: Moment) -> Result<(), String> {
        self.now = now;
        self.end_waits();
        for id in self.waiters.clone() {
            let calm = self.calm;
            let session = self.at(id);
            let protocol = session.protocol;
            let Some(blocked) = &mut session.blocked else {
                continue;
            };
            if calm {
                let soon = now.ms + CALM_MS;
                blocked.until = Some(blocked.until.map_or(soon, |until| until.min(soon)));
            }
            if blocked.until.is_some_and(|until| until <= now.ms) {
                self.release(id, null_array(protocol), false)?;
            }
        }
        Ok(())
    }

    /// CLIENT UNBLOCK.
    pub(super) fn unblock(&mut self, id: u64, with_error: bool) -> Result<Vec<u8>, String> {
        if !self.waiters.contains(&id) {
            return Ok(b":0\r\n".to_vec());
        }
        let reply = match with_error {
            true => wire::error("UNBLOCKED client unblocked via CLIENT UNBLOCK"),
            false => null_array(self.at(id).protocol),
        };
        self.release(id, reply, true)?;
        Ok(b":1\r\n".to_vec())
    }
}
