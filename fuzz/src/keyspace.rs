//! A database beside a plain map: any bytes are a list of steps.

use std::collections::BTreeMap;

use kevy_keyspace::{Db, Expiry, Keyspace, NoObject};
use kevy_rt::{Key, KeyHasher, Value, testing};

/// Steps of four bytes: what to do, with which key, and a length or a time.
///
/// # Panics
/// When the database and the map differ.
pub(crate) fn check(input: &[u8]) {
    let hasher = KeyHasher::seeded(1);
    let mut keyspace = Keyspace::<NoObject>::new(1, &hasher);
    let mut model: BTreeMap<Vec<u8>, (Vec<u8>, u64)> = BTreeMap::new();
    let (mut now, mut cursor) = (1000, 0);
    keyspace.begin(now);
    for (number, step) in input.chunks_exact(4).enumerate() {
        let name = name(step[1], step[2]);
        let len = usize::from(step[3]) * if step[0] & 128 != 0 { 80 } else { 1 };
        let value = vec![number as u8; len];
        let key = key(&hasher, &name);
        let db = &mut keyspace.dbs[0];
        match step[0] % 8 {
            0 | 1 => {
                db.set(key, Value::Slice(&value), step[3], Expiry::Never);
                model.insert(name, (value, 0));
            }
            2 => {
                let at = now + u64::from(step[3]) + 1;
                db.set(key, Value::Slice(&value), step[3], Expiry::At(at));
                model.insert(name, (value, at));
            }
            3 => {
                assert_eq!(db.remove(key), model.remove(&name).is_some());
            }
            4 => {
                db.entry(key).edit(len, 0, |bytes| bytes.fill(7));
                let old = model.entry(name).or_default();
                let len = old.0.len().max(len);
                old.0 = vec![7; len];
            }
            5 => {
                let at = now + u64::from(step[3]) + 1;
                db.entry(key).set_expiry(Expiry::At(at));
                if let Some(entry) = model.get_mut(&name) {
                    entry.1 = at;
                }
            }
            6 => {
                cursor = db.scan(cursor.max(number as u64), |_| {});
                keyspace.tick(&|_| false);
            }
            _ => {
                now += u64::from(step[3]);
                keyspace.begin(now);
                model.retain(|_, (_, at)| *at == 0 || now <= *at);
            }
        }
    }
    agree(&keyspace.dbs[0], &model, &hasher);
    while keyspace.tick(&|_| false) == Some(0) {}
    agree(&keyspace.dbs[0], &model, &hasher);
}

fn agree(db: &Db<NoObject>, model: &BTreeMap<Vec<u8>, (Vec<u8>, u64)>, hasher: &KeyHasher) {
    assert_eq!(db.iter().count(), model.len());
    for (name, (value, at)) in model {
        let record = db.find(key(hasher, name)).expect("it is there");
        assert_eq!((record.value().bytes(), record.expires_ms()), (&value[..], *at));
    }
}

/// Few enough that they are met again, some of them long.
fn name(number: u8, kind: u8) -> Vec<u8> {
    let len = [1, 8, 16, 40, 600][usize::from(kind % 5)];
    vec![number; len]
}

fn key<'a>(hasher: &KeyHasher, name: &'a [u8]) -> Key<'a> {
    testing::key(name, hasher.hash(name))
}
