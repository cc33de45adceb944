//! One connection to the service port, without its socket: what is received becomes requests,
//! answers become bytes to send, one request after the other.
//!
//! Owns the times a peer is given. The server owns the socket and the clock, the desk the answers.

use std::mem;

use crate::proxy::Millis;

use super::counters::Limit;
use super::desk::{Answer, Desk};
use super::form::{Form, Parked, Question};
use super::guard::Caller;
use super::http::{After, CONTINUE, Decoder, Request, Response, Step};
use super::limits::Class;
use super::limits::{IDLE_MS, LINGER_MS, PARKED_MAX, PROBE_MS, REQUEST_MS, RESPONSE_MS, SLOW_MS};
use super::routes::Place;

/// What a connection needs from outside to go on.
#[derive(Clone, Copy)]
pub(super) struct Turn<'a> {
    pub(super) desk: &'a Desk,
    pub(super) now: Millis,
    /// How many requests wait for the clusters to change, this connection's not counted.
    pub(super) parked: usize,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Connection {
    caller: Caller,
    class: Class,
    decoder: Decoder,
    output: Vec<u8>,
    /// So much of `output` has gone.
    sent: usize,
    phase: Phase,
    /// When the phase began.
    since: Millis,
    /// There may be something new to decode.
    fresh: bool,
    /// The peer sends no more.
    finished: bool,
}

#[derive(Debug)]
enum Phase {
    New,
    /// Between two requests; `New` is before the first.
    Idle,
    /// A part of a request has come.
    Receiving,
    /// A request is answered on another thread.
    Asked(Question, Form),
    /// A request waits for the clusters to change.
    Parked(Parked),
    /// A response is on its way.
    Sending(After),
    /// All is said; the peer is to see it before the connection is closed.
    Lingering,
    Ended,
}

impl Connection {
    pub(super) fn new(caller: Caller, class: Class, now: Millis) -> Self {
        Self {
            caller,
            class,
            decoder: Decoder::default(),
            output: Vec::new(),
            sent: 0,
            phase: Phase::New,
            since: now,
            fresh: false,
            finished: false,
        }
    }

    /// Should its socket be read?
    pub(super) fn wants_input(&self) -> bool {
        match self.phase {
            Phase::New | Phase::Idle | Phase::Receiving => !self.fresh && !self.finished,
            Phase::Lingering => true,
            Phase::Asked(..) | Phase::Parked(_) | Phase::Sending(_) | Phase::Ended => false,
        }
    }

    pub(super) fn caller(&self) -> Caller {
        self.caller
    }

    pub(super) fn class(&self) -> Class {
        self.class
    }

    /// Can [`proceed`](Self::proceed) do anything?
    pub(super) fn is_fresh(&self) -> bool {
        self.fresh && matches!(self.phase, Phase::New | Phase::Idle | Phase::Receiving)
    }

    /// Only the end of the peer's bytes is waited for: ours have ended.
    pub(super) fn is_lingering(&self) -> bool {
        matches!(self.phase, Phase::Lingering)
    }

    pub(super) fn is_parked(&self) -> bool {
        matches!(self.phase, Phase::Parked(_))
    }

    /// Its socket is to be closed.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended)
    }

    /// How much another one deserves its place, if it may be closed for one at all, and since when:
    /// those that are idle first, then the slow.
    pub(super) fn dispensable(&self, now: Millis) -> Option<(u8, Millis)> {
        let age = now.since(self.since);
        // The request of a new one is on its way, or has come and was not read yet.
        if age < PROBE_MS && (self.class == Class::Probes || matches!(self.phase, Phase::New)) {
            return None;
        }
        let slow = self.class == Class::Probes || age >= SLOW_MS;
        match self.phase {
            Phase::New | Phase::Idle | Phase::Lingering => Some((0, self.since)),
            Phase::Receiving if slow => Some((1, self.since)),
            Phase::Sending(_) | Phase::Asked(..) if slow => Some((2, self.since)),
            _ => None,
        }
    }

    /// The peer sent this.
    pub(super) fn received(&mut self, bytes: &[u8]) {
        if !self.is_lingering() {
            self.decoder.feed(bytes);
            self.fresh = true;
        }
    }

    /// The peer sends no more.
    pub(super) fn input_ended(&mut self) {
        if self.is_lingering() {
            self.phase = Phase::Ended;
        }
        self.finished = true;
        self.fresh = true;
    }

    /// The peer sends no more, though there may be bytes of it that nobody has read. If it waits
    /// for a change it has gone, most likely: it is answered now.
    pub(super) fn hung_up(&mut self, turn: &Turn<'_>) {
        if let Phase::Parked(parked) = &mut self.phase {
            parked.form.after = After::Close;
            self.unchanged(turn);
        }
    }

    /// Its socket is broken.
    pub(super) fn failed(&mut self) {
        self.phase = Phase::Ended;
    }

    /// Makes one request of what was received, and answers it.
    pub(super) fn proceed(&mut self, turn: &Turn<'_>) {
        if !self.is_fresh() {
            return;
        }
        self.fresh = false;
        loop {
            match self.decoder.next() {
                Ok(Step::NeedMore) if self.finished => return self.failed(),
                Ok(Step::NeedMore) => {
                    if self.decoder.has_begun() {
                        self.begin(turn.now);
                    }
                    return;
                }
                Ok(Step::Head) => {
                    self.begin(turn.now);
                    if self.is_refused(turn) {
                        return;
                    }
                }
                Ok(Step::Request(request)) => return self.request(request, turn),
                Err(refusal) => {
                    let response = turn.desk.refusal(&refusal);
                    return self.respond(response, Form::LAST, turn);
                }
            }
        }
    }

    fn request(&mut self, request: Request, turn: &Turn<'_>) {
        let mut form = Form::of(&request.head);
        let place = turn.desk.place(&request.head, self.caller);
        if self.class == Class::Probes {
            form.after = After::Close;
            if place != Place::Here {
                let response = turn.desk.exhausted(Limit::Connections);
                return self.respond(response, form, turn);
            }
        }
        if place == Place::Here {
            return self.answer(turn.desk.answer(&request, self.caller), form, turn);
        }
        self.since = turn.now;
        self.phase = Phase::Asked(Question::New(place, Box::new(request)), form);
    }

    /// What another thread has to answer, if it is new: under this number, which no other has.
    pub(super) fn question(&mut self, number: u64) -> Option<(Place, Box<Request>)> {
        match &mut self.phase {
            Phase::Asked(question, _) => question.ask(number),
            _ => None,
        }
    }

    /// The answer to the question of this number, which may have been given up.
    pub(super) fn answered(&mut self, number: u64, answer: Answer, turn: &Turn<'_>) {
        match self.phase {
            Phase::Asked(Question::Asked(n), form) if n == number => {
                self.answer(answer, form, turn)
            }
            _ => {}
        }
    }

    /// Nobody answers its question.
    pub(super) fn unanswered(&mut self, turn: &Turn<'_>) {
        if let Phase::Asked(_, form) = self.phase {
            let response = turn.desk.exhausted(Limit::Calls);
            self.respond(response, form, turn);
        }
    }

    /// The first bytes of a request are here.
    fn begin(&mut self, now: Millis) {
        if matches!(self.phase, Phase::New | Phase::Idle) {
            self.phase = Phase::Receiving;
            self.since = now;
        }
    }

    /// Looks at a head before its body is taken: who may not ask need not send it.
    fn is_refused(&mut self, turn: &Turn<'_>) -> bool {
        let Some(head) = self.decoder.head() else {
            return false;
        };
        if let Err(response) = turn.desk.admit(head, self.caller) {
            let form = Form {
                after: After::Close,
                ..Form::of(head)
            };
            self.respond(response, form, turn);
            return true;
        }
        if head.expects_continue && !self.decoder.has_input() {
            self.output.extend_from_slice(CONTINUE);
        }
        false
    }

    fn answer(&mut self, answer: Answer, form: Form, turn: &Turn<'_>) {
        match answer {
            Answer::Now(response) => self.respond(response, form, turn),
            Answer::Wait { etag, ms } if turn.parked < PARKED_MAX => {
                self.since = turn.now;
                self.phase = Phase::Parked(Parked {
                    etag,
                    until: turn.now.after(ms),
                    form,
                });
            }
            Answer::Wait { .. } => {
                let response = turn.desk.exhausted(Limit::Parked);
                self.respond(response, form, turn);
            }
        }
    }

    fn respond(&mut self, response: Response, form: Form, turn: &Turn<'_>) {
        let Form { head_only, after } = form;
        turn.desk.counters.answered(response.status());
        self.output.extend(response.into_bytes(head_only, after));
        self.phase = Phase::Sending(after);
        self.since = turn.now;
    }

    /// What is to be sent.
    pub(super) fn outbound(&self) -> &[u8] {
        self.output.get(self.sent..).unwrap_or_default()
    }

    /// So much of it has gone.
    pub(super) fn sent(&mut self, n: usize, now: Millis) {
        self.sent += n;
        if !self.outbound().is_empty() {
            return;
        }
        self.output = Vec::new();
        self.sent = 0;
        let Phase::Sending(after) = self.phase else {
            return;
        };
        self.since = now;
        if after == After::Close {
            self.phase = Phase::Lingering;
            if self.finished {
                self.phase = Phase::Ended;
            }
            self.decoder = Decoder::default();
        } else {
            self.phase = Phase::Idle;
            self.fresh = self.finished || self.decoder.has_input();
        }
    }

    /// What the clusters are to differ from, if it waits for a change.
    pub(super) fn parked_with(&self) -> Option<&str> {
        match &self.phase {
            Phase::Parked(parked) => Some(&parked.etag),
            _ => None,
        }
    }

    /// Does it wait for the clusters to be others than those that `etag` names?
    pub(super) fn waits_for_other(&self, etag: &str) -> bool {
        self.parked_with().is_some_and(|known| known != etag)
    }

    /// The clusters have changed: this is what they are now, and what names them.
    pub(super) fn changed(&mut self, etag: &str, list: &Response, turn: &Turn<'_>) {
        if self.waits_for_other(etag)
            && let Phase::Parked(parked) = &self.phase
        {
            let form = parked.form;
            self.respond(list.clone(), form, turn);
        }
    }

    /// It has waited long enough: nothing has changed.
    fn unchanged(&mut self, turn: &Turn<'_>) {
        if let Phase::Parked(parked) = &mut self.phase {
            let response = Desk::not_modified(&mem::take(&mut parked.etag));
            let form = parked.form;
            self.respond(response, form, turn);
        }
    }

    /// When [`tick`](Self::tick) has something to do.
    pub(super) fn deadline(&self) -> Option<Millis> {
        match &self.phase {
            Phase::New | Phase::Idle => Some(self.since.after(IDLE_MS)),
            Phase::Receiving => Some(self.since.after(REQUEST_MS)),
            Phase::Parked(parked) => Some(parked.until),
            Phase::Sending(_) | Phase::Asked(..) => Some(self.since.after(RESPONSE_MS)),
            Phase::Lingering => Some(self.since.after(LINGER_MS)),
            Phase::Ended => None,
        }
    }

    /// Time has passed.
    pub(super) fn tick(&mut self, turn: &Turn<'_>) {
        if self.deadline().is_none_or(|at| turn.now < at) {
            return;
        }
        let counters = &turn.desk.counters;
        match self.phase {
            Phase::New | Phase::Idle => {
                counters.reached(Limit::IdleMs);
                self.failed();
            }
            Phase::Receiving => {
                let response = turn.desk.exhausted(Limit::RequestMs);
                self.respond(response, Form::LAST, turn);
            }
            Phase::Asked(..) => self.unanswered(turn),
            Phase::Parked(_) => self.unchanged(turn),
            Phase::Sending(_) => {
                counters.reached(Limit::ResponseMs);
                self.failed();
            }
            Phase::Lingering | Phase::Ended => self.failed(),
        }
    }

    /// The port closes: what is on its way may arrive, and nothing new begins.
    pub(super) fn close(&mut self, turn: &Turn<'_>) {
        match &mut self.phase {
            Phase::New | Phase::Idle | Phase::Receiving => self.failed(),
            Phase::Sending(after) | Phase::Asked(_, Form { after, .. }) => *after = After::Close,
            Phase::Parked(_) => self.hung_up(turn),
            Phase::Lingering | Phase::Ended => {}
        }
    }
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
