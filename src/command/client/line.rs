//! The line of a client in CLIENT LIST and CLIENT INFO.

use super::Dialect;
use super::client_type::ClientType;
use crate::resp::{Printable, Protocol};

/// The data of one line of CLIENT LIST.
///
/// Tools parse these lines, so they have every field of the server's version in its order. Fields
/// that only a server has (file descriptors, its buffers) are constants.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    /// The id that the proxy gave the client.
    pub id: u64,
    /// The address of the client: `ip:port`, or `[ip]:port` for IPv6.
    pub addr: &'a [u8],
    /// The address that the client connected to.
    pub laddr: &'a [u8],
    /// The name from CLIENT SETNAME; empty if there is none.
    pub name: &'a [u8],
    /// Seconds since the client connected.
    pub age: u64,
    /// Seconds since the client sent something.
    pub idle: u64,
    /// The selected database.
    pub db: u32,
    /// Subscribed channels.
    pub sub: u32,
    /// Subscribed patterns.
    pub psub: u32,
    /// Subscribed shard channels.
    pub ssub: u32,
    /// The number of queued commands; `None` outside MULTI.
    pub multi: Option<u32>,
    /// Watched keys.
    pub watch: u32,
    /// The client waits in a blocking command.
    pub blocked: bool,
    /// The client has sent MONITOR.
    pub monitor: bool,
    /// CLIENT NO-TOUCH is on.
    pub no_touch: bool,
    /// The id of the client that gets the invalidation messages, 0 for the client itself; `None`
    /// while tracking is off.
    pub tracking: Option<u64>,
    /// The client has sent READONLY.
    pub read_only: bool,
    /// The client has sent CLIENT CAPA REDIRECT.
    pub takes_redirects: bool,
    /// The client is closed when it has read its replies.
    pub closing: bool,
    /// Bytes of requests that are received and not forwarded.
    pub qbuf: u64,
    /// Bytes of replies that the client has not read.
    pub omem: u64,
    /// Bytes read from the client since it connected.
    pub net_in: u64,
    /// Bytes written to the client since it connected.
    pub net_out: u64,
    /// Executed commands of the client.
    pub commands: u64,
    /// The last command, in lower case (`client|list`); empty if there is none.
    pub cmd: &'a [u8],
    /// The user on the backend.
    pub user: &'a [u8],
    /// The protocol version of the client.
    pub protocol: Protocol,
    /// The library name from CLIENT SETINFO; empty if there is none.
    pub lib_name: &'a [u8],
    /// The library version from CLIENT SETINFO; empty if there is none.
    pub lib_ver: &'a [u8],
    /// The version of the line's format.
    pub dialect: Dialect,
}

impl Line<'_> {
    /// The type of the client, for the `TYPE` option.
    pub(super) fn kind(&self) -> ClientType {
        if self.subscribed() {
            ClientType::PubSub
        } else {
            ClientType::Normal
        }
    }

    fn subscribed(&self) -> bool {
        self.sub > 0 || self.psub > 0 || self.ssub > 0
    }

    /// Appends the line with its newline.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut field = |name: &str, value: &[u8]| {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(value);
        };
        let number = |value: u64| value.to_string();
        // The client may have sent any bytes as a command.
        let cmd = Printable(self.cmd).to_string().replace(' ', "\\x20");
        field("id=", number(self.id).as_bytes());
        field(" addr=", self.addr);
        field(" laddr=", self.laddr);
        field(" fd=0 name=", self.name);
        field(" age=", number(self.age).as_bytes());
        field(" idle=", number(self.idle).as_bytes());
        field(" flags=", self.flags().as_bytes());
        if self.dialect.is_valkey() {
            field(" capa=", self.capa().as_bytes());
        }
        field(" db=", number(self.db.into()).as_bytes());
        field(" sub=", number(self.sub.into()).as_bytes());
        field(" psub=", number(self.psub.into()).as_bytes());
        field(" ssub=", number(self.ssub.into()).as_bytes());
        // Valkey shows `multi=0` for a client that only watches keys.
        let watches = self.dialect.is_valkey() && self.watch > 0;
        let multi = self.multi.or_else(|| watches.then_some(0));
        let multi = multi.map_or(-1, i64::from);
        field(" multi=", multi.to_string().as_bytes());
        // Tools for older servers do not expect the field.
        if self.watch > 0 || self.dialect > Dialect::Redis70 {
            field(" watch=", number(self.watch.into()).as_bytes());
        }
        field(" qbuf=", number(self.qbuf).as_bytes());
        field(
            " qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0",
            b"",
        );
        field(" omem=", number(self.omem).as_bytes());
        field(
            " tot-mem=",
            number(self.qbuf.saturating_add(self.omem)).as_bytes(),
        );
        field(
            " events=r cmd=",
            if self.cmd.is_empty() {
                b"NULL"
            } else {
                cmd.as_bytes()
            },
        );
        field(" user=", self.user);
        let redirect = self.tracking.map_or(-1, u64::cast_signed);
        field(" redir=", redirect.to_string().as_bytes());
        field(" resp=", number(self.protocol.number().into()).as_bytes());
        field(" lib-name=", self.lib_name);
        field(" lib-ver=", self.lib_ver);
        if self.dialect == Dialect::Redis82 {
            field(" io-thread=0", b"");
        }
        if self.dialect >= Dialect::Redis82 {
            field(" tot-net-in=", number(self.net_in).as_bytes());
            field(" tot-net-out=", number(self.net_out).as_bytes());
            field(" tot-cmds=", number(self.commands).as_bytes());
        }
        field("\n", b"");
    }

    /// The letters of CLIENT CAPA.
    pub(super) fn capa(&self) -> &'static str {
        match self.takes_redirects {
            true => "r",
            false => "",
        }
    }

    /// The letters of `flags=` in the order of Redis; `N` when there are none.
    pub(super) fn flags(&self) -> String {
        let letters = [
            ('O', self.monitor),
            ('P', self.subscribed()),
            ('x', self.multi.is_some()),
            ('b', self.blocked),
            ('t', self.tracking.is_some()),
            ('c', self.closing),
            ('r', self.read_only),
            ('T', self.no_touch),
        ];
        let flags: String = letters
            .iter()
            .filter(|(_, set)| *set)
            .map(|(letter, _)| letter)
            .collect();
        if flags.is_empty() {
            "N".to_owned()
        } else {
            flags
        }
    }
}
