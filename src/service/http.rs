//! HTTP/1.0 and 1.1 for a server: decodes requests, encodes responses.
//!
//! This is framing only, without sockets and clock: callers enforce timeouts.
//!
//! | file | contents |
//! |---|---|
//! | `head` | the request line and the headers |
//! | `body` | bodies of known length or in chunks |
//! | `query` | the parameters behind the `?` |
//! | `response` | responses |

mod body;
mod head;
mod query;
mod response;

pub(super) use head::{Head, Length, Method};
pub(super) use query::Query;
pub(super) use response::{After, CONTINUE, Response};

use body::Body;

/// A complete request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) head: Head,
    /// Empty if there is none.
    pub(super) body: Vec<u8>,
}

/// Why bytes are not accepted as a request. The connection cannot be used after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The status of the response.
    pub(super) status: u16,
    pub(super) reason: &'static str,
}

impl Refusal {
    const fn new(status: u16, reason: &'static str) -> Self {
        Self { status, reason }
    }
}

/// Progress of decoding.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// More bytes are needed.
    NeedMore,
    /// A head is complete, and its body follows: see [`Decoder::head`].
    Head,
    /// A complete request.
    Request(Request),
}

/// Decodes the requests of a connection, one after the other. Between two requests it holds no
/// memory.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    input: Vec<u8>,
    /// Bytes before this index are decoded.
    from: usize,
    state: State,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Head,
    Body(Head, Body),
    Refused(Refusal),
}

impl Decoder {
    /// Takes bytes, which [`next`](Self::next) decodes.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        if self.from > 0 {
            self.input.drain(..self.from);
            self.from = 0;
        }
        self.input.extend_from_slice(bytes);
    }

    /// Decodes the next step.
    ///
    /// # Errors
    ///
    /// If the bytes are no request, or exceed a limit. Every later call returns the same error.
    pub(super) fn next(&mut self) -> Result<Step, Refusal> {
        let step = self.advance();
        if let Err(refusal) = step {
            self.forget();
            self.state = State::Refused(refusal);
        }
        step
    }

    /// The head of the request whose body is being received.
    pub(super) fn head(&self) -> Option<&Head> {
        match &self.state {
            State::Body(head, _) => Some(head),
            State::Head | State::Refused(_) => None,
        }
    }

    /// Whether a request has begun and is not complete.
    pub(super) fn has_begun(&self) -> bool {
        self.has_input() || !matches!(self.state, State::Head)
    }

    /// Whether there are bytes that are not decoded.
    pub(super) fn has_input(&self) -> bool {
        self.from < self.input.len()
    }

    fn advance(&mut self) -> Result<Step, Refusal> {
        match std::mem::take(&mut self.state) {
            State::Head => self.read_head(),
            State::Body(head, body) => self.read_body(head, body),
            State::Refused(refusal) => Err(refusal),
        }
    }

    fn read_head(&mut self) -> Result<Step, Refusal> {
        // Some clients send an empty line after a body, which its length does not include.
        let blank = |byte: &&u8| matches!(byte, b'\r' | b'\n');
        self.from += self.unread().iter().take_while(blank).count();
        let Some((len, head)) = head::parse(self.unread())? else {
            if !self.has_input() {
                self.forget();
            }
            return Ok(Step::NeedMore);
        };
        self.from += len;
        match head.length {
            Length::None | Length::Bytes(0) => {
                let body = Vec::new();
                Ok(Step::Request(self.finish(Request { head, body })))
            }
            Length::Bytes(_) | Length::Chunked => {
                let body = Body::new(head.length)?;
                self.state = State::Body(head, body);
                Ok(Step::Head)
            }
        }
    }

    fn read_body(&mut self, head: Head, mut body: Body) -> Result<Step, Refusal> {
        let (used, finished) = body.read(self.unread())?;
        self.from += used;
        if finished {
            let body = body.into_bytes();
            return Ok(Step::Request(self.finish(Request { head, body })));
        }
        self.state = State::Body(head, body);
        Ok(Step::NeedMore)
    }

    fn finish(&mut self, request: Request) -> Request {
        if !self.has_input() {
            self.forget();
        }
        request
    }

    fn forget(&mut self) {
        self.input = Vec::new();
        self.from = 0;
    }

    fn unread(&self) -> &[u8] {
        self.input.get(self.from..).unwrap_or_default()
    }
}

#[cfg(test)]
#[path = "http/tests.rs"]
mod tests;
