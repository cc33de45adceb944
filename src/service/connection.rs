//! One connection to the service port, without its socket: received bytes become requests,
//! responses become bytes to send. One request is handled at a time.
//!
//! This module has the timeouts of a connection. Sockets and the clock are in
//! [`server`](super::server).

use std::mem;

use crate::proxy::Millis;

use super::access::Caller;
use super::context::{Answer, Context};
use super::counters::Limit;
use super::http::{After, CONTINUE, Decoder, Request, Response, Step};
use super::limits::{
    Class, IDLE_MS, LINGER_MS, PARKED_MAX, PROBE_MS, REQUEST_MS, RESPONSE_MS, SLOW_MS,
};
use super::pending::{Call, Parked, ResponseForm};
use super::routes::Thread;

/// What a connection needs in a turn of the loop.
#[derive(Clone, Copy)]
pub(super) struct Turn<'a> {
    pub(super) context: &'a Context,
    pub(super) now: Millis,
    /// Requests of other connections that wait for a change of the clusters.
    pub(super) parked: usize,
}

#[derive(Debug)]
pub(super) struct Connection {
    caller: Caller,
    class: Class,
    decoder: Decoder,
    output: Vec<u8>,
    /// Bytes of `output` that are sent.
    sent: usize,
    phase: Phase,
    /// When the phase began.
    since: Millis,
    /// There may be something new to decode.
    fresh: bool,
    /// The peer has sent its end of stream.
    finished: bool,
}

#[derive(Debug)]
enum Phase {
    New,
    /// Between two requests; `New` is before the first.
    Idle,
    /// A part of a request has arrived.
    Receiving,
    /// Another thread handles the request.
    Calling(Call, ResponseForm),
    /// The request waits for a change of the clusters.
    Parked(Parked),
    /// A response is being sent.
    Sending(After),
    /// The last response is sent; the connection is closed once the peer has received it.
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

    /// Whether the socket should be read.
    pub(super) fn wants_input(&self) -> bool {
        match self.phase {
            Phase::New | Phase::Idle | Phase::Receiving => !self.fresh && !self.finished,
            Phase::Lingering => true,
            Phase::Calling(..) | Phase::Parked(_) | Phase::Sending(_) | Phase::Ended => false,
        }
    }

    pub(super) fn caller(&self) -> Caller {
        self.caller
    }

    pub(super) fn class(&self) -> Class {
        self.class
    }

    /// Whether [`proceed`](Self::proceed) can do anything.
    pub(super) fn is_fresh(&self) -> bool {
        self.fresh && matches!(self.phase, Phase::New | Phase::Idle | Phase::Receiving)
    }

    /// Whether the connection only waits for the peer's end of stream, after sending its own.
    pub(super) fn is_lingering(&self) -> bool {
        matches!(self.phase, Phase::Lingering)
    }

    pub(super) fn is_parked(&self) -> bool {
        matches!(self.phase, Phase::Parked(_))
    }

    /// Whether the socket is to be closed.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended)
    }

    /// The rank of this connection among those that may be closed for a new one, and the start of
    /// its phase: idle connections have rank 0, slow ones 1 or 2. `None` if it must stay open.
    pub(super) fn closable(&self, now: Millis) -> Option<(u8, Millis)> {
        let age = now.since(self.since);
        // The first request is arriving, or has arrived and was not read yet.
        if age < PROBE_MS && (self.class == Class::Probes || matches!(self.phase, Phase::New)) {
            return None;
        }
        let slow = self.class == Class::Probes || age >= SLOW_MS;
        match self.phase {
            Phase::New | Phase::Idle | Phase::Lingering => Some((0, self.since)),
            Phase::Receiving if slow => Some((1, self.since)),
            Phase::Sending(_) | Phase::Calling(..) if slow => Some((2, self.since)),
            _ => None,
        }
    }

    /// Takes bytes from the peer.
    pub(super) fn received(&mut self, bytes: &[u8]) {
        if !self.is_lingering() {
            self.decoder.feed(bytes);
            self.fresh = true;
        }
    }

    /// Takes the end of stream.
    pub(super) fn input_ended(&mut self) {
        if self.is_lingering() {
            self.phase = Phase::Ended;
        }
        self.finished = true;
        self.fresh = true;
    }

    /// The peer hung up, perhaps behind unread bytes. A request that waits for a change gets its
    /// response now, because the peer has most likely gone.
    pub(super) fn hung_up(&mut self, turn: &Turn<'_>) {
        if let Phase::Parked(parked) = &mut self.phase {
            parked.form.after = After::Close;
            self.unchanged(turn);
        }
    }

    /// The socket is broken.
    pub(super) fn failed(&mut self) {
        self.phase = Phase::Ended;
    }

    /// Decodes one request and responds to it.
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
                    let response = turn.context.refusal(&refusal);
                    return self.respond(response, ResponseForm::LAST, turn);
                }
            }
        }
    }

    fn request(&mut self, request: Request, turn: &Turn<'_>) {
        let mut form = ResponseForm::of(&request.head);
        let thread = turn.context.thread(&request.head, self.caller);
        if self.class == Class::Probes {
            form.after = After::Close;
            if thread != Thread::Port {
                let response = turn.context.exhausted(Limit::Connections);
                return self.respond(response, form, turn);
            }
        }
        if thread == Thread::Port {
            return self.answer(turn.context.answer(&request, self.caller), form, turn);
        }
        self.since = turn.now;
        self.phase = Phase::Calling(Call::New(thread, Box::new(request)), form);
    }

    /// The call that another thread has to handle, if it is new; it is identified by `number`.
    pub(super) fn call(&mut self, number: u64) -> Option<(Thread, Box<Request>)> {
        match &mut self.phase {
            Phase::Calling(call, _) => call.hand_over(number),
            _ => None,
        }
    }

    /// Takes the answer to the call with this number, unless that call has timed out.
    pub(super) fn answered(&mut self, number: u64, answer: Answer, turn: &Turn<'_>) {
        match self.phase {
            Phase::Calling(Call::HandedOver(n), form) if n == number => {
                self.answer(answer, form, turn)
            }
            _ => {}
        }
    }

    /// The queue of calls is full.
    pub(super) fn call_rejected(&mut self, turn: &Turn<'_>) {
        if let Phase::Calling(_, form) = self.phase {
            let response = turn.context.exhausted(Limit::Calls);
            self.respond(response, form, turn);
        }
    }

    /// Notes the first bytes of a request.
    fn begin(&mut self, now: Millis) {
        if matches!(self.phase, Phase::New | Phase::Idle) {
            self.phase = Phase::Receiving;
            self.since = now;
        }
    }

    /// Checks a head before its body is received: a caller without access need not send the body.
    fn is_refused(&mut self, turn: &Turn<'_>) -> bool {
        let Some(head) = self.decoder.head() else {
            return false;
        };
        if let Err(response) = turn.context.admit(head, self.caller) {
            let form = ResponseForm {
                after: After::Close,
                ..ResponseForm::of(head)
            };
            self.respond(response, form, turn);
            return true;
        }
        if head.expects_continue && !self.decoder.has_input() {
            self.output.extend_from_slice(CONTINUE);
        }
        false
    }

    fn answer(&mut self, answer: Answer, form: ResponseForm, turn: &Turn<'_>) {
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
                let response = turn.context.exhausted(Limit::Parked);
                self.respond(response, form, turn);
            }
        }
    }

    fn respond(&mut self, response: Response, form: ResponseForm, turn: &Turn<'_>) {
        let ResponseForm { head_only, after } = form;
        turn.context.counters.answered(response.status());
        self.output.extend(response.into_bytes(head_only, after));
        self.phase = Phase::Sending(after);
        self.since = turn.now;
    }

    /// Bytes to send.
    pub(super) fn outbound(&self) -> &[u8] {
        self.output.get(self.sent..).unwrap_or_default()
    }

    /// Notes that `n` bytes are sent.
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

    /// The ETag that the client has, if it waits for a change.
    pub(super) fn parked_with(&self) -> Option<&str> {
        match &self.phase {
            Phase::Parked(parked) => Some(&parked.etag),
            _ => None,
        }
    }

    /// The clusters have changed: sends the new list, if the client waits for another ETag.
    pub(super) fn changed(&mut self, etag: &str, list: &Response, turn: &Turn<'_>) {
        if let Phase::Parked(parked) = &self.phase
            && parked.etag != etag
        {
            let form = parked.form;
            self.respond(list.clone(), form, turn);
        }
    }

    /// The wait is over without a change.
    fn unchanged(&mut self, turn: &Turn<'_>) {
        if let Phase::Parked(parked) = &mut self.phase {
            let response = Context::not_modified(&mem::take(&mut parked.etag));
            let form = parked.form;
            self.respond(response, form, turn);
        }
    }

    /// The time of the next call to [`tick`](Self::tick).
    pub(super) fn deadline(&self) -> Option<Millis> {
        match &self.phase {
            Phase::New | Phase::Idle => Some(self.since.after(IDLE_MS)),
            Phase::Receiving => Some(self.since.after(REQUEST_MS)),
            Phase::Parked(parked) => Some(parked.until),
            Phase::Sending(_) | Phase::Calling(..) => Some(self.since.after(RESPONSE_MS)),
            Phase::Lingering => Some(self.since.after(LINGER_MS)),
            Phase::Ended => None,
        }
    }

    /// Handles timeouts.
    pub(super) fn tick(&mut self, turn: &Turn<'_>) {
        if self.deadline().is_none_or(|at| turn.now < at) {
            return;
        }
        let counters = &turn.context.counters;
        match self.phase {
            Phase::New | Phase::Idle => {
                counters.reached(Limit::IdleMs);
                self.failed();
            }
            Phase::Receiving => {
                let response = turn.context.exhausted(Limit::RequestMs);
                self.respond(response, ResponseForm::LAST, turn);
            }
            Phase::Calling(..) => self.call_rejected(turn),
            Phase::Parked(_) => self.unchanged(turn),
            Phase::Sending(_) => {
                counters.reached(Limit::ResponseMs);
                self.failed();
            }
            Phase::Lingering | Phase::Ended => self.failed(),
        }
    }

    /// The port closes: a response that is being sent may finish, and nothing new begins.
    pub(super) fn close(&mut self, turn: &Turn<'_>) {
        match &mut self.phase {
            Phase::New | Phase::Idle | Phase::Receiving => self.failed(),
            Phase::Sending(after) | Phase::Calling(_, ResponseForm { after, .. }) => {
                *after = After::Close
            }
            Phase::Parked(_) => self.hung_up(turn),
            Phase::Lingering | Phase::Ended => {}
        }
    }
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
