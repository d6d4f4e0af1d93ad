"""Uses pymemcache as its users do: python3 exercise.py HOST PORT"""

import sys

from pymemcache.client.base import Client
from pymemcache.exceptions import MemcacheClientError

client = Client((sys.argv[1], int(sys.argv[2])), default_noreply=False, timeout=10)
client.flush_all()

assert client.set("greeting", b"hello")
assert client.get("greeting") == b"hello"
assert client.get("none") is None and client.get("none", 7) == 7
assert client.add("greeting", b"x") is False and client.replace("greeting", b"hi")
assert client.append("greeting", b"!") and client.prepend("greeting", b">")
assert client.get("greeting") == b">hi!"
assert client.set_many({f"many:{n}": str(n) for n in range(500)}) == []
many = client.get_many([f"many:{n}" for n in range(600)])
assert many == {f"many:{n}": str(n).encode() for n in range(500)}
value, unique = client.gets("greeting")
assert client.cas("greeting", b"new", unique) is True
assert client.cas("greeting", b"newer", unique) is False
assert client.cas("none", b"x", unique) is None
assert client.incr("none", 1) is None
assert client.set("number", b"41") and client.incr("number", 1) == 42
assert client.decr("number", 50) == 0
assert client.touch("number", 100) is True and client.touch("none") is False
assert client.delete("number") is True and client.delete("number") is False
assert client.set("large", b"x" * 1_000_000) and len(client.get("large")) == 1_000_000
assert client.set("quiet", b"q", noreply=True) and client.get("quiet") == b"q"
assert client.set("brief", b"b", expire=-1) and client.get("brief") is None
try:
    client.incr("greeting", 1)
    raise AssertionError("words are no numbers")
except MemcacheClientError:
    pass
stats = client.stats()
assert stats[b"curr_items"] > 500 and stats[b"get_hits"] > 500 and stats[b"threads"] >= 1
assert client.version()
assert client.flush_all() and client.get("greeting") is None
client.quit()
print("all of pymemcache's calls went well")
