//! LCS: the longest common subsequence of two strings, which may be on two shards.

use kevy_resp::{Dialect, Error, Frame, Resp};
use kevy_rt::{Arg, Hop, Key, ReadTx, Scope, Shared, Value, commands};

use crate::store::Store;
use crate::strings::shared;

const BOTH: Error = Error::new("ERR If you want both the length and indexes, please just use IDX.");
const TOO_LONG: Error = Error::new("ERR String too long for LCS");
const TABLE_TOO_LARGE: Error =
    Error::new("ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len");

/// The set of LCS.
#[derive(Debug)]
pub struct Subsequences;

#[commands(store = Store, wire = Resp)]
impl Subsequences {
    /// Answers the longest common subsequence of two strings, its length, or where its parts are.
    #[command(
        route = tx(1, 2),
        since = "7.0.0",
        group = "string",
        complexity = "O(N*M) where N and M are the lengths of the strings.",
        flags(readonly),
        meta(key_flags = "RO,access")
    )]
    async fn lcs(
        tx: &ReadTx<Store>,
        key1: Key<'_>,
        key2: Key<'_>,
        options: LcsOptions,
    ) -> Result<Frame, Error> {
        if options.idx && options.len {
            return Err(BOTH);
        }
        let (first, second) = (read(tx, &key1), read(tx, &key2));
        let ((first, longest), (second, _)) = (first.await, second.await);
        answer(&first, &second, options, longest)
    }
}

/// Reads a string, and how many bytes the table may take.
fn read(tx: &ReadTx<Store>, key: &Key<'_>) -> Hop<Store, (Shared, usize)> {
    let db = usize::from(Dialect::from_bits(tx.scope()).db);
    tx.read(key, move |store, key| {
        let value = store.keyspace.dbs[db].get(key).unwrap_or(Value::Slice(b""));
        (shared(value), store.config.max_bulk_bytes())
    })
}

/// What LCS is asked for.
#[derive(Arg, Clone, Copy, Debug, PartialEq, Eq)]
struct LcsOptions {
    #[token("LEN")]
    len: bool,
    #[token("IDX")]
    idx: bool,
    /// Ranges that are shorter are left out.
    #[token("MINMATCHLEN")]
    #[arg(name = "len")]
    least: Option<i64>,
    #[token("WITHMATCHLEN")]
    withmatchlen: bool,
}

/// Lengths of the longest common subsequences of all pairs of beginnings of two strings.
struct Table {
    width: usize,
    lengths: Vec<u32>,
}

impl Table {
    /// `longest` is how many bytes it may take.
    fn of(first: &[u8], second: &[u8], longest: usize) -> Result<Self, Error> {
        if first.len().max(second.len()) >= u32::MAX as usize - 1 {
            return Err(TOO_LONG);
        }
        let width = second.len() + 1;
        let cells = (first.len() + 1).checked_mul(width);
        let bytes = cells.and_then(|cells| cells.checked_mul(size_of::<u32>()));
        let cells = cells.filter(|_| bytes.is_some_and(|bytes| bytes <= longest));
        let mut lengths = vec![0; cells.ok_or(TABLE_TOO_LARGE)?];
        let mut rows = lengths.chunks_exact_mut(width);
        let mut above = rows.next().expect("there is a row for the empty beginning");
        for (byte, row) in first.iter().zip(rows) {
            for (at, other) in second.iter().enumerate() {
                row[at + 1] =
                    if byte == other { above[at] + 1 } else { row[at].max(above[at + 1]) };
            }
            above = row;
        }
        Ok(Table { width, lengths })
    }

    /// That of the first `first` and the first `second` bytes.
    fn at(&self, first: usize, second: usize) -> u32 {
        self.lengths[first * self.width + second]
    }
}

/// A stretch of bytes that is in both strings: where it starts and ends in each, the ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    first: (usize, usize),
    second: (usize, usize),
}

impl Range {
    fn len(self) -> usize {
        self.first.1 - self.first.0 + 1
    }

    fn frame(self, with_length: bool) -> Frame {
        let pair = |(start, end): (usize, usize)| {
            Frame::Array(vec![Frame::Integer(start as i64), Frame::Integer(end as i64)])
        };
        let length = with_length.then(|| Frame::Integer(self.len() as i64));
        Frame::Array([pair(self.first), pair(self.second)].into_iter().chain(length).collect())
    }
}

/// The bytes of the subsequence, and its ranges from the last to the first.
fn trace(first: &[u8], second: &[u8], table: &Table) -> (Vec<u8>, Vec<Range>) {
    let (mut bytes, mut ranges) = (Vec::new(), Vec::new());
    let (mut at, mut other) = (first.len(), second.len());
    let mut open: Option<Range> = None;
    while at > 0 && other > 0 {
        if first[at - 1] == second[other - 1] {
            (at, other) = (at - 1, other - 1);
            bytes.push(first[at]);
            let range = open.get_or_insert(Range { first: (at, at), second: (other, other) });
            (range.first.0, range.second.0) = (at, other);
        } else {
            let is_above = table.at(at - 1, other) > table.at(at, other - 1);
            if is_above {
                at -= 1
            } else {
                other -= 1
            }
            ranges.extend(open.take());
        }
    }
    ranges.extend(open);
    bytes.reverse();
    (bytes, ranges)
}

fn answer(
    first: &[u8],
    second: &[u8],
    options: LcsOptions,
    longest: usize,
) -> Result<Frame, Error> {
    let table = Table::of(first, second, longest)?;
    let length = Frame::Integer(table.at(first.len(), second.len()).into());
    if options.len {
        return Ok(length);
    }
    let (bytes, ranges) = trace(first, second, &table);
    if !options.idx {
        return Ok(Frame::from(bytes.as_slice()));
    }
    let is_long_enough =
        |range: &Range| options.least.is_none_or(|least| range.len() as i64 >= least);
    let ranges = ranges.into_iter().filter(is_long_enough);
    let ranges = ranges.map(|range| range.frame(options.withmatchlen)).collect();
    Ok(Frame::map([("matches", Frame::Array(ranges)), ("len", length)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_subsequence_of_redis_documentation() {
        let (first, second) = (b"ohmytext", b"mynewtext");
        let table = Table::of(first, second, 1 << 20).expect("it is small");
        let (bytes, ranges) = trace(first, second, &table);
        assert_eq!(bytes, b"mytext");
        let expected =
            [Range { first: (4, 7), second: (5, 8) }, Range { first: (2, 3), second: (0, 1) }];
        assert_eq!(ranges, expected);
        assert_eq!(table.at(8, 9), 6);
    }

    #[test]
    fn the_table_has_a_bound() {
        let least = 11 * 21 * 4;
        assert!(Table::of(&[0; 10], &[0; 20], least).is_ok());
        assert_eq!(Table::of(&[0; 10], &[0; 20], least - 1).err(), Some(TABLE_TOO_LARGE));
        assert!(Table::of(b"", b"", 4).is_ok());
    }
}
