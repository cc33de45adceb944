//! Listens to the announcements of one sentinel.
//!
//! An announcement is only a reason to ask all sentinels. So what it says is not read.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::time::Duration;

use crate::config::HostPort;
use crate::resp::read::{Elements, string};
use crate::resp::write;

use super::backoff;
use super::client::{Client, Login};
use super::event::Event;

/// How long to wait for an announcement until the connection is checked.
const TICK: Duration = Duration::from_secs(1);

/// Ticks without a byte after which a PING is sent, and after which the connection is given up.
const TICKS: (u32, u32) = (5, 10);

/// Why the subscriber stops listening.
enum End {
    /// The connection failed.
    Failed,
    /// The proxy has stopped.
    Stopped,
}

pub(super) struct Subscriber {
    address: HostPort,
    login: Login,
}

impl Subscriber {
    pub(super) fn new(address: HostPort, login: Login) -> Self {
        Self { address, login }
    }

    /// Listens until the sender of `stop` is dropped.
    pub(super) fn run(self, stop: &Receiver<()>, events: &Sender<Event>) {
        let mut failures = 0;
        loop {
            // The asker logs failures.
            if let Ok(mut client) = self.subscribe() {
                failures = 0;
                if let End::Stopped = listen(&mut client, stop, events) {
                    return;
                }
            }
            failures += 1;
            if stop.recv_timeout(backoff(failures)) != Err(RecvTimeoutError::Timeout) {
                return;
            }
        }
    }

    fn subscribe(&self) -> Result<Client, String> {
        let mut client = Client::log_in(&self.address, &self.login)?;
        let mut subscribe = Vec::new();
        write::command(&mut subscribe, &[b"SUBSCRIBE", b"+switch-master"]);
        client.ask(&subscribe)?;
        Ok(client)
    }
}

fn listen(client: &mut Client, stop: &Receiver<()>, events: &Sender<Event>) -> End {
    let mut silent = 0;
    loop {
        match client.try_reply(TICK) {
            Ok(Some(message)) => {
                silent = 0;
                if is_announcement(&message) && events.send(Event::Announced).is_err() {
                    return End::Stopped;
                }
            }
            Ok(None) => silent += 1,
            Err(_) => return End::Failed,
        }
        if stop.try_recv() != Err(TryRecvError::Empty) {
            return End::Stopped;
        }
        let mut ping = Vec::new();
        write::command(&mut ping, &[b"PING"]);
        if silent >= TICKS.1 || silent == TICKS.0 && client.send(&ping).is_err() {
            return End::Failed;
        }
    }
}

/// Whether this is a message, and not a confirmation.
fn is_announcement(message: &[u8]) -> bool {
    let first = Elements::new(message).and_then(|mut it| it.next());
    first.and_then(string) == Some(b"message")
}
