//! A protocol of one's own: lines of words, for people with a terminal.
//!
//! ```text
//! put colour dark blue      done
//! get colour                dark blue
//! get shape                 nothing
//! get                       error: GET takes other arguments
//! ```
//!
//! The wire is two halves. `Wire` finds requests in bytes, and writes what the runtime has to say;
//! `Encode` writes what handlers answer, one implementation for each type. All else, from arguments
//! to order and limits, is the runtime's.

use std::collections::HashMap;

use kevy_rt::{
    Args, Burst, ClientSide, Encode, Key, ParseLimits, Refusal, Reply, Rest, Resume, Store, Wire,
    commands, server,
};

/// The wire: a request is a line of words.
#[derive(Debug)]
pub struct Lines;

/// An error reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint(pub String);

impl Wire for Lines {
    type Scope = ();
    type Refusal = Complaint;

    fn parse(
        input: &[u8],
        resume: &mut Resume,
        limits: &ParseLimits,
        burst: &mut Burst,
    ) -> Result<(), Complaint> {
        // Of a line that is not whole yet, this much was looked through before.
        let mut looked_at = std::mem::take(&mut resume.at);
        let mut start = 0;
        while burst.room() > 0 && start < input.len() {
            let Some(more) = memchr::memchr(b'\n', &input[start + looked_at..]) else {
                if input.len() - start > limits.line_bytes {
                    return Err(Complaint("the line is too long".into()));
                }
                resume.save(burst, input.len(), [0; 2], None);
                return Ok(());
            };
            let end = start + looked_at + more;
            looked_at = 0;
            let mut at = start;
            for word in input[start..end].split(|byte| byte.is_ascii_whitespace()) {
                if !word.is_empty() {
                    burst.push(at, word.len());
                }
                at += word.len() + 1;
            }
            if burst.open_args() > limits.args {
                return Err(Complaint("there are too many words".into()));
            }
            start = end + 1;
            burst.close(start);
        }
        Ok(())
    }

    fn list(reply: &mut Reply<'_, Self>, len: usize) {
        reply.out().extend(format!("{len} of them:\n").as_bytes());
    }

    fn unknown(_: Args<'_>, _: Option<&'static str>, reply: &mut Reply<'_, Self>) {
        reply.put(Complaint("there is no such command".into()));
    }
}

/// What the runtime refuses, in this protocol's words.
impl From<Refusal> for Complaint {
    fn from(refusal: Refusal) -> Self {
        Complaint(match refusal {
            Refusal::Arity(command) => format!("{command} takes other arguments"),
            Refusal::NotAnInteger => "that is no number".into(),
            Refusal::TooManyConnections => "there are too many of you".into(),
            other => format!("it is refused: {other:?}"),
        })
    }
}

impl Encode<Lines> for Complaint {
    fn encode(self, reply: &mut Reply<'_, Lines>) {
        reply.out().count_error();
        reply.out().extend(format!("error: {}\n", self.0).as_bytes());
    }
}

impl Encode<Lines> for () {
    fn encode(self, reply: &mut Reply<'_, Lines>) {
        reply.out().extend(b"done\n");
    }
}

impl Encode<Lines> for &[u8] {
    fn encode(self, reply: &mut Reply<'_, Lines>) {
        reply.out().extend(self);
        reply.out().push(b'\n');
    }
}

impl Encode<Lines> for i64 {
    fn encode(self, reply: &mut Reply<'_, Lines>) {
        reply.out().extend(format!("{self}\n").as_bytes());
    }
}

impl<T: Encode<Lines>> Encode<Lines> for Option<T> {
    fn encode(self, reply: &mut Reply<'_, Lines>) {
        match self {
            Some(value) => value.encode(reply),
            None => reply.out().extend(b"nothing\n"),
        }
    }
}

/// How a client sees it, for tests.
impl ClientSide for Lines {
    type Answer = String;

    fn request(arguments: &[&[u8]], out: &mut Vec<u8>) {
        out.extend(arguments.join(&b' '));
        out.push(b'\n');
    }

    fn answer(input: &[u8]) -> Result<Option<(String, usize)>, String> {
        let Some(end) = memchr::memchr(b'\n', input) else { return Ok(None) };
        Ok(Some((String::from_utf8_lossy(&input[..end]).into_owned(), end + 1)))
    }
}

/// One shard's notes.
#[derive(Debug, Default, Store)]
pub struct Notes(HashMap<Box<[u8]>, Vec<u8>>);

/// The command set.
#[derive(Debug)]
pub struct Noting;

#[commands(store = Notes, wire = Lines)]
impl Noting {
    /// Notes some words under a name.
    #[command(route = single(1), write)]
    fn put(db: &mut Notes, name: Key<'_>, words: Rest<'_, 1>) {
        db.0.insert(name.bytes().into(), words.iter().collect::<Vec<_>>().join(&b' '));
    }

    /// Answers what is noted under a name.
    #[command(route = single(1))]
    fn get(db: &Notes, name: Key<'_>) -> Option<&[u8]> {
        db.0.get(name.bytes()).map(|words| &words[..])
    }

    /// How many notes there are.
    #[command(route = all, gather = sum)]
    fn count(db: &Notes) -> i64 {
        db.0.len() as i64
    }
}

server! {
    /// The server.
    pub Notebook: store = Notes, ports = [ Lines, () => [Noting] ]
}

#[cfg(test)]
mod tests {
    use kevy_rt::TestShard;

    use super::*;

    #[test]
    fn lines_are_requests_and_replies() {
        for shards in [1, 2, 5] {
            let server = TestShard::<Notebook>::new((), shards);
            let mut client = server.connect::<Lines>();
            assert_eq!(client.call(["put", "colour", "dark", "blue"]), "done");
            assert_eq!(client.call(["get", "colour"]), "dark blue");
            assert_eq!(client.call(["get", "shape"]), "nothing");
            assert_eq!(client.call(["get"]), "error: GET takes other arguments");
            assert_eq!(client.call(["give"]), "error: there is no such command");
            assert_eq!(client.exchange(b"\n count \r\n\nget colour\n"), b"1\ndark blue\n");
        }
    }

    /// Seeds decide in which pieces the bytes arrive.
    #[test]
    fn pieces_are_put_together() {
        let lines: String = (0..200).map(|n| format!("put note{n} {}\n", "x".repeat(n))).collect();
        for seed in 0..8 {
            let server = TestShard::<Notebook>::seeded((), 2, seed);
            let mut client = server.connect::<Lines>();
            let replies = client.exchange(lines.as_bytes());
            // Nothing can't be noted.
            assert!(replies.starts_with(b"error: PUT takes other arguments\ndone\n"));
            assert_eq!(client.call(["count"]), "199");
        }
    }

    #[test]
    fn a_line_without_an_end_is_refused() {
        let server = TestShard::<Notebook>::new((), 1);
        let mut client = server.connect::<Lines>();
        assert_eq!(client.exchange(&[b'x'; 70_000]), b"error: the line is too long\n");
        assert!(client.is_closed());
    }
}
