//! The same requests to our server and to memcached, and the same replies.

use kevy_memcached_tests::{Client, Numbers, Oracle, Ours};
use kevy_wire_tests::{Random, effort, matrix, printable, smallest_and_largest};

/// Both servers, with what each has told.
struct Pair {
    ours: Client,
    theirs: Client,
    our_numbers: Numbers,
    their_numbers: Numbers,
    /// What was said so far.
    log: Vec<(String, String)>,
}

impl Pair {
    fn new(ours: &Ours, theirs: &Oracle) -> Self {
        let (our_numbers, their_numbers) = Default::default();
        let (ours, mut theirs) = (ours.connect(), theirs.connect());
        theirs.call(b"flush_all\r\n");
        Pair { ours, theirs, our_numbers, their_numbers, log: Vec::new() }
    }

    /// Sends a request, made for each server with the unique numbers that it has told, and compares
    /// what they answer.
    fn ask(&mut self, place: &str, request: impl Fn(&Numbers) -> Vec<u8>) {
        let to_ours = request(&self.our_numbers);
        let ours = self.ours.call(&to_ours);
        let theirs = self.theirs.call(&request(&self.their_numbers));
        let ours = self.our_numbers.normal(&ours);
        let theirs = self.their_numbers.normal(&theirs);
        let shown = printable(&to_ours[..to_ours.len().min(400)]);
        assert_eq!(ours, theirs, "{place}: {shown}, after {:#?}", self.before(&to_ours));
        self.log.push((shown, theirs));
    }

    /// The last requests that named the same key.
    fn before(&self, request: &[u8]) -> Vec<&(String, String)> {
        const SHOWN: usize = 12;
        let request = String::from_utf8_lossy(request);
        let key = request.split([' ', '\r']).nth(1).unwrap_or_default();
        let same = self.log.iter().filter(|(said, _)| said.contains(key));
        let skipped = same.clone().count().saturating_sub(SHOWN);
        same.skip(skipped).collect()
    }
}

/// A file of requests, a line for each, with C's escapes.
fn cases() -> Vec<Vec<u8>> {
    let lines = include_str!("cases.txt").lines();
    let cases = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    cases.map(|line| unescaped(line).into_bytes()).collect()
}

/// `\r`, `\n`, and `{250k}` for as many of a letter.
fn unescaped(line: &str) -> String {
    let line = line.replace("\\r", "\r").replace("\\n", "\n");
    let mut text = String::new();
    for (index, part) in line.split(['{', '}']).enumerate() {
        match part.char_indices().last() {
            Some((at, letter)) if index % 2 == 1 => {
                let count = part[..at].parse().expect("{number and letter}");
                text.extend(std::iter::repeat_n(letter, count));
            }
            _ => text += part,
        }
    }
    text
}

#[test]
fn every_error_has_the_words_of_memcached() {
    let oracle = Oracle::start();
    for setup in matrix() {
        let ours = Ours::start(setup);
        let mut pair = Pair::new(&ours, &oracle);
        for case in cases() {
            pair.ask(&setup.to_string(), |_| case.clone());
        }
    }
}

#[test]
fn the_largest_item_is_as_large() {
    let oracle = Oracle::start();
    for setup in smallest_and_largest() {
        let ours = Ours::start(setup);
        let mut pair = Pair::new(&ours, &oracle);
        for (key, flags) in [("k", 0), ("a longer key".replace(' ', "_").as_str(), 7)] {
            let most = (1 << 20) - 56 - (key.len() + 1) - if flags == 0 { 0 } else { 4 } - 2;
            for len in [most - 1, most, most + 1, 3 << 20] {
                let value = "V".repeat(len);
                let set = format!("set {key} {flags} 0 {len}\r\n{value}\r\nget {key}\r\n");
                pair.ask(&setup.to_string(), |_| set.clone().into_bytes());
                let meta = format!("ms {key} {len} F{flags} ME\r\n{value}\r\nmg {key} s f\r\n");
                pair.ask(&setup.to_string(), |_| meta.clone().into_bytes());
            }
        }
        let half = "H".repeat(600_000);
        let append = format!("set h 0 0 600000\r\n{half}\r\nappend h 0 0 600000\r\n{half}\r\n");
        pair.ask(&setup.to_string(), |_| append.clone().into_bytes());
        pair.ask(&setup.to_string(), |_| b"mg h s\r\n".to_vec());
    }
}

#[test]
fn a_line_without_end_ends_the_connection() {
    for setup in smallest_and_largest() {
        let ours = Ours::start(setup);
        let mut client = ours.connect();
        client.send(&vec![b'x'; 70_000]);
        assert_eq!(client.rest(), b"", "{setup}");
    }
}

#[test]
fn quit_ends_the_connection_after_the_replies_before_it() {
    for setup in matrix() {
        let ours = Ours::start(setup);
        let mut client = ours.connect();
        client.send(b"set a 0 0 1\r\n1\r\nget a b c d\r\nquit\r\nget a\r\n");
        assert_eq!(client.rest(), b"STORED\r\nVALUE a 0 1\r\n1\r\nEND\r\n", "{setup}");
    }
}

#[test]
fn a_pipeline_is_answered_in_order() {
    let oracle = Oracle::start();
    for setup in matrix() {
        let ours = Ours::start(setup);
        let mut pair = Pair::new(&ours, &oracle);
        let mut pipeline = Vec::new();
        for number in 0..2000 {
            let key = number % 97;
            pipeline.extend_from_slice(
                match number % 4 {
                    0 => format!("set k{key} {number} 0 4\r\n{number:04}\r\n"),
                    1 => format!("get k{key} k{} k{}\r\n", key + 1, key + 30),
                    2 => format!("mg k{key} v k O{number} q\r\n"),
                    _ => format!("ms k{key} 4 q\r\n{number:04}\r\n"),
                }
                .as_bytes(),
            );
        }
        pair.ask(&setup.to_string(), |_| pipeline.clone());
    }
}

/// Draws requests.
struct Draw(Random);

impl Draw {
    fn key(&mut self) -> String {
        format!("key:{}", self.0.below(12))
    }

    /// One that the meta commands have decoded as well.
    fn meta_key(&mut self) -> (&'static str, &'static str) {
        self.0.pick(&[
            ("key:1", ""),
            ("key:2", ""),
            ("key:3", ""),
            ("a2V5OjE=", " b"),
            ("YmluYXJ5", " b"),
        ])
    }

    fn value(&mut self) -> String {
        match self.0.below(8) {
            0 => String::new(),
            1..=3 => (self.0.word() >> self.0.below(64)).to_string(),
            4 => "9".repeat(self.0.below(3) + 1),
            5 => "18446744073709551615".to_owned(),
            6 => "X".repeat(self.0.below(3000)),
            _ => "AB".repeat(self.0.below(10)),
        }
    }

    fn flags(&mut self) -> u32 {
        self.0.pick(&[0, 0, 0, 1, 42, u32::MAX])
    }

    fn exptime(&mut self) -> &'static str {
        self.0.pick(&["0", "0", "0", "0", "100", "1000", "-1", "100"])
    }

    fn quiet(&mut self) -> &'static str {
        if self.0.one_in(8) { " noreply" } else { "" }
    }

    /// Flags for any meta command, `extra` ones among them.
    fn meta_flags(&mut self, extra: &[&str], length: usize) -> String {
        let common = ["k", "Oopaque", "q", "t", "c", "v", "f", "s", "h", "T100", "T0", "l"];
        let mut flags: Vec<&str> = Vec::new();
        for _ in 0..self.0.below(length) {
            let flag = match self.0.below(3) {
                0 if !extra.is_empty() => self.0.pick(extra),
                _ => self.0.pick(&common),
            };
            let is_repeated = flags.iter().any(|other| other[..1] == flag[..1]);
            if !is_repeated || self.0.one_in(30) {
                flags.push(flag);
            }
        }
        flags.iter().map(|flag| format!(" {flag}")).collect()
    }

    /// A request. `{n}` in it stands for the n-th unique number that was told.
    fn request(&mut self, numbers: usize) -> String {
        let key = self.key();
        let cas = match self.0.below(4) {
            0 => "{any}".to_owned(),
            back => format!("{{{}}}", numbers.saturating_sub(back)),
        };
        let (meta_key, decode) = self.meta_key();
        let (value, flags, exptime) = (self.value(), self.flags(), self.exptime());
        let (quiet, len) = (self.quiet(), value.len());
        match self.0.below(24) {
            0..=2 => {
                let count = self.0.below(6) + 1;
                let keys: Vec<String> = (0..count).map(|_| self.key()).collect();
                format!("{} {}\r\n", self.0.pick(&["get", "gets"]), keys.join(" "))
            }
            3 => format!("{} {exptime} {key} {}\r\n", self.0.pick(&["gat", "gats"]), self.key()),
            4..=8 => {
                let verb = self.0.pick(&["set", "set", "add", "replace", "append", "prepend"]);
                format!("{verb} {key} {flags} {exptime} {len}{quiet}\r\n{value}\r\n")
            }
            9 => format!("cas {key} {flags} {exptime} {len} {cas}{quiet}\r\n{value}\r\n"),
            10 | 11 => {
                let delta = self.0.pick(&["1", "7", "100", "18446744073709551615", "x"]);
                format!("{} {key} {delta}{quiet}\r\n", self.0.pick(&["incr", "decr"]))
            }
            12 => format!("touch {key} {exptime}{quiet}\r\n"),
            13 => format!("delete {key}{quiet}\r\n"),
            14 => match self.0.below(20) {
                0 => format!("flush_all{quiet}\r\n"),
                _ => format!("me {meta_key}{decode}\r\n"),
            },
            15..=17 => {
                let flags = self.meta_flags(&["N30", "R60", "R5000", "u"], 8);
                format!("mg {meta_key}{decode}{flags}\r\n")
            }
            18..=20 => {
                // Which of two keys' numbers is the smaller one, each server has its own way.
                let (invalidate, cas) = match self.0.one_in(2) {
                    true => ("I", self.0.pick(&["C2", "C{any}"]).to_owned()),
                    false => ("F5", format!("C{cas}")),
                };
                let extra = [invalidate, "ME", "MA", "MP", "MR", "MS", "F5", &cas, &cas];
                let flags = self.meta_flags(&extra, 6);
                format!("ms {meta_key} {len}{decode}{flags}\r\n{value}\r\n")
            }
            21 => {
                let cas = format!("C{cas}");
                let flags = self.meta_flags(&["I", "I", &cas], 5);
                format!("md {meta_key}{decode}{flags}\r\n")
            }
            _ => {
                let cas = format!("C{cas}");
                let extra = ["N30", "J13", "D7", "MI", "MD", "M+", "M-", &cas];
                // memcached gives a number that gets longer its old expiry, whatever is said.
                let flags = self.meta_flags(&extra, 6).replace(" T100", "").replace(" T0", "");
                format!("ma {meta_key}{decode}{flags}\r\n")
            }
        }
    }
}

/// A request with unique numbers in their places.
fn with_numbers(request: &str, numbers: &Numbers) -> Vec<u8> {
    let Some((head, rest)) = request.split_once('{') else { return request.into() };
    let (index, tail) = rest.split_once('}').expect("a closed brace");
    let number = index.parse().map_or(u64::MAX >> 2, |index| numbers.told(index));
    format!("{head}{number}{tail}").into_bytes()
}

#[test]
fn drawn_requests_have_the_same_replies() {
    let oracle = Oracle::start();
    for setup in matrix() {
        let ours = Ours::start(setup);
        for sequence in 0..effort(3) as u64 {
            let seed = Random::seed_or(sequence * 31 + setup.shards as u64);
            let mut pair = Pair::new(&ours, &oracle);
            pair.ours.call(b"flush_all\r\n");
            let mut draw = Draw(Random::new(seed));
            for step in 0..400 {
                assert_eq!(pair.our_numbers.count(), pair.their_numbers.count());
                let request = draw.request(pair.our_numbers.count());
                let place = format!("{setup}, seed {seed}, step {step}");
                pair.ask(&place, |numbers| with_numbers(&request, numbers));
            }
        }
    }
}
