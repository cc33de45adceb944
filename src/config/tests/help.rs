//! The texts of `--help` and `--version`.

use super::*;
use crate::config::table::GROUPS;

fn help() -> String {
    match run(&["--help"], &[]) {
        Ok(Parsed::Help(text)) => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn help_and_version_are_printed_despite_wrong_options() {
    for args in [
        &["-h"][..],
        &["--help"],
        &["--port=x", "-h"],
        &["word", "--help"],
    ] {
        assert_eq!(run(args, &[("ELIKA_PORT", "x")]), Ok(Parsed::Help(help())));
    }
    let version = format!("elika-proxy {}", env!("CARGO_PKG_VERSION"));
    for arg in ["-V", "--version"] {
        assert_eq!(run(&[arg], &[]), Ok(Parsed::Version(version.clone())));
    }
}

#[test]
fn help_lists_every_option_with_its_values_and_default() {
    let help = help();
    // All words on one line: where the lines are broken does not matter.
    let words = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for row in rows() {
        let mut entry = format!("--{}={} {}", row.name, row.hint, row.help);
        if let Value::OneOf(names, _) = row.value {
            entry += &format!("; one of {}", names.join(", "));
        }
        if !row.default.is_empty() {
            entry += &format!(" [{}]", row.default);
        }
        assert!(words.contains(&entry), "{entry}");
    }
    for group in GROUPS {
        assert!(help.contains(&format!("\n\n{}:\n", group.title)));
    }
    assert!(words.contains("--router.static-be by ELIKA_ROUTER_STATIC_BE; the command line wins."));
    assert!(words.contains("-h, --help") && words.contains("-V, --version"));
}

#[test]
fn help_lines_are_aligned_and_at_most_100_characters_long() {
    let help = help();
    let column = help
        .lines()
        .find_map(|line| line.find("print the version"))
        .unwrap();
    for line in help.lines() {
        assert!(line.chars().count() <= 100, "{line}");
        assert_eq!(line.trim_end(), line, "no blanks at the end");
        if line.starts_with("  ") {
            assert_eq!(line.as_bytes()[column - 1], b' ', "{line}");
            assert_ne!(line.as_bytes()[column], b' ', "{line}");
        }
    }
    assert!(help.ends_with('\n') && !help.ends_with("\n\n"));
}
