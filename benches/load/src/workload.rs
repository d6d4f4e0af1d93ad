//! What clients ask: classes of requests over numbered keys, and the replies they must get.

use std::ops::Range;

use crate::random::Random;

/// Digits of a key's number.
const DIGITS: usize = 12;

/// The least length of a reply, and of what tells a hit from a miss.
pub const HEAD_BYTES: usize = 5;

/// The reply to a GET of a key that is not there.
pub const MISS: &[u8; HEAD_BYTES] = b"$-1\r\n";

/// The same of memcached.
const MEMCACHED_MISS: &[u8; HEAD_BYTES] = b"END\r\n";

/// Keys of one request of [`Workload::memcached_many`].
const MANY: u64 = 100;

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Reads a key.
    Get,
    /// Writes a key, always with the same value.
    Set,
    /// Asks for no key.
    Ping,
}

impl Verb {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Set => "SET",
            Self::Ping => "PING",
        }
    }
}

/// Keys with a common prefix, and the length of their values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySpace {
    /// The first bytes of every key; twelve digits follow.
    pub prefix: &'static str,
    /// How many keys there are.
    pub keys: u64,
    /// The length of each value: the key's digits, then filling.
    pub value_bytes: usize,
}

impl KeySpace {
    /// The space of `keys` small or large values that runs use by default.
    pub fn new(keys: u64, value_bytes: usize) -> Self {
        Self { prefix: PREFIX, keys, value_bytes }
    }
}

/// The prefix of the keys that runs use by default.
const PREFIX: &str = "key:";

/// The length of such a key.
pub const KEY_BYTES: usize = PREFIX.len() + DIGITS;

/// The key with `number` of the spaces that [`KeySpace::new`] makes.
pub fn key(number: u64) -> [u8; KEY_BYTES] {
    let mut key = [b'0'; KEY_BYTES];
    key[..PREFIX.len()].copy_from_slice(PREFIX.as_bytes());
    write_digits(number, &mut key[PREFIX.len()..]);
    key
}

/// The number of such a key, if it is one.
pub fn key_number(key: &[u8]) -> Option<u64> {
    let digits = key.strip_prefix(PREFIX.as_bytes()).filter(|rest| rest.len() == DIGITS)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Requests that differ only in the key's number.
#[derive(Clone, Debug)]
pub struct Class {
    request: Template,
    reply: Template,
    keys: u64,
    weight: u32,
    miss: &'static [u8; HEAD_BYTES],
}

impl Class {
    /// Requests of `verb` on the keys of `space`, drawn `weight` times as often as one of weight 1.
    pub fn new(verb: Verb, space: KeySpace, weight: u32) -> Self {
        let key = format!("{}{}", space.prefix, "0".repeat(DIGITS));
        let value = value(space.value_bytes);
        let bulk = |bytes: &str| format!("${}\r\n{bytes}\r\n", bytes.len());
        let (request, reply) = match verb {
            Verb::Ping => ("*1\r\n$4\r\nPING\r\n".to_owned(), "+PONG\r\n".to_owned()),
            Verb::Get => (format!("*2\r\n$3\r\nGET\r\n{}", bulk(&key)), bulk(&value)),
            Verb::Set => {
                (format!("*3\r\n$3\r\nSET\r\n{}{}", bulk(&key), bulk(&value)), "+OK\r\n".to_owned())
            }
        };
        let key_at = request.find(&key).map(|at| at + space.prefix.len());
        let has_value = value.len() >= DIGITS;
        let request_value =
            (verb == Verb::Set && has_value).then(|| request.len() - "\r\n".len() - value.len());
        let reply_value =
            (verb == Verb::Get && has_value).then(|| reply.len() - "\r\n".len() - value.len());
        let places = |digits_at: [Option<usize>; 2]| digits_at.into_iter().flatten().collect();
        Self {
            request: Template::new(request, places([key_at, request_value]), DIGITS, space.keys),
            reply: Template::new(reply, places([reply_value, None]), DIGITS, space.keys),
            keys: space.keys,
            weight,
            miss: MISS,
        }
    }

    /// The same for memcached, whose PINGs come in twos.
    fn memcached(verb: Verb, space: KeySpace) -> Self {
        let key = format!("{}{}", space.prefix, "0".repeat(DIGITS));
        let value = value(space.value_bytes);
        let (request, reply) = match verb {
            Verb::Get => (format!("get {key}\r\n"), memcached_value(&key, &value) + "END\r\n"),
            Verb::Set => {
                let line = format!("set {key} 0 0 {}\r\n", value.len());
                (line + &value + "\r\n", "STORED\r\n".to_owned())
            }
            // One reply is shorter than what a reply is known by.
            Verb::Ping => ("mn\r\nmn\r\n".to_owned(), "MN\r\nMN\r\n".to_owned()),
        };
        let numbers = |text: &str| numbers_in(text, DIGITS);
        Self {
            request: Template::new(request.clone(), numbers(&request), DIGITS, space.keys),
            reply: Template::new(reply.clone(), numbers(&reply), DIGITS, space.keys),
            keys: space.keys,
            weight: 1,
            miss: MEMCACHED_MISS,
        }
    }

    /// A get of [`MANY`] keys, whose numbers differ in the last two digits only.
    fn memcached_many(space: KeySpace) -> Self {
        const BLOCK_DIGITS: usize = DIGITS - 2;
        let (mut request, mut reply) = ("get".to_owned(), String::new());
        let (mut request_at, mut reply_at) = (Vec::new(), Vec::new());
        for number in 0..MANY {
            let digits = format!("{number:0width$}", width = DIGITS);
            let key = format!("{}{digits}", space.prefix);
            let value = match space.value_bytes < DIGITS {
                true => value(space.value_bytes),
                false => digits + &"x".repeat(space.value_bytes - DIGITS),
            };
            request_at.push(request.len() + 1 + space.prefix.len());
            request += &format!(" {key}");
            reply_at.push(reply.len() + "VALUE ".len() + space.prefix.len());
            reply += &memcached_value(&key, &value);
            if space.value_bytes >= DIGITS {
                reply_at.push(reply.len() - "\r\n".len() - value.len());
            }
        }
        let blocks = space.keys / MANY;
        Self {
            request: Template::new(request + "\r\n", request_at, BLOCK_DIGITS, blocks),
            reply: Template::new(reply + "END\r\n", reply_at, BLOCK_DIGITS, blocks),
            keys: blocks,
            weight: 1,
            miss: MEMCACHED_MISS,
        }
    }

    /// The reply that tells of no value.
    pub fn miss(&self) -> &'static [u8; HEAD_BYTES] {
        self.miss
    }

    /// The length of a request.
    pub fn request_bytes(&self) -> usize {
        self.request.bytes.len()
    }

    /// The length of the expected reply.
    pub fn reply_bytes(&self) -> usize {
        self.reply.bytes.len()
    }

    /// The number of keys.
    pub fn keys(&self) -> u64 {
        self.keys
    }

    /// Appends the request for `key`.
    pub fn write_request(&self, key: u64, out: &mut Vec<u8>) {
        self.request.write(key, out);
    }

    /// Makes the request of this class at the start of `bytes` one for `key`.
    pub fn patch_request(&self, key: u64, bytes: &mut [u8]) {
        self.request.patch(key, bytes);
    }

    /// Writes the reply that a request for `key` must get over `out`.
    pub fn expect_reply(&self, key: u64, out: &mut Vec<u8>) {
        out.clear();
        self.reply.write(key, out);
    }

    /// Whether a reply with this start is of the expected kind.
    pub fn accepts(&self, head: &[u8]) -> bool {
        head[..2] == self.reply.bytes[..2]
    }
}

/// A value as memcached sends it.
fn memcached_value(key: &str, value: &str) -> String {
    format!("VALUE {key} 0 {}\r\n{value}\r\n", value.len())
}

/// Where a key's number, which is zero, stands in `text`: that of the key and that of the value.
fn numbers_in(text: &str, digits: usize) -> Vec<usize> {
    let zeros = "0".repeat(digits);
    text.match_indices(&zeros).map(|(at, _)| at).collect()
}

fn value(bytes: usize) -> String {
    if bytes < DIGITS {
        "x".repeat(bytes)
    } else {
        "0".repeat(DIGITS) + &"x".repeat(bytes - DIGITS)
    }
}

/// Bytes in which a key's number appears some times.
#[derive(Clone, Debug)]
struct Template {
    bytes: Vec<u8>,
    /// The digits that differ between keys: an even number, the last ones of the number.
    numbers: Vec<Range<usize>>,
}

impl Template {
    /// `bytes` in which numbers of so many digits start at `digits_at`.
    fn new(bytes: String, digits_at: Vec<usize>, digits: usize, keys: u64) -> Self {
        let used = keys.saturating_sub(1).to_string().len().next_multiple_of(2);
        assert!(used <= digits, "a number has {digits} digits");
        let numbers = digits_at.into_iter().map(|at| at + digits - used..at + digits).collect();
        Self { bytes: bytes.into_bytes(), numbers }
    }

    fn write(&self, key: u64, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        self.patch(key, &mut out[start..]);
    }

    fn patch(&self, key: u64, bytes: &mut [u8]) {
        for digits in &self.numbers {
            write_digits(key, &mut bytes[digits.clone()]);
        }
    }
}

/// Writes the last digits of `number`, as many as there is room for: an even number.
fn write_digits(number: u64, out: &mut [u8]) {
    let mut rest = number;
    for pair in out.rchunks_exact_mut(2) {
        pair.copy_from_slice(&PAIRS[(rest % 100) as usize]);
        rest /= 100;
    }
}

/// The two digits of 0 to 99.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[b'0'; 2]; 100];
    let mut number = 0;
    while number < 100 {
        pairs[number] = [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
        number += 1;
    }
    pairs
};

/// A mix of classes.
#[derive(Clone, Debug)]
pub struct Workload {
    name: String,
    classes: Vec<Class>,
    weight: u32,
}

impl Workload {
    /// A mix that draws from `classes` by their weights.
    ///
    /// # Panics
    ///
    /// If there is no class, or none has a weight.
    pub fn new(name: impl Into<String>, classes: Vec<Class>) -> Self {
        let weight = classes.iter().map(|class| class.weight).sum();
        assert!(weight > 0, "a workload asks for something");
        Self { name: name.into(), classes, weight }
    }

    /// Requests of one verb.
    pub fn of(verb: Verb, space: KeySpace) -> Self {
        Self::new(verb.name(), vec![Class::new(verb, space, 1)])
    }

    /// Requests of one verb to memcached.
    pub fn memcached(verb: Verb, space: KeySpace) -> Self {
        Self::new(format!("memcached {}", verb.name()), vec![Class::memcached(verb, space)])
    }

    /// Requests to memcached for the values of a hundred keys each.
    pub fn memcached_many(space: KeySpace) -> Self {
        Self::new("memcached get of 100", vec![Class::memcached_many(space)])
    }

    /// As many GETs as SETs.
    pub fn mixed(space: KeySpace) -> Self {
        let classes = vec![Class::new(Verb::Get, space, 1), Class::new(Verb::Set, space, 1)];
        Self::new("GET+SET", classes)
    }

    /// What reports call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The class of a number that [`Draw`] gave.
    pub fn class(&self, index: usize) -> &Class {
        &self.classes[index]
    }

    /// The one class, where every request has the same length.
    pub fn only_class(&self) -> Option<&Class> {
        match self.classes.as_slice() {
            [class] => Some(class),
            _ => None,
        }
    }

    /// The longest request or reply.
    pub fn longest_bytes(&self) -> usize {
        let longest = |class: &Class| class.request_bytes().max(class.reply_bytes());
        self.classes.iter().map(longest).max().unwrap_or(0)
    }
}

/// The order in which keys are asked for.
#[derive(Clone, Copy, Debug)]
pub enum Order {
    /// Each key is as likely as any other.
    Random {
        /// Equal seeds draw equal sequences.
        seed: u64,
    },
    /// From the first key to the last, again and again.
    Sequential,
}

/// Draws requests from a workload.
pub struct Draw {
    order: Order,
    random: Random,
    /// How many keys were drawn in sequence.
    drawn: u64,
}

impl Draw {
    /// Starts at the beginning of `order`.
    pub fn new(order: Order) -> Self {
        let seed = match order {
            Order::Random { seed } => seed,
            Order::Sequential => 0,
        };
        Self { order, random: Random::new(seed), drawn: 0 }
    }

    /// The next request: its class's index and its key's number.
    pub fn next(&mut self, workload: &Workload) -> (usize, u64) {
        let index = match workload.classes.len() {
            1 => 0,
            _ => self.class(workload),
        };
        let keys = workload.classes[index].keys;
        let key = match self.order {
            Order::Random { .. } => self.random.below(keys),
            Order::Sequential => {
                let key = self.drawn % keys;
                self.drawn += 1;
                key
            }
        };
        (index, key)
    }

    fn class(&mut self, workload: &Workload) -> usize {
        let mut left = self.random.below(workload.weight.into());
        for (index, class) in workload.classes.iter().enumerate() {
            match left.checked_sub(class.weight.into()) {
                Some(rest) => left = rest,
                None => return index,
            }
        }
        unreachable!("the weights add up to the workload's")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(verb: Verb, space: KeySpace, key: u64) -> String {
        let mut out = Vec::new();
        Class::new(verb, space, 1).write_request(key, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn requests_are_resp() {
        let space = KeySpace::new(1_000_000, 16);
        assert_eq!(
            request(Verb::Get, space, 4711),
            "*2\r\n$3\r\nGET\r\n$16\r\nkey:000000004711\r\n"
        );
        assert_eq!(
            request(Verb::Set, space, 999_999),
            "*3\r\n$3\r\nSET\r\n$16\r\nkey:000000999999\r\n$16\r\n000000999999xxxx\r\n"
        );
        assert_eq!(
            request(Verb::Set, KeySpace::new(10, 3), 7),
            "*3\r\n$3\r\nSET\r\n$16\r\nkey:000000000007\r\n$3\r\nxxx\r\n"
        );
        assert_eq!(request(Verb::Ping, space, 1), "*1\r\n$4\r\nPING\r\n");
    }

    #[test]
    fn requests_to_memcached_are_lines() {
        let text = |class: &Class, key| {
            let (mut request, mut reply) = (Vec::new(), Vec::new());
            class.write_request(key, &mut request);
            class.expect_reply(key, &mut reply);
            (String::from_utf8(request).unwrap(), String::from_utf8(reply).unwrap())
        };
        let space = KeySpace::new(10_000, 14);
        let (set, stored) = text(&Class::memcached(Verb::Set, space), 42);
        assert_eq!(set, "set key:000000000042 0 0 14\r\n000000000042xx\r\n");
        assert_eq!(stored, "STORED\r\n");
        let (get, found) = text(&Class::memcached(Verb::Get, space), 42);
        assert_eq!(get, "get key:000000000042\r\n");
        assert_eq!(found, "VALUE key:000000000042 0 14\r\n000000000042xx\r\nEND\r\n");
        let (get, found) = text(&Class::memcached_many(space), 7);
        assert!(get.starts_with("get key:000000000700 key:000000000701 "), "{get}");
        assert!(get.ends_with(" key:000000000799\r\n"), "{get}");
        assert!(found.contains("VALUE key:000000000799 0 14\r\n000000000799xx\r\nEND\r\n"));
    }

    #[test]
    fn a_get_expects_what_a_set_wrote() {
        let class = Class::new(Verb::Get, KeySpace::new(1_000_000_000_000, 14), 1);
        let mut reply = Vec::new();
        class.expect_reply(123_456_789_012, &mut reply);
        assert_eq!(reply, b"$14\r\n123456789012xx\r\n");
        assert_eq!(reply.len(), class.reply_bytes());
        assert!(class.accepts(&reply) && !class.accepts(MISS));
    }

    #[test]
    fn patching_equals_writing() {
        let class = Class::new(Verb::Set, KeySpace::new(100_000, 20), 1);
        let (mut patched, mut written) = (Vec::new(), Vec::new());
        class.write_request(99_999, &mut patched);
        class.patch_request(42, &mut patched);
        class.write_request(42, &mut written);
        assert_eq!(patched, written);
    }

    #[test]
    fn keys_have_their_number() {
        assert_eq!(&key(4711), b"key:000000004711");
        assert!(request(Verb::Get, KeySpace::new(5000, 16), 4711).contains("key:000000004711"));
        assert_eq!(key_number(&key(123_456_789_012)), Some(123_456_789_012));
        assert_eq!(key_number(b"key:12"), None);
        assert_eq!(key_number(b"big:000000004711"), None);
    }

    #[test]
    fn draws_are_in_range_seeded_and_weighted() {
        let space = KeySpace::new(10, 16);
        let classes = vec![Class::new(Verb::Get, space, 3), Class::new(Verb::Set, space, 1)];
        let workload = Workload::new("mix", classes);
        let draw = |seed| {
            let mut draw = Draw::new(Order::Random { seed });
            (0..10_000).map(|_| draw.next(&workload)).collect::<Vec<_>>()
        };
        let drawn = draw(1);
        assert_eq!(drawn, draw(1));
        assert_ne!(drawn, draw(2));
        assert!((0..10).all(|key| drawn.iter().any(|(_, drawn)| *drawn == key)));
        assert!(drawn.iter().all(|(_, key)| *key < 10));
        let gets = drawn.iter().filter(|(class, _)| *class == 0).count();
        assert!((7300..7700).contains(&gets), "{gets}");
    }

    #[test]
    fn a_sequence_visits_every_key() {
        let workload = Workload::of(Verb::Set, KeySpace::new(3, 16));
        let mut draw = Draw::new(Order::Sequential);
        let keys: Vec<_> = (0..5).map(|_| draw.next(&workload).1).collect();
        assert_eq!(keys, [0, 1, 2, 0, 1]);
    }
}
