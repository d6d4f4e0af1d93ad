//! A whole connection, on any bytes.
#![no_main]

#[path = "../src/connection.rs"]
mod connection;

libfuzzer_sys::fuzz_target!(|input: &[u8]| connection::check(input));
