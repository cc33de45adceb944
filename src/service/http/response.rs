//! Responses: a status, headers, a body.

use std::fmt::Write as _;

/// A response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Response {
    status: u16,
    content_type: &'static str,
    headers: Vec<(&'static str, String)>,
    body: String,
}

/// Whether the connection is kept after a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// It is closed.
    Close,
    /// It is kept, as is the default of HTTP/1.1.
    Keep,
    /// It is kept, and a header says so (HTTP/1.0).
    SayKeep,
}

/// Asks the client for the body that it holds back.
pub(crate) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

impl Response {
    /// A response with a JSON body.
    pub(crate) fn json(status: u16, body: String) -> Self {
        Self::new(status, "application/json", body)
    }

    /// A response with a body of another type.
    pub(crate) fn new(status: u16, content_type: &'static str, body: String) -> Self {
        let headers = Vec::new();
        Self {
            status,
            content_type,
            headers,
            body,
        }
    }

    /// The client's copy is current.
    pub(crate) fn not_modified() -> Self {
        Self::new(304, "", String::new())
    }

    /// Adds a header, whose value is printable ASCII.
    #[must_use]
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn status(&self) -> u16 {
        self.status
    }

    /// Encodes the response, without the body for HEAD.
    pub(crate) fn into_bytes(self, head_only: bool, after: After) -> Vec<u8> {
        let mut text = format!("HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
        // Writing to a String cannot fail.
        if self.status != 304 {
            let _ = write!(text, "Content-Type: {}\r\n", self.content_type);
            let _ = write!(text, "Content-Length: {}\r\n", self.body.len());
        }
        for (name, value) in &self.headers {
            let _ = write!(text, "{name}: {value}\r\n");
        }
        match after {
            After::Close => text.push_str("Connection: close\r\n"),
            After::SayKeep => text.push_str("Connection: keep-alive\r\n"),
            After::Keep => {}
        }
        text.push_str("\r\n");
        if !head_only {
            text.push_str(&self.body);
        }
        text.into_bytes()
    }

    #[cfg(test)]
    pub(crate) fn body(&self) -> &str {
        &self.body
    }

    #[cfg(test)]
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(other, _)| *other == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// The reason phrase of a status.
fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        202 => "Accepted",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        411 => "Length Required",
        413 => "Content Too Large",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "Unknown",
    }
}
