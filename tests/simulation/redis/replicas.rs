//! Replicas of a server: the offset of each, and the sessions that wait for them.

use super::super::rng::Rng;
use super::{Redis, text};

/// The server's replicas. Each has acknowledged writes up to some offset.
#[derive(Debug, Default)]
pub(crate) struct Replication {
    /// The offset of the last write.
    offset: u64,
    /// The offset of the last write in the journal.
    booked: u64,
    replicas: Vec<Replica>,
    /// They lag also in the calm.
    lags: bool,
}

#[derive(Debug)]
struct Replica {
    acknowledged: u64,
    /// It advances once in this many steps of time.
    pace: u64,
}

/// A session that waits for replicas.
#[derive(Debug)]
pub(crate) struct Wait {
    wanted: u64,
    offset: u64,
    /// Its timeout, ms; `None`: none.
    until: Option<u64>,
    /// The proxy sent it, with a timeout so long that no other request may follow.
    pub(crate) is_long: bool,
}

/// The values of [`Replica::pace`].
const PACES: [u64; 5] = [1, 2, 8, 60, u64::MAX];

/// The name of WAIT as the proxy writes it.
const OWN_NAME: &[u8] = b"waiT";

/// The longest timeout of the proxy's WAIT on a shared connection, ms: other waiting clients wait
/// for it.
const SHARED_MS: u64 = 400;

/// The longest timeout where a request of another client may follow, ms.
const BEFORE_OTHERS_MS: u64 = 10;

impl Replication {
    /// Some replicas are always up to date, and some never, until the calm.
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let replicas = (0..*rng.pick(&[0, 1, 2, 2, 3, 3])).map(|_| Replica {
            acknowledged: 0,
            pace: *rng.pick(&PACES),
        });
        Self {
            replicas: replicas.collect(),
            ..Self::default()
        }
    }

    /// Replicas lag again, if not all of them.
    pub(crate) fn lag(&mut self, rng: &mut Rng) {
        for replica in &mut self.replicas {
            replica.pace = *rng.pick(&PACES);
        }
        self.lags = true;
    }

    /// Replicas stop lagging.
    pub(crate) fn catch_up(&mut self) {
        self.lags = false;
    }

    /// A write was executed.
    pub(super) fn write(&mut self) {
        self.offset += 1;
    }

    /// The offset of the current execution, if it has written anything.
    pub(super) fn record(&mut self) -> Option<u64> {
        let before = std::mem::replace(&mut self.booked, self.offset);
        (before < self.offset).then_some(self.offset)
    }

    /// The number of replicas that have the writes up to this offset.
    pub(crate) fn acknowledged(&self, offset: u64) -> u64 {
        let replicas = self.replicas.iter();
        replicas.filter(|it| it.acknowledged >= offset).count() as u64
    }
}

impl Redis {
    /// Whether no client waits for replicas for longer than they need.
    pub(crate) fn is_in_step(&self) -> bool {
        self.calm && !self.replication.lags
    }

    /// Time passes: replicas advance, in the calm all of them.
    pub(crate) fn replicate(&mut self, rng: &mut Rng) {
        let (calm, last) = (self.is_in_step(), self.replication.offset);
        for replica in &mut self.replication.replicas {
            if replica.acknowledged < last && (calm || rng.one_in(replica.pace)) {
                let whole = calm || rng.one_in(2);
                replica.acknowledged = match whole {
                    true => last,
                    false => rng.between(replica.acknowledged, last),
                };
            }
        }
    }

    /// WAIT, for the last write of the same connection. No reply: it waits.
    pub(super) fn wait(
        &mut self,
        id: u64,
        args: &[Vec<u8>],
        inside: bool,
    ) -> Result<Option<Vec<u8>>, String> {
        let (calm, now) = (self.is_in_step(), self.now.ms);
        let session = self.at(id);
        (session.used, session.waited) = (true, true);
        if !session.holds() {
            session.client = None;
        }
        let number = |nth: usize| text(&args[nth]).parse::<u64>().map_err(|it| it.to_string());
        let (wanted, ms) = (number(1)?, Some(number(2)?).filter(|ms| *ms > 0));
        // A dedicated connection may not have got the command that it was taken for.
        let shared = session.shared && !session.own && session.lasts.len() > 1;
        let offset = session.written;
        let asked = args[0] == OWN_NAME;
        let short = asked && ms.is_some_and(|ms| ms <= SHARED_MS);
        if shared && !(short || asked && wanted == 0) {
            return Err(format!("others wait behind WAIT {wanted} for {ms:?} ms"));
        }
        let acknowledged = self.replication.acknowledged(offset);
        if acknowledged >= wanted || inside || calm {
            return Ok(Some(format!(":{acknowledged}\r\n").into_bytes()));
        }
        self.at(id).wait = Some(Wait {
            wanted,
            offset,
            until: ms.map(|ms| now + ms),
            is_long: asked && ms.is_none_or(|ms| ms > BEFORE_OTHERS_MS),
        });
        Ok(None)
    }

    /// Ends a WAIT when its number is reached, at its timeout, or in the calm.
    pub(super) fn end_waits(&mut self) {
        let (calm, now) = (self.is_in_step(), self.now.ms);
        for session in self.sessions.values_mut() {
            let Some(wait) = &session.wait else {
                continue;
            };
            let acknowledged = self.replication.acknowledged(wait.offset);
            let over = wait.until.is_some_and(|until| until <= now);
            if calm || over || acknowledged >= wait.wanted {
                session.wait = None;
                let reply = format!(":{acknowledged}\r\n").into_bytes();
                session.output.push((reply, false));
            }
        }
    }
}
