//! Files of src import each other in one direction, so that a change affects only the files above.
//! Methods of the machine call each other in one direction, too.
//!
//! Modules and their parents are exempt: a parent declares its modules, and they use its
//! declarations. An item of `pub use` counts as imported from the file that declares it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::path::Path;

/// The names of modules from the crate's root on.
type Module = Vec<String>;

type Imports = BTreeMap<Module, BTreeSet<Module>>;

/// An item in a file, by its name; without a name, the file.
type Place = (Module, Option<String>);

/// All files, and the origins of their `pub use` items.
#[derive(Default)]
struct Files {
    all: BTreeSet<Module>,
    passed_on: BTreeMap<Place, Place>,
}

#[test]
fn no_files_import_each_other_in_a_ring() {
    let imports = read_imports();
    assert!(imports.len() > 200, "{} files", imports.len());
    let rings: Vec<_> = imports
        .keys()
        .filter_map(|file| ring(&imports, file))
        .collect();
    let shown: Vec<_> = rings.iter().map(|ring| show(ring)).collect();
    assert!(rings.is_empty(), "\n{}\n", shown.join("\n"));
}

#[test]
fn trees_of_imports_are_read_as_rust_does() {
    let texts = ["a", "a::b", "a::c", "d"].map(|path| (module(path), String::new()));
    let mut texts = BTreeMap::from(texts);
    texts.insert(module("a"), "pub use b::{V, W as U};".to_owned());
    let files = Files::new(&texts);
    for (text, expected) in [
        ("use crate::d::X;", &["d"][..]),
        (
            "use super::{\n    b::{X, Y as Z},\n    c,\n};",
            &["a::b", "a::c"],
        ),
        ("pub(in super::super) use super::super::d::{self};", &["d"]),
        ("    use super::b::*;", &["a::b"]),
        ("use std::d::X;\n// use crate::d;", &[]),
        ("use super::{U, V};\nuse super::W;", &["a", "a::b"]),
        (
            "    super::c::x(crate::d::Y); // super::b::z()",
            &["a::c", "d"],
        ),
        ("pub(in super::super) fn x() {}", &[""]),
    ] {
        let expected: BTreeSet<_> = expected.iter().map(|path| module(path)).collect();
        assert_eq!(
            imports_of(&module("a::x"), text, &files),
            expected,
            "{text}"
        );
    }
}

/// What an event means for other clients and links is queued as work. A handler that ran their
/// state machines itself could be called again from there, as deep as there are clients.
#[test]
fn no_method_of_the_machine_calls_itself_through_others() {
    let calls = read_calls();
    assert!(calls.len() > 300, "{} methods", calls.len());
    let rings: Vec<_> = calls.keys().filter_map(|it| ring(&calls, it)).collect();
    let shown: Vec<_> = rings.iter().map(|ring| show(ring)).collect();
    assert!(rings.is_empty(), "\n{}\n", shown.join("\n"));
}

/// The methods of `Machine` by name, and those that each of them calls.
fn read_calls() -> Imports {
    // These only choose the method for one command or one message of a client.
    let own = |name: &str| ["dispatch", "pass", "change"].contains(&name);
    let (mut texts, mut calls) = (BTreeMap::new(), Imports::new());
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/proxy");
    read_folder(&folder, &[], &mut texts);
    for text in texts.values() {
        for block in text.split("\nimpl Machine {").skip(1) {
            let block = block.split("\n}").next().unwrap();
            for method in block.split("fn ").skip(1) {
                let (name, body) = method.split_once('(').unwrap();
                let body: String = body.split_whitespace().collect();
                let called = body.split("self.").skip(1).filter_map(|rest| {
                    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_')?;
                    rest[end..].starts_with('(').then(|| module(&rest[..end]))
                });
                let called = called.filter(|called| !own(&called[0]));
                calls.entry(module(name)).or_default().extend(called);
            }
        }
    }
    // The others are methods of other types.
    let names: BTreeSet<_> = calls.keys().cloned().collect();
    for called in calls.values_mut() {
        called.retain(|name| names.contains(name));
    }
    calls
}

/// The shortest path from a file or method back to itself, if there is one.
fn ring(imports: &Imports, from: &Module) -> Option<Vec<Module>> {
    let mut came_from = BTreeMap::new();
    let mut queue = VecDeque::from([from]);
    while let Some(file) = queue.pop_front() {
        for next in imports.get(file)? {
            if next == from {
                let back = std::iter::successors(Some(file), |file| came_from.get(file).copied());
                let mut way: Vec<_> = back.cloned().collect();
                way.reverse();
                return Some(way);
            }
            if !came_from.contains_key(next) {
                came_from.insert(next, file);
                queue.push_back(next);
            }
        }
    }
    None
}

fn show(ring: &[Module]) -> String {
    let names: Vec<_> = ring.iter().map(|file| file.join("/")).collect();
    format!("{} -> {}", names.join(" -> "), names[0])
}

fn read_imports() -> Imports {
    let mut texts = BTreeMap::new();
    read_folder(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &[],
        &mut texts,
    );
    let files = Files::new(&texts);
    let imports = texts.iter().map(|(file, text)| {
        let mut imports = imports_of(file, text, &files);
        imports.retain(|other| !file.starts_with(other) && !other.starts_with(file));
        (file.clone(), imports)
    });
    imports.collect()
}

impl Files {
    fn new(texts: &BTreeMap<Module, String>) -> Self {
        let mut files = Self {
            all: texts.keys().cloned().collect(),
            passed_on: BTreeMap::new(),
        };
        for (file, text) in texts {
            for path in uses(text, |before| before.starts_with("pub")) {
                let name = path.rsplit([' ', ':']).next().unwrap().to_owned();
                if let Some(place) = files.place(file, &path) {
                    files.passed_on.insert((file.clone(), Some(name)), place);
                }
            }
        }
        files
    }

    /// The file and item that a path leads to.
    fn place(&self, file: &Module, path: &str) -> Option<Place> {
        let names = path.split(" as ").next()?.split("::");
        let mut names = names.map(str::trim).peekable();
        let mut at = match *names.peek()? {
            "crate" => names.next().map(|_| Module::new())?,
            "self" => names.next().map(|_| file.clone())?,
            "super" => file.clone(),
            child if self.all.contains(&child_of(file, child)) => file.clone(),
            _ => return None,
        };
        while names.next_if_eq(&"super").is_some() {
            at.pop();
        }
        while let Some(name) = names.next_if(|name| self.all.contains(&child_of(&at, name))) {
            at.push(name.to_owned());
        }
        Some((at, names.next().map(str::to_owned)))
    }
}

fn child_of(module: &Module, name: &str) -> Module {
    [module, &[name.to_owned()][..]].concat()
}

/// All files except tests.
fn read_folder(folder: &Path, module: &[String], texts: &mut BTreeMap<Module, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        if name.ends_with("tests") {
            continue;
        }
        let mut file = module.to_vec();
        if !["mod", "lib", "main"].contains(&name) {
            file.push(name.to_owned());
        }
        if path.is_dir() {
            read_folder(&path, &file, texts);
        } else {
            texts.insert(file, fs::read_to_string(&path).unwrap());
        }
    }
}

/// The files that a file imports from, including itself if it does.
fn imports_of(file: &Module, text: &str, files: &Files) -> BTreeSet<Module> {
    let paths = uses(text, |_| true).into_iter().chain(inline_paths(text));
    let places = paths.filter_map(|path| files.place(file, &path));
    let origins = places.map(|mut place| {
        while let Some(origin) = files.passed_on.get(&place) {
            place = origin.clone();
        }
        place.0
    });
    origins.collect()
}

/// The paths of all `use` items that have this text before them in their line.
fn uses(text: &str, is_meant: impl Fn(&str) -> bool) -> Vec<String> {
    let text = without_tests(text);
    let mut all = Vec::new();
    for (at, _) in text.match_indices("use ") {
        let before = text[..at].rsplit('\n').next().unwrap().trim();
        let is_use = before.is_empty() || before.starts_with("pub") && !before.contains("//");
        if is_use && is_meant(before) {
            let tree = text[at + 4..].split(';').next().unwrap();
            all.extend(paths(
                &tree.split_whitespace().collect::<Vec<_>>().join(" "),
            ));
        }
    }
    all
}

/// The paths in expressions and types.
fn inline_paths(text: &str) -> Vec<String> {
    let is_name = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let lines = without_tests(text).lines();
    let lines = lines.map(|line| line.split("//").next().unwrap());
    let lines = lines.filter(|line| !line.contains("use "));
    let words = lines.flat_map(|line| line.split(|c| !is_name(c)));
    let paths = words.filter(|word| word.starts_with("super::") || word.starts_with("crate::"));
    paths.map(str::to_owned).collect()
}

fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests {").next().unwrap()
}

/// `a::{b, c::d}` is `a::b` and `a::c::d`.
fn paths(tree: &str) -> Vec<String> {
    let Some((before, inside)) = tree.split_once('{') else {
        return vec![tree.trim().to_owned()];
    };
    let inside = inside.trim_end().strip_suffix('}').unwrap();
    let mut depth = 0;
    let branches = inside.split(|c| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        c == ',' && depth == 0
    });
    let branches = branches.filter(|branch| !branch.trim().is_empty());
    let paths = branches.flat_map(|branch| paths(&format!("{}{}", before.trim(), branch.trim())));
    paths.collect()
}

fn module(path: &str) -> Module {
    let names = path.split("::").filter(|name| !name.is_empty());
    names.map(str::to_owned).collect()
}
