//! Any bytes as what a connection to the service port receives.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| elika::service::check::requests(data));
