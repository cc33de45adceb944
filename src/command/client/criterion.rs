//! The filters of CLIENT LIST and CLIENT KILL that only Valkey has.

use super::client_type::{ClientType, parse_type};
use super::{Dialect, Line};
use crate::command::ErrorReply;
use crate::command::error_reply::shown;
use crate::resp::number::parse_i64;

/// The letters of `flags=`.
const FLAGS: &[u8] = b"AbcBdeEGiIjkKlLMNOPrRStTuUxX";

/// The property of a client that a filter compares.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Property {
    Numbers(Vec<i64>),
    ClientType(ClientType),
    Addr(Box<[u8]>),
    LAddr(Box<[u8]>),
    User(Box<[u8]>),
    Ip(Box<[u8]>),
    Name(Box<[u8]>),
    LibName(Box<[u8]>),
    LibVer(Box<[u8]>),
    /// The client has all of these letters.
    Flags(Box<[u8]>),
    Db(u32),
    /// The client is idle for at least this number of seconds.
    Idle(u64),
    /// The client has all of these letters.
    Capa(Box<[u8]>),
}

/// One filter. With `not`, a client matches when the property does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Criterion {
    what: Property,
    not: bool,
}

impl Criterion {
    /// Parses an option that only Valkey has. Returns `None` when there is no such option.
    pub(super) fn parse(
        option: &[u8],
        value: &[u8],
        dialect: Dialect,
    ) -> Result<Option<Self>, ErrorReply> {
        if dialect != Dialect::Valkey9 {
            return Ok(None);
        }
        let option = option.to_ascii_lowercase();
        let (not, name) = match option.strip_prefix(b"not-") {
            Some(name) => (true, name),
            None => (false, &option[..]),
        };
        let what = match name {
            b"type" if not => Property::ClientType(parse_type(value)?),
            b"addr" if not => Property::Addr(value.into()),
            b"laddr" if not => Property::LAddr(value.into()),
            b"user" if not => Property::User(value.into()),
            b"ip" => Property::Ip(value.into()),
            b"name" => Property::Name(value.into()),
            b"lib-name" => Property::LibName(value.into()),
            b"lib-ver" => Property::LibVer(value.into()),
            b"idle" if !not => Property::Idle(parse_positive(value, "idle")?),
            b"db" => Property::Db(parse_db(value)?),
            b"flags" => Property::Flags(all_of(value, FLAGS, "flags", not)?),
            b"capa" => Property::Capa(all_of(value, b"r", "capa", not)?),
            _ => return Ok(None),
        };
        Ok(Some(Self { what, not }))
    }

    /// The filter of `NOT-ID`.
    pub(super) fn not_numbers(mut ids: Vec<i64>) -> Self {
        ids.sort_unstable();
        Self {
            what: Property::Numbers(ids),
            not: true,
        }
    }

    /// Whether this filter replaces an earlier one: of an option that is given twice, the last one
    /// counts.
    pub(super) fn replaces(&self, other: &Self) -> bool {
        self.not == other.not
            && std::mem::discriminant(&self.what) == std::mem::discriminant(&other.what)
    }

    pub(super) fn admits(&self, line: &Line<'_>) -> bool {
        let is = match &self.what {
            Property::Numbers(ids) => ids.binary_search(&line.id.cast_signed()).is_ok(),
            Property::ClientType(kind) => line.kind() == *kind,
            Property::Addr(addr) => line.addr == &**addr,
            Property::LAddr(addr) => line.laddr == &**addr,
            Property::User(user) => line.user == &**user,
            Property::Ip(ip) => ip_of(line.addr) == &**ip,
            Property::Name(name) => line.name == &**name,
            Property::LibName(name) => line.lib_name == &**name,
            Property::LibVer(version) => line.lib_ver == &**version,
            Property::Flags(letters) => has_all(letters, &line.flags()),
            Property::Db(db) => line.db == *db,
            Property::Idle(seconds) => line.idle >= *seconds,
            Property::Capa(letters) => has_all(letters, line.capa()),
        };
        is != self.not
    }
}

/// The address without its port.
fn ip_of(addr: &[u8]) -> &[u8] {
    let end = addr.iter().rposition(|byte| *byte == b':');
    let ip = addr.get(..end.unwrap_or(addr.len())).unwrap_or_default();
    let inner = ip.strip_prefix(b"[").and_then(|ip| ip.strip_suffix(b"]"));
    inner.unwrap_or(ip)
}

/// Parses a database. The number of databases is unknown here, so any number that is not negative
/// is accepted.
fn parse_db(value: &[u8]) -> Result<u32, ErrorReply> {
    let db = parse_i64(value).ok_or(ErrorReply::fixed(
        "ERR DB is not an integer or out of range",
    ))?;
    u32::try_from(db).map_err(|_| ErrorReply::fixed("ERR DB number should be between 0 and 15"))
}

fn has_all(letters: &[u8], of: &str) -> bool {
    letters.iter().all(|letter| of.as_bytes().contains(letter))
}

fn all_of(value: &[u8], known: &[u8], what: &str, not: bool) -> Result<Box<[u8]>, ErrorReply> {
    if value.iter().all(|letter| known.contains(letter)) {
        return Ok(value.into());
    }
    let filter = match not {
        true => format!("NOT-{}", what.to_ascii_uppercase()),
        false => "provided".to_owned(),
    };
    let value = shown(value);
    Err(ErrorReply::new(format!(
        "ERR Unknown {what} found in the {filter} filter: {value}"
    )))
}

/// Parses the number of seconds of option `option`.
pub(super) fn parse_positive(value: &[u8], option: &str) -> Result<u64, ErrorReply> {
    let Some(seconds) = parse_i64(value) else {
        let text = format!("ERR {option} is not an integer or out of range");
        return Err(ErrorReply::new(text));
    };
    let seconds = u64::try_from(seconds).ok().filter(|it| *it > 0);
    seconds.ok_or_else(|| ErrorReply::new(format!("ERR {option} should be greater than 0")))
}
