//! Deny lists: commands that a tenant may not use, by name, by sub-command, by category.
//!
//! A deny list is checked for every request, so it is compiled once, and a check does not allocate.
//! It applies to the commands that a client sends, not to the commands that a script calls. To deny
//! those too, deny `@scripting` or use the ACL of the backend.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use super::category::{ALL, TABLE, categories};
use super::error_reply::shown;
use super::name_index;
use crate::resp::Args;

/// The commands that cannot be denied, not even by `@all`. Without them a client library cannot
/// open, keep or close a connection, and reports that the server is down.
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

/// Checks a word of a list of denied commands. Returns it in lower case.
///
/// # Errors
///
/// The reason why the word cannot be denied, for the person who wrote the list.
pub fn denied_word(word: &str) -> Result<String, String> {
    let word = word.to_ascii_lowercase();
    if let Some(category) = word.strip_prefix('@') {
        let mut known: Vec<_> = categories().collect();
        if known.contains(&category) {
            return Ok(word);
        }
        known.sort_unstable();
        let known = known.join(", @");
        return Err(format!("{word:?} is not a category; allowed: @{known}"));
    }
    if UNDENIABLE.contains(&&*word) {
        return Err(format!("{word:?} cannot be denied: every client needs it"));
    }
    let named = |name: &str| {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
        (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(known)
    };
    let (name, sub) = word.split_once('|').unwrap_or((&word, "x"));
    if named(name) && named(sub) {
        return Ok(word);
    }
    Err(format!(
        "{word:?} is not the name of a command, such as flushall or config|set"
    ))
}

/// Bytes of a command's name. A longer name cannot be denied by name.
const NAME_BYTES_MAX: usize = 64;

/// A slot of the index without a command.
const EMPTY: u32 = u32::MAX;

/// A compiled deny list. It takes some kilobytes, so tenants with the same list share it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DenyList {
    /// Unknown commands are denied.
    all: bool,
    /// Sorted by name. A command that is not listed is allowed, unless `all` is set.
    commands: Vec<Command>,
    /// Positions in `commands` of the commands with a short name: an open-addressing table by the
    /// key of the name, at most a third full. The search for an allowed command usually ends at the
    /// first slot, which is empty.
    index: Vec<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Command {
    name: Cow<'static, str>,
    /// `None` for a long name.
    key: Option<u128>,
    /// The command is denied, with the sub-commands that are not in `subs`.
    denied: bool,
    /// The known sub-commands, sorted.
    subs: Vec<Sub>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Sub {
    full_name: Cow<'static, str>,
    denied: bool,
}

impl DenyList {
    /// Compiles words such as `flushall` (which includes its sub-commands), `config|set` and
    /// `@dangerous`, in any case. Returns `None` when nothing is denied. Unknown categories and
    /// words of another form deny nothing; the parsers of limits reject them.
    pub fn compile(words: &[String]) -> Option<Self> {
        if words.is_empty() {
            // Most tenants have no deny list.
            return None;
        }
        let words = Words::new(words);
        let known = KNOWN.iter().map(|(name, known)| words.command(name, known));
        let commands = known.chain(words.unknown_commands());
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

    /// The full name of the command if the command is denied, for the error text. `args` begins
    /// with the name of the command.
    ///
    /// An unknown sub-command is denied when a category denies another sub-command of its
    /// container.
    #[inline]
    pub fn denied_name<'a>(&'a self, mut args: Args<'a>) -> Option<Cow<'a, str>> {
        let sent = args.next()?;
        match self.find(sent) {
            Some(command) => command.denied_name(args),
            None if self.all => Some(Cow::Owned(shown(sent).to_ascii_lowercase())),
            None => None,
        }
    }

    #[inline]
    fn find(&self, name: &[u8]) -> Option<&Command> {
        let Some(key) = name_index::key(name) else {
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
        let key = name_index::key(name.as_bytes());
        Self {
            name,
            key,
            denied,
            subs,
        }
    }

    fn denied_name<'a>(&'a self, mut rest: Args<'_>) -> Option<Cow<'a, str>> {
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
        // Every full name begins with the name of the command and a bar.
        let order = |sub: &Sub| {
            let last = sub.full_name.as_bytes().get(skipped..);
            last.unwrap_or_default().cmp(name)
        };
        let place = self.subs.binary_search_by(order).ok()?;
        self.subs.get(place)
    }
}

/// Every command of the table of categories, by name, with the rows that contain it.
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

/// The rows of the table that contain a command; each row is a bit.
#[derive(Default)]
struct Known {
    rows: u32,
    /// By full name.
    subs: BTreeMap<&'static str, u32>,
}

/// The words of a deny list.
struct Words {
    all: bool,
    /// The denied rows of the table; each row is a bit.
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

    /// The entry of a command of the table.
    fn command(&self, name: &'static str, known: &Known) -> Command {
        let whole = self.all || self.names.contains(name);
        let subs = known.subs.iter().map(|(full_name, rows)| {
            let denied = whole || rows & self.rows != 0 || self.names.contains(*full_name);
            Sub {
                full_name: (*full_name).into(),
                denied: denied && !UNDENIABLE.contains(full_name),
            }
        });
        let unknown = self.subs_of(name);
        let unknown = unknown.filter(|sub| !known.subs.contains_key(&*sub.full_name));
        let rows = known.subs.values().fold(known.rows, |all, rows| all | rows);
        let denied = whole || rows & self.rows != 0;
        Command::new(
            name.into(),
            denied && !UNDENIABLE.contains(&name),
            subs.chain(unknown).collect(),
        )
    }

    /// The entries of commands that are not in the table.
    fn unknown_commands(&self) -> impl Iterator<Item = Command> {
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

    /// The sub-commands of a command that the list names.
    fn subs_of(&self, name: &str) -> impl Iterator<Item = Sub> {
        let of = move |word: &&String| word.split_once('|').is_some_and(|(first, _)| first == name);
        self.names.iter().filter(of).map(|full_name| Sub {
            full_name: full_name.clone().into(),
            denied: true,
        })
    }
}

/// Builds [`DenyList::index`].
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

/// The slot at which the search for a key begins.
#[inline]
fn slot(key: u128, slots: usize) -> usize {
    (name_index::mix(key) >> 40) as usize % slots
}

/// The name in lower case; `None` when it is too long.
fn lower_case<'a>(name: &[u8], buffer: &'a mut [u8; NAME_BYTES_MAX]) -> Option<&'a [u8]> {
    let lower = buffer.get_mut(..name.len())?;
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    Some(lower)
}
