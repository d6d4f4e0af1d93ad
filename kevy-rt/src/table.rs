//! The command table of a port: verbs to commands by a perfect hash that the compiler computes.
//!
//! A verb is folded to lower case in two words, its first and its last eight bytes, which with its
//! length tell it apart from any other of at most sixteen bytes; a longer one is compared whole.
//! The words' hash picks a bucket, the bucket's seed the slot (hash and displace), so a lookup reads
//! one seed and one slot.

use crate::args::Args;
use crate::commands::Command;

/// The longest verb, in bytes. Two verbs of one length have to differ in their first or last eight.
pub const VERB_BYTES: usize = 32;

/// Verbs up to this length are told apart by their two words.
const WORD_BYTES: usize = 16;

/// Most subcommands and verbs of one table. A bound for the compiler's arrays.
const MAX_COMMANDS: usize = u16::MAX as usize;

const FOLD: u64 = 0x2020_2020_2020_2020;

/// One verb: folded, with what it stands for.
pub struct Entry<S: 'static> {
    head: u64,
    tail: u64,
    len: usize,
    /// The command of this very name.
    command: Option<&'static Command<S>>,
    /// Its index in the table's list.
    index: u16,
    /// Where the list of commands has this verb's subcommands.
    subcommands: (u16, u16),
}

impl<S> Clone for Entry<S> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<S> Copy for Entry<S> {}

impl<S> Entry<S> {
    const EMPTY: Self =
        Entry { head: 0, tail: 0, len: 0, command: None, index: 0, subcommands: (0, 0) };

    /// A long verb's name, compared whole. One with subcommands is not that long.
    #[cold]
    fn is_named(&self, verb: &[u8]) -> bool {
        let name = self.command.map_or("", |command| command.info.name);
        name.as_bytes().eq_ignore_ascii_case(verb)
    }
}

/// What a verb was found to be.
pub(crate) enum Found<S: 'static> {
    /// A command, and its index in the port's list.
    Command(&'static Command<S>, usize),
    /// A verb with subcommands, of which this is none.
    NoSubcommand(&'static str),
    /// Nothing.
    Unknown,
}

/// All commands of one port.
pub struct Table<S: 'static> {
    slots: &'static [Entry<S>],
    seeds: &'static [u16],
    /// In the order of declaration, subcommands of one verb side by side.
    commands: &'static [Option<&'static Command<S>>],
}

impl<S: 'static> Table<S> {
    /// From what [`sort`] and [`place`] made. `server!` calls it.
    pub const fn new(
        placed: &'static (&'static [Entry<S>], &'static [u16]),
        commands: &'static [Option<&'static Command<S>>],
    ) -> Self {
        Table { slots: placed.0, seeds: placed.1, commands }
    }

    /// All commands, in the order of their indices.
    pub fn commands(&self) -> impl ExactSizeIterator<Item = &'static Command<S>> + Clone + use<S> {
        self.commands.iter().map(|command| command.expect("`sort` fills every place"))
    }

    /// The command that this verb alone stands for.
    #[inline]
    pub fn command(&self, verb: &[u8]) -> Option<&'static Command<S>> {
        self.entry(verb)?.command
    }

    /// What the first argument, with the second if it names a subcommand, stands for.
    #[inline]
    pub(crate) fn numbered(&self, index: u32) -> &'static Command<S> {
        self.commands().nth(index as usize).expect("the table has found it before")
    }

    /// The command of a request.
    pub(crate) fn find(&self, args: Args<'_>) -> Found<S> {
        let Some(entry) = args.get(0).and_then(|verb| self.entry(verb)) else {
            return Found::Unknown;
        };
        match entry.command {
            Some(command) if entry.subcommands.0 == entry.subcommands.1 => {
                Found::Command(command, entry.index as usize)
            }
            _ => self.find_subcommand(entry, args),
        }
    }

    #[cold]
    fn find_subcommand(&self, entry: &Entry<S>, args: Args<'_>) -> Found<S> {
        let (start, end) = (entry.subcommands.0 as usize, entry.subcommands.1 as usize);
        let wanted = args.get(1);
        for (offset, command) in self.commands().skip(start).take(end - start).enumerate() {
            let name = command.info.subcommand().unwrap_or_default();
            if wanted.is_some_and(|wanted| wanted.eq_ignore_ascii_case(name.as_bytes())) {
                return Found::Command(command, start + offset);
            }
        }
        match (entry.command, wanted) {
            (Some(command), None) => Found::Command(command, entry.index as usize),
            _ => Found::NoSubcommand(self.commands().nth(start).map_or("", |c| c.info.verb())),
        }
    }

    #[inline]
    fn entry(&self, verb: &[u8]) -> Option<&'static Entry<S>> {
        let len = verb.len();
        if len == 0 || len > VERB_BYTES {
            return None;
        }
        let (head, tail) = fold(verb);
        let hash = mix(head, tail, len);
        let seed = self.seeds[hash as usize & (self.seeds.len() - 1)];
        let entry = &self.slots[slot(hash, seed, self.slots.len())];
        if entry.head != head || entry.tail != tail || entry.len != len {
            return None;
        }
        if len > WORD_BYTES && !entry.is_named(verb) {
            return None;
        }
        Some(entry)
    }
}

/// The first and the last eight bytes, in lower case; no tail for a verb of up to eight.
#[inline]
fn fold(verb: &[u8]) -> (u64, u64) {
    let len = verb.len();
    if let Some((head, _)) = verb.split_first_chunk::<8>() {
        let tail = match verb.last_chunk::<8>() {
            Some(tail) if len > 8 => u64::from_le_bytes(*tail) | FOLD,
            _ => 0,
        };
        (u64::from_le_bytes(*head) | FOLD, tail)
    } else if let (Some(low), Some(high)) = (verb.first_chunk::<4>(), verb.last_chunk::<4>()) {
        let (low, high) = (u32::from_le_bytes(*low), u32::from_le_bytes(*high));
        let word = u64::from(low) | u64::from(high) << (8 * (len - 4));
        (word | FOLD >> (8 * (8 - len)), 0)
    } else {
        // One to three bytes: the first, the middle and the last overlap as they need.
        let word = u64::from(verb[0])
            | u64::from(verb[len / 2]) << (8 * (len / 2))
            | u64::from(verb[len - 1]) << (8 * (len - 1));
        (word | FOLD >> (8 * (8 - len)), 0)
    }
}

/// [`fold`] for the compiler.
const fn fold_const(verb: &[u8]) -> (u64, u64) {
    const fn word(verb: &[u8], start: usize) -> u64 {
        let (mut word, mut i) = (0, 0);
        while i < 8 && start + i < verb.len() {
            word |= ((verb[start + i] | 0x20) as u64) << (8 * i);
            i += 1;
        }
        word
    }
    (word(verb, 0), if verb.len() > 8 { word(verb, verb.len() - 8) } else { 0 })
}

#[inline]
const fn mix(head: u64, tail: u64, len: usize) -> u64 {
    let hash = head.wrapping_mul(0x9E37_79B9_7F4A_7C15)
        ^ (len as u64).wrapping_mul(0xC2B2_AE3D_27D4_EB4F)
        ^ tail.wrapping_mul(0xFF51_AFD7_ED55_8CCD).rotate_left(29);
    hash ^ (hash >> 31)
}

#[inline]
const fn slot(hash: u64, seed: u16, slots: usize) -> usize {
    let hash = (hash ^ (seed as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15))
        .wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    (hash >> 40) as usize & (slots - 1)
}

const fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut i = 0;
    while i < a.len() {
        if a[i] | 0x20 != b[i] | 0x20 {
            return false;
        }
        i += 1;
    }
    true
}

const fn verb_of(name: &'static str) -> &'static [u8] {
    let bytes = name.as_bytes();
    let mut i = 0;
    while i < bytes.len() {
        if bytes[i] == b' ' {
            return bytes.split_at(i).0;
        }
        i += 1;
    }
    bytes
}

/// How many commands the sets have in all.
pub const fn count<S: 'static>(sets: &[&'static [&'static [Command<S>]]]) -> usize {
    let (mut total, mut group) = (0, 0);
    while group < sets.len() {
        let mut set = 0;
        while set < sets[group].len() {
            total += sets[group][set].len();
            set += 1;
        }
        group += 1;
    }
    total
}

/// The sets' commands in one list, subcommands of one verb side by side. Refuses, at compile time,
/// two commands of one name.
pub const fn sort<S: 'static, const N: usize>(
    sets: &[&'static [&'static [Command<S>]]],
) -> [Option<&'static Command<S>>; N] {
    assert!(N <= MAX_COMMANDS);
    let mut declared: [Option<&'static Command<S>>; N] = [const { None }; N];
    let (mut n, mut group) = (0, 0);
    while group < sets.len() {
        let mut set = 0;
        while set < sets[group].len() {
            let mut i = 0;
            while i < sets[group][set].len() {
                declared[n] = Some(&sets[group][set][i]);
                n += 1;
                i += 1;
            }
            set += 1;
        }
        group += 1;
    }
    let mut sorted: [Option<&'static Command<S>>; N] = [const { None }; N];
    let mut taken = [false; N];
    let (mut filled, mut i) = (0, 0);
    while i < N {
        if !taken[i]
            && let Some(first) = declared[i]
        {
            let verb = verb_of(first.info.name);
            let mut j = i;
            while j < N {
                if let Some(command) = declared[j]
                    && !taken[j]
                    && same(verb, verb_of(command.info.name))
                {
                    let mut k = filled;
                    while k > 0 {
                        k -= 1;
                        let Some(other) = sorted[k] else { break };
                        if !same(verb, verb_of(other.info.name)) {
                            break;
                        }
                        if same(other.info.name.as_bytes(), command.info.name.as_bytes()) {
                            declared_twice(other, command);
                        }
                    }
                    sorted[filled] = Some(command);
                    filled += 1;
                    taken[j] = true;
                }
                j += 1;
            }
        }
        i += 1;
    }
    sorted
}

const fn append(message: &mut [u8; 256], at: usize, text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut i = 0;
    while i < bytes.len() && at + i < message.len() {
        message[at + i] = bytes[i];
        i += 1;
    }
    at + i
}

const fn declared_twice<S>(one: &Command<S>, other: &Command<S>) -> ! {
    let mut message = [0; 256];
    let mut n = append(&mut message, 0, "the command `");
    n = append(&mut message, n, one.info.name);
    n = append(&mut message, n, "` is declared by `");
    n = append(&mut message, n, one.info.set);
    n = append(&mut message, n, "` and again by `");
    n = append(&mut message, n, other.info.set);
    n = append(&mut message, n, "`: rename one with `name = \"...\"`");
    match std::str::from_utf8(message.split_at(n).0) {
        Ok(text) => panic!("{}", text),
        Err(_) => panic!("a command is declared twice"),
    }
}

/// Most verbs that may share a bucket. With as many buckets as commands more than a few is chance.
const BUCKET: usize = 16;

/// Gives each verb of a sorted list a slot of its own. `SLOTS` and `BUCKETS` are powers of two,
/// `SLOTS` at least twice the number of commands.
pub const fn place<S: 'static, const N: usize, const SLOTS: usize, const BUCKETS: usize>(
    commands: &[Option<&'static Command<S>>; N],
) -> ([Entry<S>; SLOTS], [u16; BUCKETS]) {
    assert!(SLOTS.is_power_of_two() && BUCKETS.is_power_of_two());
    // One entry per verb, in the list's order.
    let mut entries: [Entry<S>; N] = [const { Entry::EMPTY }; N];
    let mut hashes = [0; N];
    let (mut verbs, mut i) = (0, 0);
    while i < N {
        let Some(command) = commands[i] else { break };
        let verb = verb_of(command.info.name);
        if verb.is_empty() || verb.len() > VERB_BYTES {
            panic!("a verb has 1 to 32 bytes");
        }
        let (head, tail) = fold_const(verb);
        let mut entry = Entry { head, tail, len: verb.len(), ..Entry::EMPTY };
        let (mut start, mut end) = (0, 0);
        while i < N {
            let Some(command) = commands[i] else { break };
            if !same(verb, verb_of(command.info.name)) {
                break;
            }
            if command.info.name.len() == verb.len() {
                entry.command = Some(command);
                entry.index = i as u16;
            } else {
                if end == 0 {
                    start = i;
                } else if end != i {
                    panic!("declare a verb before or after its subcommands, not between them");
                }
                end = i + 1;
            }
            i += 1;
        }
        entry.subcommands = (start as u16, end as u16);
        entries[verbs] = entry;
        hashes[verbs] = mix(head, tail, verb.len());
        verbs += 1;
    }

    let mut slots: [Entry<S>; SLOTS] = [const { Entry::EMPTY }; SLOTS];
    let mut seeds = [0; BUCKETS];
    let mut size = [0; BUCKETS];
    i = 0;
    while i < verbs {
        size[hashes[i] as usize & (BUCKETS - 1)] += 1;
        i += 1;
    }
    // The crowded buckets choose first, while there is room.
    let mut wanted = BUCKET;
    while wanted > 0 {
        let mut bucket = 0;
        while bucket < BUCKETS {
            if size[bucket] == wanted {
                seeds[bucket] = settle(&entries, &hashes, verbs, bucket, BUCKETS, &mut slots);
            }
            bucket += 1;
        }
        wanted -= 1;
    }
    (slots, seeds)
}

/// Finds a seed that puts all verbs of `bucket` into free slots, and puts them there.
const fn settle<S: 'static, const N: usize, const SLOTS: usize>(
    entries: &[Entry<S>; N],
    hashes: &[u64; N],
    verbs: usize,
    bucket: usize,
    buckets: usize,
    slots: &mut [Entry<S>; SLOTS],
) -> u16 {
    let mut members = [0; BUCKET];
    let (mut n, mut i) = (0, 0);
    while i < verbs {
        if hashes[i] as usize & (buckets - 1) == bucket {
            members[n] = i;
            n += 1;
        }
        i += 1;
    }
    let mut seed = 0;
    loop {
        let mut chosen = [0; BUCKET];
        let (mut ok, mut m) = (true, 0);
        while ok && m < n {
            let at = slot(hashes[members[m]], seed, SLOTS);
            ok = slots[at].len == 0;
            let mut k = 0;
            while k < m {
                ok = ok && chosen[k] != at;
                k += 1;
            }
            chosen[m] = at;
            m += 1;
        }
        if ok {
            m = 0;
            while m < n {
                slots[chosen[m]] = entries[members[m]];
                m += 1;
            }
            return seed;
        }
        if seed == u16::MAX {
            panic!("no perfect hash was found for these verbs");
        }
        seed += 1;
    }
}
