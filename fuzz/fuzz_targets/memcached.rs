//! The parser of memcached requests, on any bytes.
#![no_main]

#[path = "../src/memcached.rs"]
mod memcached;

libfuzzer_sys::fuzz_target!(|stream: &[u8]| memcached::check(stream));
