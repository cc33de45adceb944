//! A fake Redis server: users, databases and protocols as a real one has them per connection, and
//! a book of all that it executed, which the judge reads.
//!
//! Passwords: `g3:anything` is right for a user whose generation is 3. So every login can bring a
//! password of its own, and the book tells which login the server was asked about.

use std::collections::BTreeMap;

use super::wire;

mod replies;

pub(crate) use replies::hello;
use replies::{array, nest, null};

/// Which client's which request: `client * SEQUENCE + number`.
pub(crate) type Tag = u64;
pub(crate) const SEQUENCE: u64 = 1_000_000;

/// How far the simulation has come: events so far, and virtual milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment {
    pub(crate) step: u64,
    pub(crate) ms: u64,
}

/// Somebody a server knows.
#[derive(Debug)]
pub(crate) struct User {
    pub(crate) generation: u32,
    pub(crate) enabled: bool,
    /// Anybody may be this user, with any password or none.
    pub(crate) nopass: bool,
}

impl User {
    /// May one be this user with that password?
    pub(crate) fn admits(&self, password: &str) -> bool {
        let right = password.starts_with(&format!("g{}:", self.generation));
        self.enabled && (right || self.nopass)
    }
}

/// A data command that was executed.
#[derive(Debug)]
pub(crate) struct Execution {
    pub(crate) user: String,
    pub(crate) db: u32,
    pub(crate) protocol: u8,
    pub(crate) reply: Vec<u8>,
}

/// An AUTH that was answered.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) step: u64,
    pub(crate) password: String,
    pub(crate) reply: String,
}

#[derive(Debug)]
pub(crate) struct Redis {
    pub(crate) index: usize,
    /// A server before 6.0: no HELLO, no users.
    pub(crate) old: bool,
    pub(crate) databases: u32,
    pub(crate) users: BTreeMap<String, User>,
    data: BTreeMap<(u32, String), Vec<u8>>,
    pub(crate) executed: BTreeMap<Tag, Execution>,
    pub(crate) verdicts: Vec<Verdict>,
    /// The last request of each client that was executed here.
    last: BTreeMap<u64, u64>,
    /// When a connection failed, or could not be had.
    pub(crate) failures: Vec<Moment>,
    /// When a password was changed.
    pub(crate) changes: Vec<Moment>,
    /// It accepts no connections before this, ms.
    pub(crate) down_until: u64,
    /// The registry does not know it at the moment.
    pub(crate) unlisted: bool,
    /// When it was last taken off the registry's list, ms.
    pub(crate) unlisted_at: Option<u64>,
    next_connection: u64,
}

/// A connection as the server sees it.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: u64,
    pub(crate) user: Option<String>,
    pub(crate) db: u32,
    pub(crate) protocol: u8,
    /// It heard an error from AUTH, HELLO or SELECT: the proxy may give the connection up.
    pub(crate) refused: bool,
}

const NOAUTH: &str = "NOAUTH Authentication required.";
const WRONGPASS: &str = "WRONGPASS invalid username-password pair or user is disabled.";
pub(crate) const NO_PASSWORD: &str = "ERR AUTH <password> called without any password configured \
    for the default user. Are you sure your configuration is correct?";
pub(crate) const HELLO_NOAUTH: &str = "NOAUTH HELLO must be called with the client already \
    authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to \
    authenticate the client and select the RESP protocol version at the same time";
pub(crate) const DB_RANGE: &str = "ERR DB index is out of range";

impl Redis {
    pub(crate) fn new(index: usize, old: bool, databases: u32, open: bool) -> Self {
        let user = |enabled, nopass| User {
            generation: 1,
            enabled,
            nopass,
        };
        let mut users = BTreeMap::from([("default".to_owned(), user(true, open))]);
        if !old {
            for (name, enabled) in [
                ("ann", true),
                ("bob", true),
                ("eve.x", true),
                ("off", false),
            ] {
                users.insert(name.to_owned(), user(enabled, false));
            }
        }
        Self {
            index,
            old,
            databases,
            users,
            data: BTreeMap::new(),
            executed: BTreeMap::new(),
            verdicts: Vec::new(),
            last: BTreeMap::new(),
            failures: Vec::new(),
            changes: Vec::new(),
            down_until: 0,
            unlisted: false,
            unlisted_at: None,
            next_connection: 1,
        }
    }

    /// May one use it without a login?
    pub(crate) fn is_open(&self) -> bool {
        self.users["default"].nopass
    }

    pub(crate) fn accept(&mut self) -> Session {
        self.next_connection += 1;
        Session {
            id: self.next_connection,
            user: self.is_open().then(|| "default".to_owned()),
            db: 0,
            protocol: 2,
            refused: false,
        }
    }

    /// Executes one request. Errors are the proxy's mistakes.
    pub(crate) fn execute(
        &mut self,
        session: &mut Session,
        args: &[Vec<u8>],
        at: Moment,
    ) -> Result<Vec<u8>, String> {
        let name = text(&args[0]).to_ascii_uppercase();
        let reply = match name.as_str() {
            "AUTH" => self.auth(session, &args[1..], at),
            "HELLO" if self.old => {
                session.refused |= args[1] != b"2";
                return Ok(wire::error("ERR unknown command 'HELLO'"));
            }
            "HELLO" => greet(session, &args[1..]),
            _ if session.user.is_none() => Err(NOAUTH.to_owned()),
            "SELECT" => match text(&args[1]).parse::<u32>() {
                Ok(db) if db < self.databases => {
                    session.db = db;
                    Ok(b"+OK\r\n".to_vec())
                }
                _ => Err(DB_RANGE.to_owned()),
            },
            _ => return self.data_command(session, &name, args),
        };
        Ok(reply.unwrap_or_else(|text| {
            session.refused = true;
            wire::error(&text)
        }))
    }

    fn auth(
        &mut self,
        session: &mut Session,
        args: &[Vec<u8>],
        at: Moment,
    ) -> Result<Vec<u8>, String> {
        let (name, password) = match args {
            [password] => ("default".to_owned(), text(password)),
            [user, password] => (text(user), text(password)),
            _ => return Err("ERR syntax error".into()),
        };
        let outcome = self.check(args.len(), &name, &password);
        self.verdicts.push(Verdict {
            step: at.step,
            password,
            reply: outcome.clone().map_or_else(|text| text, |()| "OK".into()),
        });
        outcome?;
        session.user = Some(name);
        Ok(b"+OK\r\n".to_vec())
    }

    fn check(&self, argc: usize, name: &str, password: &str) -> Result<(), String> {
        if self.old && argc == 2 {
            return Err("ERR wrong number of arguments for 'auth' command".into());
        }
        let wrong = if self.old {
            "ERR invalid password"
        } else {
            WRONGPASS
        };
        let user = self.users.get(name).ok_or(wrong)?;
        if user.nopass && argc == 1 {
            return Err(match self.old {
                true => "ERR Client sent AUTH, but no password is set".into(),
                false => NO_PASSWORD.into(),
            });
        }
        user.admits(password)
            .then_some(())
            .ok_or_else(|| wrong.into())
    }

    fn data_command(
        &mut self,
        session: &Session,
        name: &str,
        args: &[Vec<u8>],
    ) -> Result<Vec<u8>, String> {
        let tag = args.last().map(|arg| text(arg)).unwrap_or_default();
        let tag: Tag = tag
            .strip_prefix('t')
            .and_then(|tag| tag.parse().ok())
            .ok_or_else(|| format!("{name} without a tag reached server {}", self.index))?;
        let (client, number) = (tag / SEQUENCE, tag % SEQUENCE);
        if let Some(last) = self.last.insert(client, number)
            && last >= number
        {
            return Err(format!(
                "request {tag} was executed after {client}'s {last}"
            ));
        }
        let user = session.user.clone().unwrap_or_default();
        let (index, db, protocol) = (self.index, session.db, session.protocol);
        let stamp = format!("s{index}/{user}/{db}/{protocol}/t{tag}");
        let reply = self.reply(name, args, db, protocol, &stamp, tag);
        let execution = Execution {
            user,
            db,
            protocol,
            reply: reply.clone(),
        };
        if self.executed.insert(tag, execution).is_some() {
            return Err(format!("request {tag} was executed twice"));
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
                format!("+{stamp}\r\n").into_bytes()
            }
            "INCR" => {
                let value = self.data.entry(key()).or_insert_with(|| b"0".to_vec());
                let next = text(value).parse::<u64>().unwrap_or(0) + 1;
                *value = next.to_string().into_bytes();
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

    pub(crate) fn failed(&mut self, at: Moment) {
        self.failures.push(at);
    }

    /// Was there any failure that may concern a request of this moment?
    pub(crate) fn failed_since(&self, at: Moment, grace_ms: u64) -> bool {
        let recent = |failure: &Moment| failure.step >= at.step || failure.ms + grace_ms >= at.ms;
        self.failures.last().is_some_and(recent)
    }
}

/// HELLO, without AUTH: the proxy has no use for it.
fn greet(session: &mut Session, args: &[Vec<u8>]) -> Result<Vec<u8>, String> {
    let mut protocol = session.protocol;
    let mut rest = args.iter().map(|arg| text(arg));
    if let Some(version) = rest.next() {
        protocol = match version.as_str() {
            "2" => 2,
            "3" => 3,
            _ => return Err("NOPROTO unsupported protocol version".into()),
        };
    }
    while let Some(option) = rest.next() {
        match option.to_ascii_uppercase().as_str() {
            "SETNAME" => rest.next(),
            _ => {
                return Err(format!("ERR Syntax error in HELLO option '{option}'"));
            }
        };
    }
    if session.user.is_none() {
        return Err(HELLO_NOAUTH.into());
    }
    session.protocol = protocol;
    Ok(hello(protocol, session.id))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
