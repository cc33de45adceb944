//! HTTP/1.0 and 1.1, the server's side: bytes become requests, responses become bytes.
//!
//! Owns framing, and nothing of what requests mean. No socket and no clock: whoever reads the
//! bytes also watches the time.
//!
//! | file | what is there |
//! |---|---|
//! | `head` | the request line and the headers |
//! | `body` | bodies, of known length or in chunks |
//! | `query` | what stands behind the `?` |
//! | `response` | what is sent back |

mod body;
mod head;
mod query;
mod response;

pub(super) use head::{Head, Length, Method};
pub(super) use query::Query;
pub(super) use response::{After, CONTINUE, Response};

use body::Body;

/// A request that came in whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) head: Head,
    /// Empty if there is none.
    pub(super) body: Vec<u8>,
}

/// Why bytes are not taken for a request. The connection is of no use after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refusal {
    /// What to answer with.
    pub(super) status: u16,
    pub(super) reason: &'static str,
}

impl Refusal {
    const fn new(status: u16, reason: &'static str) -> Self {
        Self { status, reason }
    }
}

/// What has become of the bytes so far.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// More are needed.
    NeedMore,
    /// A head is complete, and its body is to come: see [`Decoder::head`].
    Head,
    /// A request.
    Request(Request),
}

/// Finds requests in what a connection receives, one after the other. Owns no memory between two.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    input: Vec<u8>,
    /// What is before this is done with.
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
    /// Takes bytes in. What they make is found by [`next`](Self::next).
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        if self.from > 0 {
            self.input.drain(..self.from);
            self.from = 0;
        }
        self.input.extend_from_slice(bytes);
    }

    /// The next thing that is complete.
    ///
    /// # Errors
    ///
    /// What came is no request, or is too large; it stays so.
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

    /// Are there bytes that are not part of a finished request?
    pub(super) fn has_begun(&self) -> bool {
        self.has_input() || !matches!(self.state, State::Head)
    }

    /// Are there bytes that nothing was made of yet?
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
        // Some clients end a body with an empty line that they do not count.
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
