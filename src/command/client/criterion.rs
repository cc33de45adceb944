//! The filters of CLIENT LIST and CLIENT KILL that Valkey has and Redis has not.

use super::kind::{Kind, parse_kind};
use super::{Dialect, Line};
use crate::command::Refusal;
use crate::command::refusal::shown;
use crate::resp::number::parse_i64;

/// The letters of `flags=`.
const FLAGS: &[u8] = b"AbcBdeEGiIjkKlLMNOPrRStTuUxX";

/// What a client is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    Numbers(Vec<i64>),
    Kind(Kind),
    Addr(Box<[u8]>),
    LAddr(Box<[u8]>),
    User(Box<[u8]>),
    Ip(Box<[u8]>),
    Name(Box<[u8]>),
    LibName(Box<[u8]>),
    LibVer(Box<[u8]>),
    /// Has all of these letters.
    Flags(Box<[u8]>),
    Db(u32),
    /// At least so many seconds.
    Idle(u64),
    /// Has all of these letters.
    Capa(Box<[u8]>),
}

/// One filter, or its opposite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Criterion {
    what: What,
    not: bool,
}

impl Criterion {
    /// Reads an option that is none of those that every version has. `None`: there is no such
    /// option.
    pub(super) fn parse(
        option: &[u8],
        value: &[u8],
        dialect: Dialect,
    ) -> Result<Option<Self>, Refusal> {
        if dialect != Dialect::Valkey9 {
            return Ok(None);
        }
        let option = option.to_ascii_lowercase();
        let (not, name) = match option.strip_prefix(b"not-") {
            Some(name) => (true, name),
            None => (false, &option[..]),
        };
        let what = match name {
            b"type" if not => What::Kind(parse_kind(value)?),
            b"addr" if not => What::Addr(value.into()),
            b"laddr" if not => What::LAddr(value.into()),
            b"user" if not => What::User(value.into()),
            b"ip" => What::Ip(value.into()),
            b"name" => What::Name(value.into()),
            b"lib-name" => What::LibName(value.into()),
            b"lib-ver" => What::LibVer(value.into()),
            b"idle" if !not => What::Idle(parse_positive(value, "idle")?),
            b"db" => What::Db(parse_db(value)?),
            b"flags" => What::Flags(all_of(value, FLAGS, "flags", not)?),
            b"capa" => What::Capa(all_of(value, b"r", "capa", not)?),
            _ => return Ok(None),
        };
        Ok(Some(Self { what, not }))
    }

    /// `NOT-ID`.
    pub(super) fn not_numbers(mut ids: Vec<i64>) -> Self {
        ids.sort_unstable();
        Self {
            what: What::Numbers(ids),
            not: true,
        }
    }

    /// Does it take the place of this one, which came before it?
    pub(super) fn replaces(&self, other: &Self) -> bool {
        self.not == other.not
            && std::mem::discriminant(&self.what) == std::mem::discriminant(&other.what)
    }

    pub(super) fn admits(&self, line: &Line<'_>) -> bool {
        let is = match &self.what {
            What::Numbers(ids) => ids.binary_search(&line.id.cast_signed()).is_ok(),
            What::Kind(kind) => line.kind() == *kind,
            What::Addr(addr) => line.addr == &**addr,
            What::LAddr(addr) => line.laddr == &**addr,
            What::User(user) => line.user == &**user,
            What::Ip(ip) => ip_of(line.addr) == &**ip,
            What::Name(name) => line.name == &**name,
            What::LibName(name) => line.lib_name == &**name,
            What::LibVer(version) => line.lib_ver == &**version,
            What::Flags(letters) => has_all(letters, &line.flags()),
            What::Db(db) => line.db == *db,
            What::Idle(seconds) => line.idle >= *seconds,
            What::Capa(letters) => has_all(letters, line.capa()),
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

/// How many databases the backend has is not known here: it says so at SELECT.
fn parse_db(value: &[u8]) -> Result<u32, Refusal> {
    let db = parse_i64(value).ok_or(Refusal::fixed("ERR DB is not an integer or out of range"))?;
    u32::try_from(db).map_err(|_| Refusal::fixed("ERR DB number should be between 0 and 15"))
}

fn has_all(letters: &[u8], of: &str) -> bool {
    letters.iter().all(|letter| of.as_bytes().contains(letter))
}

fn all_of(value: &[u8], known: &[u8], what: &str, not: bool) -> Result<Box<[u8]>, Refusal> {
    if value.iter().all(|letter| known.contains(letter)) {
        return Ok(value.into());
    }
    let filter = match not {
        true => format!("NOT-{}", what.to_ascii_uppercase()),
        false => "provided".to_owned(),
    };
    let value = shown(value);
    Err(Refusal::new(format!(
        "ERR Unknown {what} found in the {filter} filter: {value}"
    )))
}

/// A number of seconds, for the option of this name.
pub(super) fn parse_positive(value: &[u8], option: &str) -> Result<u64, Refusal> {
    let Some(seconds) = parse_i64(value) else {
        let text = format!("ERR {option} is not an integer or out of range");
        return Err(Refusal::new(text));
    };
    let seconds = u64::try_from(seconds).ok().filter(|it| *it > 0);
    seconds.ok_or_else(|| Refusal::new(format!("ERR {option} should be greater than 0")))
}
