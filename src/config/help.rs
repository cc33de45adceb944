//! The text of `--help` and `--version`, made from the table of options.

use super::table::{self, GROUPS, Row, Value};

/// What fits a terminal and `docs/options.md`.
const WIDTH: usize = 100;

/// One line: the program and its version.
pub(super) fn version() -> String {
    concat!("elika-proxy ", env!("CARGO_PKG_VERSION")).to_owned()
}

/// Every option with its meaning, values and default; no line is longer than [`WIDTH`].
pub(super) fn text() -> String {
    let mut text = String::from(INTRODUCTION);
    let column = table::rows().map(|row| label(row).len()).max().unwrap_or(0) + 2;
    for group in GROUPS {
        text.push_str(&format!("\n{}:\n", group.title));
        for row in group.rows {
            entry(&mut text, &label(row), column, &meaning(row));
        }
    }
    text.push_str("\nOther:\n");
    entry(&mut text, "  -h, --help", column, "print this text");
    entry(&mut text, "  -V, --version", column, "print the version");
    text.push('\n');
    wrap(&mut text, 0, RULES);
    text
}

const INTRODUCTION: &str = "\
Elika, a multi-tenant Redis proxy: one entry point, many Redis and Valkey clusters.

Usage: elika-proxy [--name=value | --name value]...
";

const RULES: &str = "Defaults stand in [ ]. Each option can be set in the environment as well, \
    for example --router.static-be as ELIKA_ROUTER_STATIC_BE; the command line wins.";

fn label(row: &Row) -> String {
    format!("  --{}={}", row.name, row.hint)
}

fn meaning(row: &Row) -> String {
    let mut meaning = row.help.to_owned();
    if let Value::OneOf(names, _) = row.value {
        meaning.push_str(&format!("; one of {}", names.join(", ")));
    }
    if !row.default.is_empty() {
        meaning.push_str(&format!(" [{}]", row.default));
    }
    meaning
}

fn entry(text: &mut String, label: &str, column: usize, meaning: &str) {
    text.push_str(&format!("{label:column$}"));
    wrap(text, column, meaning);
}

/// Appends `words`, as many on a line as fit; further lines begin at `column`, where `text` is.
fn wrap(text: &mut String, column: usize, words: &str) {
    let mut at = column;
    for word in words.split_whitespace() {
        if at > column && at + 1 + word.len() > WIDTH {
            text.push_str(&format!("\n{:column$}", ""));
            at = column;
        }
        if at > column {
            text.push(' ');
            at += 1;
        }
        text.push_str(word);
        at += word.len();
    }
    text.push('\n');
}
