//! Any bytes as a client's requests.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| elika::resp::check::request(data));
