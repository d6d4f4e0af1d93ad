//! What the directives about clients come to: the runtime's limits.

use std::fmt;
use std::time::Duration;

use kevy_rt::{Limits, parse_integer};

use super::Config;
use super::kind::read_memory;

/// The marks of one class of clients: hard bytes, soft bytes, seconds above the soft ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks {
    pub(super) hard_bytes: u64,
    soft_bytes: u64,
    soft_s: u64,
}

/// `client-output-buffer-limit`: the marks of each class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct OutputLimits {
    pub(super) normal: Marks,
    replica: Marks,
    pubsub: Marks,
}

impl OutputLimits {
    /// From what [`OutputLimits::fmt`] wrote.
    pub(super) fn from_text(text: &[u8]) -> Self {
        let mut limits = OutputLimits::default();
        let words: Vec<&[u8]> = text.split(|byte| *byte == b' ').collect();
        let read = limits.change(&words);
        debug_assert!(read.is_ok(), "a text that was checked before");
        limits
    }

    /// Takes groups of class, hard mark, soft mark and seconds.
    pub(super) fn change(&mut self, words: &[&[u8]]) -> Result<(), String> {
        let mut changed = *self;
        for group in words.chunks(4) {
            let [class, hard, soft, seconds] = group else {
                return Err("Wrong number of arguments in buffer limit configuration.".into());
            };
            let marks = match class.to_ascii_lowercase().as_slice() {
                b"normal" => &mut changed.normal,
                b"replica" | b"slave" => &mut changed.replica,
                b"pubsub" => &mut changed.pubsub,
                _ => {
                    let message = "Invalid client class specified in buffer limit configuration.";
                    return Err(message.into());
                }
            };
            let read = || {
                Some(Marks {
                    hard_bytes: read_memory(hard)?,
                    soft_bytes: read_memory(soft)?,
                    soft_s: u64::try_from(parse_integer(seconds)?).ok()?,
                })
            };
            let error =
                "Error in hard, soft or soft_seconds setting in buffer limit configuration.";
            *marks = read().ok_or(error)?;
        }
        *self = changed;
        Ok(())
    }
}

impl fmt::Display for OutputLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let class = |f: &mut fmt::Formatter<'_>, name, marks: &Marks| {
            write!(f, "{name} {} {} {}", marks.hard_bytes, marks.soft_bytes, marks.soft_s)
        };
        class(f, "normal", &self.normal)?;
        class(f, " slave", &self.replica)?;
        class(f, " pubsub", &self.pubsub)
    }
}

impl Config {
    /// The limits that the directives ask for. Where Redis has none, the runtime's stands.
    ///
    /// The soft mark of `client-output-buffer-limit` is not one of them: a client that doesn't
    /// take its replies is not read from, so it needs no clock to be stopped.
    pub fn limits(&self) -> Limits {
        let mut limits = Limits::default();
        let count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        limits.connections = count(self.max_clients());
        limits.idle_timeout = Duration::from_secs(self.idle_timeout_s());
        limits.parse.argument_bytes = self.max_bulk_bytes();
        limits.parse.request_bytes = count(self.query_buffer_bytes());
        let hard = OutputLimits::from_text(self.output_limits()).normal.hard_bytes;
        if hard > 0 {
            limits.output_hard_bytes = count(hard);
            limits.output_soft_bytes = limits.output_soft_bytes.min(count(hard));
        }
        limits.strict_pipelines = self.has_strict_pipelines();
        let memory = self.client_memory_bytes();
        if memory > 0 {
            limits.client_memory_bytes = count(memory);
        }
        limits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_that_are_left_out_keep_their_marks() {
        let mut limits = OutputLimits::default();
        let words = [&b"normal"[..], b"10mb", b"5mb", b"60", b"Replica", b"1kb", b"2", b"3"];
        limits.change(&words).expect("it is fine");
        let text = "normal 10485760 5242880 60 slave 1024 2 3 pubsub 0 0 0";
        assert_eq!(limits.to_string(), text);
        assert_eq!(OutputLimits::from_text(text.as_bytes()), limits);
        for wrong in [
            &[&b"normal"[..], b"0", b"0"][..],
            &[b"foo", b"0", b"0", b"0"],
            &[b"normal", b"1", b"1", b"1", b"normal", b"abc", b"0", b"0"],
            &[b"normal", b"0", b"0", b"-1"],
        ] {
            assert!(limits.change(wrong).is_err());
            assert_eq!(limits.to_string(), text, "nothing of a wrong one is taken");
        }
    }

    #[test]
    fn directives_become_limits() {
        let mut config = Config::default();
        assert_eq!(config.limits(), Limits::default(), "the defaults agree");
        for (name, value) in [
            ("maxclients", "77"),
            ("timeout", "9"),
            ("proto-max-bulk-len", "2mb"),
            ("client-query-buffer-limit", "3mb"),
            ("client-output-buffer-limit", "normal 4kb 1 1"),
            ("maxmemory", "1000"),
            ("maxmemory-clients", "50%"),
            ("pipeline-order", "strict"),
        ] {
            config.change(&[(name.as_bytes(), value.as_bytes())]).expect(name);
        }
        let limits = config.limits();
        assert_eq!(limits.connections, 77);
        assert_eq!(limits.idle_timeout, Duration::from_secs(9));
        assert_eq!(limits.parse.argument_bytes, 2 << 20);
        assert_eq!(limits.parse.request_bytes, 3 << 20);
        assert_eq!((limits.output_hard_bytes, limits.output_soft_bytes), (4096, 4096));
        assert_eq!(limits.client_memory_bytes, 500);
        assert!(limits.strict_pipelines);
    }
}
