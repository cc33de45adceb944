//! A blocking client of one server, with a deadline for each reply.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::time::{Duration, Instant};

use crate::config::{HostPort, Router, Secret};
use crate::resp::{Printable, ReplyScanner, Scan, read, write};

use super::super::now;
use super::TIMEOUT;

/// Bytes of a reply. Those that are read here have less than a hundred, but for a role with many
/// replicas.
const REPLY_BYTES_MAX: usize = 64 * 1024;

/// A connection, and the bytes that were received and not returned.
pub(super) struct Client {
    stream: TcpStream,
    input: Vec<u8>,
    scanner: ReplyScanner,
    /// Bytes of `input` that were scanned.
    scanned: usize,
}

/// The credential for the sentinels.
#[derive(Debug, Clone, Default)]
pub(super) struct Login {
    user: Option<String>,
    password: Option<Secret>,
}

impl Login {
    /// The credential in the configuration, if it has one.
    pub(super) fn of(router: &Router) -> Self {
        Self {
            user: router.sentinel_user.clone(),
            password: router.sentinel_password.clone(),
        }
    }

    /// The AUTH command. `None`: there is no credential.
    fn auth(&self) -> Option<Vec<u8>> {
        let password = self.password.as_ref()?.reveal().as_bytes();
        let mut auth = Vec::new();
        match &self.user {
            Some(user) => write::command(&mut auth, &[b"AUTH", user.as_bytes(), password]),
            None => write::command(&mut auth, &[b"AUTH", password]),
        }
        Some(auth)
    }
}

impl Client {
    /// Connects to the first address that can be connected to, and logs in.
    pub(super) fn log_in(to: &HostPort, login: &Login) -> Result<Self, String> {
        let mut why = "its name has no address".to_owned();
        for address in addresses(to)? {
            match Self::connect(address) {
                Ok(mut client) => {
                    if let Some(auth) = login.auth() {
                        client.ask(&auth)?;
                    }
                    return Ok(client);
                }
                Err(error) => why = error,
            }
        }
        Err(why)
    }

    /// Connects to an address.
    pub(super) fn connect(address: SocketAddr) -> Result<Self, String> {
        let stream = TcpStream::connect_timeout(&address, TIMEOUT);
        let stream = stream.map_err(|error| describe(&error))?;
        let set = stream.set_nodelay(true);
        let set = set.and_then(|()| stream.set_write_timeout(Some(TIMEOUT)));
        set.map_err(|error| describe(&error))?;
        Ok(Self {
            stream,
            input: Vec::new(),
            scanner: ReplyScanner::default(),
            scanned: 0,
        })
    }

    /// Sends commands.
    pub(super) fn send(&mut self, commands: &[u8]) -> Result<(), String> {
        let sent = self.stream.write_all(commands);
        sent.map_err(|error| describe(&error))
    }

    /// Sends a command, and returns its reply. An error reply is an error.
    pub(super) fn ask(&mut self, command: &[u8]) -> Result<Vec<u8>, String> {
        self.send(command)?;
        self.reply()
    }

    /// The next reply. An error reply is an error.
    pub(super) fn reply(&mut self) -> Result<Vec<u8>, String> {
        let reply = self.try_reply(TIMEOUT)?;
        let reply = reply.ok_or_else(|| "timed out".to_owned())?;
        match read::error(&reply) {
            Some(text) => Err(Printable(text).to_string()),
            None => Ok(reply),
        }
    }

    /// The next reply, whatever it is. `None` when it is not complete in time.
    pub(super) fn try_reply(&mut self, timeout: Duration) -> Result<Option<Vec<u8>>, String> {
        let until = now() + timeout;
        loop {
            let new = self.input.get(self.scanned..).unwrap_or_default();
            match self.scanner.scan(new) {
                Ok(Scan::Complete { len }) => {
                    let rest = self.input.split_off(self.scanned + len);
                    self.scanned = 0;
                    return Ok(Some(std::mem::replace(&mut self.input, rest)));
                }
                Ok(Scan::Partial) => self.scanned = self.input.len(),
                Err(error) => return Err(error.to_string()),
            }
            if self.input.len() > REPLY_BYTES_MAX {
                return Err(format!("sent a reply of more than {REPLY_BYTES_MAX} bytes"));
            }
            if !self.receive(until)? {
                return Ok(None);
            }
        }
    }

    /// Receives bytes; `false`: none came in time.
    fn receive(&mut self, until: Instant) -> Result<bool, String> {
        let left = until.saturating_duration_since(now());
        if left.is_zero() {
            return Ok(false);
        }
        let mut buffer = [0; 4096];
        let set = self.stream.set_read_timeout(Some(left));
        match set.and_then(|()| self.stream.read(&mut buffer)) {
            Ok(0) => Err("connection closed".to_owned()),
            Ok(n) => {
                self.input
                    .extend_from_slice(buffer.get(..n).unwrap_or_default());
                Ok(true)
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => Ok(false),
                ErrorKind::Interrupted => Ok(true),
                _ => Err(describe(&error)),
            },
        }
    }
}

/// All addresses of a host; may block.
pub(super) fn addresses(of: &HostPort) -> Result<Vec<SocketAddr>, String> {
    let found = (of.host.as_str(), of.port).to_socket_addrs();
    let found = found.map_err(|error| describe(&error))?;
    Ok(found.collect())
}

fn describe(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut => "timed out".to_owned(),
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => "connection closed".to_owned(),
        _ => error.to_string(),
    }
}
