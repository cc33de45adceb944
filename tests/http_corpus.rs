//! Replays the corpus of bytes that the service port receives: also cut at any point, and with one
//! byte changed.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::fs;
use std::path::Path;

use elika::service::check::requests;

/// Bytes of all changes of one file together. More would take long and find little.
const BYTES_MAX: usize = 40_000;

#[test]
fn corpus_of_http_requests_holds() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/http");
    let mut files = 0;
    for entry in fs::read_dir(&corpus).unwrap() {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        let mut bytes = fs::read(&path).unwrap();
        requests(&bytes);
        for at in 0..bytes.len().min(BYTES_MAX / bytes.len()) {
            requests(&bytes[..at]);
            for changed in *b"\r\n 0:\xff" {
                let original = std::mem::replace(&mut bytes[at], changed);
                requests(&bytes);
                bytes[at] = original;
            }
        }
        files += 1;
    }
    assert!(files >= 15, "{files} files in {}", corpus.display());
}
