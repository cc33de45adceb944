//! Replays the corpus of operations on a proxy: also cut at any point, and with one operation
//! changed.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::fs;
use std::path::Path;

use elika::proxy::check::operations;

/// More of a long file would take long and find little.
const CHANGES_MAX: usize = 200;

#[test]
fn corpus_of_proxy_operations_holds() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/proxy_ops");
    let mut files = 0;
    for entry in fs::read_dir(&corpus).unwrap() {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        let mut bytes = fs::read(&path).unwrap();
        operations(&bytes);
        for at in 0..bytes.len().min(CHANGES_MAX) {
            operations(&bytes[..at]);
            for changed in [0, 7, 8, 11, 16, 18] {
                let original = std::mem::replace(&mut bytes[at], changed);
                operations(&bytes);
                bytes[at] = original;
            }
        }
        files += 1;
    }
    assert!(files >= 15, "{files} files in {}", corpus.display());
}
