//! Counters: integers with their overflow, floats with their formatting.

use crate::script::run;

#[test]
fn integers() {
    run(r#"
        INCR n
        INCR n
        INCRBY n 10
        DECR n
        DECRBY n 5
        DECRBY n -5
        INCRBY n -20
        GET n
        INCR
        INCR n n
        DECR
        INCRBY n
        INCRBY n 1 2
        DECRBY n
        INCRBY n abc
        INCRBY n ""
        INCRBY n 1.0
        INCRBY n " 1"
        INCRBY n +1
        INCRBY n 01
        INCRBY n -0
        INCRBY n 0
        INCRBY n 0x10
        INCRBY n 9223372036854775808
        INCRBY n -9223372036854775809
        INCRBY n 99999999999999999999999999
        DECRBY n 9223372036854775808
        DECRBY n -9223372036854775808
        DECRBY none -9223372036854775808
        EXISTS none
        SET n 9223372036854775806
        INCR n
        INCR n
        INCRBY n 1
        INCRBY n 9223372036854775807
        DECRBY n -1
        INCRBY n -9223372036854775808
        GET n
        SET n -9223372036854775807
        DECR n
        DECR n
        DECRBY n 1
        INCRBY n -1
        DECRBY n 9223372036854775807
        GET n
        DECRBY d 9223372036854775807
        DECR d
        DECR d
        SET n 9223372036854775808
        INCR n
        SET n abc
        INCR n
        INCRBY n xyz
        SET n ""
        INCR n
        SET n " 1"
        INCR n
        SET n "1 "
        INCR n
        SET n +1
        INCR n
        SET n 01
        INCR n
        SET n -0
        INCR n
        SET n 1.0
        INCR n
        SET n "1\x00"
        INCR n
        SET n 0
        INCR n
        SET n -1
        INCR n
        SET n 5 EX 100
        INCR n
        ~1 TTL n
        STRLEN n
        APPEND n 0
        INCR n
        GETRANGE n 0 0
    "#);
}

#[test]
fn floats() {
    run(r#"
        INCRBYFLOAT f 10.5
        INCRBYFLOAT f 0.1
        INCRBYFLOAT f -5
        GET f
        SET f 5.0e3
        INCRBYFLOAT f 2.0e2
        SET f 3.0
        INCRBYFLOAT f 1.000000000000000
        SET f 0.1
        INCRBYFLOAT f 0.2
        INCRBYFLOAT f 0.3
        INCRBYFLOAT f -0.6
        SET f 1
        INCRBYFLOAT f 1
        TYPE f
        STRLEN f
        INCR f
        SET f 3.14
        INCRBYFLOAT f 0
        SET f 1000.1
        INCRBYFLOAT f 0
        SET f 123456.789
        INCRBYFLOAT f 0.001
        SET f 99999999.99
        INCRBYFLOAT f 0.01
        SET f 0
        INCRBYFLOAT f 1e-17
        INCRBYFLOAT f 1e-18
        SET f 0
        INCRBYFLOAT f 1e-18
        SET f -0.0
        INCRBYFLOAT f -0.0
        SET f -1
        INCRBYFLOAT f 1
        SET f 0
        INCRBYFLOAT f 1e15
        INCRBYFLOAT f 1e17
        INCRBYFLOAT f 1e20
        INCRBYFLOAT f 1
        SET f 1e25
        INCRBYFLOAT f 0
        INCRBYFLOAT f -1e30
        SET f 18446744073709551615
        INCRBYFLOAT f 0
        INCRBYFLOAT f 1
        SET f 9007199254740993
        INCRBYFLOAT f 0
        SET f 0.3333333333333333333333
        INCRBYFLOAT f 0
        SET f 1
        INCRBYFLOAT f abc
        INCRBYFLOAT f ""
        INCRBYFLOAT f " 1"
        INCRBYFLOAT f "1 "
        INCRBYFLOAT f +1
        INCRBYFLOAT f .5
        INCRBYFLOAT f 5.
        INCRBYFLOAT f -.5
        INCRBYFLOAT f 1e
        INCRBYFLOAT f 1e+2
        INCRBYFLOAT f 1E2
        INCRBYFLOAT f 0x10
        INCRBYFLOAT f 0x1p3
        INCRBYFLOAT f 1.5.5
        INCRBYFLOAT f 1,5
        INCRBYFLOAT f nan
        INCRBYFLOAT f -nan
        INCRBYFLOAT f inf
        INCRBYFLOAT f +inf
        INCRBYFLOAT f -inf
        INCRBYFLOAT f infinity
        INCRBYFLOAT f 1e5000
        INCRBYFLOAT f 1e-5000
        INCRBYFLOAT none inf
        INCRBYFLOAT none nan
        EXISTS none
        INCRBYFLOAT f
        INCRBYFLOAT f 1 2
        INCRBYFLOAT
        SET f abc
        INCRBYFLOAT f 1
        SET f ""
        INCRBYFLOAT f 1
        SET f " 1"
        INCRBYFLOAT f 1
        SET f "1 "
        INCRBYFLOAT f 1
        SET f inf
        INCRBYFLOAT f 1
        SET f nan
        INCRBYFLOAT f 1
        SET f "1\x00"
        INCRBYFLOAT f 1
        SET f 1 EX 100
        INCRBYFLOAT f 1.5
        ~1 TTL f
        GET f
    "#);
}
