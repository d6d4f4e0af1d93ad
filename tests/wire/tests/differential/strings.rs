//! Strings: SET and its relatives, ranges, several keys at once.

use std::fmt::Write;

use crate::script::run;

#[test]
fn set_and_its_options() {
    run(r#"
        SET k v
        GET k
        SET k
        SET
        GET
        GET k k
        GET none
        SET k v NX
        SET k v XX
        SET none v XX
        SET none v NX
        SET none w NX
        GET none
        SET k v NX XX
        SET k v XX NX
        SET k v nx ex 100
        SET k2 v nX eX 100
        ~1 TTL k2
        SET k v EX 100
        ~1 TTL k
        SET k v
        TTL k
        SET k v EX 100 PX 100
        SET k v PX 100000
        ~2000 PTTL k
        SET k v EX 100
        SET k w KEEPTTL
        ~1 TTL k
        GET k
        SET k w KEEPTTL EX 100
        SET k w EX 100 KEEPTTL
        SET k w KEEPTTL KEEPTTL
        SET k w KEEPTTL GET
        SET k w EXAT 4102444800
        EXPIRETIME k
        PEXPIRETIME k
        SET k w PXAT 4102444800123
        EXPIRETIME k
        PEXPIRETIME k
        SET k w EXAT 1
        EXISTS k
        GET k
        SET k w PXAT 1
        GET k
        SET k w EXAT 0
        SET k w EXAT -1
        SET k w PXAT 0
        SET k w PXAT -5
        SET k w EX 0
        SET k w EX -1
        SET k w PX 0
        SET k w PX -1
        SET k w EX
        SET k w PX
        SET k w EXAT
        SET k w PXAT
        SET k w EX abc
        SET k w PX abc
        SET k w EX 1.5
        SET k w EX ""
        SET k w EX " 5"
        SET k w EX 9223372036854775807
        SET k w EX 9223372036854775
        SET k w EX 9223372036854776
        SET k w EX 9223372036854775808
        SET k w PX 9223372036854775807
        SET k w EXAT 9223372036854775807
        SET k w EXAT 9223372036854775
        PEXPIRETIME k
        SET k w PXAT 9223372036854775807
        PEXPIRETIME k
        SET k w EX 100 EX 100
        SET k w EX 100 EXAT 100
        SET k w PXAT 100 EXAT 100
        SET k w FOO
        SET k w NX FOO
        SET k w EX 10 FOO
        SET k w GET
        SET k2 v GET
        SET fresh v GET
        SET fresh w NX GET
        SET fresher w NX GET
        GET fresher
        SET nothere v XX GET
        GET nothere
        SET fresh x XX GET
        SET fresh x GET GET
        SET fresh x GET EX 100
        ~1 TTL fresh
        SET fresh x GET EX -1
        GET fresh
        SET fresh x NX NX
        SET fresh x XX XX
        SET fresh x PERSIST
        SET "" empty
        GET ""
        SET k ""
        GET k
        STRLEN k
        SET "a\x00b\r\n" "\x00\xff\r\n"
        GET "a\x00b\r\n"
        STRLEN "a\x00b\r\n"
        SET <k*5000> <v*100000>
        GET <k*5000>
        STRLEN <k*5000>
        SET big <v*1000000>
        GET big
        set lower case
        GeT lower
    "#);
}

#[test]
fn relatives_of_set() {
    run(r#"
        SETNX k v
        SETNX k w
        GET k
        SETNX k
        SETNX k v w
        SETEX k 100 v
        ~1 TTL k
        SETEX k 0 v
        SETEX k -1 v
        SETEX k abc v
        SETEX k 9223372036854775807 v
        SETEX k 9223372036854775 v
        SETEX k 1
        SETEX k 1 2 3
        PSETEX k 100000 v
        ~2000 PTTL k
        PSETEX k 0 v
        PSETEX k -1 v
        PSETEX k abc v
        PSETEX k 9223372036854775807 v
        PSETEX k 1
        SETNX k v
        GETSET k new
        TTL k
        GETSET none new
        GET none
        GETSET k
        GETSET k a b
        GETDEL none
        GETDEL none
        GETDEL
        GETDEL k k
        EXISTS none
        SET k v
        GETEX k
        GETEX none
        GETEX
        GETEX k EX 100
        ~1 TTL k
        GETEX k
        ~1 TTL k
        GETEX k PX 100000
        ~2000 PTTL k
        GETEX k EXAT 4102444800
        EXPIRETIME k
        GETEX k PXAT 4102444800123
        PEXPIRETIME k
        GETEX k PERSIST
        TTL k
        GETEX k PERSIST
        GETEX none PERSIST
        GETEX none EX 100
        EXISTS none
        GETEX k EX
        GETEX k EX 0
        GETEX k EX -1
        GETEX k PX 0
        GETEX k EXAT 0
        GETEX k EXAT -1
        GETEX k PXAT -1
        GETEX k EX abc
        GETEX none EX abc
        GETEX none EX 0
        GETEX none FOO
        GETEX k EX 9223372036854775807
        GETEX k PX 9223372036854775807
        GETEX k EX 100 PX 100
        GETEX k EX 100 PERSIST
        GETEX k PERSIST EX 100
        GETEX k PERSIST PERSIST
        GETEX k KEEPTTL
        GETEX k NX
        GETEX k GET
        GETEX k FOO
        GETEX k EX 100 EX 100
        GETEX k EXAT 1
        EXISTS k
        SET k v
        GETEX k PXAT 1
        GET k
        DBSIZE
    "#);
}

#[test]
fn append_and_ranges() {
    run(r#"
        APPEND k abc
        APPEND k ""
        APPEND k def
        GET k
        APPEND k
        APPEND k a b
        STRLEN k
        STRLEN none
        STRLEN
        STRLEN k k
        APPEND fresh ""
        EXISTS fresh
        GET fresh
        SET ttl x EX 100
        APPEND ttl y
        ~1 TTL ttl
        SET number 12
        APPEND number 3
        INCR number
        SETRANGE k 0 XY
        GET k
        SETRANGE k 4 "123456"
        GET k
        SETRANGE k 20 tail
        GET k
        SETRANGE k 3 ""
        SETRANGE k 1000000 ""
        STRLEN k
        SETRANGE none 0 ""
        SETRANGE none 5 ""
        EXISTS none
        SETRANGE none 3 x
        GET none
        SETRANGE k -1 x
        SETRANGE k -1 ""
        SETRANGE none2 -1 x
        SETRANGE k abc x
        SETRANGE k 9223372036854775808 x
        SETRANGE k 9223372036854775807 x
        SETRANGE k 536870912 x
        SETRANGE k 536870911 xy
        SETRANGE none2 536870912 ""
        SETRANGE none2 9223372036854775807 ""
        EXISTS none2
        SETRANGE k 1
        SETRANGE k 1 2 3
        SETRANGE ttl 1 zz
        ~1 TTL ttl
        GET ttl
        SET number 12345
        SETRANGE number 1 99
        GET number
        INCR number
        GETRANGE number 1 2
        GETRANGE none 0 -1
        GETRANGE k a b
        GETRANGE k 0 b
        GETRANGE k 0
        GETRANGE k 0 1 2
        GETRANGE k 0 9223372036854775807
        GETRANGE k -9223372036854775808 9223372036854775807
        GETRANGE k 9223372036854775807 -9223372036854775808
        GETRANGE k 0 9223372036854775808
        GETRANGE k -9223372036854775809 0
        GETRANGE none a b
    "#);
}

#[test]
fn getrange_with_every_pair_of_ends() {
    let mut script = String::from("SET k hello\nSET empty \"\"\n");
    for start in -7..8 {
        for end in -7..8 {
            writeln!(script, "GETRANGE k {start} {end}").expect("a string takes all");
        }
        writeln!(script, "GETRANGE empty {start} 0\nGETRANGE empty {start} -1")
            .expect("a string takes all");
    }
    run(&script);
}

#[test]
fn several_keys() {
    run(r#"
        MSET
        MSET a
        MSET a 1 b
        MSET a 1 b 2 c
        MSET a 1
        MSET a 1 b 2 c 3 d 4 e 5 f 6 g 7 h 8
        MGET a b c d e f g h none a
        MGET
        MGET none
        MGET none none a none
        MSET a 1 a 2 b 1 a 3
        MGET a b
        SET a x EX 100
        MSET a 1
        TTL a
        MSET {t}1 a {t}2 b {u}1 c
        MGET {t}1 {u}1 {t}2
        EXISTS a b c d a a none
        EXISTS
        EXISTS none
        TOUCH a b none a
        TOUCH
        TOUCH none
        DEL a b a none
        DEL
        DEL none
        MGET a b c
        UNLINK c d c none
        UNLINK
        UNLINK none none
        DBSIZE
        MSET x <v*70000> y <w*70000> z <x*70000>
        MGET z y x
        DEL x y z
        EXISTS x y z
    "#);
}

#[test]
fn a_thousand_keys_in_one_command() {
    let keys: Vec<String> = (0..1000).map(|i| format!("key:{i}")).collect();
    let pairs: Vec<String> = keys.iter().map(|key| format!("{key} value-of-{key}")).collect();
    let (keys, pairs) = (keys.join(" "), pairs.join(" "));
    run(&format!(
        "MSET {pairs}\nDBSIZE\nMGET {keys}\nEXISTS {keys} {keys}\nTOUCH {keys}\nsorted KEYS *\n\
         DEL {keys} none {keys}\nDBSIZE\nMSET {pairs}\nUNLINK none {keys}\nMGET {keys}"
    ));
}
