//! The filters of CLIENT LIST and CLIENT KILL.

use crate::command::ErrorReply;
use crate::resp::number::parse_i64;
use crate::resp::{Args, write};

use super::client_type::{ClientType, parse_type};
use super::criterion::{Criterion, parse_positive};
use super::{Dialect, Line};

/// The filter of a CLIENT LIST or CLIENT KILL. It owns its data, because it is sent to other
/// workers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// Clients with one of these ids, sorted; `None` for all. Redis accepts negative ids, which no
    /// client has.
    ids: Option<Vec<i64>>,
    addr: Option<Box<[u8]>>,
    laddr: Option<Box<[u8]>>,
    user: Option<Box<[u8]>>,
    kind: Option<ClientType>,
    /// The minimum age in seconds.
    age_min: u64,
    skip_me: bool,
    old_form: bool,
    /// The filters that only Valkey has.
    more: Vec<Criterion>,
}

impl Filter {
    /// All clients.
    const ALL: Self = Self {
        ids: None,
        addr: None,
        laddr: None,
        user: None,
        kind: None,
        age_min: 0,
        skip_me: false,
        old_form: false,
        more: Vec::new(),
    };

    /// Parses `CLIENT LIST [TYPE type | ID id [id ...]]` and the further options of Valkey.
    pub fn parse_list(mut args: Args<'_>, dialect: Dialect) -> Result<Self, ErrorReply> {
        let Some(option) = args.nth(2) else {
            return Ok(Self::ALL);
        };
        if dialect.is_valkey() {
            return Self::ALL.options(option, args, dialect);
        }
        if option.eq_ignore_ascii_case(b"type") && args.len() == 1 {
            let kind = parse_type(args.next().unwrap_or_default())?;
            Ok(Self {
                kind: Some(kind),
                ..Self::ALL
            })
        } else if option.eq_ignore_ascii_case(b"id") && args.len() > 0 {
            let ids: Option<Vec<_>> = args.map(parse_i64).collect();
            let mut ids = ids.ok_or(ErrorReply::fixed("ERR Invalid client ID"))?;
            // Sorted for a binary search: a request may have a million ids.
            ids.sort_unstable();
            Ok(Self {
                ids: Some(ids),
                ..Self::ALL
            })
        } else {
            Err(ErrorReply::SYNTAX)
        }
    }

    /// Parses `CLIENT KILL ip:port` and `CLIENT KILL option value [option value ...]`.
    ///
    /// When an option is given twice, the last one counts.
    pub fn parse_kill(mut args: Args<'_>, dialect: Dialect) -> Result<Self, ErrorReply> {
        let Some(first) = args.nth(2) else {
            return Err(ErrorReply::arity("client|kill"));
        };
        if args.len() == 0 {
            return Ok(Self {
                addr: Some(first.into()),
                old_form: true,
                ..Self::ALL
            });
        }
        let filter = Self {
            skip_me: true,
            ..Self::ALL
        };
        filter.options(first, args, dialect)
    }

    /// Parses options and their values.
    fn options(
        mut self,
        first: &[u8],
        mut args: Args<'_>,
        dialect: Dialect,
    ) -> Result<Self, ErrorReply> {
        let mut next = Some(first);
        while let Some(option) = next {
            let value = args.next().ok_or(ErrorReply::SYNTAX)?;
            next = args.next();
            let not = option.eq_ignore_ascii_case(b"not-id") && dialect == Dialect::Valkey9;
            if not || option.eq_ignore_ascii_case(b"id") && dialect.is_valkey() {
                // One option may have several ids.
                let mut ids = vec![
                    parse_i64(value)
                        .ok_or(ErrorReply::SYNTAX)
                        .and_then(positive)?,
                ];
                while let Some(id) = next.and_then(parse_i64) {
                    ids.push(positive(id)?);
                    next = args.next();
                }
                match not {
                    true => self.add(Criterion::not_numbers(ids)),
                    false => self.ids.get_or_insert_default().extend(ids),
                }
                continue;
            }
            match Criterion::parse(option, value, dialect)? {
                Some(criterion) => self.add(criterion),
                None => self.set(option, value, dialect)?,
            }
        }
        if let Some(ids) = &mut self.ids {
            // Sorted for a binary search: a request may have a million ids.
            ids.sort_unstable();
        }
        Ok(self)
    }

    fn add(&mut self, criterion: Criterion) {
        self.more.retain(|other| !criterion.replaces(other));
        self.more.push(criterion);
    }

    /// Sets an option of CLIENT KILL that all versions have.
    fn set(&mut self, option: &[u8], value: &[u8], dialect: Dialect) -> Result<(), ErrorReply> {
        let is = |name: &str| option.eq_ignore_ascii_case(name.as_bytes());
        if is("id") {
            // Redis 6.2 ignores the id 0.
            self.ids = Some(vec![parse_id(value, dialect)?]).filter(|ids| *ids != [0]);
        } else if is("maxage") && dialect > Dialect::Redis70 {
            self.age_min = parse_positive(value, "maxage")?;
        } else if is("type") {
            self.kind = Some(parse_type(value)?);
        } else if is("addr") {
            self.addr = Some(value.into());
        } else if is("laddr") {
            self.laddr = Some(value.into());
        } else if is("user") {
            self.user = Some(value.into());
        } else if is("skipme") {
            self.skip_me = parse_yes(value)?;
        } else {
            return Err(ErrorReply::SYNTAX);
        }
        Ok(())
    }

    /// Whether the client matches. The caller excludes the client that sent the command, see
    /// [`Filter::skip_me`].
    pub fn matches(&self, line: &Line<'_>) -> bool {
        fn admits<T: ?Sized + PartialEq>(wanted: Option<&T>, is: &T) -> bool {
            wanted.is_none_or(|wanted| wanted == is)
        }
        self.ids
            .as_ref()
            .is_none_or(|ids| ids.binary_search(&line.id.cast_signed()).is_ok())
            && admits(self.addr.as_deref(), line.addr)
            && admits(self.laddr.as_deref(), line.laddr)
            && admits(self.user.as_deref(), line.user)
            && admits(self.kind.as_ref(), &line.kind())
            && line.age >= self.age_min
            && self.more.iter().all(|it| it.admits(line))
    }

    /// Whether the filter has ids.
    pub fn has_numbers(&self) -> bool {
        self.ids.is_some()
    }

    /// Whether a client with this id can match.
    pub fn may_match(&self, id: u64) -> bool {
        let ids = self.ids.as_ref();
        ids.is_none_or(|ids| ids.binary_search(&id.cast_signed()).is_ok())
    }

    /// Whether the client that sent the command does not match.
    pub fn skip_me(&self) -> bool {
        self.skip_me
    }

    /// Whether the command is `CLIENT KILL ip:port`, whose reply is `+OK` or `-ERR No such client`
    /// instead of the number of closed clients.
    pub fn is_old_form(&self) -> bool {
        self.old_form
    }
}

/// Writes a CLIENT LIST or CLIENT KILL that asks the server whether its `USER` exists. Returns
/// false and writes nothing when the request names no user other than `me`, the user of the client.
///
/// The request gets an `ADDR` that no client has, so that it matches no client of the server: the
/// server applies all filters together.
pub fn write_user_probe(frame: &[u8], me: &[u8], out: &mut Vec<u8>) -> bool {
    let mut args = Args::new(frame);
    let (mut next, mut user) = (args.nth(2), None);
    while let (Some(option), Some(value)) = (next, args.next()) {
        next = args.next();
        let is = |name: &str| option.eq_ignore_ascii_case(name.as_bytes());
        if is("user") {
            user = Some(value);
        }
        while (is("id") || is("not-id")) && next.and_then(parse_i64).is_some() {
            next = args.next();
        }
    }
    let other = user.is_some_and(|user| user != me);
    if other {
        let no_client: [&[u8]; 2] = [b"ADDR", b" "];
        let words: Vec<&[u8]> = Args::new(frame).chain(no_client).collect();
        write::command(out, &words);
    }
    other
}

fn parse_id(value: &[u8], dialect: Dialect) -> Result<i64, ErrorReply> {
    if dialect == Dialect::Redis6 {
        return parse_i64(value).ok_or(ErrorReply::NOT_AN_INTEGER);
    }
    parse_i64(value)
        .filter(|id| *id > 0)
        .ok_or(ErrorReply::fixed("ERR client-id should be greater than 0"))
}

fn positive(id: i64) -> Result<i64, ErrorReply> {
    match id > 0 {
        true => Ok(id),
        false => Err(ErrorReply::fixed("ERR client-id should be greater than 0")),
    }
}

fn parse_yes(value: &[u8]) -> Result<bool, ErrorReply> {
    if value.eq_ignore_ascii_case(b"yes") {
        Ok(true)
    } else if value.eq_ignore_ascii_case(b"no") {
        Ok(false)
    } else {
        Err(ErrorReply::SYNTAX)
    }
}
