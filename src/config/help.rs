//! The texts of `--help` and `--version`, generated from the table of options.

use super::table::{self, GROUPS, Row, Value};

/// Characters of a line; fits a terminal and `docs/options.md`.
const WIDTH: usize = 100;

/// One line: the program's name and its version.
pub(super) fn version() -> String {
    concat!("elika-proxy ", env!("CARGO_PKG_VERSION")).to_owned()
}

/// Every option with its description, allowed values and default. No line is longer than
/// [`WIDTH`].
pub(super) fn text() -> String {
    let mut text = String::from(INTRODUCTION);
    let column = table::rows().map(|row| label(row).len()).max().unwrap_or(0) + 2;
    for group in GROUPS {
        text.push_str(&format!("\n{}:\n", group.title));
        for row in group.rows {
            entry(&mut text, &label(row), column, &description(row));
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

const RULES: &str = "Defaults are in [ ]. Each option can also be set by an environment variable, \
    for example --router.static-be by ELIKA_ROUTER_STATIC_BE; the command line wins.";

fn label(row: &Row) -> String {
    format!("  --{}={}", row.name, row.hint)
}

/// The help of `row`, then the allowed names and the default.
fn description(row: &Row) -> String {
    let mut description = row.help.to_owned();
    if let Value::OneOf(names, _) = row.value {
        description.push_str(&format!("; one of {}", names.join(", ")));
    }
    if !row.default.is_empty() {
        description.push_str(&format!(" [{}]", row.default));
    }
    description
}

fn entry(text: &mut String, label: &str, column: usize, description: &str) {
    text.push_str(&format!("{label:column$}"));
    wrap(text, column, description);
}

/// Appends `words` and breaks lines at [`WIDTH`]. The last line of `text` is `column` characters
/// long; each further line is indented to `column`.
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
