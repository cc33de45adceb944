//! Files of src import each other in one direction: whoever changes one knows what rests on it.
//!
//! Modules and their parents aside: a parent opens its room, and its files use what it declares.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::path::Path;

/// The names of modules from the crate's root on.
type Module = Vec<String>;

type Imports = BTreeMap<Module, BTreeSet<Module>>;

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
    let files = ["a", "a::b", "a::c", "d"].map(|path| (module(path), BTreeSet::new()));
    let files = Imports::from(files);
    for (text, expected) in [
        ("use crate::d::X;", &["d"][..]),
        (
            "use super::{\n    b::{X, Y as Z},\n    c,\n};",
            &["a::b", "a::c"],
        ),
        ("pub(in super::super) use super::super::d::{self};", &["d"]),
        ("    use super::b::*;", &["a::b"]),
        ("use std::d::X;\n// use crate::d;", &[]),
    ] {
        let expected: BTreeSet<_> = expected.iter().map(|path| module(path)).collect();
        assert_eq!(
            imports_of(&module("a::x"), text, &files),
            expected,
            "{text}"
        );
    }
}

/// The way from a file back to itself, if there is one; the shortest.
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
    let files: Imports = texts
        .keys()
        .map(|file| (file.clone(), BTreeSet::new()))
        .collect();
    let imports = texts.iter().map(|(file, text)| {
        let mut imports = imports_of(file, text, &files);
        imports.retain(|other| !file.starts_with(other) && !other.starts_with(file));
        (file.clone(), imports)
    });
    imports.collect()
}

/// All files but those of tests.
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

/// The files that a file imports from, itself among them if it does so.
fn imports_of(file: &Module, text: &str, files: &Imports) -> BTreeSet<Module> {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let mut imports = BTreeSet::new();
    for (at, _) in text.match_indices("use ") {
        let line = text[..at].rsplit('\n').next().unwrap().trim();
        if line.is_empty() || line.starts_with("pub") && !line.contains("//") {
            let tree = text[at + 4..].split(';').next().unwrap();
            for path in paths(&tree.split_whitespace().collect::<Vec<_>>().join(" ")) {
                imports.extend(target(file, &path, files));
            }
        }
    }
    imports
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

/// The file that a path leads into.
fn target(file: &Module, path: &str, files: &Imports) -> Option<Module> {
    let mut names = path
        .split(" as ")
        .next()?
        .split("::")
        .map(str::trim)
        .peekable();
    let mut at = match *names.peek()? {
        "crate" => names.next().map(|_| Module::new())?,
        "self" => names.next().map(|_| file.clone())?,
        "super" => file.clone(),
        child if files.contains_key(&[&file[..], &[child.to_owned()]].concat()) => file.clone(),
        _ => return None,
    };
    while names.next_if_eq(&"super").is_some() {
        at.pop();
    }
    for name in names {
        at.push(name.to_owned());
        if !files.contains_key(&at) {
            at.pop();
            break;
        }
    }
    Some(at)
}

fn module(path: &str) -> Module {
    path.split("::").map(str::to_owned).collect()
}
