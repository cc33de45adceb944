//! The outcome of a run.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

use super::op::Kind;

/// The most wrong replies that are described.
const EXAMPLES_MAX: usize = 20;

/// Characters of a wrong reply that are shown.
const SHOWN_MAX: usize = 200;

#[derive(Debug, Default)]
pub(crate) struct Summary {
    pub(crate) seed: u64,
    pub(crate) seconds: f64,
    /// Commands, or transactions, with the right reply.
    pub(crate) right: BTreeMap<Kind, u64>,
    /// The errors by their texts, with `#` for numbers.
    pub(crate) errors: BTreeMap<String, u64>,
    /// Replies that are not among the possible ones, missing replies and lost messages included. A
    /// value that is not what its client knows is counted each time until it is overwritten.
    pub(crate) wrong: u64,
    /// The wrong replies that are right for another command of their pipeline.
    pub(crate) reordered: u64,
    /// Connections that were closed by the server.
    pub(crate) closed: u64,
    /// Descriptions of the first wrong replies.
    pub(crate) examples: Vec<String>,
}

impl Summary {
    /// The sum of two summaries.
    pub(super) fn with(mut self, other: Self) -> Self {
        for (kind, n) in other.right {
            *self.right.entry(kind).or_default() += n;
        }
        for (error, n) in other.errors {
            *self.errors.entry(error).or_default() += n;
        }
        self.wrong += other.wrong;
        self.reordered += other.reordered;
        self.closed += other.closed;
        self.examples.extend(other.examples);
        self.examples.truncate(EXAMPLES_MAX);
        self
    }

    pub(super) fn add_right(&mut self, kind: Kind) {
        *self.right.entry(kind).or_default() += 1;
    }

    pub(super) fn add_error(&mut self, error: &str) {
        *self.errors.entry(without_numbers(error)).or_default() += 1;
    }

    pub(super) fn add_wrong(&mut self, command: &str, reply: &str, expected: &str) {
        self.wrong += 1;
        if self.examples.len() < EXAMPLES_MAX {
            let [command, reply, expected] =
                [command, reply, expected].map(|it| format!("{it:.SHOWN_MAX$}"));
            let example = format!("{command}: {reply} instead of {expected}");
            self.examples.push(example);
        }
    }

    /// The errors whose texts do not begin with one of these.
    pub(crate) fn errors_beside(&self, beginnings: &[&str]) -> Vec<&str> {
        let is_other = |error: &&str| !beginnings.iter().any(|it| error.starts_with(it));
        let errors = self.errors.keys().map(String::as_str);
        errors.filter(is_other).collect()
    }
}

impl Display for Summary {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let right: u64 = self.right.values().sum();
        let rate = right as f64 / self.seconds;
        let (seed, seconds) = (self.seed, self.seconds);
        writeln!(
            f,
            "ELIKA_CHECK_SEED={seed}: {right} right in {seconds:.1} s ({rate:.0} a second), \
             {} wrong, {} of them out of order, {} connections closed",
            self.wrong, self.reordered, self.closed
        )?;
        for (kind, n) in &self.right {
            writeln!(f, "  {n} right: {kind:?}")?;
        }
        for (error, n) in &self.errors {
            writeln!(f, "  {n} errors: {error}")?;
        }
        for example in &self.examples {
            writeln!(f, "  wrong: {example}")?;
        }
        Ok(())
    }
}

/// The text with `#` for each number.
fn without_numbers(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '0'..='9' if out.ends_with('#') => {}
            '0'..='9' => out.push('#'),
            c => out.push(c),
        }
    }
    out
}
