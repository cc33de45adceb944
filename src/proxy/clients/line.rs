//! CLIENT INFO, and the line of a client in CLIENT LIST.

use crate::command::ErrorReply;
use crate::command::client::{Dialect, Line};
use crate::resp::write;

use crate::dedicated::pin::Pin;
use crate::proxy::machine::Machine;
use crate::store::key::ClientKey;

impl Machine {
    pub(in crate::proxy) fn client_info(&mut self, key: ClientKey) -> Result<(), ErrorReply> {
        self.clients.note(key, b"client|info");
        let mut out = Vec::new();
        self.write_info(key, &mut out);
        self.reply(key, &out);
        Ok(())
    }

    /// Writes the client's own line, as a reply.
    pub(in crate::proxy) fn write_info(&self, key: ClientKey, out: &mut Vec<u8>) {
        let mut line = Vec::new();
        self.with_line(key, |it| it.write(&mut line));
        if let Some(client) = self.clients.get(key) {
            write::verbatim(out, client.protocol, &line);
        }
    }

    /// How the version of a client's server shows clients.
    pub(in crate::proxy) fn dialect_of(&self, key: ClientKey) -> Dialect {
        let client = self.clients.get(key);
        client.map_or_else(Dialect::default, |it| self.upstreams.dialect_of(it.pool))
    }

    /// Builds the line of a client in CLIENT LIST.
    pub(in crate::proxy) fn with_line(&self, key: ClientKey, f: impl FnOnce(&Line<'_>)) {
        let Some(client) = self.clients.get(key) else {
            return;
        };
        let empty: &[u8] = &[];
        let details = client.details.as_deref();
        let (lib_name, lib_ver) = details.map_or((empty, empty), |details| {
            (&details.lib_name, &details.lib_ver)
        });
        let (peer, local) = client.addresses();
        let cmd = client.command.shown();
        let (asking, bytes) = self.asking;
        let dialect = self.dialect_of(key);
        // Valkey has already taken the request's bytes from the buffer.
        let asks = asking == key && !dialect.is_valkey();
        let asked = if asks { bytes } else { 0 };
        let empty_pin = Pin::default();
        let pin = client.pin().unwrap_or(&empty_pin);
        let totals = client.totals();
        let blocked = self.is_blocked(key);
        // Not executed yet: the asking command; of a blocked client, the blocking command and all
        // behind it; inside EXEC, the asking command and EXEC.
        let in_flight = match blocked {
            true => client.in_flight.max(1),
            false => u32::from(asking == key),
        };
        let carried_out = match pin.carried_out() {
            0 => totals.commands.saturating_sub(in_flight.into()),
            elements => (totals.commands + u64::from(elements)).saturating_sub(2),
        };
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
            watch: pin.watched.count(),
            blocked,
            monitor: pin.monitor,
            no_touch: pin.no_touch,
            tracking: pin.tracking.map(|it| it.redirect.unwrap_or_default()),
            read_only: details.is_some_and(|it| it.read_only),
            takes_redirects: details.is_some_and(|it| it.takes_redirects),
            closing: client.is_closing(),
            qbuf: (client.inbound_bytes() + asked) as u64 + self.bytes_behind_blocked(key),
            omem: client.outbound.len() as u64,
            net_in: totals.bytes_in,
            net_out: totals.bytes_out,
            commands: carried_out,
            cmd: &cmd,
            user: self.user_of(key),
            protocol: client.protocol,
            lib_name,
            lib_ver,
            dialect,
        });
    }

    /// Bytes that a client has sent behind a blocking command. The proxy has sent them to the link;
    /// a server keeps them in the client's buffer.
    fn bytes_behind_blocked(&self, key: ClientKey) -> u64 {
        let client = self.clients.get(key).filter(|_| self.is_blocked(key));
        let Some((client, link)) =
            client.and_then(|client| Some((client, self.links.get(client.link)?)))
        else {
            return 0;
        };
        let blocking = self.requests.get(client.fifo.head);
        let behind = blocking.and_then(|head| self.requests.get(head.next_of_client));
        behind.map_or(0, |behind| link.bytes_from(behind))
    }
}
