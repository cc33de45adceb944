//! Commands that a tenant may not use: by name, by sub-command, by category.
//!
//! Every request of such a tenant asks, so the words are made into one sorted list beforehand, and
//! asking does not allocate. Only what a client sends itself is seen here: not what a script calls,
//! so that whoever denies commands had better deny `@scripting` too, or leave it to the backend's
//! own access control.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::category::{ALL, TABLE};
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

/// What a tenant may not use, ready to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// All but [`UNDENIABLE`].
    all: bool,
    /// Sorted by name. A command that is not here is allowed, unless `all` says otherwise.
    commands: Vec<Command>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Command {
    name: Cow<'static, str>,
    /// Itself, and those of its sub-commands that are not listed.
    denied: bool,
    /// The sub-commands known, sorted: full names, of which the list is asked with the last part.
    subs: Vec<Sub>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Sub {
    full_name: Cow<'static, str>,
    denied: bool,
}

/// Why something is denied, while the list is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Verdict {
    /// Together with all of its sub-commands.
    by_name: bool,
    by_category: bool,
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
        let mut verdicts: BTreeMap<Cow<'static, str>, Verdict> = BTreeMap::new();
        let mut all = false;
        for word in words.iter().map(|word| word.to_ascii_lowercase()) {
            match word.strip_prefix('@') {
                Some(ALL) => all = true,
                Some(category) => {
                    for name in names(category) {
                        verdicts.entry(name.into()).or_default().by_category = true;
                    }
                }
                None => verdicts.entry(word.into()).or_default().by_name = true,
            }
        }
        let denied = Self {
            all,
            commands: commands(verdicts, all),
        };
        (all || !denied.commands.is_empty()).then_some(denied)
    }

    /// The full name of the command, for the error text, if it is denied; `args` begins with the
    /// command's name.
    ///
    /// A sub-command that nobody here knows is denied if one of its siblings is by category.
    pub fn name_of<'a>(&'a self, mut args: Args<'a>) -> Option<Cow<'a, str>> {
        let sent = args.next()?;
        let unknown = || {
            let name = || shown(sent).to_ascii_lowercase();
            self.all.then(|| Cow::Owned(name()))
        };
        let mut buffer = [0; NAME_BYTES_MAX];
        let Some(name) = lower_case(sent, &mut buffer) else {
            return unknown();
        };
        let order = |command: &Command| command.name.as_bytes().cmp(name);
        let place = self.commands.binary_search_by(order).ok();
        let Some(command) = place.and_then(|place| self.commands.get(place)) else {
            return unknown();
        };
        let mut buffer = [0; NAME_BYTES_MAX];
        let sub = args.next().and_then(|sub| lower_case(sub, &mut buffer));
        let sub = sub.and_then(|sub| command.sub(sub));
        let (full_name, denied) = match sub {
            Some(sub) => (&sub.full_name, sub.denied),
            None => (&command.name, command.denied),
        };
        denied.then_some(Cow::Borrowed(full_name))
    }
}

impl Command {
    fn sub(&self, name: &[u8]) -> Option<&Sub> {
        let skipped = self.name.len() + 1;
        let last = |sub: &Sub| {
            let last = sub.full_name.as_bytes().get(skipped..);
            last.unwrap_or_default().cmp(name)
        };
        self.subs.get(self.subs.binary_search_by(last).ok()?)
    }
}

/// The commands of a category.
fn names(category: &str) -> impl Iterator<Item = &'static str> {
    let row = TABLE.iter().find(|(name, _)| *name == category);
    row.into_iter().flat_map(|(_, names)| names.split(' '))
}

/// The list to ask, of those commands that are denied or have a sub-command that is.
fn commands(mut verdicts: BTreeMap<Cow<'static, str>, Verdict>, all: bool) -> Vec<Command> {
    // Those not denied have to be known too: a sub-command that is listed is judged by itself.
    for name in TABLE.iter().flat_map(|(category, _)| names(category)) {
        verdicts.entry(name.into()).or_default();
    }
    let mut commands: BTreeMap<Cow<'static, str>, (Verdict, Vec<_>)> = BTreeMap::new();
    for (name, verdict) in verdicts {
        match name.split_once('|') {
            Some((container, _)) => {
                let container = container.to_owned().into();
                commands
                    .entry(container)
                    .or_default()
                    .1
                    .push((name, verdict));
            }
            None => commands.entry(name).or_default().0 = verdict,
        }
    }
    let denied = commands.into_iter().map(|(name, (verdict, subs))| {
        let whole = all || verdict.by_name;
        let by_category = subs.iter().any(|(_, sub)| sub.by_category);
        let subs = subs.into_iter().map(|(full_name, sub)| Sub {
            denied: (whole || sub != Verdict::default()) && !UNDENIABLE.contains(&&*full_name),
            full_name,
        });
        let mut subs: Vec<_> = subs.collect();
        subs.sort_unstable_by(|a, b| a.full_name.cmp(&b.full_name));
        let denied = whole || verdict.by_category || by_category;
        Command {
            denied: denied && !UNDENIABLE.contains(&&*name),
            name,
            subs,
        }
    });
    denied
        .filter(|command| all || command.denied || command.subs.iter().any(|sub| sub.denied))
        .collect()
}

/// A name in lower case, if it is short enough to be one.
fn lower_case<'a>(name: &[u8], buffer: &'a mut [u8; NAME_BYTES_MAX]) -> Option<&'a [u8]> {
    let lower = buffer.get_mut(..name.len())?;
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    Some(lower)
}
