"""redis-py at work against a running server: `exercise.py URL`.

Prints one line and exits 0 if all went well; an assertion or an error of the library otherwise.
"""

import sys
import time

import redis


def strings(r):
    assert r.ping()
    assert r.echo("hello") == b"hello"
    assert r.set("greeting", "hello") is True
    assert r.get("greeting") == b"hello"
    assert r.get("nothing") is None
    assert r.set("greeting", "again", nx=True) is None
    assert r.set("greeting", "bye", get=True) == b"hello"
    assert r.append("greeting", " bye") == 7
    assert r.strlen("greeting") == 7
    assert r.getrange("greeting", 4, -1) == b"bye"
    assert r.setrange("greeting", 0, "BYE") == 7
    assert r.getdel("greeting") == b"BYE bye"
    assert r.setnx("once", 1) and not r.setnx("once", 2)
    assert r.incr("counter") == 1
    assert r.incrby("counter", 41) == 42
    assert r.decr("counter", 2) == 40
    assert r.incrbyfloat("ratio", 0.5) == 0.5
    assert r.mset({f"many:{i}": i for i in range(100)})
    assert r.mget([f"many:{i}" for i in range(100)]) == [b"%d" % i for i in range(100)]
    binary = bytes(range(256)) * 1000
    assert r.set("binary", binary) and r.get("binary") == binary
    assert r.delete(*[f"many:{i}" for i in range(100)], "none") == 100
    assert r.exists("counter", "ratio", "none") == 2
    assert r.unlink("binary") == 1
    assert r.type("counter") == b"string"
    try:
        r.incr("binary-not", "x")
    except redis.ResponseError as error:
        assert "not an integer" in str(error)
    else:
        raise AssertionError("no error for a value that is no number")


def expiry(r):
    r.set("brief", "v", ex=100)
    assert 99 <= r.ttl("brief") <= 100
    assert r.persist("brief") and r.ttl("brief") == -1
    assert r.expire("brief", 200) and 199 <= r.ttl("brief") <= 200
    assert not r.expire("brief", 100, gt=True)
    assert r.pexpireat("brief", 4102444800123)
    assert r.pexpiretime("brief") == 4102444800123
    assert r.getex("brief", persist=True) == b"v"
    assert r.ttl("brief") == -1 and r.ttl("none") == -2
    r.psetex("blink", 20, "v")
    deadline = time.monotonic() + 20
    while r.get("blink") is not None:
        assert time.monotonic() < deadline, "the key does not expire"


def scanning(r):
    r.flushdb()
    expected = {b"scan:%d" % i for i in range(2000)}
    pipe = r.pipeline(transaction=False)
    for key in expected:
        pipe.set(key, "v")
    assert all(pipe.execute())
    assert r.dbsize() == 2000
    assert set(r.scan_iter(count=50)) == expected
    assert set(r.scan_iter("scan:1?")) == {b"scan:%d" % i for i in range(10, 20)}
    assert set(r.keys("*")) == expected
    assert r.randomkey() in expected


def pipelines(r):
    pipe = r.pipeline(transaction=False)
    for i in range(1000):
        pipe.set(f"p:{i}", i).get(f"p:{i}").incr(f"p:{i}")
    replies = pipe.execute()
    assert replies == [x for i in range(1000) for x in (True, b"%d" % i, i + 1)]
    pipe = r.pipeline(transaction=False)
    pipe.set("text", "abc").incr("text").get("text")
    done, refused, value = pipe.execute(raise_on_error=False)
    assert done and value == b"abc" and isinstance(refused, redis.ResponseError)


def transactions(r):
    pipe = r.pipeline(transaction=True)
    for i in range(100):
        pipe.set(f"t:{i}", i).incr(f"t:{i}").mget("t:0", f"t:{i}")
    replies = pipe.execute()
    assert replies[-3:] == [True, 100, [b"1", b"100"]] and len(replies) == 300
    pipe.set("text", "abc").incr("text").get("text")
    done, refused, value = pipe.execute(raise_on_error=False)
    assert done and value == b"abc" and isinstance(refused, redis.ResponseError)

    def double(pipe):
        value = int(pipe.get("watched") or 1)
        if value == 1:
            r.set("watched", 50)
        pipe.multi()
        pipe.set("watched", value * 2)

    # The first attempt is undone by the write from beside it.
    assert r.transaction(double, "watched") == [True] and r.get("watched") == b"100"
    assert r.rename("watched", "t:name") and r.get("t:name") == b"100"
    assert not r.renamenx("t:name", "t:1") and r.renamenx("t:name", "t:free")
    assert r.copy("t:free", "t:copy") and not r.copy("t:free", "t:copy")
    assert r.copy("t:free", "t:copy", replace=True, destination_db=1)
    assert r.move("t:copy", 2) and not r.exists("t:copy")
    assert r.msetnx({"t:x": "ohmytext", "t:y": "mynewtext"}) and not r.msetnx({"t:x": 1, "t:z": 1})
    assert r.lcs("t:x", "t:y") == b"mytext" and r.lcs("t:x", "t:y", len=True) == 6


def administration(r):
    # One connection, since a name belongs to it.
    one = r.client()
    assert one.client_setname("exerciser")
    assert one.client_getname() in ("exerciser", b"exerciser")
    listed = one.client_list()
    own = one.client_id()
    assert any(int(c["id"]) == own and c["name"] == "exerciser" for c in listed)
    assert int(one.client_info()["id"]) == own
    one.close()
    info = r.info()
    assert info["role"] == "master" and info["loading"] == 0 and info["aof_enabled"] == 0
    assert info["connected_clients"] >= 1
    assert "redis_version" in r.info("server")
    assert r.config_get("timeout") == {"timeout": "0"}
    assert r.config_set("timeout", 1000) and r.config_get("timeout") == {"timeout": "1000"}
    assert r.config_set("timeout", 0)
    assert r.config_resetstat()
    assert r.command_count() > 50
    assert "get" in r.command()
    seconds, micros = r.time()
    assert abs(seconds - time.time()) < 100 and 0 <= micros < 1_000_000
    try:
        r.execute_command("NOSUCH", "a")
    except redis.ResponseError as error:
        assert "unknown command" in str(error)
    else:
        raise AssertionError("no error for an unknown command")


def databases(url):
    with redis.from_url(url, db=3) as r:
        r.set("where", "three")
    with redis.from_url(url, db=4) as r:
        assert r.get("where") is None
        assert r.swapdb(3, 4)
        assert r.get("where") == b"three"
        assert r.flushall() and r.dbsize() == 0


def main(url):
    for protocol in (2, 3):
        with redis.from_url(url, protocol=protocol) as r:
            for part in (strings, expiry, scanning, pipelines, transactions, administration):
                r.flushall()
                part(r)
    databases(url)
    print("all of redis-py's calls went well")


main(sys.argv[1])
