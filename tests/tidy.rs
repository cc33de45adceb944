//! The rules of this project that a test can check: layers, lengths, words, documentation.
//!
//! A rule is a function from a file to errors, and `every_rule_can_fail` tests each of them with a
//! file that breaks the rule.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test may fail")]

use std::fs;
use std::path::Path;

use elika::config::{self, Parsed};

/// Lines of a file, and of a file below `tests/`.
const LINES_MAX: (usize, usize) = (400, 600);

/// Files of `src/` that are one table of data, of any length.
const TABLES: &[&str] = &["src/command/tests/names.rs"];

/// Characters of a line. rustfmt wraps code, but not comments.
const LINE_CHARS_MAX: usize = 100;

/// The layers that each layer may use, besides itself.
const LAYERS: &[(&str, &str)] = &[
    ("resp", ""),
    ("command", "resp"),
    ("cluster", "command"),
    ("config", ""),
    ("metrics", ""),
    ("store", ""),
    ("stats", "store cluster metrics"),
    ("link", "store command metrics resp"),
    ("upstream", "link stats store command cluster metrics resp"),
    ("dedicated", "link store command resp"),
    ("session", "dedicated link stats store command cluster resp"),
    (
        "proxy",
        "session dedicated upstream link stats store command cluster metrics resp",
    ),
    ("reactor", "proxy cluster"),
    ("service", "proxy cluster metrics"),
    (
        "server",
        "service reactor proxy command cluster metrics config resp",
    ),
];

/// Names that the layers without sockets, clocks and threads must not use.
const IMPURE: &[&str] = &[
    "mio",
    "std::thread",
    "Instant::now",
    "SystemTime",
    "TcpListener",
    "TcpStream",
];
const PURE_LAYERS: &str = "resp command cluster store stats link upstream dedicated session proxy";

/// Types with ownership that is checked at run time, which the data path must not use.
const SHARED: &[&str] = &["Rc", "RefCell", "Mutex", "dyn"];
const DATA_PATH: &str = "resp command store stats link upstream dedicated session proxy reactor";

/// Marks of unfinished code, in two parts so that this file does not contain them.
const UNFINISHED: &[(&str, &str)] = &[
    ("todo", "!("),
    ("unimplemented", "!("),
    ("dbg", "!("),
    ("TO", "DO"),
    ("FIX", "ME"),
    ("#[ig", "nore"),
];

/// The first page, and its maximum of lines.
const README: &str = "README.md";
const README_LINES_MAX: usize = 250;

/// The pages on which options, metrics, errors and layers must be documented.
const OPTIONS: &str = "docs/options.md";
const METRICS: &str = "docs/metrics.md";
const ERRORS: &str = "docs/failures.md";
const ARCHITECTURE: &str = "docs/architecture.md";

struct Source {
    /// The path from the root of the project, with `/`.
    path: String,
    text: String,
}

impl Source {
    fn new(path: &str, text: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            text: text.into(),
        }
    }

    /// The folder of `src/` it is in; files beside the folders are in none.
    fn layer(&self) -> Option<&str> {
        let (layer, _) = self.path.strip_prefix("src/")?.split_once('/')?;
        Some(layer)
    }

    fn is_test(&self) -> bool {
        self.path.starts_with("tests/")
            || self.path.contains("/tests/")
            || self.path.ends_with("tests.rs")
    }

    /// The numbered lines of the program, without tests and comments.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let test = self.is_test();
        (1..)
            .zip(self.text.lines())
            .take_while(move |(_, line)| !test && *line != "mod tests {")
            .map(|(n, line)| (n, line.split("//").next().unwrap_or_default()))
    }

    fn error(&self, line: usize, what: impl std::fmt::Display) -> String {
        format!("{}:{line}: {what}", self.path)
    }
}

type Rule = fn(&Source) -> Vec<String>;

const RULES: &[(&str, Rule)] = &[
    ("length", length),
    ("line length", line_length),
    ("opening", opening),
    ("unfinished", unfinished),
    ("layers", layers),
    ("purity", purity),
    ("sharing", sharing),
];

#[test]
fn sources_keep_the_rules() {
    let sources = sources();
    assert!(sources.len() > 50, "{} files found", sources.len());
    let rules = RULES.iter().map(|(_, rule)| rule);
    report(rules.flat_map(|rule| sources.iter().flat_map(rule)));
    for table in TABLES {
        let listed = sources.iter().find(|source| source.path == *table);
        let lines = listed.map_or(0, |source| source.text.lines().count());
        assert!(lines > LINES_MAX.0, "{table} needs no exception");
    }
}

/// Files have at most [`LINES_MAX`] lines, except for [`TABLES`].
fn length(source: &Source) -> Vec<String> {
    let lines = source.text.lines().count();
    let max = match source.path.starts_with("tests/") {
        true => LINES_MAX.1,
        false => LINES_MAX.0,
    };
    if lines <= max || TABLES.contains(&&*source.path) {
        return Vec::new();
    }
    let what = format!("{lines} lines: split it");
    vec![source.error(1, what)]
}

/// Lines have at most [`LINE_CHARS_MAX`] characters, except for literals and addresses.
fn line_length(source: &Source) -> Vec<String> {
    let literal = |line: &str| {
        line.trim_start()
            .trim_start_matches(['b', 'r'])
            .starts_with('"')
    };
    (1..)
        .zip(source.text.lines())
        .filter(|(_, line)| line.chars().count() > LINE_CHARS_MAX)
        .filter(|(_, line)| !literal(line) && !line.contains("://"))
        .map(|(n, _)| source.error(n, "the line is too long"))
        .collect()
}

/// Every file begins with a comment about its purpose.
fn opening(source: &Source) -> Vec<String> {
    if source.text.starts_with("//! ") {
        return Vec::new();
    }
    vec![source.error(1, "does not begin with `//!` and what it is for")]
}

fn unfinished(source: &Source) -> Vec<String> {
    let words = UNFINISHED.iter().map(|(one, two)| format!("{one}{two}"));
    let found = words.flat_map(|word| {
        let lines = (1..).zip(source.text.lines());
        let lines = lines.filter(|(_, line)| line.contains(&word));
        let errors = lines.map(|(n, _)| source.error(n, format!("{word} is left")));
        errors.collect::<Vec<_>>()
    });
    found.collect()
}

/// Layers name only those below them.
fn layers(source: &Source) -> Vec<String> {
    let Some(layer) = source.layer() else {
        return Vec::new();
    };
    let Some((_, below)) = LAYERS.iter().find(|(name, _)| *name == layer) else {
        return vec![source.error(1, format!("{layer} has no row in the table of layers"))];
    };
    let mut errors = Vec::new();
    for (n, line) in source.code() {
        for rest in line.split("crate::").skip(1) {
            let end = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
            let named = &rest[..end];
            if named != layer && !has_word(below, named) {
                let what = format!("{layer} must not name crate::{named}");
                errors.push(source.error(n, what));
            }
        }
    }
    errors
}

fn purity(source: &Source) -> Vec<String> {
    forbidden(source, PURE_LAYERS, IMPURE)
}

fn sharing(source: &Source) -> Vec<String> {
    forbidden(source, DATA_PATH, SHARED)
}

fn forbidden(source: &Source, layers: &str, words: &[&str]) -> Vec<String> {
    if !source.layer().is_some_and(|layer| has_word(layers, layer)) {
        return Vec::new();
    }
    let lines = source.code().flat_map(|(n, line)| {
        let found = words.iter().filter(move |word| has_word(line, word));
        found.map(move |word| source.error(n, format!("{word} has no place here")))
    });
    lines.collect()
}

/// Whether `line` contains `word` as a whole word.
fn has_word(line: &str, word: &str) -> bool {
    let mut found = line.match_indices(word);
    !word.is_empty()
        && found.any(|(at, _)| {
            let before = line[..at].chars().next_back();
            let after = line[at + word.len()..].chars().next();
            !before.is_some_and(is_word) && !after.is_some_and(is_word)
        })
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[test]
fn every_rule_can_fail() {
    let long = "x\n".repeat(LINES_MAX.0 + 1);
    let very_long = "//! Yes.\n".repeat(LINES_MAX.1 + 1);
    let wide = format!("// {}", "x".repeat(LINE_CHARS_MAX));
    let left = format!("{}{})", UNFINISHED[0].0, UNFINISHED[0].1);
    let bad = [
        ("length", "src/resp/new.rs", long.as_str()),
        ("length", "src/resp/new_tests.rs", &long),
        ("length", "tests/new.rs", very_long.as_str()),
        ("line length", "src/resp/new.rs", &wide),
        ("opening", "src/resp/new.rs", "// No.\n"),
        ("unfinished", "tests/new.rs", &left),
        ("layers", "src/resp/new.rs", "use crate::proxy::X;"),
        (
            "layers",
            "src/proxy/new.rs",
            "fn f(x: crate::reactor::X) {}",
        ),
        ("layers", "src/resp/new.rs", "use crate::{proxy};"),
        ("layers", "src/nowhere/new.rs", ""),
        ("purity", "src/proxy/new.rs", "use std::net::TcpStream;"),
        ("purity", "src/command/new.rs", "    std::thread::spawn(f);"),
        ("purity", "src/cluster/new.rs", "let now = Instant::now();"),
        ("purity", "src/resp/new.rs", "use mio::Poll;"),
        ("sharing", "src/reactor/new.rs", "x: Box<dyn Fn()>,"),
    ];
    for (name, rule) in RULES {
        let mut examples = bad.iter().filter(|(of, ..)| of == name).peekable();
        assert!(examples.peek().is_some(), "{name} has no example");
        for (_, path, text) in examples {
            let errors = rule(&Source::new(path, *text));
            assert!(!errors.is_empty(), "{name} passes {text}");
        }
    }
    let good = "//! See mio.\nuse crate::resp::Args; // a TcpStream\nlet mion = 1;\n";
    let good = Source::new("src/proxy/new.rs", good);
    report(RULES.iter().flat_map(|(_, rule)| rule(&good)));
}

#[test]
fn options_page_has_the_help_text() {
    let Ok(Parsed::Help(help)) = config::parse(["--help".to_owned()], &|_| None) else {
        panic!("no help");
    };
    let page = read(OPTIONS);
    let options = help
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("--"));
    report(
        options
            .map(|line| line.split(['=', ' ']).next().unwrap_or_default())
            .filter(|name| !has_word(&page, &format!("--{name}")))
            .map(|name| format!("{OPTIONS}: --{name} is missing")),
    );
    let block = format!("```text\n{}\n```\n", help.trim_end());
    assert_eq!(
        page.matches(&block).count(),
        1,
        "{OPTIONS} must have the output of elika-proxy --help once"
    );
}

/// A declared counter must be in the tables of the page.
#[test]
fn metrics_page_has_every_metric() {
    let (page, table) = (read(METRICS), elika::metrics_table());
    let lines: Vec<&str> = page.lines().collect();
    let missing = table.lines().filter(|line| !lines.contains(line));
    report(missing.map(|line| format!("{METRICS}: missing among the metrics: {line}")));
    assert!(
        page.contains(&table),
        "the tables in {METRICS} have lines too many, or another order"
    );
    let rows = table.lines().filter(|line| line.starts_with("| `elika_"));
    report(rows.filter(|row| row.contains("|  |")).map(str::to_owned));
}

#[test]
fn readme_sets_up_with_two_commands() {
    let readme = read(README);
    let set_up = readme
        .split("\n## ")
        .find(|part| part.starts_with("Set up"));
    let block = set_up.and_then(|part| part.split("```").nth(1));
    assert_eq!(block, Some("sh\nmake run-local\nmake test\n"));
}

/// Every error that the proxy generates is on one page.
#[test]
fn failures_page_has_every_error_of_the_proxy() {
    let page = read(ERRORS);
    let mut missing = Vec::new();
    let mut found = 0;
    for source in sources().iter().filter(|source| source.layer().is_some()) {
        for (n, line) in source.code() {
            for text in line.split("\"ERR elika: ").skip(1) {
                // The longest part that is always the same.
                let text = text.split('"').next().unwrap_or_default();
                let parts = text.split(['{', '}']).map(str::trim);
                let part = parts.max_by_key(|part| part.len()).unwrap_or_default();
                found += 1;
                if !page.contains(part) {
                    missing.push(source.error(n, format!("not in {ERRORS}: {part}")));
                }
            }
        }
    }
    assert!(found > 5, "{found} texts found");
    report(missing);
}

/// Every layer is in both tables of layers.
#[test]
fn every_layer_is_in_the_documentation() {
    let (page, lib) = (read(ARCHITECTURE), read("src/lib.rs"));
    let mut errors = Vec::new();
    let paths = entries("src");
    for path in paths.iter().filter(|path| !path.ends_with(".rs")) {
        let name = path.rsplit('/').next().unwrap_or_default();
        if !page.contains(&format!("{name}/")) {
            errors.push(format!("{ARCHITECTURE}: src/{name} is not in the tree"));
        }
        if !lib.contains(&format!("//! | `{name}`")) {
            errors.push(format!("src/lib.rs: {name} is not in the table of layers"));
        }
    }
    report(errors);
}

/// The way of a request is a table of functions and their files: each is there.
#[test]
fn architecture_page_names_the_functions_on_the_way_of_a_request() {
    let page = read(ARCHITECTURE);
    let rows = page.lines().filter_map(|line| {
        let mut cells = line.split('|').map(|cell| cell.trim().trim_matches('`'));
        let (function, file) = (cells.nth(2)?, cells.next()?);
        file.starts_with("src/").then_some((function, file))
    });
    let rows: Vec<(&str, &str)> = rows.collect();
    let files: std::collections::BTreeSet<_> = rows.iter().map(|(_, file)| file).collect();
    assert!(
        (1..=10).contains(&rows.len()) && files.len() <= 7,
        "{rows:?}"
    );
    for (function, file) in rows {
        let defined = read(file).contains(&format!("fn {function}("));
        assert!(defined, "{ARCHITECTURE}: no {function} in {file}");
    }
}

#[test]
fn every_counter_is_documented() {
    let path = "src/stats/counters.rs";
    report(undocumented(&Source::new(path, read(path))));
    let bad = Source::new(path, "    /// Good.\n    pub a: u64,\n    pub b: u64,\n");
    assert_eq!(undocumented(&bad).len(), 1);
}

fn undocumented(source: &Source) -> Vec<String> {
    let lines: Vec<&str> = source.text.lines().map(str::trim).collect();
    let pairs = (2..).zip(lines.windows(2));
    let fields = pairs.filter(|(_, pair)| pair[1].starts_with("pub ") && pair[1].ends_with(','));
    fields
        .filter(|(_, pair)| !pair[0].starts_with("/// "))
        .map(|(n, pair)| source.error(n, format!("undocumented: {}", pair[1])))
        .collect()
}

/// The README links every page of `docs/`.
#[test]
fn readme_is_short_and_links_every_page() {
    let readme = Source::new(README, read(README));
    let lines = readme.text.lines().count();
    assert!(lines <= README_LINES_MAX, "{README} has {lines} lines");
    let pages: Vec<Source> = pages().collect();
    assert!(pages.len() > 10, "{} pages found", pages.len());
    let linked: Vec<&str> = links(&readme.text).map(|(_, link)| link).collect();
    let missing = pages.iter().filter(|page| page.path.starts_with("docs/"));
    let missing = missing.filter(|page| !linked.contains(&page.path.as_str()));
    report(missing.map(|page| readme.error(lines, format!("does not link {}", page.path))));
}

#[test]
fn every_link_resolves() {
    report(pages().flat_map(|page| broken_links(&page)));
    let bad = "[a](gone.md) [b](docs/options.md#gone)\n[c](#gone)\n";
    assert_eq!(broken_links(&Source::new(README, bad)).len(), 3);
    let good = "# One, `two|three`\n## One\n## One\n```sh\n# No\n[x](y)\n```\n`[x](y)`\n\
                [a](#one-twothree) [b](#one-1) [c](docs/options.md#options) [d](https://x.org/#z)\n";
    report(broken_links(&Source::new(README, good)));
}

/// The relative links of a page to missing files and headings.
fn broken_links(page: &Source) -> Vec<String> {
    let folder = Path::new(&page.path)
        .parent()
        .unwrap_or_else(|| Path::new(""));
    let outside = |link: &str| link.contains("://");
    let broken = links(&page.text).filter(|(_, link)| !outside(link));
    let broken = broken.filter(|(_, link)| {
        let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
        let path = root().join(folder).join(file);
        let text = match file {
            "" => page.text.clone(),
            _ if anchor.is_empty() => return !path.exists(),
            _ => fs::read_to_string(path).unwrap_or_default(),
        };
        !anchors(&text).iter().any(|known| known == anchor)
    });
    broken
        .map(|(n, link)| page.error(n, format!("{link} leads nowhere")))
        .collect()
}

/// The targets of all links of a Markdown text, with their lines; pictures included.
fn links(text: &str) -> impl Iterator<Item = (usize, &str)> {
    prose(text).flat_map(|(n, line)| {
        // What is between backticks is no link.
        let parts = line.split('`').step_by(2);
        let targets = parts.flat_map(|part| part.split("](").skip(1));
        targets.filter_map(move |rest| Some((n, rest.split_once(')')?.0)))
    })
}

/// The anchors that GitHub gives the headings of a Markdown text.
fn anchors(text: &str) -> Vec<String> {
    let mut anchors: Vec<String> = Vec::new();
    let headings = prose(text).filter(|(_, line)| line.starts_with('#'));
    for (_, line) in headings {
        let heading = line.trim_start_matches('#').trim().to_lowercase();
        let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
        let anchor: String = heading.chars().filter(kept).collect();
        let anchor = anchor.replace(' ', "-");
        let again = (1..).map(|n| format!("{anchor}-{n}"));
        let mut names = std::iter::once(anchor.clone()).chain(again);
        anchors.extend(names.find(|name| !anchors.contains(name)));
    }
    anchors
}

/// Lines of a Markdown text, numbered: no blocks of code.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut code = false;
    (1..).zip(text.lines()).filter(move |(_, line)| {
        let fence = line.starts_with("```");
        code ^= fence;
        !code && !fence
    })
}

/// The pages for users and developers.
fn pages() -> impl Iterator<Item = Source> {
    let docs = entries("docs").into_iter();
    let docs = docs.filter(|path| path.ends_with(".md"));
    [README, "CONTRIBUTING.md"]
        .map(str::to_owned)
        .into_iter()
        .chain(docs)
        .map(|path| Source::new(&path, read(&path)))
}

#[track_caller]
fn report(errors: impl IntoIterator<Item = String>) {
    let errors: Vec<String> = errors.into_iter().collect();
    assert!(errors.is_empty(), "\n{}\n", errors.join("\n"));
}

fn sources() -> Vec<Source> {
    let mut paths = Vec::new();
    for folder in ["src", "tests", "examples", "benches", "fuzz/fuzz_targets"] {
        find_sources(folder, &mut paths);
    }
    paths
        .into_iter()
        .map(|path| Source::new(&path, read(&path)))
        .collect()
}

fn find_sources(folder: &str, paths: &mut Vec<String>) {
    for path in entries(folder) {
        if path.ends_with(".rs") {
            paths.push(path);
        } else {
            find_sources(&path, paths);
        }
    }
}

/// The sorted entries of a folder; none if the folder is missing.
fn entries(folder: &str) -> Vec<String> {
    let Ok(found) = fs::read_dir(root().join(folder)) else {
        return Vec::new();
    };
    let mut entries: Vec<String> = found
        .map(|entry| format!("{folder}/{}", entry.unwrap().file_name().display()))
        .collect();
    entries.sort();
    entries
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
