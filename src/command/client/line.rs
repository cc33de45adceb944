//! How CLIENT LIST and CLIENT INFO show a client.

use super::Dialect;
use super::kind::Kind;
use crate::resp::{Printable, Protocol};

/// What the proxy knows of a client, for one line of CLIENT LIST.
///
/// Tools read these lines, so they have every field of the server's version in its order; what only
/// a server has (file descriptors, buffers of its own) is a constant.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    /// The number the proxy gave the client.
    pub id: u64,
    /// The client's address as `ip:port`, IPv6 as `[ip]:port`.
    pub addr: &'a [u8],
    /// The address that the client connected to.
    pub laddr: &'a [u8],
    /// From CLIENT SETNAME; empty if none.
    pub name: &'a [u8],
    /// Since it connected, in seconds.
    pub age: u64,
    /// Since it last sent something, in seconds.
    pub idle: u64,
    /// The database it selected.
    pub db: u32,
    /// Channels, patterns and shard channels it subscribed to.
    pub sub: u32,
    /// See `sub`.
    pub psub: u32,
    /// See `sub`.
    pub ssub: u32,
    /// Inside MULTI: how many commands are queued.
    pub multi: Option<u32>,
    /// How many keys it watches.
    pub watch: u32,
    /// A command of its blocks.
    pub blocked: bool,
    /// It sees all commands of the backend.
    pub monitor: bool,
    /// It leaves the keys' last access as it is.
    pub no_touch: bool,
    /// Client-side caching is on: the client that gets the invalidations, 0 for itself.
    pub tracking: Option<u64>,
    /// READONLY.
    pub read_only: bool,
    /// CLIENT CAPA REDIRECT.
    pub takes_redirects: bool,
    /// Will be closed once its replies are out.
    pub closing: bool,
    /// Bytes of requests received and not yet passed on.
    pub qbuf: u64,
    /// Bytes of replies that wait for the client to read.
    pub omem: u64,
    /// Bytes read from it since it connected.
    pub net_in: u64,
    /// Bytes written to it since then.
    pub net_out: u64,
    /// Its commands that have been carried out.
    pub commands: u64,
    /// The last command, in lower case (`client|list`); empty if none.
    pub cmd: &'a [u8],
    /// The backend's user as which it acts.
    pub user: &'a [u8],
    /// The protocol it speaks.
    pub protocol: Protocol,
    /// From CLIENT SETINFO; empty if none.
    pub lib_name: &'a [u8],
    /// From CLIENT SETINFO; empty if none.
    pub lib_ver: &'a [u8],
    /// How the backend's version shows it.
    pub dialect: Dialect,
}

impl Line<'_> {
    /// What it is to the `TYPE` option of CLIENT LIST.
    pub(super) fn kind(&self) -> Kind {
        if self.subscribed() {
            Kind::PubSub
        } else {
            Kind::Normal
        }
    }

    fn subscribed(&self) -> bool {
        self.sub > 0 || self.psub > 0 || self.ssub > 0
    }

    /// Appends the line, newline included.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut field = |name: &str, value: &[u8]| {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(value);
        };
        let number = |value: u64| value.to_string();
        // The word may be no command at all.
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
        // A Valkey keeps what is watched with what is queued.
        let watches = self.dialect.is_valkey() && self.watch > 0;
        let multi = self.multi.or_else(|| watches.then_some(0));
        let multi = multi.map_or(-1, i64::from);
        field(" multi=", multi.to_string().as_bytes());
        // Tools for older servers know nothing of it.
        if self.watch > 0 || self.dialect > Dialect::Old {
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
        if self.dialect == Dialect::Redis8 {
            field(" io-thread=0", b"");
        }
        if self.dialect >= Dialect::Redis8 {
            field(" tot-net-in=", number(self.net_in).as_bytes());
            field(" tot-net-out=", number(self.net_out).as_bytes());
            field(" tot-cmds=", number(self.commands).as_bytes());
        }
        field("\n", b"");
    }

    /// Letters of what the client said in CLIENT CAPA.
    pub(super) fn capa(&self) -> &'static str {
        match self.takes_redirects {
            true => "r",
            false => "",
        }
    }

    /// Redis's letters, in its order: `N` for a client of which there is nothing to say.
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
