//! A small HTTP/1.1 client: one GET request per connection, with timeouts and size limits.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::time::{Duration, Instant};

use crate::config::HostPort;

use super::now;

/// Most bytes of a response's head.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Bytes of a response's body at most.
const BODY_BYTES_MAX: usize = 64 << 20;

/// Bytes of the line before a chunk, or of the trailer, at most.
const CHUNK_LINE_BYTES_MAX: usize = 4 * 1024;

/// Headers of a response at most.
const HEADERS_MAX: usize = 64;

/// Time to connect to one address.
const CONNECT: Duration = Duration::from_secs(2);

/// Time for the body, after the head has arrived.
const BODY: Duration = Duration::from_secs(30);

/// A GET request.
#[derive(Debug)]
pub(super) struct Request<'a> {
    /// The server; its name is looked up for each request.
    pub to: &'a HostPort,
    /// The path with its query.
    pub target: &'a str,
    /// Headers besides those of every request.
    pub headers: &'a [(&'a str, &'a str)],
    /// Time for the response to begin.
    pub timeout: Duration,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Response {
    pub status: u16,
    pub etag: Option<String>,
    /// The header `Elika-Process`, by which a restart of the server shows.
    pub process: Option<String>,
    pub body: Vec<u8>,
}

/// Sends a request and waits for the response.
///
/// # Errors
///
/// A description of what failed: connecting, the timeout, a response that is cut off, too large or
/// not HTTP.
pub(super) fn get(request: &Request<'_>) -> Result<Response, String> {
    let mut stream = connect(request.to)?;
    let text = encode(request)?;
    let timeout = stream.set_write_timeout(Some(CONNECT));
    let sent = timeout.and_then(|()| stream.write_all(text.as_bytes()));
    sent.map_err(|error| describe(&error))?;
    let mut reader = Reader {
        stream,
        bytes: Vec::new(),
        until: now() + request.timeout,
    };
    let head = reader.head()?;
    reader.until = now() + BODY;
    let body = match head.length {
        Length::Nothing => Vec::new(),
        Length::Bytes(n) => reader.exactly(n)?,
        Length::Chunks => reader.chunks()?,
        Length::UntilEnd => reader.rest()?,
    };
    Ok(Response {
        status: head.status,
        etag: head.etag,
        process: head.process,
        body,
    })
}

fn connect(to: &HostPort) -> Result<TcpStream, String> {
    let found = (to.host.as_str(), to.port).to_socket_addrs();
    let addresses: Vec<SocketAddr> = found.map_err(|error| error.to_string())?.collect();
    let mut why = "its name has no address".to_owned();
    for address in addresses {
        match TcpStream::connect_timeout(&address, CONNECT) {
            Ok(stream) => return Ok(stream),
            Err(error) => why = describe(&error),
        }
    }
    Err(why)
}

fn encode(request: &Request<'_>) -> Result<String, String> {
    let Request { to, target, .. } = request;
    let mut text = format!(
        "GET {target} HTTP/1.1\r\nHost: {to}\r\nUser-Agent: elika/{}\r\n\
         Accept: application/json\r\nConnection: close\r\n",
        env!("CARGO_PKG_VERSION")
    );
    for (name, value) in request.headers {
        // A line break would start another header or request.
        if value.contains(['\r', '\n']) {
            return Err(format!("{name} has a line break"));
        }
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    Ok(text)
}

/// The head of a response.
struct Head {
    status: u16,
    etag: Option<String>,
    process: Option<String>,
    length: Length,
}

/// Where the body ends.
enum Length {
    Nothing,
    Bytes(usize),
    Chunks,
    UntilEnd,
}

/// Reads a response.
struct Reader {
    stream: TcpStream,
    /// Received and not parsed yet.
    bytes: Vec<u8>,
    until: Instant,
}

impl Reader {
    /// Reads the head; interim responses (1xx) are skipped.
    fn head(&mut self) -> Result<Head, String> {
        loop {
            let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
            let mut response = httparse::Response::new(&mut headers);
            let parsed = response.parse(&self.bytes);
            match parsed.map_err(|error| format!("no HTTP response: {error}"))? {
                httparse::Status::Complete(used) => {
                    let head = head(&response)?;
                    self.bytes.drain(..used);
                    if head.status >= 200 {
                        return Ok(head);
                    }
                }
                httparse::Status::Partial if self.bytes.len() >= HEAD_BYTES_MAX => {
                    return Err(format!("the head is larger than {HEAD_BYTES_MAX} bytes"));
                }
                httparse::Status::Partial => self.need_more()?,
            }
        }
    }

    fn exactly(&mut self, n: usize) -> Result<Vec<u8>, String> {
        fits(n)?;
        while self.bytes.len() < n {
            self.need_more()?;
        }
        self.bytes.truncate(n);
        Ok(std::mem::take(&mut self.bytes))
    }

    fn rest(&mut self) -> Result<Vec<u8>, String> {
        while self.more()? {
            fits(self.bytes.len())?;
        }
        Ok(std::mem::take(&mut self.bytes))
    }

    fn chunks(&mut self) -> Result<Vec<u8>, String> {
        let mut body = Vec::new();
        loop {
            let size = self.chunk_size()?;
            if size == 0 {
                // A trailer may follow; it is ignored.
                return Ok(body);
            }
            fits(body.len().saturating_add(size))?;
            while self.bytes.len() < size + 2 {
                self.need_more()?;
            }
            let (chunk, after) = self.bytes.split_at(size);
            if !after.starts_with(b"\r\n") {
                return Err("a chunk does not end where it should".to_owned());
            }
            body.extend_from_slice(chunk);
            self.bytes.drain(..size + 2);
        }
    }

    fn chunk_size(&mut self) -> Result<usize, String> {
        loop {
            let parsed = httparse::parse_chunk_size(&self.bytes);
            match parsed.map_err(|_| "a chunk has no size".to_owned())? {
                httparse::Status::Complete((used, size)) => {
                    self.bytes.drain(..used);
                    return usize::try_from(size).map_err(|_| too_large());
                }
                httparse::Status::Partial if self.bytes.len() >= CHUNK_LINE_BYTES_MAX => {
                    return Err("a chunk has no size".to_owned());
                }
                httparse::Status::Partial => self.need_more()?,
            }
        }
    }

    fn need_more(&mut self) -> Result<(), String> {
        match self.more()? {
            true => Ok(()),
            false => Err("the connection was closed before the response was complete".to_owned()),
        }
    }

    /// Reads once; `false` at the end of the stream.
    fn more(&mut self) -> Result<bool, String> {
        let mut buffer = [0; 16 * 1024];
        loop {
            let left = self.until.saturating_duration_since(now());
            if left.is_zero() {
                return Err("no response in time".to_owned());
            }
            let timeout = self.stream.set_read_timeout(Some(left));
            match timeout.and_then(|()| self.stream.read(&mut buffer)) {
                Ok(n) => {
                    self.bytes
                        .extend_from_slice(buffer.get(..n).unwrap_or_default());
                    return Ok(n > 0);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(describe(&error)),
            }
        }
    }
}

fn head(response: &httparse::Response<'_, '_>) -> Result<Head, String> {
    let status = response.code.unwrap_or_default();
    let named = |name: &str| {
        let headers = response.headers.iter();
        let named = headers.filter(move |header| header.name.eq_ignore_ascii_case(name));
        let values = named.map(|header| str::from_utf8(header.value).map(str::trim));
        values
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| format!("{name} is no text"))
    };
    let (encodings, lengths) = (named("transfer-encoding")?, named("content-length")?);
    let length = if status < 200 || matches!(status, 204 | 304) {
        Length::Nothing
    } else if let [coding, rest @ ..] = encodings.as_slice() {
        if !rest.is_empty() || !coding.eq_ignore_ascii_case("chunked") {
            return Err(format!("transfer coding {coding} is not understood"));
        }
        Length::Chunks
    } else if let [length, rest @ ..] = lengths.as_slice() {
        let plain = length.bytes().all(|byte| byte.is_ascii_digit());
        if !plain || rest.iter().any(|other| other != length) {
            return Err("the length of the body is not clear".to_owned());
        }
        Length::Bytes(length.parse().map_err(|_| too_large())?)
    } else {
        Length::UntilEnd
    };
    let first = |name: &str| -> Result<Option<String>, String> {
        Ok(named(name)?.first().map(|&value| value.to_owned()))
    };
    Ok(Head {
        status,
        etag: first("etag")?,
        process: first("elika-process")?,
        length,
    })
}

fn fits(len: usize) -> Result<(), String> {
    match len <= BODY_BYTES_MAX {
        true => Ok(()),
        false => Err(too_large()),
    }
}

fn too_large() -> String {
    format!("the response is larger than {BODY_BYTES_MAX} bytes")
}

/// The error without numbers of the system.
fn describe(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => "no response in time".to_owned(),
        ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => "the connection was lost".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
#[path = "http_client_tests.rs"]
mod tests;
