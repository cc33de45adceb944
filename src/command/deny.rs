//! Commands that a tenant may not use: by name, by sub-command, by category.
//!
//! Every request of such a tenant asks, so the words are made into one sorted list beforehand, and
//! asking does not allocate. Only what a client sends itself is seen here: not what a script calls,
//! so that whoever denies commands had better deny `@scripting` too, or leave it to the backend's
//! own access control.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use super::category::{ALL, TABLE};
use super::lookup;
use super::refusal::shown;
use crate::resp::Args;

/// What cannot be denied, not even with `@all`: without these a client library cannot open a
/// connection, keep it or end it, and says that the server is down.
pub const UNDENIABLE: [&str; 8] = [
    "auth",
    "client|reply",
    "client|setinfo",
    "client|setname",
    "hello",
    "ping",
    "quit",
    "reset",
];

/// Bytes of a command's name; a longer one is not denied by name.
const NAME_BYTES_MAX: usize = 64;

/// A slot of the index without a command.
const EMPTY: u32 = u32::MAX;

/// What a tenant may not use, ready to be asked. It has some kilobytes: share it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// All but [`UNDENIABLE`].
    all: bool,
    /// Sorted by name. A command that is not here is allowed, unless `all` says otherwise.
    commands: Vec<Command>,
    /// Where in `commands` those with a short name are: an open-addressing table by the key of the
    /// name, at most a third full. Most requests are allowed, and end at an empty slot.
    index: Vec<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Command {
    name: Cow<'static, str>,
    /// None for a long name.
    key: Option<u128>,
    /// Itself, and those of its sub-commands that are not listed.
    denied: bool,
    /// The sub-commands known, sorted.
    subs: Vec<Sub>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Sub {
    full_name: Cow<'static, str>,
    denied: bool,
}

impl Denied {
    /// Takes words such as `flushall` (with all its sub-commands), `config|set` and `@dangerous`,
    /// in any case. None if that denies nothing. A word that has no such form and a category that
    /// is not known deny nothing: whoever takes words from people checks them before.
    pub fn compile(words: &[String]) -> Option<Self> {
        if words.is_empty() {
            // As it is for nearly all tenants: do not go through all commands for that.
            return None;
        }
        let words = Words::new(words);
        let known = KNOWN.iter().map(|(name, known)| words.judge(name, known));
        let strange = words.strange();
        let commands = known.chain(strange);
        let commands =
            commands.filter(|it| words.all || it.denied || it.subs.iter().any(|sub| sub.denied));
        let mut commands: Vec<_> = commands.collect();
        commands.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        (words.all || !commands.is_empty()).then(|| Self {
            all: words.all,
            index: index(&commands),
            commands,
        })
    }

    /// The full name of the command, for the error text, if it is denied; `args` begins with the
    /// command's name.
    ///
    /// A sub-command that nobody here knows is denied if one of its siblings is by category.
    #[inline]
    pub fn name_of<'a>(&'a self, mut args: Args<'a>) -> Option<Cow<'a, str>> {
        let sent = args.next()?;
        match self.find(sent) {
            Some(command) => command.name_of(args),
            None if self.all => Some(Cow::Owned(shown(sent).to_ascii_lowercase())),
            None => None,
        }
    }

    #[inline]
    fn find(&self, name: &[u8]) -> Option<&Command> {
        let Some(key) = lookup::key(name) else {
            return self.find_long(name);
        };
        let mut slot = slot(key, self.index.len());
        // Ends: the index has empty slots.
        loop {
            let place = *self.index.get(slot)?;
            let command = self.commands.get(place as usize)?;
            if command.key == Some(key) {
                return Some(command);
            }
            slot = (slot + 1) % self.index.len();
        }
    }

    fn find_long(&self, name: &[u8]) -> Option<&Command> {
        let mut buffer = [0; NAME_BYTES_MAX];
        let name = lower_case(name, &mut buffer)?;
        let order = |command: &Command| command.name.as_bytes().cmp(name);
        let place = self.commands.binary_search_by(order).ok()?;
        self.commands.get(place)
    }
}

impl Command {
    fn new(name: Cow<'static, str>, denied: bool, mut subs: Vec<Sub>) -> Self {
        subs.sort_unstable_by(|a, b| a.full_name.cmp(&b.full_name));
        let key = lookup::key(name.as_bytes());
        Self {
            name,
            key,
            denied,
            subs,
        }
    }

    fn name_of<'a>(&'a self, mut rest: Args<'_>) -> Option<Cow<'a, str>> {
        let (full_name, denied) = match rest.next().and_then(|sub| self.sub(sub)) {
            Some(sub) => (&sub.full_name, sub.denied),
            None => (&self.name, self.denied),
        };
        denied.then_some(Cow::Borrowed(full_name))
    }

    fn sub(&self, name: &[u8]) -> Option<&Sub> {
        let mut buffer = [0; NAME_BYTES_MAX];
        let name = lower_case(name, &mut buffer)?;
        let skipped = self.name.len() + 1;
        // They all begin with the name of the command and a bar.
        let order = |sub: &Sub| {
            let last = sub.full_name.as_bytes().get(skipped..);
            last.unwrap_or_default().cmp(name)
        };
        let place = self.subs.binary_search_by(order).ok()?;
        self.subs.get(place)
    }
}

/// The table the other way round: every command by name, and in which rows of the table it is.
static KNOWN: LazyLock<BTreeMap<&str, Known>> = LazyLock::new(|| {
    let mut known: BTreeMap<_, Known> = BTreeMap::new();
    for (row, (_, names)) in TABLE.iter().enumerate() {
        for full_name in names.split(' ') {
            let (name, sub) = full_name.split_once('|').unwrap_or((full_name, ""));
            let command = known.entry(name).or_default();
            if sub.is_empty() {
                command.rows |= 1 << row;
            } else {
                *command.subs.entry(full_name).or_default() |= 1 << row;
            }
        }
    }
    known
});

/// See [`KNOWN`]. A row is a bit.
#[derive(Default)]
struct Known {
    rows: u32,
    /// By full name.
    subs: BTreeMap<&'static str, u32>,
}

/// What is to be denied.
struct Words {
    all: bool,
    /// The rows of the table, a bit each.
    rows: u32,
    names: BTreeSet<String>,
}

impl Words {
    fn new(words: &[String]) -> Self {
        let mut all = false;
        let mut rows = 0;
        let mut names = BTreeSet::new();
        for word in words.iter().map(|word| word.to_ascii_lowercase()) {
            match word.strip_prefix('@') {
                Some(ALL) => all = true,
                Some(category) => {
                    let row = TABLE.iter().position(|(name, _)| *name == category);
                    rows |= row.map_or(0, |row| 1 << row);
                }
                None => drop(names.insert(word)),
            }
        }
        Self { all, rows, names }
    }

    fn judge(&self, name: &'static str, known: &Known) -> Command {
        let whole = self.all || self.names.contains(name);
        let subs = known.subs.iter().map(|(full_name, rows)| {
            let denied = whole || rows & self.rows != 0 || self.names.contains(*full_name);
            Sub {
                full_name: (*full_name).into(),
                denied: denied && !UNDENIABLE.contains(full_name),
            }
        });
        let strange = self.subs_of(name);
        let strange = strange.filter(|sub| !known.subs.contains_key(&*sub.full_name));
        let rows = known.subs.values().fold(known.rows, |all, rows| all | rows);
        let denied = whole || rows & self.rows != 0;
        Command::new(
            name.into(),
            denied && !UNDENIABLE.contains(&name),
            subs.chain(strange).collect(),
        )
    }

    /// The commands among the words that are not in the table.
    fn strange(&self) -> impl Iterator<Item = Command> {
        let first = |word: &String| word.split('|').next().unwrap_or_default().to_owned();
        let mut names = BTreeSet::new();
        names.extend(self.names.iter().map(first));
        let names = names
            .into_iter()
            .filter(|name| !KNOWN.contains_key(&**name));
        names.map(|name| {
            let denied = self.all || self.names.contains(&name);
            let subs = self.subs_of(&name).collect();
            Command::new(name.into(), denied, subs)
        })
    }

    /// The sub-commands of a command that are named.
    fn subs_of(&self, name: &str) -> impl Iterator<Item = Sub> {
        let of = move |word: &&String| word.split_once('|').is_some_and(|(first, _)| first == name);
        self.names.iter().filter(of).map(|full_name| Sub {
            full_name: full_name.clone().into(),
            denied: true,
        })
    }
}

/// See [`Denied::index`].
fn index(commands: &[Command]) -> Vec<u32> {
    let mut index = vec![EMPTY; (commands.len() * 3).next_power_of_two()];
    let len = index.len();
    for (n, key) in (0..EMPTY).zip(commands.iter().map(|command| command.key)) {
        let Some(key) = key else { continue };
        let mut slot = slot(key, len);
        while index.get(slot).is_some_and(|taken| *taken != EMPTY) {
            slot = (slot + 1) % len;
        }
        if let Some(place) = index.get_mut(slot) {
            *place = n;
        }
    }
    index
}

/// Where to look for a key first.
#[inline]
fn slot(key: u128, slots: usize) -> usize {
    (lookup::mixed(key) >> 40) as usize % slots
}

/// A name in lower case, if it is short enough to be one.
fn lower_case<'a>(name: &[u8], buffer: &'a mut [u8; NAME_BYTES_MAX]) -> Option<&'a [u8]> {
    let lower = buffer.get_mut(..name.len())?;
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    Some(lower)
}
