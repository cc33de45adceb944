//! Parses the request line and those headers that the service port uses.
//!
//! The parser rejects what another parser could read as a different request (request smuggling):
//! two lengths, two hosts, folded lines.

use std::str::FromStr;

use super::Refusal;
use crate::service::limits::{HEAD_BYTES_MAX, HEADERS_MAX};

/// The method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Head,
    Post,
    Delete,
    /// A method that no call has.
    Other,
}

impl Method {
    /// The name in a request.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Delete => "DELETE",
            Self::Other => "this method",
        }
    }

    fn of(name: &str) -> Self {
        let all = [Self::Get, Self::Head, Self::Post, Self::Delete];
        let found = all.into_iter().find(|method| method.name() == name);
        found.unwrap_or(Self::Other)
    }
}

/// How a request's body is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Length {
    /// No body.
    None,
    /// A body of this length.
    Bytes(u64),
    /// A body in chunks.
    Chunked,
}

/// The head of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) method: Method,
    /// As sent, from its first slash on.
    pub(crate) path: String,
    /// The part behind the `?`, as sent.
    pub(crate) query: String,
    /// HTTP/1.0, where a connection is closed after a response unless both sides ask to keep it.
    pub(crate) is_old: bool,
    /// The client asks to keep the connection.
    pub(crate) keep_alive: bool,
    /// The client waits for `100 Continue` before it sends the body.
    pub(crate) expects_continue: bool,
    pub(crate) length: Length,
    pub(crate) host: Option<String>,
    pub(crate) authorization: Option<String>,
    pub(crate) if_none_match: Option<String>,
    /// A script of a web page made this request.
    pub(crate) has_origin: bool,
    /// A proxy forwarded this request.
    pub(crate) is_forwarded: bool,
}

/// Parses a head. Returns its length, too; `None`: it is incomplete.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<(usize, Head)>, Refusal> {
    let bytes = bytes.get(..HEAD_BYTES_MAX).unwrap_or(bytes);
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(bytes) {
        Ok(httparse::Status::Complete(len)) => Ok(Some((len, Head::new(&request)?))),
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_BYTES_MAX => Ok(None),
        Ok(httparse::Status::Partial) if bytes.contains(&b'\n') => {
            Err(Refusal::new(431, "the headers are too large"))
        }
        Ok(httparse::Status::Partial) => Err(Refusal::new(414, "the request line is too long")),
        Err(error) => Err(refusal(error, bytes)),
    }
}

fn refusal(error: httparse::Error, bytes: &[u8]) -> Refusal {
    use httparse::Error::{
        HeaderName, HeaderValue, NewLine, Status, Token, TooManyHeaders, Version,
    };
    match error {
        TooManyHeaders => Refusal::new(431, "too many headers"),
        Version if version(bytes).starts_with(b"HTTP/") => {
            Refusal::new(505, "only HTTP/1.0 and HTTP/1.1 are supported")
        }
        HeaderName | HeaderValue => Refusal::new(400, "invalid HTTP header"),
        NewLine | Status | Token | Version => Refusal::new(400, "invalid HTTP request"),
    }
}

/// The third word of the first line; it may be incomplete.
fn version(bytes: &[u8]) -> &[u8] {
    bytes.splitn(3, |&byte| byte == b' ').nth(2).unwrap_or(&[])
}

impl Head {
    fn new(request: &httparse::Request<'_, '_>) -> Result<Self, Refusal> {
        let headers = Headers(request.headers);
        let (path, query) = target(request.path.unwrap_or_default())?;
        let is_old = request.version == Some(0);
        let host = headers.one("host")?;
        if host.is_none() && !is_old {
            return Err(Refusal::new(400, "the Host header is missing"));
        }
        Ok(Self {
            method: Method::of(request.method.unwrap_or_default()),
            path,
            query,
            is_old,
            keep_alive: if is_old {
                headers.lists("connection", "keep-alive") && !headers.lists("connection", "close")
            } else {
                !headers.lists("connection", "close")
            },
            expects_continue: headers.expects_continue()? && !is_old,
            length: headers.length(is_old)?,
            host: host.map(str::to_owned),
            authorization: headers.one("authorization")?.map(str::to_owned),
            if_none_match: headers.joined("if-none-match"),
            has_origin: headers.all("origin").next().is_some(),
            is_forwarded: ["forwarded", "x-forwarded-for", "x-real-ip", "via"]
                .into_iter()
                .any(|name| headers.all(name).next().is_some()),
        })
    }
}

/// Path and query of a target: `/path?query`, which proxies send with `http://host` before it.
fn target(target: &str) -> Result<(String, String), Refusal> {
    let target = match target.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => {
            let at = rest.find(['/', '?']);
            at.and_then(|at| rest.get(at..)).unwrap_or("/")
        }
        _ => target,
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    match path {
        "" => Ok(("/".to_owned(), query.to_owned())),
        _ if path.starts_with('/') => Ok((path.to_owned(), query.to_owned())),
        _ => Err(Refusal::new(400, "the target is not a path")),
    }
}

/// The headers of one request, by lower-case names.
struct Headers<'a>(&'a [httparse::Header<'a>]);

impl<'a> Headers<'a> {
    fn all(&self, name: &'static str) -> impl Iterator<Item = &'a [u8]> {
        let found = self.0.iter();
        let found = found.filter(move |header| header.name.eq_ignore_ascii_case(name));
        found.map(|header| header.value)
    }

    /// The value of a header that may occur only once.
    fn one(&self, name: &'static str) -> Result<Option<&'a str>, Refusal> {
        let mut values = self.all(name);
        let Some(value) = values.next() else {
            return Ok(None);
        };
        if values.next().is_some() {
            return Err(Refusal::new(400, "a header occurs twice"));
        }
        match str::from_utf8(value) {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(Refusal::new(400, "a header is not UTF-8")),
        }
    }

    /// The elements of a header with a list, without those that are not text.
    fn elements(&self, name: &'static str) -> impl Iterator<Item = &'a str> {
        let values = self
            .all(name)
            .filter_map(|value| str::from_utf8(value).ok());
        values.flat_map(|value| value.split(',').map(str::trim))
    }

    fn lists(&self, name: &'static str, element: &str) -> bool {
        self.elements(name)
            .any(|it| it.eq_ignore_ascii_case(element))
    }

    fn joined(&self, name: &'static str) -> Option<String> {
        let elements: Vec<&str> = self.elements(name).collect();
        (!elements.is_empty()).then(|| elements.join(","))
    }

    fn length(&self, is_old: bool) -> Result<Length, Refusal> {
        let length = self.one("content-length")?;
        let Some(coding) = self.one("transfer-encoding")? else {
            return length.map_or(Ok(Length::None), content_length);
        };
        if length.is_some() {
            return Err(Refusal::new(
                400,
                "both Content-Length and Transfer-Encoding",
            ));
        }
        if is_old {
            return Err(Refusal::new(400, "Transfer-Encoding in HTTP/1.0"));
        }
        if !coding.eq_ignore_ascii_case("chunked") {
            return Err(Refusal::new(
                501,
                "only chunked Transfer-Encoding is supported",
            ));
        }
        Ok(Length::Chunked)
    }

    fn expects_continue(&self) -> Result<bool, Refusal> {
        match self.one("expect")? {
            None => Ok(false),
            Some(value) if value.eq_ignore_ascii_case("100-continue") => Ok(true),
            Some(_) => Err(Refusal::new(417, "only Expect: 100-continue is supported")),
        }
    }
}

fn content_length(text: &str) -> Result<Length, Refusal> {
    // `parse` accepts a plus sign, which HTTP does not.
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match plain.then(|| u64::from_str(text)) {
        Some(Ok(bytes)) => Ok(Length::Bytes(bytes)),
        // Digits that do not fit are a valid length that is too large.
        Some(Err(_)) => Ok(Length::Bytes(u64::MAX)),
        None => Err(Refusal::new(400, "Content-Length is not a number")),
    }
}
