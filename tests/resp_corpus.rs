//! Replays the corpora of the fuzz targets.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::fs;
use std::path::Path;

use elika::resp::check;

#[test]
fn request_corpus_passes_every_check() {
    replay("request", check::request);
}

#[test]
fn corpus_of_replies_holds() {
    replay("reply", check::reply);
}

/// Also cut at any point, and with one byte changed.
fn replay(target: &str, check: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let mut files = 0;
    for entry in fs::read_dir(&corpus).unwrap() {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        let mut bytes = fs::read(&path).unwrap();
        check(&bytes);
        for at in 0..bytes.len().min(300) {
            check(&bytes[..at]);
            for changed in *b"\r\n*$0" {
                let original = std::mem::replace(&mut bytes[at], changed);
                check(&bytes);
                bytes[at] = original;
            }
        }
        files += 1;
    }
    assert!(files >= 15, "{files} files in {}", corpus.display());
}
