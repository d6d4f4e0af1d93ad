//! RENAME, RENAMENX, COPY, MOVE: a value gets another key, or another database, with its expiry.
//!
//! The two keys of the first three may be on two shards. A value goes from one to the other whole;
//! a long one as a handle, without a copy of its bytes.

use kevy_resp::{Dialect, Error, Resp, Status};
use kevy_rt::{Arg, ArgInfo, ArgKind, Cursor, Cx, Key, MANY, Scope, Tx, commands};

use crate::database::Index;
use crate::store::{Db, Keyspace};

const SAME_OBJECT: Error = Error::new("ERR source and destination objects are the same");

/// Commands that give a value another key.
#[derive(Debug)]
pub struct Renames;

#[commands(store = Db, wire = Resp)]
impl Renames {
    /// Gives a value another key, whose own value is dropped.
    #[command(
        route = tx(1, 2),
        write,
        since = "1.0.0",
        group = "generic",
        complexity = "O(1)",
        flags(write),
        meta(key_flags = "RW,access,delete;OW,update")
    )]
    async fn rename(tx: &Tx<Db>, key: Key<'_>, newkey: Key<'_>) -> Result<Status, Error> {
        if key.bytes() == newkey.bytes() {
            let is_there = tx.read(&key, |db, key| db.find(key).is_some()).await;
            return if is_there { Ok(Status::OK) } else { Err(Error::NO_SUCH_KEY) };
        }
        let taken = tx.on(&key, |db, key| db.entry(key).take()).await;
        let value = taken.ok_or(Error::NO_SUCH_KEY)?;
        tx.on(&newkey, |db, key| db.entry(key).put_detached(value)).await;
        Ok(Status::OK)
    }

    /// Gives a value another key, unless that has a value.
    #[command(
        route = tx(1, 2),
        write,
        since = "1.0.0",
        group = "generic",
        complexity = "O(1)",
        flags(write, fast),
        meta(key_flags = "RW,access,delete;OW,insert")
    )]
    async fn renamenx(tx: &Tx<Db>, key: Key<'_>, newkey: Key<'_>) -> Result<bool, Error> {
        let is_there = tx.read(&key, |db, key| db.find(key).is_some());
        let is_taken = tx.read(&newkey, |db, key| db.find(key).is_some());
        if !is_there.await {
            return Err(Error::NO_SUCH_KEY);
        }
        // One key is there twice.
        if is_taken.await {
            return Ok(false);
        }
        let Some(value) = tx.on(&key, |db, key| db.entry(key).take()).await else {
            return Err(Error::NO_SUCH_KEY);
        };
        tx.on(&newkey, |db, key| db.entry(key).put_detached(value)).await;
        Ok(true)
    }
}

/// Commands that bring a value to another database.
#[derive(Debug)]
pub struct Moves;

#[commands(store = Keyspace, wire = Resp)]
impl Moves {
    /// Copies a value to another key, which may be one of another database. Answers whether it did.
    #[command(
        route = tx(1, 2),
        write,
        since = "6.2.0",
        group = "generic",
        complexity = "O(1) for strings.",
        flags(write, denyoom),
        meta(key_flags = "RO,access;OW,update")
    )]
    async fn copy(
        tx: &Tx<Keyspace>,
        source: Key<'_>,
        destination: Key<'_>,
        options: CopyOptions,
    ) -> Result<bool, Error> {
        let own = own_database(tx.scope());
        let is_same_key = source.bytes() == destination.bytes();
        let replaces = options.replaces;
        let read = tx.read(&source, move |keyspace, key| {
            let target = options.target(own, keyspace.dbs.len())?;
            if target == own && is_same_key {
                return Err(SAME_OBJECT);
            }
            Ok(keyspace.dbs[own].read(key).map(|value| (target, value.detached())))
        });
        let Some((target, value)) = read.await? else { return Ok(false) };
        let put = tx.on(&destination, move |keyspace, key| {
            let mut entry = keyspace.dbs[target].entry(key);
            let is_free = replaces || !entry.exists();
            if is_free {
                entry.put_detached(value);
            }
            is_free
        });
        Ok(put.await)
    }

    /// Moves a key to another database, unless it is there too. Answers whether it did.
    #[command(
        route = single(1),
        name = "move",
        write,
        since = "1.0.0",
        group = "generic",
        complexity = "O(1)",
        flags(write, fast),
        meta(key_flags = "RW,access,update")
    )]
    fn move_to(
        keyspace: &mut Keyspace,
        cx: &Cx<'_>,
        key: Key<'_>,
        db: Index,
    ) -> Result<bool, Error> {
        let target = db.among(keyspace.dbs.len())?;
        let own = own_database(cx.scope());
        let [own, target] =
            keyspace.dbs.get_disjoint_mut([own, target]).map_err(|_| SAME_OBJECT)?;
        let mut entry = own.entry(key);
        if !entry.exists() || target.entry(key).exists() {
            return Ok(false);
        }
        let value = entry.take();
        let has_moved = value.is_some();
        value.into_iter().for_each(|value| target.entry(key).put_detached(value));
        Ok(has_moved)
    }
}

/// The database that a request's connection has selected.
fn own_database(scope: u64) -> usize {
    Dialect::from_bits(scope).db.into()
}

/// COPY's options.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct CopyOptions {
    replaces: bool,
    /// The databases that were named, of which the last one counts.
    databases: Vec<Index>,
    /// What was wrong with an option behind them.
    refusal: Option<Error>,
}

impl CopyOptions {
    /// The database that is copied to, where there are so many.
    ///
    /// # Errors
    /// The first thing that is wrong, be it that there is no such database or a word.
    fn target(&self, own: usize, count: usize) -> Result<usize, Error> {
        let mut target = own;
        for index in &self.databases {
            target = index.among(count)?;
        }
        self.refusal.clone().map_or(Ok(target), Err)
    }

    fn read(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Error> {
        while !cursor.is_done() {
            let option = cursor.bytes()?;
            if option.eq_ignore_ascii_case(b"REPLACE") {
                self.replaces = true;
            } else if option.eq_ignore_ascii_case(b"DB") && !cursor.is_done() {
                self.databases.push(Index::take(cursor)?);
            } else {
                return Err(Error::SYNTAX);
            }
        }
        Ok(())
    }
}

impl<'a> Arg<'a, Resp> for CopyOptions {
    const MIN: usize = 0;
    const MAX: usize = MANY;
    const KIND: ArgKind = ArgKind::Options(&[
        ArgInfo {
            token: Some("DB"),
            ..ArgInfo::needed("destination-db", ArgKind::Integer).or_none()
        },
        ArgInfo::token("replace", "REPLACE").or_none(),
    ]);

    fn take(cursor: &mut Cursor<'a>) -> Result<Self, Error> {
        let mut options = CopyOptions::default();
        options.refusal = options.read(cursor).err();
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::args;

    #[test]
    fn copy_is_refused_for_the_first_thing_that_is_wrong() {
        let target = |text: &str| {
            let words: Vec<&[u8]> = text.split_whitespace().map(str::as_bytes).collect();
            let options = CopyOptions::take(&mut Cursor::new(args(&words), 0)).unwrap();
            options.target(3, 16).map_err(|error| error.to_string())
        };
        for (text, expected) in [
            ("", Ok(3)),
            ("REPLACE", Ok(3)),
            ("db 5 replace", Ok(5)),
            ("DB 5 REPLACE REPLACE DB 4", Ok(4)),
            ("DB", Err("ERR syntax error")),
            ("DB 5 DB", Err("ERR syntax error")),
            ("DB 99 FOO", Err("ERR DB index is out of range")),
            ("DB 99 DB 1", Err("ERR DB index is out of range")),
            ("FOO DB 99", Err("ERR syntax error")),
            ("DB x", Err("ERR value is not an integer or out of range")),
        ] {
            assert_eq!(target(text), expected.map_err(str::to_owned), "{text}");
        }
    }
}
