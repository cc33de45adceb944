//! Asks one sentinel for the addresses of all primaries, each second and whenever the watcher has
//! a reason.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use crate::config::HostPort;
use crate::resp::read::{Elements, is_null, string};
use crate::resp::write;

use super::super::now;
use super::backoff;
use super::client::{Client, Login};
use super::event::{Answers, Event};
use super::stats::Stats;

/// Interval of questions.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// Names that are asked for in one write.
const BATCH: usize = 100;

/// The names of primaries.
pub(super) type Names = Arc<BTreeSet<String>>;

pub(super) struct Asker {
    number: usize,
    address: HostPort,
    login: Login,
    stats: Arc<Stats>,
    client: Option<Client>,
    names: Names,
    /// Failures in a row.
    failures: u32,
}

impl Asker {
    pub(super) fn new(number: usize, address: HostPort, login: Login, stats: Arc<Stats>) -> Self {
        Self {
            number,
            address,
            login,
            stats,
            client: None,
            names: Names::default(),
            failures: 0,
        }
    }

    /// Asks until the sender of `asked` is dropped.
    pub(super) fn run(mut self, asked: &Receiver<Names>, events: &Sender<Event>) {
        loop {
            let answers = self.turn();
            if events.send(Event::Answers(self.number, answers)).is_err() {
                return;
            }
            let pause = match self.failures {
                0 => ASK_EVERY,
                failures => backoff(failures),
            };
            if !self.wait(asked, pause) {
                return;
            }
        }
    }

    /// Waits for a question. A sentinel that failed is not asked before the end of the pause.
    /// Returns `false` when the proxy has stopped.
    fn wait(&mut self, asked: &Receiver<Names>, pause: Duration) -> bool {
        let until = now() + pause;
        loop {
            match asked.recv_timeout(until.saturating_duration_since(now())) {
                Ok(names) => {
                    self.names = asked.try_iter().last().unwrap_or(names);
                    if self.failures == 0 {
                        return true;
                    }
                }
                Err(RecvTimeoutError::Timeout) => return true,
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
    }

    /// Asks for all names once.
    fn turn(&mut self) -> Answers {
        let kept = self.client.is_some();
        let mut answers = self.ask();
        if answers.is_err() && kept {
            // The sentinel may have restarted.
            self.client = None;
            answers = self.ask();
        }
        let address = &self.address;
        match answers {
            Ok(answers) => {
                let was_up = self.stats.set_up(self.number, true);
                if !was_up && self.failures > 0 {
                    log::info!("sentinel: available again sentinel={address}");
                }
                self.failures = 0;
                answers
            }
            Err(why) => {
                self.client = None;
                self.stats.set_up(self.number, false);
                if self.failures == 0 {
                    log::warn!("sentinel: unavailable sentinel={address} reason=\"{why}\"");
                }
                self.failures = self.failures.saturating_add(1);
                Answers::new()
            }
        }
    }

    fn ask(&mut self) -> Result<Answers, String> {
        let client = match &mut self.client {
            Some(client) => client,
            none => none.insert(Client::log_in(&self.address, &self.login)?),
        };
        let mut answers = Answers::new();
        let names: Vec<&String> = self.names.iter().collect();
        if names.is_empty() {
            let mut ping = Vec::new();
            write::command(&mut ping, &[b"PING"]);
            client.ask(&ping)?;
        }
        for names in names.chunks(BATCH) {
            let mut commands = Vec::new();
            for name in names {
                let command: [&[u8]; 3] =
                    [b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", name.as_bytes()];
                write::command(&mut commands, &command);
            }
            client.send(&commands)?;
            for name in names {
                answers.insert((*name).clone(), address(&client.reply()?)?);
            }
        }
        Ok(answers)
    }
}

/// Reads the reply to SENTINEL GET-MASTER-ADDR-BY-NAME: the host and the port, both strings.
fn address(reply: &[u8]) -> Result<Option<HostPort>, String> {
    if is_null(reply) {
        return Ok(None);
    }
    let read = || {
        let mut parts = Elements::new(reply)?;
        let (host, port) = (string(parts.next()?)?, string(parts.next()?)?);
        let host = str::from_utf8(host).ok().filter(|it| is_host(it))?;
        let port: u16 = str::from_utf8(port).ok()?.parse().ok()?;
        (parts.is_exhausted() && port > 0).then(|| HostPort {
            host: host.to_owned(),
            port,
        })
    };
    let address = read().ok_or_else(|| "sent an unexpected reply".to_owned())?;
    Ok(Some(address))
}

/// Whether a text may be a host name or an IP address.
fn is_host(text: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:%".contains(&byte);
    (1..=253).contains(&text.len()) && text.bytes().all(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_of_a_primary_is_two_strings() {
        let read = |reply: &str| address(reply.as_bytes());
        let shown = |reply: &str| read(reply).map(|it| it.map(|it| it.to_string()));
        assert_eq!(
            shown("*2\r\n$3\r\n::1\r\n$4\r\n6379\r\n"),
            Ok(Some("[::1]:6379".to_owned()))
        );
        assert_eq!(shown("*-1\r\n"), Ok(None));
        assert_eq!(shown("$-1\r\n"), Ok(None));
        for wrong in [
            "+OK\r\n",
            "*0\r\n",
            "*2\r\n$1\r\nh\r\n:1\r\n",
            "*2\r\n$1\r\nh\r\n$1\r\n0\r\n",
            "*2\r\n$0\r\n\r\n$1\r\n1\r\n",
            "*2\r\n$3\r\na b\r\n$1\r\n1\r\n",
            "*2\r\n$1\r\nh\r\n$5\r\n65536\r\n",
            "*3\r\n$1\r\nh\r\n$1\r\n1\r\n$1\r\n1\r\n",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
