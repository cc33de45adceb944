//! Any bytes as a backend's replies.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| elika::resp::check::reply(data));
