//! Tests of [`parse`], one file per topic. This file has the helpers that they share.

mod help;
mod options;
mod relations;
mod values;

use std::collections::BTreeMap;

use super::table::{Row, Value, rows};
use super::*;

/// Parses command-line words and environment variables.
fn run(args: &[&str], env: &[(&str, &str)]) -> Result<Parsed, ConfigError> {
    let args = args.iter().map(|arg| (*arg).to_owned());
    let env: BTreeMap<&str, &str> = env.iter().copied().collect();
    parse(args, &|name| env.get(name).map(|value| (*value).to_owned()))
}

#[track_caller]
fn config_with(args: &[&str], env: &[(&str, &str)]) -> Config {
    match run(args, env) {
        // Configurations are compared by their values, not by which options are set.
        Ok(Parsed::Run(config)) => Config {
            given: Vec::new(),
            ..*config
        },
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn config(args: &[&str]) -> Config {
    config_with(args, &[])
}

/// The error line; checks that it is one line.
#[track_caller]
fn refusal_with(args: &[&str], env: &[(&str, &str)]) -> String {
    let line = run(args, env).unwrap_err().to_string();
    assert!(!line.chars().any(char::is_control), "{line:?}");
    line
}

#[track_caller]
fn refusal(args: &[&str]) -> String {
    refusal_with(args, &[])
}

/// The default configuration with one option set; the checks of several options are skipped.
fn set(row: &Row, text: &str) -> Config {
    let mut config = Config::default();
    assert!(apply(row, text, &mut config), "{}={text}", row.name);
    config
}

/// Sets one option. Returns false when the option rejects the text.
fn apply(row: &Row, text: &str, config: &mut Config) -> bool {
    match &row.value {
        Value::Number(_, _, set) => set(config, text.parse().unwrap()),
        Value::OneOf(names, set) => {
            set(config, text);
            names.contains(&text)
        }
        Value::Text(_, set) => set(config, text).is_ok(),
    }
}
