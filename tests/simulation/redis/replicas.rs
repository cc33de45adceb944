//! Replicas of a server: how much of what was written each of them has, and who waits for that.

use super::super::rng::Rng;
use super::{Redis, text};

/// What a server knows of its replicas. Each has acknowledged what was written up to some offset.
#[derive(Debug, Default)]
pub(crate) struct Replication {
    /// Of the last write.
    offset: u64,
    /// Of the last write that is in the book.
    booked: u64,
    replicas: Vec<Replica>,
    /// They lag behind even in the calm.
    lags: bool,
}

#[derive(Debug)]
struct Replica {
    acknowledged: u64,
    /// It gets on once in so many steps of time.
    pace: u64,
}

/// A connection waits for replicas.
#[derive(Debug)]
pub(crate) struct Wait {
    wanted: u64,
    offset: u64,
    /// Until then, ms; `None`: for ever.
    until: Option<u64>,
    /// The proxy asked, and for so long that nobody else may come behind that.
    pub(crate) is_long: bool,
}

/// See [`Replica::pace`].
const PACES: [u64; 5] = [1, 2, 8, 60, u64::MAX];

/// How the proxy itself spells it when it asks.
const OWN_NAME: &[u8] = b"waiT";

/// On a connection that clients share only the proxy asks, and no longer than this, ms: those whose
/// turn comes next wait for that.
const SHARED_MS: u64 = 400;

/// Where a request of another client may come behind that it asks no longer than this, ms.
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

    /// Replicas lag behind again, if not all of them.
    pub(crate) fn lag(&mut self, rng: &mut Rng) {
        for replica in &mut self.replicas {
            replica.pace = *rng.pick(&PACES);
        }
        self.lags = true;
    }

    /// They do so no more.
    pub(crate) fn catch_up(&mut self) {
        self.lags = false;
    }

    /// Something was written.
    pub(super) fn write(&mut self) {
        self.offset += 1;
    }

    /// The offset of what was executed now, if that has written anything.
    pub(super) fn book(&mut self) -> Option<u64> {
        let before = std::mem::replace(&mut self.booked, self.offset);
        (before < self.offset).then_some(self.offset)
    }

    /// How many replicas have what was written up to here?
    pub(crate) fn acknowledged(&self, offset: u64) -> u64 {
        let replicas = self.replicas.iter();
        replicas.filter(|it| it.acknowledged >= offset).count() as u64
    }
}

impl Redis {
    /// Does no client wait for replicas for longer than it takes them to get on?
    pub(crate) fn is_in_step(&self) -> bool {
        self.calm && !self.replication.lags
    }

    /// Time goes by: replicas get on, in the calm all of them.
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

    /// WAIT: it is about the last write of this very connection. No reply: it waits.
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
        // One that is a client's own may not have got what it was taken for.
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

    /// A WAIT ends when it is met, in time, or in the calm.
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
