//! Any bytes as operations on a worker's proxy.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| elika::proxy::check::operations(data));
