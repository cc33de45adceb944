//! A client that sends and reads bytes.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::PATIENCE;

/// A connection, and the bytes that were received and not yet read by the test.
pub(crate) struct Wire<S = TcpStream> {
    stream: S,
    input: Vec<u8>,
    from: usize,
    /// The peer is the proxy; the names of its own commands are read like those of clients.
    of_proxy: bool,
}

impl Wire<TcpStream> {
    pub(crate) fn connect(address: impl std::net::ToSocketAddrs) -> Self {
        Self::over(TcpStream::connect(address).unwrap())
    }

    pub(crate) fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self::new(stream)
    }

    /// A connection of the proxy to a server.
    pub(crate) fn of_proxy(stream: TcpStream) -> Self {
        Self {
            of_proxy: true,
            ..Self::over(stream)
        }
    }

    /// Expects these bytes in one piece, and no others.
    pub(crate) fn expect_in_one_piece(&mut self, bytes: impl AsRef<[u8]>) {
        assert_eq!(self.input.len(), self.from, "something else came before");
        assert!(self.receive().unwrap(), "the end came");
        self.expect(bytes);
        assert_eq!(self.input.len(), self.from, "{} came as well", self.seen());
    }

    /// Expects that nothing arrives for a while. A test cannot prove that nothing arrives later.
    pub(crate) fn expect_silence(&mut self) {
        assert_eq!(self.input.len(), self.from, "{} is here", self.seen());
        let a_while = std::time::Duration::from_millis(60);
        self.stream.set_read_timeout(Some(a_while)).unwrap();
        let came = self.receive();
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        assert!(came.is_err(), "{} came", self.seen());
    }

    /// Sends bytes, which `server` must receive from the proxy.
    #[track_caller]
    pub(crate) fn send_through(&mut self, server: &mut Self, bytes: impl AsRef<[u8]>) {
        self.send(&bytes);
        server.expect(bytes);
    }

    /// Sends the commands of a line, see [`packet`], to which `server` replies through the proxy.
    #[track_caller]
    pub(crate) fn exchange(&mut self, server: &mut Self, line: &str, reply: impl AsRef<[u8]>) {
        self.send_through(server, packet(line));
        server.send(&reply);
        self.expect(reply);
    }

    /// Sends a FIN; replies can still be read.
    pub(crate) fn finish_sending(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    pub(crate) fn tcp(&self) -> &TcpStream {
        &self.stream
    }
}

impl Wire<UnixStream> {
    /// Returns `None` while nothing listens there.
    pub(crate) fn connect_unix(path: &Path) -> Option<Self> {
        let stream = UnixStream::connect(path).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Some(Self::new(stream))
    }
}

impl<S: Read + Write> Wire<S> {
    fn new(stream: S) -> Self {
        Self {
            stream,
            input: Vec::new(),
            from: 0,
            of_proxy: false,
        }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// Sends bytes that the peer may no longer read.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// Sends the words of a line as a command, and returns the reply as [`text`].
    pub(crate) fn ask(&mut self, line: &str) -> String {
        self.send(array(line));
        self.reply()
    }

    /// Sends the commands of a line in one packet, see [`packet`], and returns a reply for each.
    pub(crate) fn ask_all(&mut self, line: &str) -> Vec<String> {
        self.send(packet(line));
        self.replies(commands(line).count())
    }

    /// The reply to a command that returns a number.
    pub(crate) fn number(&mut self, line: &str) -> u64 {
        let reply = self.ask(line);
        let digits = reply.strip_prefix(':').unwrap_or_default();
        digits.parse().unwrap_or_else(|_| panic!("{line}: {reply}"))
    }

    /// The next reply as [`text`].
    pub(crate) fn reply(&mut self) -> String {
        text(&self.frame())
    }

    /// The next `n` replies as [`text`].
    pub(crate) fn replies(&mut self, n: usize) -> Vec<String> {
        (0..n).map(|_| self.reply()).collect()
    }

    /// The bytes of the next reply.
    pub(crate) fn frame(&mut self) -> Vec<u8> {
        self.try_frame()
            .unwrap_or_else(|end| panic!("{end} instead of a reply, after {}", self.seen()))
    }

    /// The bytes of the next reply, or the reason why there is none.
    pub(crate) fn try_frame(&mut self) -> Result<Vec<u8>, String> {
        loop {
            let bytes = &self.input[self.from..];
            if let Some(len) = frame_len(bytes) {
                let frame = bytes[..len].to_vec();
                self.from += len;
                return Ok(frame);
            }
            if !self.receive()? {
                return Err("the end".into());
            }
        }
    }

    /// Reads exactly these bytes.
    pub(crate) fn expect(&mut self, bytes: impl AsRef<[u8]>) {
        let wanted = bytes.as_ref();
        while self.input.len() - self.from < wanted.len() {
            let more = self.receive().unwrap_or_else(|error| panic!("{error}"));
            assert!(more, "the end came after {}", self.seen());
        }
        let end = self.from + wanted.len();
        let came = &self.input[self.from..end];
        // Large replies are not printed.
        if came != wanted {
            assert_eq!(
                came.escape_ascii().to_string(),
                wanted.escape_ascii().to_string()
            );
        }
        self.from = end;
    }

    /// Expects that the peer closes without another byte. A reset counts as well: the kernel sends
    /// one if the peer had not read everything.
    pub(crate) fn expect_end(&mut self) {
        assert_eq!(self.rest(), "");
    }

    /// Everything that arrives until the peer closes.
    pub(crate) fn rest(&mut self) -> String {
        while self.receive().unwrap_or_else(|error| panic!("{error}")) {}
        let rest = self.input[self.from..].escape_ascii().to_string();
        self.from = self.input.len();
        rest
    }

    /// The number of bytes that arrive until the peer closes.
    pub(crate) fn rest_len(&mut self) -> usize {
        while self.receive().unwrap_or_else(|error| panic!("{error}")) {}
        let len = self.input.len() - self.from;
        self.from = self.input.len();
        len
    }

    /// Receives bytes; `false` at the end.
    fn receive(&mut self) -> Result<bool, String> {
        if self.from == self.input.len() {
            self.input.clear();
            self.from = 0;
        }
        let mut buffer = [0; 64 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(n) => {
                self.input.extend_from_slice(&buffer[..n]);
                if self.of_proxy {
                    unmark(&mut self.input[self.from..]);
                }
                Ok(n > 0)
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(false),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(true),
            Err(error) => Err(format!("no answer: {error}; so far {}", self.seen())),
        }
    }

    fn seen(&self) -> String {
        let bytes = &self.input[self.from..];
        bytes[..bytes.len().min(2000)].escape_ascii().to_string()
    }
}

/// Replaces the names of the proxy's own commands by those that clients write.
fn unmark(bytes: &mut [u8]) {
    for name in ["AUTH", "COMMAND", "HELLO", "PING", "SELECT"] {
        let (most, last) = name.split_at(name.len() - 1);
        let marked = format!("\r\n{}{last}\r\n", most.to_lowercase());
        let places = bytes.windows(marked.len());
        let places = places
            .enumerate()
            .filter(|(_, it)| *it == marked.as_bytes());
        let places: Vec<usize> = places.map(|(at, _)| at + 2).collect();
        for at in places {
            bytes[at..at + name.len()].copy_from_slice(name.as_bytes());
        }
    }
}

/// The words of a line as a RESP array.
pub(crate) fn array(line: &str) -> Vec<u8> {
    let words: Vec<&[u8]> = line.split_whitespace().map(str::as_bytes).collect();
    super::request(&words)
}

/// The commands of a line like `MULTI | GET k | EXEC`.
pub(crate) fn commands(line: &str) -> impl Iterator<Item = &str> {
    line.split('|').map(str::trim)
}

/// The commands of such a line, one after the other.
pub(crate) fn packet(line: &str) -> Vec<u8> {
    commands(line).flat_map(array).collect()
}

/// A reply on one line: every CRLF is a space. `$5\r\nhello\r\n` is `$5 hello`.
pub(crate) fn text(frame: &[u8]) -> String {
    let text = String::from_utf8_lossy(frame).replace("\r\n", " ");
    text.strip_suffix(' ').unwrap_or(&text).to_owned()
}

/// The end of the first reply; simple on purpose, so that it can check the proxy's scanner.
fn frame_len(bytes: &[u8]) -> Option<usize> {
    let line = 2 + bytes.windows(2).position(|pair| pair == b"\r\n")?;
    let number = || -> i64 {
        let digits = std::str::from_utf8(&bytes[1..line - 2]).unwrap();
        digits
            .parse()
            .unwrap_or_else(|_| panic!("a length: {digits}"))
    };
    let items = match bytes[0] {
        b'+' | b'-' | b':' | b'_' | b'#' | b',' | b'(' => 0,
        b'$' | b'=' | b'!' if number() < 0 => 0,
        b'$' | b'=' | b'!' => {
            let len = line + number() as usize + 2;
            return (bytes.len() >= len).then_some(len);
        }
        b'*' | b'~' | b'>' => number().max(0),
        b'%' => 2 * number(),
        b'|' => 2 * number() + 1,
        other => panic!("a reply begins with {}", other.escape_ascii()),
    };
    (0..items).try_fold(line, |end, _| Some(end + frame_len(&bytes[end..])?))
}
