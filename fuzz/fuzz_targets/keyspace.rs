//! The keyspace beside a map, on any bytes.
#![no_main]

#[path = "../src/keyspace.rs"]
mod keyspace;

libfuzzer_sys::fuzz_target!(|input: &[u8]| keyspace::check(input));
