//! A connection as the server sees it: its user and its state.

use std::collections::{BTreeMap, BTreeSet};

use super::super::wire;
use super::degraded::Degraded;
use super::lists::Blocked;
use super::replicas::Wait;
use super::{DB_RANGE, HELLO_NOAUTH, Moment, NO_PASSWORD, Redis, Tag, WRONGPASS, hello, text};

/// The user without the permission for CLIENT LIST, and its error.
pub(crate) const MAY_NOT_LIST: &str = "bob";
pub(crate) const NO_LIST: &str =
    "NOPERM User bob has no permissions to run the 'client|list' command";

/// An answered AUTH.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) at: Moment,
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) reply: String,
}

#[derive(Debug, Default)]
pub(crate) struct Session {
    pub(crate) user: Option<String>,
    /// The password of its login; `None`: none.
    pub(crate) password: Option<String>,
    /// Replies wait to be sent: some servers send no reply to a failed AUTH then.
    pub(crate) pending: bool,
    pub(crate) db: u32,
    pub(crate) protocol: u8,
    /// It got an error from AUTH, HELLO or SELECT: the proxy may close the connection.
    pub(crate) refused: bool,
    /// After that, it served another client or database.
    moved: bool,
    /// A client executed a command on it that needs a dedicated connection.
    pub(crate) own: bool,
    /// WAIT arrived, which may use any connection; or a command for a dedicated connection, from an
    /// anonymous client.
    pub(crate) waited: bool,
    /// Data commands arrived that need no dedicated connection.
    pub(crate) shared: bool,
    /// The offset of the last write on it.
    pub(super) written: u64,
    /// It waits for replicas.
    pub(crate) wait: Option<Wait>,
    /// A request arrived that is not part of a handshake.
    pub(crate) used: bool,
    /// The client whose last request had a tag.
    pub(crate) client: Option<u64>,
    /// The last request of each client that was executed here.
    pub(super) lasts: BTreeMap<u64, u64>,
    /// The queued commands; inside MULTI.
    pub(super) queue: Option<Vec<Vec<Vec<u8>>>>,
    /// A command could not be queued.
    pub(super) queue_failed: bool,
    pub(super) watched: BTreeSet<(u32, String)>,
    /// A watched key was written.
    pub(super) touched: bool,
    /// Tags of the WATCHes, and of queued commands.
    pub(super) transaction: Vec<Tag>,
    /// Its subscriptions, with the SUBSCRIBE of each.
    pub(super) channels: BTreeMap<String, Tag>,
    pub(super) patterns: BTreeMap<String, Tag>,
    pub(crate) tracking: bool,
    /// Keys whose writes are reported to it.
    pub(super) tracked: BTreeSet<String>,
    pub(crate) no_touch: bool,
    /// It monitors the commands of other connections.
    monitors: bool,
    pub(crate) blocked: Option<Blocked>,
    /// Its replies, and whether a push may precede each.
    pub(crate) output: Vec<(Vec<u8>, bool)>,
}

impl Session {
    pub(super) fn new(user: Option<String>) -> Self {
        Self {
            user,
            protocol: 2,
            ..Self::default()
        }
    }

    pub(super) fn subscriptions(&self) -> usize {
        self.channels.len() + self.patterns.len()
    }

    /// Whether only the commands of a subscriber are allowed.
    pub(super) fn is_modal(&self) -> bool {
        self.protocol == 2 && self.subscriptions() > 0
    }

    /// Whether state would be lost with it.
    pub(crate) fn holds(&self) -> bool {
        self.queue.is_some()
            || !self.watched.is_empty()
            || self.subscriptions() > 0
            || self.tracking
            || self.no_touch
            || self.blocked.is_some()
    }

    fn becomes_dedicated(&mut self, client: Option<u64>) {
        if !self.holds() {
            self.client = client;
        }
        self.own = true;
    }
}

/// Whether the command needs a dedicated connection.
pub(super) fn needs_dedicated(name: &str) -> bool {
    matches!(name, "MULTI" | "WATCH" | "BLPOP" | "BRPOP") || name.ends_with("SUBSCRIBE")
}

/// Whether a subscriber in RESP2 may send this command.
pub(super) fn is_for_subscribers(name: &str) -> bool {
    name.ends_with("SUBSCRIBE") || name == "PING"
}

impl Redis {
    /// A command starts that needs a dedicated connection. `None`: its client is unknown.
    pub(super) fn begin_dedicated(&mut self, id: u64, client: Option<u64>) -> Result<(), String> {
        self.at(id).becomes_dedicated(client);
        let mine = |it: &Session| (it.user.clone(), it.db, it.protocol, it.password.clone());
        let me = mine(self.at(id));
        // Without a login a client has the default user too, in its own pool.
        let counts = me.0.as_deref() != Some("default");
        let same = self.sessions.values();
        let same = same
            .filter(|it| it.own && !it.moved && mine(it) == me)
            .count();
        match counts && same > self.own_max {
            true => Err(format!("{same} connections of clients' own for {me:?}")),
            false => Ok(()),
        }
    }

    /// AUTH, HELLO and SELECT.
    pub(super) fn identify(
        &mut self,
        id: u64,
        name: &str,
        args: &[Vec<u8>],
        at: Moment,
    ) -> Result<Option<Vec<u8>>, String> {
        let session = self.at(id);
        session.moved |= session.own;
        let outcome = match name {
            "AUTH" => self.auth(id, &args[1..], at),
            "HELLO" if self.old => {
                self.at(id).refused |= args.get(1).is_some_and(|version| version != b"2");
                return Ok(Some(wire::error("ERR unknown command 'HELLO'")));
            }
            "HELLO" => self.greet(id, &args[1..], at),
            _ => match text(&args[1]).parse::<u32>() {
                Ok(db) if db < self.databases => {
                    self.at(id).db = db;
                    Ok(b"+OK\r\n".to_vec())
                }
                _ => Err(DB_RANGE.to_owned()),
            },
        };
        let silent = self.silent && self.at(id).pending;
        Ok(match outcome {
            Ok(reply) => Some(reply),
            // The reply that never arrives.
            Err(text) if silent && text == WRONGPASS => None,
            Err(text) => {
                self.at(id).refused = true;
                Some(wire::error(&text))
            }
        })
    }

    fn auth(&mut self, id: u64, args: &[Vec<u8>], at: Moment) -> Result<Vec<u8>, String> {
        let (name, password) = match args {
            [password] => ("default".to_owned(), text(password)),
            [user, password] => (text(user), text(password)),
            _ => return Err("ERR syntax error".into()),
        };
        let outcome = self.check(args.len(), &name, &password);
        self.verdicts.push(Verdict {
            at,
            user: name.clone(),
            password,
            reply: outcome.clone().map_or_else(|text| text, |()| "OK".into()),
        });
        if self.old && outcome.is_err() && args.len() == 1 && !self.is_open() {
            // Before 6.0, a wrong password logs the connection out.
            self.at(id).user = None;
        }
        let password = text(args.last().map_or(&[][..], |it| it));
        outcome?;
        let session = self.at(id);
        (session.user, session.password) = (Some(name), Some(password));
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

    fn greet(&mut self, id: u64, args: &[Vec<u8>], at: Moment) -> Result<Vec<u8>, String> {
        let mut protocol = self.at(id).protocol;
        let mut rest = args.iter();
        if let Some(version) = rest.next() {
            protocol = match version.as_slice() {
                b"2" => 2,
                b"3" => 3,
                _ => return Err("NOPROTO unsupported protocol version".into()),
            };
        }
        while let Some(option) = rest.next() {
            match text(option).to_ascii_uppercase().as_str() {
                "SETNAME" => {
                    rest.next();
                }
                "AUTH" => {
                    let login: Vec<Vec<u8>> = rest.by_ref().take(2).cloned().collect();
                    self.auth(id, &login, at)?;
                }
                _ => return Err("ERR Syntax error in HELLO option".into()),
            }
        }
        let session = self.at(id);
        if session.user.is_none() {
            return Err(HELLO_NOAUTH.into());
        }
        session.protocol = protocol;
        let primary = self.trouble() != Some(Degraded::ReadOnly);
        Ok(hello(protocol, id, primary))
    }

    /// Commands that the proxy mostly answers itself, and settings of the connection.
    pub(super) fn client_command(
        &mut self,
        id: u64,
        args: &[Vec<u8>],
        inside: bool,
    ) -> Result<Vec<u8>, String> {
        let words: Vec<String> = args.iter().map(|arg| text(arg).to_uppercase()).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let ok = b"+OK\r\n".to_vec();
        Ok(match words[1..] {
            ["LIST", ..] if self.at(id).user.as_deref() == Some(MAY_NOT_LIST) => {
                wire::error(NO_LIST)
            }
            // Permission probes: they are refused for their arguments.
            [name, " ", ..] if !inside => wire::error(&format!("ERR syntax error in {name}")),
            // Inside a transaction, or such probes too. The client must not get the reply.
            ["ID"] => format!(":{id}\r\n").into_bytes(),
            ["GETNAME"] => wire::bulk(b"elika"),
            ["INFO"] => wire::bulk(b"id=0 user=nobody\n"),
            ["SETNAME", _] if inside => ok,
            ["UNBLOCK", target, reason] if !inside => {
                let target = target.parse().unwrap_or(0);
                self.unblock(target, reason == "ERROR")?
            }
            ["TRACKING", switch] if !inside => {
                if switch == "ON" {
                    self.begin_dedicated(id, None)?;
                }
                let session = self.at(id);
                session.used = true;
                session.tracking = switch == "ON";
                session.tracked.clear();
                ok
            }
            ["NO-TOUCH", switch] => {
                if switch == "ON" && !inside {
                    self.begin_dedicated(id, None)?;
                }
                let session = self.at(id);
                session.used = true;
                session.no_touch = switch == "ON";
                ok
            }
            _ => return Err(format!("CLIENT {words:?} reached server {}", self.index)),
        })
    }

    /// MONITOR. A second one has no reply.
    pub(super) fn monitor(&mut self, id: u64) -> Result<Option<Vec<u8>>, String> {
        self.begin_dedicated(id, None)?;
        let session = self.at(id);
        session.used = true;
        let before = std::mem::replace(&mut session.monitors, true);
        Ok((!before).then(|| b"+OK\r\n".to_vec()))
    }

    /// Shows a command to the monitors.
    pub(super) fn show(&mut self, id: u64, name: &str) {
        let others = self.sessions.iter();
        let others = others.filter(|(other, it)| it.monitors && **other != id);
        let line = format!("+1.5 [0 127.0.0.1:7] \"{name}\"\r\n").into_bytes();
        let lines = others.map(|(other, _)| (*other, line.clone()));
        self.late.extend(lines);
    }

    pub(super) fn small_talk(&mut self, id: u64, name: &str, args: &[Vec<u8>]) -> Vec<u8> {
        let session = self.at(id);
        session.used = true;
        match (name, args.get(1)) {
            ("PING", message) if session.is_modal() => {
                let message = message.map_or(&b""[..], |message| message);
                super::array(&[wire::bulk(b"pong"), wire::bulk(message)])
            }
            ("PING", None) => b"+PONG\r\n".to_vec(),
            ("ACL", _) => wire::bulk(session.user.as_deref().unwrap_or_default().as_bytes()),
            (_, message) => wire::bulk(message.map_or(&b""[..], |message| message)),
        }
    }
}
