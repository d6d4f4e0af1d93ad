//! A connection's requests that are under way, and the reading of their replies.

use super::{Check, Failure};
use crate::workload::{Class, Draw, HEAD_BYTES, Workload};

/// How much of an unexpected reply a failure shows.
const SHOWN_BYTES: usize = 80;

/// Requests that were sent together, and how far their replies have come.
#[derive(Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    /// Class and key of each request, in order.
    requests: Vec<(usize, u64)>,
    answered: usize,
    /// Bytes of the reply under way that are still to come; zero between replies.
    left: usize,
    /// The start of a reply that is still too short to tell what it is.
    head: [u8; HEAD_BYTES],
    head_bytes: usize,
    /// What the reply under way must be, where every byte is checked.
    expected: Vec<u8>,
}

/// What a chunk completed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Fed {
    /// Replies, misses among them.
    pub(super) replies: u64,
    /// GETs that found no value.
    pub(super) misses: u64,
}

impl Batch {
    /// Makes a batch of `count` requests and returns its bytes.
    pub(super) fn fill(&mut self, count: usize, workload: &Workload, draw: &mut Draw) -> &[u8] {
        debug_assert!(self.is_answered());
        self.answered = 0;
        self.requests.clear();
        self.requests.extend((0..count).map(|_| draw.next(workload)));
        match workload.only_class() {
            Some(class) => self.fill_in_place(class),
            None => {
                self.bytes.clear();
                for (class, key) in &self.requests {
                    workload.class(*class).write_request(*key, &mut self.bytes);
                }
            }
        }
        &self.bytes
    }

    /// Requests of one class differ from the last batch's in the keys only.
    fn fill_in_place(&mut self, class: &Class) {
        self.bytes.truncate(self.requests.len() * class.request_bytes());
        let (kept, _) = self.requests.split_at(self.bytes.len() / class.request_bytes());
        for ((_, key), bytes) in kept.iter().zip(self.bytes.chunks_exact_mut(class.request_bytes()))
        {
            class.patch_request(*key, bytes);
        }
        for (_, key) in &self.requests[kept.len()..] {
            class.write_request(*key, &mut self.bytes);
        }
    }

    /// Whether every request has its reply.
    pub(super) fn is_answered(&self) -> bool {
        self.answered == self.requests.len()
    }

    /// Reads a chunk of replies.
    pub(super) fn feed(
        &mut self,
        mut chunk: &[u8],
        workload: &Workload,
        check: Check,
    ) -> Result<Fed, Failure> {
        let before = self.answered;
        let mut misses = 0;
        while !chunk.is_empty() {
            let Some(&(class, key)) = self.requests.get(self.answered) else {
                return Err(Failure::Unexpected(show(chunk)));
            };
            let class = workload.class(class);
            if self.left == 0 {
                if check == Check::Bytes && self.head_bytes == 0 {
                    class.expect_reply(key, &mut self.expected);
                }
                match self.begin(&mut chunk, class)? {
                    Begun::Reply => {}
                    Begun::Partial => continue,
                    Begun::Miss => {
                        misses += 1;
                        self.answered += 1;
                        continue;
                    }
                }
                if check == Check::Bytes {
                    self.compare(&self.head[..self.head_bytes], 0)?;
                }
                self.head_bytes = 0;
            }
            let (body, rest) = chunk.split_at(self.left.min(chunk.len()));
            if check == Check::Bytes {
                self.compare(body, class.reply_bytes() - self.left)?;
            }
            self.left -= body.len();
            chunk = rest;
            if self.left == 0 {
                self.answered += 1;
            }
        }
        Ok(Fed { replies: (self.answered - before) as u64, misses })
    }

    /// Looks at the start of a reply. Bytes that lie in `head` are taken from the chunk; a reply
    /// whose start is all in the chunk is left there, and `head` stays empty.
    fn begin(&mut self, chunk: &mut &[u8], class: &Class) -> Result<Begun, Failure> {
        if self.head_bytes == 0 && chunk.len() >= HEAD_BYTES && class.accepts(chunk) {
            self.left = class.reply_bytes();
            return Ok(Begun::Reply);
        }
        let (start, rest) = chunk.split_at(chunk.len().min(HEAD_BYTES - self.head_bytes));
        self.head[self.head_bytes..][..start.len()].copy_from_slice(start);
        self.head_bytes += start.len();
        *chunk = rest;
        if self.head_bytes < HEAD_BYTES {
            return Ok(Begun::Partial);
        }
        if class.accepts(&self.head) {
            self.left = class.reply_bytes() - HEAD_BYTES;
            return Ok(Begun::Reply);
        }
        if self.head == *class.miss() {
            self.head_bytes = 0;
            return Ok(Begun::Miss);
        }
        Err(Failure::Unexpected(show(&[&self.head[..], rest].concat())))
    }

    /// Compares `found` with the expected reply from `at` on.
    fn compare(&self, found: &[u8], at: usize) -> Result<(), Failure> {
        let expected = &self.expected[at..][..found.len()];
        if found == expected {
            return Ok(());
        }
        Err(Failure::Wrong { found: show(found), expected: show(expected) })
    }
}

enum Begun {
    Reply,
    Miss,
    Partial,
}

fn show(bytes: &[u8]) -> String {
    bytes[..bytes.len().min(SHOWN_BYTES)].escape_ascii().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::{KeySpace, MISS, Order, Verb};

    fn batch(workload: &Workload, count: usize) -> Batch {
        let mut batch = Batch::default();
        batch.fill(count, workload, &mut Draw::new(Order::Sequential));
        batch
    }

    fn replies(workload: &Workload, count: u64) -> Vec<u8> {
        let mut one = Vec::new();
        (0..count)
            .flat_map(|key| {
                workload.class(0).expect_reply(key, &mut one);
                one.clone()
            })
            .collect()
    }

    #[test]
    fn replies_may_be_cut_anywhere() {
        for (verb, value_bytes) in [(Verb::Get, 16), (Verb::Get, 0), (Verb::Set, 16)] {
            let workload = Workload::of(verb, KeySpace::new(4, value_bytes));
            let stream = replies(&workload, 4);
            for check in [Check::Heads, Check::Bytes] {
                for size in 1..stream.len() {
                    let mut batch = batch(&workload, 4);
                    let mut total = 0;
                    for chunk in stream.chunks(size) {
                        assert!(!batch.is_answered());
                        total += batch.feed(chunk, &workload, check).unwrap().replies;
                    }
                    assert_eq!(total, 4);
                    assert!(batch.is_answered());
                }
            }
        }
    }

    #[test]
    fn misses_are_counted_wherever_they_are_cut() {
        let workload = Workload::of(Verb::Get, KeySpace::new(3, 16));
        let stream = [&replies(&workload, 1)[..], MISS, b"$16\r\n000000000002xxxx\r\n"].concat();
        for size in 1..stream.len() {
            let mut batch = batch(&workload, 3);
            let feeds = stream.chunks(size).map(|chunk| batch.feed(chunk, &workload, Check::Bytes));
            let fed: Vec<Fed> = feeds.map(Result::unwrap).collect();
            assert_eq!(fed.iter().map(|fed| fed.misses).sum::<u64>(), 1);
            assert_eq!(fed.iter().map(|fed| fed.replies).sum::<u64>(), 3);
        }
    }

    #[test]
    fn errors_wrong_bytes_and_surplus_are_failures() {
        let workload = Workload::of(Verb::Get, KeySpace::new(1, 16));
        let feed = |bytes: &[u8], check| batch(&workload, 1).feed(bytes, &workload, check);
        let failure = feed(b"-ERR no\r\n", Check::Heads);
        assert!(matches!(failure, Err(Failure::Unexpected(text)) if text == r"-ERR no\r\n"));
        let wrong = b"$16\r\n000000000001xxxx\r\n";
        assert!(feed(wrong, Check::Heads).is_ok());
        assert!(matches!(feed(wrong, Check::Bytes), Err(Failure::Wrong { .. })));
        let surplus = [&replies(&workload, 1)[..], b"+"].concat();
        assert!(matches!(feed(&surplus, Check::Heads), Err(Failure::Unexpected(_))));
    }

    #[test]
    fn refilling_equals_filling() {
        let workload = Workload::of(Verb::Set, KeySpace::new(1000, 16));
        let mut draw = Draw::new(Order::Sequential);
        let mut refilled = Batch::default();
        for count in [3, 5, 2, 4] {
            let start = refilled.requests.last().map_or(0, |(_, key)| key + 1);
            refilled.fill(count, &workload, &mut draw);
            let mut fresh = Vec::new();
            for key in start..start + count as u64 {
                workload.class(0).write_request(key, &mut fresh);
            }
            assert_eq!(refilled.bytes, fresh);
            refilled.answered = count;
        }
    }
}
