//! The parser of requests, on any bytes.
#![no_main]

#[path = "../src/requests.rs"]
mod requests;

libfuzzer_sys::fuzz_target!(|stream: &[u8]| requests::check(stream));
