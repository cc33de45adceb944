//! WAIT and WAITAOF of clients whose writes were sent on one shared link: the waiters, what the
//! server is asked next, and which waiters its reply answers.
//!
//! The server is asked repeatedly, for a moment each time: one reply answers all waiters that it
//! satisfies, and those whose time is over. The values that are waited for take turns, because the
//! server may refuse one of them; each question waits for the least of them.

use crate::link::counts::Counts;
use crate::link::request::Kind;
use crate::store::key::{ClientKey, LinkKey};
use crate::store::time::Millis;

/// The duration of the first question, ms. A client that starts to wait for less during a question
/// waits this much longer than on a direct connection.
const FIRST_MS: u64 = 50;

/// Each further question takes twice as long, up to `FIRST_MS` times two to the power of this.
/// (Before Redis 7.2 a WAIT covers everything written before the WAIT in front of it. If writes
/// continue and a replica lags behind by more than a WAIT's duration, no WAIT would ever succeed.)
const DOUBLINGS_MAX: u32 = 3;

/// The duration of the questions for other values, ms: a refusal comes at once.
const REFUSAL_MS: u64 = 1;

/// How much a server's clock may differ from ours, ms.
const EARLY_MS: u64 = 5;

/// A client in WAIT.
#[derive(Debug)]
pub(crate) struct Waiter {
    pub client: ClientKey,
    /// Whether the client gets the reply.
    pub(crate) kind: Kind,
    wanted: Counts,
    until: Option<Millis>,
    /// When the client began to wait on this link, or when the server last answered.
    pub(crate) since: Millis,
    /// The number of questions since then.
    rounds: u32,
    /// The last question for this very value; 0: none.
    asked: u64,
    /// The server's last reply.
    last_reply: Counts,
    /// The links that are asked after this one.
    left: Vec<LinkKey>,
    /// The minimum of the earlier links' replies.
    least: Option<Counts>,
}

/// What happens to a client in WAIT after a link's reply.
pub(crate) enum Next {
    /// The client gets the error.
    Refused,
    Ask(LinkKey),
    /// The client gets the reply.
    Done,
}

impl Waiter {
    pub(crate) fn new(
        client: ClientKey,
        kind: Kind,
        wanted: Counts,
        until: Option<Millis>,
        left: Vec<LinkKey>,
    ) -> Self {
        Self {
            client,
            kind,
            wanted,
            until,
            since: Millis::default(),
            rounds: 0,
            asked: 0,
            last_reply: wanted.nothing(),
            left,
            least: None,
        }
    }

    /// Handles the reply of the link that the client waits on.
    pub(crate) fn next(&mut self, reply: &[u8]) -> Next {
        let Some(counts) = self.wanted.parse_reply(reply) else {
            return Next::Refused;
        };
        self.last_reply = counts;
        let Some(next) = self.left.pop() else {
            return Next::Done;
        };
        self.least = Some(self.least.map_or(counts, |least| least.and(counts)));
        (self.rounds, self.last_reply) = (0, self.wanted.nothing());
        Next::Ask(next)
    }

    pub(crate) fn wants_nothing(&self) -> bool {
        self.wanted.is_nothing()
    }

    /// The counts that are known; zero while a link has not answered.
    pub(crate) fn so_far(&self) -> Counts {
        match self.least {
            _ if !self.left.is_empty() => self.wanted.nothing(),
            Some(least) => least.and(self.last_reply),
            None => self.last_reply,
        }
    }

    fn is_late(&self, now: Millis, by: u64) -> bool {
        self.until.is_some_and(|until| now >= until.after(by))
    }
}

/// The clients that wait on one link.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    waiters: Vec<Waiter>,
    /// The question that is in flight, and until when the server waits.
    asked: Option<(Counts, Millis)>,
    /// The last question was WAITAOF: WAIT and WAITAOF take turns.
    file: bool,
    /// The number of questions so far.
    questions: u64,
}

impl Waits {
    pub(crate) fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }

    pub(crate) fn clients(&self) -> impl Iterator<Item = ClientKey> {
        self.waiters.iter().map(|waiter| waiter.client)
    }

    /// Is a question in flight?
    pub(crate) fn is_asking(&self) -> bool {
        self.asked.is_some()
    }

    /// Do all waiters want nothing? Then the server answers at once.
    pub(crate) fn want_nothing(&self) -> bool {
        self.waiters.iter().all(Waiter::wants_nothing)
    }

    pub(crate) fn add(&mut self, mut waiter: Waiter) {
        // Others that wait for the same value keep their turn.
        let same = self.waiters.iter().find(|it| it.wanted == waiter.wanted);
        waiter.asked = same.map_or(0, |it| it.asked);
        self.waiters.push(waiter);
    }

    pub(crate) fn remove(&mut self, client: ClientKey) -> Option<Waiter> {
        let at = self.waiters.iter().position(|it| it.client == client)?;
        Some(self.waiters.remove(at))
    }

    pub(crate) fn take(&mut self) -> Vec<Waiter> {
        std::mem::take(&mut self.waiters)
    }

    /// The next question, and its duration of at most `most` milliseconds; `None`: no waiter is
    /// `ready`.
    pub(crate) fn ask(
        &mut self,
        now: Millis,
        most: u64,
        ready: impl Fn(ClientKey) -> bool,
    ) -> Option<(Counts, u64)> {
        let turn = self.turn(&ready)?;
        let file = turn.is_file();
        let least = { self.waiters.iter() }.filter(|it| ready(it.client) && it.wanted < turn);
        let is_least = least.filter(|it| it.wanted.is_file() == file).count() == 0;
        let left = self.waiters.iter().filter_map(|it| it.until);
        let left = left.map(|until| until.since(now).max(1)).min();
        let mut rounds = DOUBLINGS_MAX;
        self.questions += 1;
        for waiter in &mut self.waiters {
            if waiter.wanted.is_file() == file {
                rounds = rounds.min(waiter.rounds);
                waiter.rounds = waiter.rounds.saturating_add(1);
            }
            if waiter.wanted == turn {
                waiter.asked = self.questions;
            }
        }
        let ms = if is_least {
            FIRST_MS << rounds
        } else {
            REFUSAL_MS
        };
        let ms = match turn.is_nothing() {
            // The server answers at once. A server that does not know the command repeats its
            // arguments.
            true => left.unwrap_or(0),
            false => left.map_or(ms, |left| ms.min(left)).min(most),
        };
        (self.asked, self.file) = (Some((turn, now.after(ms))), file);
        Some((turn, ms))
    }

    /// The value that is asked for next: the one that was not asked for the longest time.
    fn turn(&self, ready: impl Fn(ClientKey) -> bool) -> Option<Counts> {
        let waiters = self.waiters.iter().filter(|it| ready(it.client));
        let of = |it: &&Waiter| (it.wanted.is_file() == self.file, it.asked, it.wanted);
        waiters.min_by_key(of).map(|it| it.wanted)
    }

    /// Handles the server's reply. Returns the waiters that get this reply.
    pub(crate) fn answered(&mut self, reply: &[u8], now: Millis) -> Vec<Waiter> {
        let Some((asked, until)) = self.asked.take() else {
            return Vec::new();
        };
        let counts = asked.parse_reply(reply);
        // A server that refuses the question at once would refuse it again.
        let last = now.after(EARLY_MS) < until;
        let (mut done, mut left) = (Vec::new(), Vec::new());
        for mut waiter in self.take() {
            // The reply does not count for a client that joined after the question: it may have
            // written in between.
            let concerns = waiter.rounds > 0 && waiter.wanted.is_file() == asked.is_file();
            let over = match counts {
                Some(counts) if concerns => {
                    (waiter.last_reply, waiter.since) = (counts, now);
                    let met = waiter.wanted.is_met_by(counts) || waiter.is_late(now, 0);
                    met || last && waiter.wanted == asked
                }
                None if concerns => waiter.wanted == asked,
                _ => false,
            };
            if over { &mut done } else { &mut left }.push(waiter);
        }
        self.waiters = left;
        done
    }

    /// The waiters whose time is over and whose value is not being asked for. A client about whose
    /// writes the server was not asked yet waits `more` milliseconds longer.
    pub(crate) fn overdue(&mut self, now: Millis, more: u64) -> Vec<Waiter> {
        let asking = self.is_asking();
        let over = |it: &Waiter| {
            let more = if asking || it.rounds == 0 { more } else { 0 };
            it.is_late(now, more)
        };
        let (over, left) = self.take().into_iter().partition(over);
        self.waiters = left;
        over
    }

    /// The waiters about which the server was not asked for this long, ms.
    pub(crate) fn unasked(&mut self, now: Millis, ms: u64) -> Vec<Waiter> {
        let asking = self.is_asking();
        let unasked = |it: &Waiter| !asking && now.since(it.since) >= ms;
        let (unasked, left) = self.take().into_iter().partition(unasked);
        self.waiters = left;
        unasked
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::key::Key;

    use crate::link::counts::tests::{frame, wanted};

    /// Clients by number, with what they wait for.
    fn waits(lines: &[&str]) -> Waits {
        let mut waits = Waits::default();
        for (i, line) in lines.iter().enumerate() {
            let (counts, ms) = Counts::parse(&frame(line)).unwrap();
            let until = (ms > 0).then_some(Millis(ms));
            waits.add(Waiter::new(
                number(i),
                Kind::Deliver,
                counts,
                until,
                Vec::new(),
            ));
        }
        waits
    }

    fn number(i: usize) -> ClientKey {
        ClientKey::new(i as u32, 0)
    }

    fn asks(waits: &mut Waits, now: u64) -> String {
        let (counts, ms) = waits.ask(Millis(now), 10_000, |_| true).unwrap();
        counts.words(ms).join(" ")
    }

    fn hear(waits: &mut Waits, reply: &str, now: u64) -> Vec<ClientKey> {
        let done = waits.answered(reply.as_bytes(), Millis(now));
        done.iter().map(|it| it.client).collect()
    }

    #[test]
    fn one_reply_answers_all_satisfied_and_overdue_waiters() {
        let mut waits = waits(&["WAIT 2 0", "WAIT 1 0", "WAIT 5 120", "WAIT 1 9000"]);
        assert_eq!(asks(&mut waits, 0), "WAIT 1 50");
        assert_eq!(hear(&mut waits, ":1\r\n", 5), [number(1), number(3)]);
        assert_eq!(asks(&mut waits, 5), "WAIT 2 100");
        assert_eq!(hear(&mut waits, ":1\r\n", 105), []);
        assert_eq!(asks(&mut waits, 105), "WAIT 5 1");
        assert_eq!(hear(&mut waits, ":1\r\n", 106), []);
        assert_eq!(asks(&mut waits, 106), "WAIT 2 14");
        assert_eq!(hear(&mut waits, ":1\r\n", 120), [number(2)]);
        assert_eq!(asks(&mut waits, 120), "WAIT 2 400");
        assert_eq!(hear(&mut waits, ":1\r\n", 521), []);
        assert_eq!(asks(&mut waits, 521), "WAIT 2 400");
        assert_eq!(hear(&mut waits, "-ERR no\r\n", 530), [number(0)]);
        assert!(waits.is_empty());
    }

    #[test]
    fn each_value_is_asked_for_so_that_its_refusal_is_delivered() {
        let mut waits = waits(&["WAITAOF 0 1 0", "WAITAOF 1 0 0", "WAITAOF 1 1 0"]);
        let (no, refused) = ("*2\r\n:0\r\n:0\r\n", "-ERR appendonly is disabled\r\n");
        assert_eq!(asks(&mut waits, 0), "WAITAOF 0 1 50");
        assert_eq!(hear(&mut waits, no, 50), []);
        assert_eq!(asks(&mut waits, 50), "WAITAOF 1 0 1");
        assert_eq!(hear(&mut waits, refused, 50), [number(1)]);
        // Another waiter for the same value does not delay the others.
        let more = Waiter::new(
            number(3),
            Kind::Deliver,
            wanted("WAITAOF 0 1 0"),
            None,
            Vec::new(),
        );
        waits.add(more);
        assert_eq!(asks(&mut waits, 51), "WAITAOF 1 1 1");
        assert_eq!(hear(&mut waits, refused, 51), [number(2)]);
        assert_eq!(asks(&mut waits, 52), "WAITAOF 0 1 100");
    }

    #[test]
    fn reply_does_not_answer_a_waiter_that_joined_after_the_question() {
        let mut waits = waits(&["WAIT 2 0"]);
        asks(&mut waits, 0);
        let late = Waiter::new(
            number(9),
            Kind::Deliver,
            wanted("WAIT 1 0"),
            None,
            Vec::new(),
        );
        waits.add(late);
        assert_eq!(hear(&mut waits, ":2\r\n", 1), [number(0)]);
        assert_eq!(asks(&mut waits, 1), "WAIT 1 50");
    }

    #[test]
    fn wait_and_waitaof_take_turns() {
        let mut waits = waits(&["WAIT 2 0", "WAITAOF 1 1 0", "WAITAOF 0 2 0"]);
        let mut said = Vec::new();
        for now in [0, 100, 200, 300] {
            said.push(asks(&mut waits, now));
            let reply = match waits.file {
                true => "*2\r\n:0\r\n:1\r\n",
                false => ":1\r\n",
            };
            assert_eq!(hear(&mut waits, reply, now + 100), []);
        }
        let turns = ["WAITAOF 0 2 50", "WAIT 2 50", "WAITAOF 1 1 1", "WAIT 2 100"];
        assert_eq!(said, turns);
    }

    #[test]
    fn server_that_answers_at_once_is_asked_once() {
        let mut waits = waits(&["WAIT 2 0", "WAIT 3 0"]);
        asks(&mut waits, 0);
        assert_eq!(hear(&mut waits, ":1\r\n", 1), [number(0)]);
        asks(&mut waits, 1);
        assert_eq!(hear(&mut waits, ":1\r\n", 2), [number(1)]);
    }

    #[test]
    fn waiter_times_out_while_no_question_is_in_flight() {
        let mut waits = waits(&["WAIT 1 100", "WAIT 1 0"]);
        assert!(waits.overdue(Millis(500), 1_000).is_empty());
        asks(&mut waits, 0);
        assert!(waits.overdue(Millis(500), 1_000).is_empty());
        hear(&mut waits, ":0\r\n", 50);
        assert_eq!(waits.overdue(Millis(99), 1_000).len(), 0);
        assert_eq!(waits.overdue(Millis(100), 1_000).len(), 1);
    }
}
