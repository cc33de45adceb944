//! CLIENT INFO, and what CLIENT LIST shows of one client.

use crate::command::client::{Dialect, Line};
use crate::resp::write;

use super::client::Flag;
use super::handshake::HelloReply;
use super::key::ClientKey;
use super::machine::Machine;
use super::pin::Pin;

impl Machine {
    pub(super) fn client_info(&mut self, key: ClientKey) -> Result<(), String> {
        self.note(key, b"client|info");
        let mut out = Vec::new();
        self.write_info(key, &mut out);
        self.say(key, &out);
        Ok(())
    }

    /// The client's own line, as a reply.
    pub(super) fn write_info(&self, key: ClientKey, out: &mut Vec<u8>) {
        let mut line = Vec::new();
        self.with_line(key, |it| it.write(&mut line));
        if let Some(client) = self.clients.get(key) {
            write::verbatim(out, client.protocol, &line);
        }
    }

    pub(super) fn note(&mut self, key: ClientKey, name: &[u8]) {
        if let Some(client) = self.clients.get_mut(key) {
            client.note_command(name);
        }
    }

    /// How the version of a client's backend shows clients.
    pub(super) fn dialect_of(&self, key: ClientKey) -> Dialect {
        let pool = self.clients.get(key).map(|client| client.pool);
        let pool = pool.and_then(|pool| self.pools.pools.get(pool));
        let hello = pool.and_then(|pool| pool.hello.as_ref());
        hello.map_or_else(Dialect::default, HelloReply::dialect)
    }

    /// What CLIENT LIST says of one client.
    pub(super) fn with_line(&self, key: ClientKey, f: impl FnOnce(&Line<'_>)) {
        let Some(client) = self.clients.get(key) else {
            return;
        };
        let empty: &[u8] = &[];
        let (lib_name, lib_ver) = client.details.as_deref().map_or((empty, empty), |details| {
            (&details.lib_name, &details.lib_ver)
        });
        let (peer, local) = client.ends();
        let letters = client.command.iter().take_while(|&&b| b != 0);
        let end = letters.count();
        let (asker, bytes) = self.asking;
        let asked = if asker == key { bytes } else { 0 };
        let empty_pin = Pin::default();
        let pin = client.pin.as_deref().unwrap_or(&empty_pin);
        f(&Line {
            id: client.id,
            addr: peer.to_string().as_bytes(),
            laddr: local.to_string().as_bytes(),
            name: client.name(),
            age: self.now.since_tenths(client.opened) / 1000,
            idle: self.now.since_tenths(client.active) / 1000,
            db: client.db,
            sub: pin.channels,
            psub: pin.patterns,
            ssub: pin.shard_channels,
            multi: pin.multi.then_some(pin.queued),
            watch: pin.watched,
            blocked: self.is_blocked(key),
            monitor: pin.monitor,
            no_touch: pin.no_touch,
            tracking: pin.tracking.map(|it| it.redirect.unwrap_or_default()),
            closing: client.is(Flag::Closing),
            qbuf: (client.inbound_bytes() + asked) as u64,
            omem: client.outbound.len() as u64,
            cmd: client.command.get(..end).unwrap_or_default(),
            user: self.user_of(key),
            protocol: client.protocol,
            lib_name,
            lib_ver,
            dialect: self.dialect_of(key),
        });
    }
}
