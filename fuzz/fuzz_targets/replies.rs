//! The encoder of replies, on any reply.
#![no_main]

#[path = "../src/replies.rs"]
mod replies;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| replies::check(bytes));
