//! Expiry: EXPIRE and its relatives with their conditions, and what is left of a key's time.

use crate::script::run;

#[test]
fn expire_and_its_conditions() {
    run(r#"
        EXPIRE none 100
        SET k v
        EXPIRE k 100
        ~1 TTL k
        ~2000 PTTL k
        PEXPIRE k 200000
        ~1 TTL k
        EXPIREAT k 4102444800
        EXPIRETIME k
        PEXPIRETIME k
        PEXPIREAT k 4102444800999
        EXPIRETIME k
        PEXPIRETIME k
        PERSIST k
        PERSIST k
        PERSIST none
        PERSIST
        PERSIST k k
        TTL k
        PTTL k
        EXPIRETIME k
        PEXPIRETIME k
        TTL none
        PTTL none
        EXPIRETIME none
        PEXPIRETIME none
        TTL
        TTL k k
        PTTL
        EXPIRETIME
        PEXPIRETIME
        EXPIRE k 100 XX
        TTL k
        EXPIRE k 100 GT
        TTL k
        EXPIRE k 100 LT
        ~1 TTL k
        EXPIRE k 200 NX
        ~1 TTL k
        EXPIRE k 200 LT
        ~1 TTL k
        EXPIRE k 200 GT
        ~1 TTL k
        EXPIRE k 100 GT
        ~1 TTL k
        EXPIRE k 50 LT
        ~1 TTL k
        EXPIRE k 300 XX
        ~1 TTL k
        EXPIRE k 400 XX GT
        ~1 TTL k
        EXPIRE k 300 XX LT
        ~1 TTL k
        EXPIRE k 500 xx gt
        ~1 TTL k
        EXPIRE k 100 NX XX
        EXPIRE k 100 NX GT
        EXPIRE k 100 NX LT
        EXPIRE k 100 GT LT
        EXPIRE k 100 XX GT LT
        EXPIRE k 100 XX XX
        EXPIRE k 100 NX NX
        EXPIRE none 100 NX XX
        EXPIRE k 100 FOO
        EXPIRE k 100 NX FOO
        EXPIRE k 100 FOO NX
        EXPIRE none 100 FOO
        EXPIRE k abc
        EXPIRE k abc NX XX
        EXPIRE none abc
        EXPIRE k ""
        EXPIRE k 1.5
        EXPIRE k
        EXPIRE
        PERSIST k
        EXPIRE k 100 NX
        ~1 TTL k
        PEXPIREAT k 4102444800000 NX
        PEXPIREAT k 4102444800000 XX
        PEXPIREAT k 4102444800000 GT
        PEXPIREAT k 4102444800000 LT
        PEXPIREAT k 4102444800001 GT
        PEXPIREAT k 4102444800000 LT
        PEXPIRETIME k
        PEXPIRE k 1000 GT
        PEXPIREAT k 1 GT
        EXISTS k
        PEXPIREAT k 1 LT
        EXISTS k
        TYPE k
    "#);
}

#[test]
fn expiry_in_the_past_removes_the_key() {
    run(r#"
        SET k v
        EXPIRE k 0
        EXISTS k
        SET k v
        EXPIRE k -1
        EXISTS k
        SET k v
        PEXPIRE k -1
        EXISTS k
        SET k v
        PEXPIRE k 0
        EXISTS k
        SET k v
        EXPIREAT k 0
        EXISTS k
        SET k v
        EXPIREAT k 1
        EXISTS k
        SET k v
        EXPIREAT k -1
        EXISTS k
        SET k v
        PEXPIREAT k 1
        EXISTS k
        SET k v
        PEXPIREAT k -1
        EXISTS k
        SET k v
        EXPIRE k -1 XX
        EXISTS k
        EXPIRE k -1 GT
        EXISTS k
        EXPIRE k -1 LT
        EXISTS k
        SET k v EX 100
        EXPIRE k -1 NX
        EXISTS k
        EXPIRE k -1 XX
        EXISTS k
        EXPIRE k -1
        DBSIZE
    "#);
}

#[test]
fn huge_expiry() {
    run(r#"
        SET k v
        EXPIRE k 9223372036854775807
        EXPIRE k 9223372036854775
        EXPIRE k 9223372036854776
        EXPIRE k 9223372036854775808
        TTL k
        PEXPIRE k 9223372036854775807
        PEXPIRE k 9223370000000000000
        TTL k
        PEXPIRE k 9000000000000000000
        ~1 TTL k
        ~2000 PTTL k
        EXPIREAT k 9223372036854775
        EXPIRETIME k
        PEXPIRETIME k
        EXPIREAT k 9223372036854776
        EXPIREAT k 9223372036854775807
        PEXPIREAT k 9223372036854775807
        EXPIRETIME k
        PEXPIRETIME k
        PEXPIREAT k 9223372036854775808
        EXISTS k
        EXPIREAT k -9223372036854775808
        EXISTS k
        SET k v
        EXPIRE k -9223372036854775808
        EXISTS k
        SET k v
        EXPIRE k -9223372036854775
        EXISTS k
        SET k v
        EXPIRE k -9223372036854776
        EXISTS k
        SET k v
        PEXPIRE k -9223372036854775808
        EXISTS k
        SET k v
        PEXPIREAT k -9223372036854775808
        EXISTS k
        PEXPIREAT none -9223372036854775808
        EXPIRE none 9223372036854775807
        PEXPIRE none 9223372036854775807
        EXPIRE none -9223372036854775808
        SET k v
        EXPIRE k 9223372036854775807 NX
        EXPIRE k 9223372036854775807 XX
        EXPIREAT k 9223372036854775807 XX
        PEXPIREAT k
        PEXPIREAT k 1 2 3
        EXPIREAT k
        PEXPIRE k
        PEXPIRE k abc
        EXPIREAT k abc
        PEXPIREAT k abc
    "#);
}

#[test]
fn what_keeps_and_what_drops_the_expiry() {
    run(r#"
        SET k 1 EX 100
        INCR k
        ~1 TTL k
        INCRBYFLOAT k 1.5
        ~1 TTL k
        APPEND k 0
        ~1 TTL k
        SETRANGE k 0 9
        ~1 TTL k
        GETEX k
        ~1 TTL k
        TOUCH k
        ~1 TTL k
        SETNX k v
        ~1 TTL k
        GETSET k v
        TTL k
        EXPIRE k 100
        SET k v XX
        TTL k
        EXPIRE k 100
        SET k v NX
        ~1 TTL k
        MSET k v
        TTL k
        EXPIRE k 100
        SETEX k 200 v
        ~1 TTL k
        GETDEL k
        TTL k
        SET k v
        TTL k
    "#);
}

#[test]
fn a_key_is_gone_when_its_time_is_up() {
    use kevy_wire_tests::{Reply, Server, matrix, wait_until};
    for setup in matrix() {
        let server = Server::ours(setup);
        let mut client = server.connect();
        for key in 0..50 {
            let key = format!("k{key}");
            assert_eq!(client.call(["SET", &key, "v", "PX", "30"]), Reply::ok());
        }
        wait_until("all keys expire", || {
            let left = (0..50)
                .filter(|key| client.call(["GET".to_owned(), format!("k{key}")]) != Reply::Nil);
            (left.count() == 0).then_some(())
        });
        // Those that nobody asks for go by themselves.
        for key in 0..50 {
            assert_eq!(client.call(["SET", &format!("k{key}"), "v", "PX", "30"]), Reply::ok());
        }
        wait_until("the database empties", || {
            (client.call(["DBSIZE"]) == Reply::Integer(0)).then_some(())
        });
    }
}
