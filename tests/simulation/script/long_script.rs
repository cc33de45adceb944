//! Requests around a script that runs until it is killed, and with MONITOR.

use super::super::client::{Login, Op};
use super::super::rng::Rng;
use super::{Line, ReplyMode, Script};

impl Script {
    /// Whether it gets all replies and has no open transaction or subscription.
    pub(crate) fn is_free(&self) -> bool {
        self.voice == ReplyMode::On && self.block.is_empty() && !self.unheard
    }

    /// A script that does not end.
    pub(crate) fn spin(&mut self) -> Line {
        let tag = self.tag();
        let args = ["EVAL", "while true do end", "0", &format!("t{tag}")];
        Line::new(&args, Op::Data { tag, big: false })
    }

    pub(crate) fn auth(&self, name: &str, password: &str) -> Line {
        let login = Login {
            name: Some(name.to_owned()),
            password: password.to_owned(),
        };
        Line::new(&["AUTH", name, password], Op::Auth(login))
    }

    /// Lists all clients, or kills none of them.
    pub(crate) fn question(&self, kills: bool) -> Line {
        match kills {
            true => {
                let args = ["CLIENT", "KILL", "ADDR", "192.0.2.1:1"];
                Line::new(&args, Op::Kill { me: false })
            }
            false => Line::new(&["CLIENT", "LIST"], Op::List),
        }
    }

    /// Takes a dedicated connection, and returns it.
    pub(crate) fn watch_once(&mut self) -> [Line; 3] {
        let tag = self.tag();
        let watch = Line::new(&["WATCH", "k0", &format!("t{tag}")], Op::Watch { tag });
        [
            watch,
            self.plain(false),
            Line::new(&["UNWATCH"], Op::Unwatch),
        ]
    }

    pub(crate) fn kill(&self) -> Line {
        Line::new(&["SCRIPT", "KILL"], Op::ScriptKill)
    }

    pub(crate) fn choose(&self, db: usize) -> Line {
        Line::new(&["SELECT", &db.to_string()], Op::Select(db as i64))
    }

    /// The last requests of a client that wants no replies and sends MONITOR twice.
    pub(crate) fn monitor(&mut self) -> [Line; 3] {
        self.voice = ReplyMode::Off;
        self.ended = true;
        let all: [&[&str]; 3] = [&["CLIENT", "REPLY", "OFF"], &["MONITOR"], &["MONITOR"]];
        all.map(Line::unheard)
    }

    /// A short command.
    pub(crate) fn touch(&mut self, rng: &mut Rng) -> Line {
        let tag = self.tag();
        let args = [*rng.pick(&["GET", "INCR"]), "ctr:0", &format!("t{tag}")];
        Line::new(&args, Op::Data { tag, big: false })
    }
}
