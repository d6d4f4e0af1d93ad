//! What keys take and how they are used: OBJECT, MEMORY, and the refusal when memory is used up.

use crate::script::{run, run_with};

#[test]
fn uses_of_keys() {
    run(r#"
        OBJECT HELP
        OBJECT IDLETIME nosuch
        OBJECT FREQ nosuch
        OBJECT IDLETIME
        OBJECT IDLETIME a b
        OBJECT FREQ
        OBJECT FREQ a b
        SET k v
        ~1 OBJECT IDLETIME k
        OBJECT FREQ k
        CONFIG SET maxmemory-policy volatile-lru
        OBJECT FREQ k
        CONFIG SET maxmemory-policy allkeys-lfu
        SET f v
        OBJECT FREQ f
        OBJECT FREQ f
        OBJECT FREQ nosuch
        OBJECT IDLETIME f
        OBJECT IDLETIME nosuch
        CONFIG SET maxmemory-policy volatile-lfu
        OBJECT IDLETIME f
        CONFIG SET maxmemory-policy noeviction
        OBJECT FREQ f
    "#);
}

#[test]
fn memory_subcommands() {
    run(r#"
        MEMORY
        MEMORY FOO
        MEMORY HELP
        MEMORY HELP a
        MEMORY PURGE
        MEMORY PURGE a
        MEMORY STATS a
        MEMORY DOCTOR a
        MEMORY MALLOC-STATS a
        shape MEMORY DOCTOR
        shape MEMORY MALLOC-STATS
        MEMORY USAGE
        MEMORY USAGE nosuch
        MEMORY USAGE nosuch SAMPLES 1
        MEMORY USAGE nosuch SAMPLES abc
        MEMORY USAGE nosuch foo
        SET k v
        shape MEMORY USAGE k
        shape MEMORY USAGE k SAMPLES 0
        shape MEMORY USAGE k samples 5 SAMPLES 7
        MEMORY USAGE k SAMPLES
        MEMORY USAGE k SAMPLES -1
        MEMORY USAGE k SAMPLES abc
        MEMORY USAGE k SAMPLES 99999999999999999999
        MEMORY USAGE k SAMPLES abc SAMPLES 5
        MEMORY USAGE k SAMPLES 0 SAMPLES
        MEMORY USAGE k SAMPLES 1 SAMPLES -1
        MEMORY USAGE k FOO 1
        MEMORY USAGE k SAMPLES 1 FOO 1
    "#);
}

/// So little that nothing can be written.
#[test]
fn writes_without_room_are_refused() {
    run_with(
        &[("maxmemory", "1")],
        r#"
        SET k v
        GET k
        APPEND k v
        INCR k
        MSET a 1 b 2 c 3 d 4
        SETRANGE k 0 v
        DEL k a b c d
        EXPIRE k 10
        DBSIZE
        SET k
        CONFIG SET maxmemory-policy volatile-ttl
        SET k v
        CONFIG SET maxmemory 0
        SET k v EX 100
        GET k
        CONFIG SET maxmemory-policy noeviction
        CONFIG SET maxmemory 1
        SET k w
        GET k
        DEL k
        DBSIZE
        CONFIG SET maxmemory 0
    "#,
    );
}
