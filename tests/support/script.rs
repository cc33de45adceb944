//! A backend that follows a script: it expects exact bytes and sends exact bytes.

use std::cell::Cell;
use std::net::{SocketAddr, TcpListener};

use super::{PATIENCE, Proxy, Wire, array, now, pause};

/// The listener of a backend; every connection is accepted by the script.
pub(crate) struct Backend {
    listener: TcpListener,
    /// The backend was asked for its blocking commands, and has replied that it has none.
    has_told: Cell<bool>,
}

impl Backend {
    pub(crate) fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self {
            listener,
            has_told: Cell::new(false),
        }
    }

    /// A backend and a proxy with one worker, so that the connection that is opened at the start is
    /// the shared one, and without health checks, which a slow test would meet.
    pub(crate) fn proxied() -> (Self, Proxy) {
        let backend = Self::listen();
        let options = ["--core-num=1", "--health.check-ms=0"];
        let proxy = Proxy::at(&backend.address(), &options);
        (backend, proxy)
    }

    /// The same with the first connection to the backend and a client.
    pub(crate) fn greeted() -> (Self, Proxy, Wire, Wire) {
        let (backend, proxy) = Self::proxied();
        let server = backend.accept_greeted();
        let client = proxy.client();
        (backend, proxy, server, client)
    }

    pub(crate) fn address(&self) -> String {
        self.listener.local_addr().unwrap().to_string()
    }

    /// Accepts the next connection.
    pub(crate) fn accept(&self) -> Wire {
        let until = now() + PATIENCE;
        loop {
            if let Some(wire) = self.try_accept() {
                return wire;
            }
            assert!(now() < until, "no connection came");
            pause();
        }
    }

    /// The next connection, if it has arrived already.
    pub(crate) fn try_accept(&self) -> Option<Wire> {
        let (stream, _): (_, SocketAddr) = self.listener.accept().ok()?;
        stream.set_nonblocking(false).unwrap();
        Some(Wire::of_proxy(stream))
    }

    /// Accepts the next connection with the handshake of the default user: database 0, RESP2.
    pub(crate) fn accept_greeted(&self) -> Wire {
        let mut wire = self.accept();
        wire.expect(HELLO);
        if self.has_told.replace(true) {
            wire.send(hello_reply(2, 1));
        } else {
            wire.expect(array(WHICH_BLOCK));
            wire.send([&hello_reply(2, 1)[..], b"*0\r\n"].concat());
        }
        wire
    }
}

/// The handshake of the proxy as the default user in RESP2.
pub(crate) const HELLO: &[u8] = b"*4\r\n$5\r\nHELLO\r\n$1\r\n2\r\n$7\r\nSETNAME\r\n$5\r\nelika\r\n";

/// The further request of the first connection: which commands may block.
pub(crate) const WHICH_BLOCK: &str = "COMMAND LIST FILTERBY ACLCAT blocking";

/// A command.
pub(crate) fn request(words: &[&[u8]]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// The reply of a server of version 7.0.15 to HELLO.
pub(crate) fn hello_reply(protocol: u8, id: u64) -> Vec<u8> {
    let head = if protocol == 3 { "%7" } else { "*14" };
    format!(
        "{head}\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n\
         $5\r\nproto\r\n:{protocol}\r\n$2\r\nid\r\n:{id}\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n\
         $4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n"
    )
    .into_bytes()
}
