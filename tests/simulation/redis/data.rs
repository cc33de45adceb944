//! Commands with a tag: what they do, and what the book says of them.

use super::super::wire;
use super::replies::nest;
use super::{Execution, Invalidation, Redis, SEQUENCE, Tag, array, null, tag_of, text};

impl Redis {
    /// A request of a client is executed: not before an earlier one, and as whose?
    pub(super) fn begin(&mut self, id: u64, tag: Tag) -> Result<(), String> {
        let (client, number) = (tag / SEQUENCE, tag % SEQUENCE);
        if let Some(last) = self.last.insert(client, number)
            && last >= number
        {
            return Err(format!(
                "request {tag} was executed after {client}'s {last}"
            ));
        }
        let session = self.at(id);
        session.used = true;
        if session.own && session.holds() && session.client.is_some_and(|other| other != client) {
            return Err(format!(
                "request {tag} came over {:?}'s own connection",
                session.client
            ));
        }
        session.client = Some(client);
        Ok(())
    }

    /// Notes what was executed.
    pub(super) fn book(
        &mut self,
        id: u64,
        tag: Tag,
        reply: &[u8],
        exec: Option<u64>,
    ) -> Result<(), String> {
        let session = self.at(id);
        let execution = Execution {
            user: session.user.clone().unwrap_or_default(),
            db: session.db,
            protocol: session.protocol,
            reply: reply.to_vec(),
            tracking: session.tracking,
            no_touch: session.no_touch,
            exec,
            unblocked: false,
            at: self.now,
        };
        if self.executed.insert(tag, execution).is_some() {
            return Err(format!("request {tag} was executed twice"));
        }
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
        self.begin(id, tag)?;
        let session = self.at(id);
        let (db, protocol) = (session.db, session.protocol);
        let user = session.user.clone().unwrap_or_default();
        let stamp = format!("s{}/{user}/{db}/{protocol}/t{tag}", self.index);
        let reply = match name {
            "RPUSH" | "LPUSH" | "LPOP" => self.list_command(name, args, db, protocol),
            "PUBLISH" => self.publish(&text(&args[1]), tag),
            _ => self.reply(name, args, db, protocol, &stamp, tag),
        };
        if name == "GET" && self.at(id).tracking {
            self.at(id).tracked.insert(text(&args[1]));
        }
        self.book(id, tag, &reply, exec)?;
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
            "BIG" => {
                let len = text(&args[1]).parse().unwrap_or(0);
                let mut body = stamp.as_bytes().to_vec();
                // Not the same everywhere, and full of what a mistaken scanner would stumble over.
                let filler = format!("\r\n+{tag}\r\n$5\r\n*3\r\n:1\r\n");
                body.extend(filler.bytes().cycle().take(len));
                wire::bulk(&body)
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

    /// A key was written: who watches it or has read it hears of that.
    pub(super) fn written(&mut self, key: (u32, String)) {
        for (id, session) in &mut self.sessions {
            session.touched |= session.watched.contains(&key);
            if session.tracked.remove(&key.1) && session.protocol == 3 {
                // With a second key that tells which it is.
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
        self.writes.push(key);
    }
}
