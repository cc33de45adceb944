//! A server that is degraded for a while: it loads its data, has lost its primary, or accepts no
//! writes.

use super::super::wire;
use super::{Moment, Redis, SEQUENCE, any_tag, session, tag_of};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Degraded {
    Loading,
    MasterDown,
    ReadOnly,
    /// It runs a script until the script is killed.
    Busy,
}

/// A degraded state, from when to when, ms.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DegradedPeriod {
    pub(crate) trouble: Degraded,
    pub(crate) from: u64,
    pub(crate) to: u64,
}

impl Degraded {
    /// The states that end by themselves.
    pub(crate) const PASSING: [Self; 3] = [Self::Loading, Self::MasterDown, Self::ReadOnly];
    const ALL: [Self; 4] = [Self::Loading, Self::MasterDown, Self::ReadOnly, Self::Busy];

    /// The error for a command.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Loading => "LOADING Redis is loading the dataset in memory",
            Self::MasterDown => {
                "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."
            }
            Self::ReadOnly => "READONLY You can't write against a read only replica.",
            Self::Busy => {
                "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN \
                 NOSAVE."
            }
        }
    }

    /// The start of the error text.
    pub(crate) fn word(self) -> &'static str {
        self.text().split(' ').next().unwrap_or_default()
    }

    fn refuses(self, name: &str) -> bool {
        match self {
            Self::Loading | Self::MasterDown => !is_about_connections(name),
            Self::ReadOnly => is_write(name),
            Self::Busy => !is_for_busy_servers(name),
        }
    }
}

/// Whether this is an error of a degraded server.
pub(crate) fn is_degraded_error(text: &str) -> bool {
    Degraded::ALL.iter().any(|trouble| trouble.text() == text)
}

/// Whether this error says that a script runs.
pub(crate) fn is_busy(text: &str) -> bool {
    text == Degraded::Busy.text()
}

/// Commands that are executed in every state of the data.
fn is_about_connections(name: &str) -> bool {
    matches!(
        name,
        "AUTH" | "HELLO" | "SELECT" | "CLIENT" | "COMMAND" | "CONFIG" | "ACL" | "ECHO" | "WAIT"
    ) || matches!(
        name,
        "MULTI" | "EXEC" | "DISCARD" | "WATCH" | "UNWATCH" | "PUBLISH"
    ) || name.ends_with("SUBSCRIBE")
}

/// Commands that are executed while a script runs.
fn is_for_busy_servers(name: &str) -> bool {
    matches!(
        name,
        "AUTH" | "HELLO" | "MULTI" | "EXEC" | "DISCARD" | "WATCH" | "UNWATCH" | "SCRIPT"
    )
}

pub(crate) fn is_write(name: &str) -> bool {
    matches!(
        name,
        "SET" | "INCR" | "MSET" | "RPUSH" | "LPUSH" | "LPOP" | "BLPOP" | "BRPOP"
    )
}

impl Redis {
    /// Starts a degraded state.
    pub(crate) fn degrade(&mut self, trouble: Degraded, from: u64, to: u64) {
        self.heal(from);
        self.spells.push(DegradedPeriod { trouble, from, to });
    }

    /// Ends the degraded state.
    pub(crate) fn heal(&mut self, at: u64) {
        if let Some(last) = self.spells.last_mut() {
            last.to = last.to.min(at);
        }
    }

    /// Its current degraded state.
    pub(crate) fn trouble(&self) -> Option<Degraded> {
        let last = self.spells.last();
        let now = last.filter(|spell| (spell.from..spell.to).contains(&self.now.ms));
        now.map(|spell| spell.trouble)
    }

    /// Whether it was in the degraded state of this error at any time since then.
    pub(crate) fn was_ill(&self, text: &str, since: Moment) -> bool {
        let mut its = { self.spells.iter() }.filter(|spell| spell.trouble.text() == text);
        its.any(|spell| spell.to >= since.ms)
    }

    /// Whether a command must wait because it may write.
    pub(crate) fn pauses_writes(&self, name: &[u8], now: Moment) -> bool {
        let name = String::from_utf8_lossy(name).to_ascii_uppercase();
        self.pauses_writes_until > now.ms && (is_write(&name) || name == "EXEC")
    }

    /// The error for a command that cannot be executed now. It aborts a transaction.
    pub(super) fn refused(
        &mut self,
        id: u64,
        name: &str,
        args: &[Vec<u8>],
    ) -> Result<Option<Vec<u8>>, String> {
        let Some(text) = self
            .trouble()
            .filter(|it| it.refuses(name))
            .map(Degraded::text)
        else {
            return Ok(None);
        };
        if let Some(tag) = tag_of(args.last()).or_else(|| any_tag(args)) {
            self.begin(id, name, tag)?;
            let refusals = self.refusals.entry(tag).or_default();
            refusals.push((text, self.now));
        }
        let session = self.at(id);
        // A handshake does not count as use.
        session.used |= !matches!(name, "SELECT" | "CLIENT" | "COMMAND");
        session.queue_failed |= session.queue.is_some();
        session.waited |= session::needs_dedicated(name);
        session.client = any_tag(args).map(|tag| tag / SEQUENCE).or(session.client);
        Ok(Some(wire::error(text)))
    }

    /// The error for EXEC, when queued writes cannot be executed now.
    pub(super) fn refused_exec(&mut self, id: u64) -> Option<String> {
        let text = self
            .trouble()
            .filter(|it| *it == Degraded::ReadOnly)?
            .text();
        let queue = self.at(id).queue.iter().flatten();
        let mut names = queue.map(|args| super::text(&args[0]).to_ascii_uppercase());
        let any = names.any(|name| is_write(&name));
        any.then(|| format!("EXECABORT Transaction discarded because of: {text}"))
    }
}
