//! What a client does: single commands, transactions, and commands whose effect arrives at another
//! connection of the client.

use crate::support::Random;

/// The kinds of commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Set,
    Get,
    Append,
    Incr,
    /// MGET of keys with one hash tag.
    Mget,
    /// EVAL with one key.
    Eval,
    /// MULTI, commands with keys of one hash tag, and EXEC.
    Transaction,
    /// LPUSH for a BLPOP on another connection. At most one in a pipeline.
    Push,
    /// PUBLISH for a subscriber on another connection.
    Publish,
}

impl Kind {
    pub(crate) const ALL: [Self; 9] = [
        Self::Set,
        Self::Get,
        Self::Append,
        Self::Incr,
        Self::Mget,
        Self::Eval,
        Self::Transaction,
        Self::Push,
        Self::Publish,
    ];
}

/// The hash tags of a client.
pub(super) const TAGS: u64 = 40;

/// The keys of a hash tag that have strings.
const STRINGS: u64 = 3;

/// The bytes of a large value, which one of [`LARGE_SHARE`] values has.
const LARGE: usize = 16 * 1024;
const LARGE_SHARE: u64 = 50;

/// Replaces a value, and returns the old one and the new one.
const SWAP: &str = "return{redis.call('GETSET',KEYS[1],ARGV[1]),ARGV[1]}";

/// One hash tag of a client.
pub(super) fn tag(client: u64, n: u64) -> String {
    format!("{{{client}:{n}}}")
}

/// The channel of a client.
pub(super) fn channel(client: u64) -> String {
    format!("channel:{client}")
}

/// A command, or the commands of a transaction. No key and no value has spaces.
pub(super) enum Op {
    Set(String, String),
    Get(String),
    Append(String, String),
    Incr(String),
    Mget(Vec<String>),
    Eval(String, String),
    /// SET and GET of a string, INCR of a counter.
    Transaction(String, String, String),
    /// The list, which no other op uses, and the value.
    Push(String, String),
    Publish(String, String),
}

impl Op {
    /// A random op; `count` is a number that no other op of the client has.
    pub(super) fn random(kind: Kind, client: u64, count: u64, random: &mut Random) -> Self {
        let tag = tag(client, random.below(TAGS));
        let string = |n: u64| format!("{tag}:s{n}");
        let (key, counter) = (string(random.below(STRINGS)), format!("{tag}:n"));
        let word = format!("{client}.{count}");
        let value = match random.below(LARGE_SHARE) {
            0 => format!("{word}.{}", "x".repeat(LARGE)),
            _ => word.clone(),
        };
        match kind {
            Kind::Set => Self::Set(key, value),
            Kind::Get if random.below(4) == 0 => Self::Get(counter),
            Kind::Get => Self::Get(key),
            Kind::Append => Self::Append(key, format!("+{word}")),
            Kind::Incr => Self::Incr(counter),
            Kind::Mget => Self::Mget((0..STRINGS).map(string).chain([counter]).collect()),
            Kind::Eval => Self::Eval(key, value),
            Kind::Transaction => Self::Transaction(key, value, counter),
            Kind::Push => Self::Push(format!("{tag}:l{count}"), value),
            Kind::Publish => Self::Publish(channel(client), word),
        }
    }

    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Set(..) => Kind::Set,
            Self::Get(..) => Kind::Get,
            Self::Append(..) => Kind::Append,
            Self::Incr(..) => Kind::Incr,
            Self::Mget(..) => Kind::Mget,
            Self::Eval(..) => Kind::Eval,
            Self::Transaction(..) => Kind::Transaction,
            Self::Push(..) => Kind::Push,
            Self::Publish(..) => Kind::Publish,
        }
    }

    /// Its commands; each has one reply.
    pub(super) fn lines(&self) -> Vec<String> {
        vec![match self {
            Self::Set(key, value) => format!("SET {key} {value}"),
            Self::Get(key) => format!("GET {key}"),
            Self::Append(key, part) => format!("APPEND {key} {part}"),
            Self::Incr(key) => format!("INCR {key}"),
            Self::Mget(keys) => format!("MGET {}", keys.join(" ")),
            Self::Eval(key, value) => format!("EVAL {SWAP} 1 {key} {value}"),
            Self::Transaction(key, value, counter) => {
                let set = format!("SET {key} {value}");
                let (get, incr) = (format!("GET {key}"), format!("INCR {counter}"));
                return vec!["MULTI".into(), set, get, incr, "EXEC".into()];
            }
            Self::Push(list, value) => format!("LPUSH {list} {value}"),
            Self::Publish(channel, message) => format!("PUBLISH {channel} {message}"),
        }]
    }

    /// The key whose value decides the last reply.
    pub(super) fn key(&self) -> Option<&str> {
        match self {
            Self::Set(key, _) | Self::Append(key, _) | Self::Eval(key, _) => Some(key),
            Self::Get(key) | Self::Incr(key) | Self::Transaction(_, _, key) => Some(key),
            Self::Mget(..) | Self::Push(..) | Self::Publish(..) => None,
        }
    }

    /// The value of its key after it was executed, and the last reply.
    pub(super) fn execute(&self, before: Option<&str>) -> (Option<String>, String) {
        let raised = || 1 + before.map_or(0, |digits| digits.parse::<u64>().unwrap());
        match self {
            Self::Set(_, value) => (Some(value.clone()), "+OK".into()),
            Self::Append(_, part) => {
                let after = format!("{}{part}", before.unwrap_or_default());
                let len = after.len();
                (Some(after), format!(":{len}"))
            }
            Self::Incr(_) => (Some(raised().to_string()), format!(":{}", raised())),
            Self::Eval(_, value) => {
                let reply = format!("*2 {} {}", bulk(before), bulk(Some(value)));
                (Some(value.clone()), reply)
            }
            Self::Transaction(_, value, _) => {
                let reply = format!("*3 +OK {} :{}", bulk(Some(value)), raised());
                (Some(raised().to_string()), reply)
            }
            _ => (before.map(str::to_owned), bulk(before)),
        }
    }
}

/// A value as a reply.
pub(super) fn bulk(value: Option<&str>) -> String {
    value.map_or_else(|| "$-1".into(), |it| format!("${} {it}", it.len()))
}
