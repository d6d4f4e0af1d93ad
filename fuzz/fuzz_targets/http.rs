//! See `src/http.rs`.
#![no_main]

#[path = "../src/http.rs"]
mod http;

libfuzzer_sys::fuzz_target!(|stream: &[u8]| http::check(stream));
