//! Tests of the whole, against plain models.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use kevy_rt::{Key, KeyHasher, Shared, Value, testing};
use proptest::prelude::*;

use crate::{
    Among, Content, Db, Expiry, Keyspace, NoObject, Object, Policy, SHARE_BYTES, Tracking,
};

#[derive(Debug, Clone, PartialEq)]
struct List(Vec<u64>);

impl Object for List {
    fn memory(&self) -> usize {
        self.0.capacity() * 8
    }
}

fn hasher() -> KeyHasher {
    KeyHasher::seeded(7)
}

fn key<'a>(hasher: &KeyHasher, bytes: &'a [u8]) -> Key<'a> {
    testing::key(bytes, hasher.hash(bytes))
}

fn keyspace() -> Keyspace<NoObject> {
    let keyspace = Keyspace::new(2, &hasher());
    keyspace.begin(1000);
    keyspace
}

fn set<T: Object>(db: &mut Db<T>, name: &[u8], value: &[u8], expiry: Expiry) {
    db.set(key(&hasher(), name), Value::Slice(value), 0, expiry);
}

fn get<T: Object>(db: &Db<T>, name: &[u8]) -> Option<Vec<u8>> {
    db.get(key(&hasher(), name)).map(|value| value.bytes().to_vec())
}

fn drain<T: Object>(keyspace: &mut Keyspace<T>) {
    for _ in 0..1_000_000 {
        if keyspace.tick(&|_| false) != Some(0) {
            return;
        }
    }
    panic!("it never ends");
}

#[derive(Clone, Debug)]
enum Step {
    Put { key: u8, len: usize, expiry: Option<u64>, tag: u8 },
    Keep { key: u8, len: usize },
    Edit { key: u8, len: usize },
    Object(u8),
    Expire(u8, Option<u64>),
    Remove(u8),
    Advance(u64),
    Tick,
    Clear,
}

fn lengths() -> impl Strategy<Value = usize> {
    prop_oneof![0..40usize, 40..300usize, 950..1100usize, Just(SHARE_BYTES - 1), Just(SHARE_BYTES)]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let expiry = || prop::option::of(1..200u64);
    let step = prop_oneof![
        6 => (any::<u8>(), lengths(), expiry(), any::<u8>())
            .prop_map(|(key, len, expiry, tag)| Step::Put { key, len, expiry, tag }),
        2 => (any::<u8>(), lengths()).prop_map(|(key, len)| Step::Keep { key, len }),
        2 => (any::<u8>(), lengths()).prop_map(|(key, len)| Step::Edit { key, len }),
        1 => any::<u8>().prop_map(Step::Object),
        2 => (any::<u8>(), expiry()).prop_map(|(key, expiry)| Step::Expire(key, expiry)),
        4 => any::<u8>().prop_map(Step::Remove),
        1 => (1..50u64).prop_map(Step::Advance),
        2 => Just(Step::Tick),
        1 => prop::bool::weighted(0.05).prop_map(|clear| if clear { Step::Clear } else { Step::Tick }),
    ];
    prop::collection::vec(step, 1..300)
}

/// Keys of all kinds of lengths.
fn name(number: u8) -> Vec<u8> {
    let len = match number % 8 {
        0 => 0,
        1 => 16,
        2 => 100,
        3 => 511,
        4 => 513,
        _ => 7,
    };
    let mut name = vec![b'k'; len];
    name.extend_from_slice(&number.to_le_bytes());
    name
}

fn content(number: u64, len: usize) -> Vec<u8> {
    (0..len as u64).map(|at| (number + at) as u8).collect()
}

#[derive(Clone, Debug, PartialEq)]
enum ModelValue {
    Bytes(Vec<u8>),
    List(Vec<u64>),
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_database_is_a_map_with_expiries(steps in steps()) {
        let hasher = hasher();
        let mut keyspace = Keyspace::<List>::new(1, &hasher);
        let mut now = 1000;
        keyspace.begin(now);
        let mut model: BTreeMap<Vec<u8>, (ModelValue, u8, u64)> = BTreeMap::new();
        for (number, step) in steps.into_iter().enumerate() {
            let number = number as u64;
            model.retain(|_, (_, _, expires)| *expires == 0 || now <= *expires);
            let db = &mut keyspace.dbs[0];
            match step {
                Step::Put { key: k, len, expiry, tag } => {
                    let (name, bytes) = (name(k), content(number, len));
                    let at = expiry.map_or(0, |over| now + over);
                    let how = expiry.map_or(Expiry::Never, |over| Expiry::At(now + over));
                    let shared = Shared::new(bytes.clone());
                    let value = if number.is_multiple_of(2) { Value::Shared(&shared) } else { Value::Slice(&bytes) };
                    db.set(key(&hasher, &name), value, tag, how);
                    model.insert(name, (ModelValue::Bytes(bytes), tag, at));
                }
                Step::Keep { key: k, len } => {
                    let (name, bytes) = (name(k), content(number, len));
                    db.set(key(&hasher, &name), Value::Slice(&bytes), 1, Expiry::Keep);
                    let at = model.get(&name).map_or(0, |entry| entry.2);
                    model.insert(name, (ModelValue::Bytes(bytes), 1, at));
                }
                Step::Edit { key: k, len } => {
                    let name = name(k);
                    let edited = db.entry(key(&hasher, &name)).edit(len, 2, |bytes| {
                        if let Some(last) = bytes.last_mut() { *last = number as u8; }
                        bytes.to_vec()
                    });
                    let entry = model.entry(name).or_insert((ModelValue::Bytes(vec![]), 2, 0));
                    let mut bytes = match &entry.0 {
                        ModelValue::Bytes(bytes) => bytes.clone(),
                        ModelValue::List(_) => vec![],
                    };
                    bytes.resize(bytes.len().max(len), 0);
                    if let Some(last) = bytes.last_mut() { *last = number as u8; }
                    prop_assert_eq!(&edited, &bytes);
                    (entry.0, entry.1) = (ModelValue::Bytes(bytes), 2);
                }
                Step::Object(k) => {
                    let name = name(k);
                    let mut entry = db.entry(key(&hasher, &name));
                    if entry.change_object(|list| list.0.push(number)).is_none() {
                        entry.put_object(List(vec![number]), 3, Expiry::Never);
                        model.insert(name, (ModelValue::List(vec![number]), 3, 0));
                    } else if let Some((ModelValue::List(list), _, _)) = model.get_mut(&name) {
                        list.push(number);
                    }
                }
                Step::Expire(k, expiry) => {
                    let name = name(k);
                    let how = expiry.map_or(Expiry::Never, |over| Expiry::At(now + over));
                    db.entry(key(&hasher, &name)).set_expiry(how);
                    if let Some(entry) = model.get_mut(&name) {
                        entry.2 = expiry.map_or(0, |over| now + over);
                    }
                }
                Step::Remove(k) => {
                    let name = name(k);
                    let removed = db.remove(key(&hasher, &name));
                    prop_assert_eq!(removed, model.remove(&name).is_some());
                }
                Step::Advance(ms) => {
                    now += ms;
                    keyspace.begin(now);
                }
                Step::Tick => { keyspace.tick(&|_| false); }
                Step::Clear => {
                    db.clear();
                    model.clear();
                }
            }
        }
        model.retain(|_, (_, _, expires)| *expires == 0 || now <= *expires);
        let seen: BTreeMap<Vec<u8>, (ModelValue, u8, u64)> = keyspace.dbs[0].iter().map(|record| {
            let value = match record.content() {
                Content::Bytes(value) => ModelValue::Bytes(value.bytes().to_vec()),
                Content::Object(list) => ModelValue::List(list.0.clone()),
            };
            (record.key().to_vec(), (value, record.tag(), record.expires_ms()))
        }).collect();
        prop_assert_eq!(&seen, &model);
        for name in model.keys() {
            prop_assert!(keyspace.dbs[0].find(key(&hasher, name)).is_some());
        }
        drain(&mut keyspace);
        prop_assert_eq!(keyspace.dbs[0].len(), model.len());
        let volatile = model.values().filter(|entry| entry.2 != 0).count();
        prop_assert_eq!(keyspace.dbs[0].volatile(), volatile);
        model.keys().for_each(|name| { keyspace.dbs[0].remove(key(&hasher, name)); });
        drain(&mut keyspace);
        prop_assert_eq!((keyspace.memory(), keyspace.unused()), (0, 0));
    }

    #[test]
    fn a_scan_misses_nothing_that_stays(
        stay in 0..400u32,
        changes in prop::collection::vec((any::<bool>(), 0..4000u32, 1..1200u32), 1..40),
        calls_between in 1..20usize,
    ) {
        let mut keyspace = keyspace();
        let db = &mut keyspace.dbs[0];
        for number in 0..stay {
            set(db, format!("stay:{number}").as_bytes(), b"", Expiry::Never);
        }
        let (mut cursor, mut seen) = (0, HashSet::new());
        let mut changes = changes.into_iter();
        'pass: loop {
            if let Some((adds, from, count)) = changes.next() {
                for number in from..from + count {
                    let name = format!("come and go:{number}");
                    if adds {
                        set(db, name.as_bytes(), b"x", Expiry::Never);
                    } else {
                        db.remove(key(&hasher(), name.as_bytes()));
                    }
                }
                db.tick(&|_| false);
            }
            for _ in 0..calls_between {
                let next = db.scan(cursor, |record| { seen.insert(record.key().to_vec()); });
                prop_assert!(next == 0 || next > cursor);
                cursor = next;
                if cursor == 0 {
                    break 'pass;
                }
            }
        }
        for number in 0..stay {
            let name = format!("stay:{number}");
            prop_assert!(seen.contains(name.as_bytes()));
        }
    }
}

#[test]
fn keys_are_found_while_the_index_grows_and_shrinks() {
    let mut keyspace = keyspace();
    let db = &mut keyspace.dbs[0];
    let name = |number: u32| number.to_le_bytes();
    let keys = 600_000u32;
    for number in 0..keys {
        set(db, &name(number), &number.to_be_bytes(), Expiry::Never);
        if number % 1000 == 999 {
            assert_eq!(get(db, &name(number / 2)), Some((number / 2).to_be_bytes().to_vec()));
        }
    }
    assert_eq!(db.len(), keys as usize);
    assert!((0..keys).all(|number| get(db, &name(number)).is_some()));
    assert_eq!(get(db, b"other"), None);
    let full = db.memory() + db.unused();
    for number in (0..keys).filter(|number| number % 10 != 3) {
        assert!(db.remove(key(&hasher(), &name(number))));
    }
    while db.tick(&|_| false) == Some(0) {}
    let left = db.memory() + db.unused();
    assert!(left < full / 4, "{left} of {full}");
    for number in 0..keys {
        assert_eq!(get(db, &name(number)).is_some(), number % 10 == 3);
    }
    let mut seen = 0;
    let mut cursor = 0;
    loop {
        cursor = db.scan(cursor, |_| seen += 1);
        if cursor == 0 {
            break;
        }
    }
    assert_eq!(seen, keys / 10);
}

#[test]
fn a_scan_without_changes_visits_each_key_once() {
    let mut keyspace = keyspace();
    let db = &mut keyspace.dbs[0];
    for number in 0..100_000u32 {
        set(db, &number.to_le_bytes(), b"", Expiry::Never);
    }
    let (mut cursor, mut seen, mut most) = (0, HashMap::new(), 0);
    loop {
        let mut visited = 0;
        cursor = db.scan(cursor, |record| {
            visited += 1;
            *seen.entry(record.key().to_vec()).or_insert(0) += 1;
        });
        most = most.max(visited);
        if cursor == 0 {
            break;
        }
    }
    assert_eq!(seen.len(), 100_000);
    assert!(seen.values().all(|&times| times == 1));
    assert!(most <= 40, "{most} keys in one step");
}

#[test]
fn any_number_is_a_cursor() {
    let mut keyspace = keyspace();
    let db = &mut keyspace.dbs[0];
    for cursor in [1, 255, u64::MAX, 1 << 52, (1 << 52) - 1] {
        db.scan(cursor, |_| {});
    }
    for number in 0..10_000u32 {
        set(db, &number.to_le_bytes(), b"", Expiry::Never);
    }
    let random = crate::usage::Random::new(1);
    for shift in 0..64 {
        db.scan(random.next() >> shift, |_| {});
    }
    assert_eq!(db.scan(u64::MAX, |_| panic!("behind the end")), 0);
}

#[test]
fn random_keys_are_each_as_likely() {
    let mut keyspace = keyspace();
    let db = &mut keyspace.dbs[0];
    assert_eq!(db.random_key(), None);
    for number in 0..100u32 {
        // Some in other classes of records.
        set(db, &number.to_le_bytes(), &vec![b'x'; number as usize % 3 * 30], Expiry::Never);
    }
    for number in 50..100u32 {
        db.remove(key(&hasher(), &number.to_le_bytes()));
    }
    let mut drawn = HashMap::new();
    for _ in 0..50_000 {
        *drawn.entry(db.random_key().unwrap().to_vec()).or_insert(0) += 1;
    }
    assert_eq!(drawn.len(), 50);
    assert!(drawn.values().all(|times| (800..1200).contains(times)), "{drawn:?}");
}

#[test]
fn a_key_is_there_up_to_its_last_millisecond() {
    let mut keyspace = keyspace();
    set(&mut keyspace.dbs[0], b"k", b"v", Expiry::At(1500));
    keyspace.begin(1500);
    assert!(get(&keyspace.dbs[0], b"k").is_some());
    keyspace.begin(1501);
    assert_eq!(get(&keyspace.dbs[0], b"k"), None);
    assert_eq!(keyspace.dbs[0].len(), 1, "it counts until it is removed");
    assert_eq!(keyspace.dbs[0].random_key(), None);
    assert_eq!(keyspace.dbs[0].iter().count(), 0);
    assert!(!keyspace.dbs[0].entry(key(&hasher(), b"k")).exists());
    assert_eq!((keyspace.dbs[0].len(), keyspace.stats().expired.get()), (0, 1));
}

#[test]
fn ticks_remove_what_expired_and_say_when_to_go_on() {
    let mut keyspace = keyspace();
    assert_eq!(keyspace.tick(&|_| false), None);
    for number in 0..5000u32 {
        set(&mut keyspace.dbs[0], &number.to_le_bytes(), b"v", Expiry::At(1100));
    }
    set(&mut keyspace.dbs[1], b"late", b"v", Expiry::At(1_000_000));
    assert_eq!(keyspace.tick(&|_| false), Some(101));
    keyspace.begin(1101);
    drain(&mut keyspace);
    assert_eq!((keyspace.dbs[0].len(), keyspace.stats().expired.get()), (0, 5000));
    assert_eq!(keyspace.tick(&|_| false), Some(250));
    keyspace.dbs[1].entry(key(&hasher(), b"late")).set_expiry(Expiry::Never);
    assert_eq!(keyspace.tick(&|_| false), None);
}

#[test]
fn what_was_cleared_is_freed_by_and_by() {
    let mut keyspace = keyspace();
    for number in 0..300_000u32 {
        set(&mut keyspace.dbs[0], &number.to_le_bytes(), b"v", Expiry::Never);
    }
    keyspace.swap(0, 1);
    assert_eq!((keyspace.dbs[0].len(), keyspace.dbs[1].len()), (0, 300_000));
    keyspace.clear();
    assert_eq!(keyspace.len(), 0);
    let mut ticks = 0;
    while keyspace.tick(&|_| false).is_some() {
        ticks += 1;
    }
    assert!(ticks > 5, "{ticks} ticks");
    assert_eq!((keyspace.memory(), keyspace.unused()), (0, 0));
    set(&mut keyspace.dbs[1], b"1", b"again", Expiry::Never);
    assert_eq!(get(&keyspace.dbs[1], b"1").as_deref(), Some(&b"again"[..]));
}

#[test]
fn reads_are_counted_and_remembered() {
    let mut keyspace = keyspace();
    set(&mut keyspace.dbs[1], b"k", b"v", Expiry::Never);
    keyspace.begin(61_000);
    let idle = |keyspace: &Keyspace<NoObject>| {
        let db = &keyspace.dbs[1];
        db.idle_ms(db.find(key(&hasher(), b"k")).unwrap()) / 1000
    };
    assert!(keyspace.dbs[1].peek(key(&hasher(), b"k")).is_some());
    assert_eq!(idle(&keyspace), 60);
    assert!(get(&keyspace.dbs[1], b"k").is_some());
    assert!(get(&keyspace.dbs[0], b"k").is_none());
    assert_eq!(idle(&keyspace), 0);
    assert_eq!((keyspace.stats().hits.get(), keyspace.stats().misses.get()), (2, 1));
    keyspace.stats().reset();
    assert_eq!((keyspace.stats().hits.get(), keyspace.stats().misses.get()), (0, 0));
}

fn names(db: &Db<NoObject>) -> BTreeSet<String> {
    db.iter().map(|record| String::from_utf8(record.key().to_vec()).unwrap()).collect()
}

#[test]
fn the_least_useful_key_goes_first() {
    let fill = |tracking| {
        let mut keyspace = keyspace();
        keyspace.track(tracking);
        for number in 0..100u64 {
            keyspace.begin(1000 + number * 1000);
            let expiry =
                if number % 2 == 0 { Expiry::Never } else { Expiry::At(10_000_000 - number) };
            set(&mut keyspace.dbs[0], format!("{number:02}").as_bytes(), b"v", expiry);
        }
        keyspace
    };
    let go = |keyspace: &mut Keyspace<NoObject>, policy, count| {
        let before = names(&keyspace.dbs[0]);
        for _ in 0..count {
            assert!(keyspace.evict(policy, 64, &|_| false));
        }
        assert_eq!(keyspace.stats().evicted.get(), count);
        before.difference(&names(&keyspace.dbs[0])).cloned().collect::<Vec<_>>()
    };
    let mut keyspace = fill(Tracking::Recency);
    let gone = go(&mut keyspace, Policy::Recency(Among::All), 10);
    assert!(gone.iter().filter(|name| name.as_str() < "15").count() >= 8, "{gone:?}");

    let mut keyspace = fill(Tracking::Recency);
    let gone = go(&mut keyspace, Policy::Recency(Among::Volatile), 10);
    assert!(gone.iter().all(|name| name.parse::<u32>().unwrap() % 2 == 1), "{gone:?}");

    let mut keyspace = fill(Tracking::Recency);
    let gone = go(&mut keyspace, Policy::Expiry, 10);
    assert!(gone.iter().filter(|name| name.as_str() > "70").count() >= 8, "{gone:?}");

    let frequency = Tracking::Frequency { log_factor: 0, decay_minutes: 0 };
    let mut keyspace = fill(frequency);
    for number in 0..50 {
        for _ in 0..10 {
            get(&keyspace.dbs[0], format!("{number:02}").as_bytes());
        }
    }
    let gone = go(&mut keyspace, Policy::Frequency(Among::All), 40);
    assert!(gone.iter().all(|name| name.as_str() >= "50"), "{gone:?}");

    let mut keyspace = fill(Tracking::Recency);
    assert!(!keyspace.evict(Policy::Refuse, 64, &|_| false));
    go(&mut keyspace, Policy::Random(Among::All), 50);
    for _ in 0..50 {
        assert!(keyspace.evict(Policy::Random(Among::All), 4, &|_| false));
    }
    assert!(!keyspace.evict(Policy::Random(Among::All), 4, &|_| false) && keyspace.is_empty());
}

#[test]
fn only_keys_that_expire_go_when_it_says_so() {
    let mut keyspace = keyspace();
    for number in 0..1000u32 {
        set(&mut keyspace.dbs[0], &number.to_le_bytes(), b"v", Expiry::Never);
    }
    for number in 0..3u32 {
        set(&mut keyspace.dbs[1], &number.to_le_bytes(), b"v", Expiry::At(2000));
    }
    for policy in
        [Policy::Random(Among::Volatile), Policy::Recency(Among::Volatile), Policy::Expiry]
    {
        assert!(keyspace.evict(policy, 5, &|_| false), "{policy:?}");
    }
    assert!(!keyspace.evict(Policy::Expiry, 5, &|_| false));
    assert_eq!(keyspace.len(), 1000);
}

struct Numbers<F>(F);

impl<F: Fn(u64) -> u64> crate::index::Rehash for Numbers<F> {
    fn ask(&self, _: crate::heap::RecordId) {}

    fn hash(&self, id: crate::heap::RecordId) -> u64 {
        (self.0)(id.0 - 8192)
    }
}

#[test]
fn keys_that_collide_under_one_seed_do_not_under_another() {
    let (one, other) = (KeyHasher::seeded(1), KeyHasher::seeded(2));
    let home =
        |hasher: &KeyHasher, number: u64| (hasher.hash(&number.to_le_bytes()) % (1 << 52)) >> 36;
    // Some thousand keys of a few homes out of many.
    let colliding: Vec<u64> = (0..4_000_000).filter(|&number| home(&one, number) < 64).collect();
    assert!(colliding.len() > 2000);
    let hash = |number: u64| other.hash(&number.to_le_bytes());
    let longest = |numbers: &[u64]| {
        let mut index = crate::index::Index::default();
        for &number in numbers {
            let id = crate::heap::RecordId(number + 8192);
            index.insert(hash(number), id, &Numbers(&hash));
        }
        (0..1000).map(|number| index.probe_len(hash(5_000_000 + number))).max()
    };
    let random: Vec<u64> = (0..colliding.len() as u64).collect();
    assert!(longest(&colliding) <= longest(&random).max(Some(3)));
}

#[test]
fn two_processes_hash_and_order_keys_differently() {
    let order = |hasher: KeyHasher| {
        let mut keyspace = Keyspace::<NoObject>::new(1, &hasher);
        for number in 0..1000u32 {
            let name = number.to_le_bytes();
            keyspace.dbs[0].set(key(&hasher, &name), Value::Slice(b""), 0, Expiry::Never);
        }
        let (mut cursor, mut order) = (0, Vec::new());
        loop {
            cursor = keyspace.dbs[0].scan(cursor, |record| order.push(record.key().to_vec()));
            if cursor == 0 {
                return order;
            }
        }
    };
    let (one, other) = (order(KeyHasher::random()), order(KeyHasher::random()));
    let same = one.iter().zip(&other).filter(|(a, b)| a == b).count();
    assert!(same < 20, "{same} of 1000 keys have the same place");
}

#[test]
fn memory_is_what_was_allocated() {
    let mut keyspace = keyspace();
    let db = &mut keyspace.dbs[0];
    for number in 0..200_000u64 {
        let name = format!("key:{number:012}");
        set(db, name.as_bytes(), b"sixteen bytes...", Expiry::Never);
    }
    let per_key = db.memory() as f64 / 200_000.0;
    assert!((50.0..62.0).contains(&per_key), "{per_key} bytes");
    let record = db.find(key(&hasher(), b"key:000000000001")).unwrap();
    assert_eq!(record.memory(), 53);
    let before = db.memory();
    set(db, b"large", &vec![b'x'; 1 << 20], Expiry::Never);
    let large = db.find(key(&hasher(), b"large")).unwrap().memory();
    assert!((1 << 20..(1 << 20) + 1000).contains(&large));
    assert!((1 << 20..(1 << 20) + (1 << 18)).contains(&(db.memory() - before)));
}

#[test]
fn an_edit_leaves_readers_their_bytes() {
    let mut keyspace = keyspace();
    let db = &mut keyspace.dbs[0];
    let large = Shared::new(vec![b'x'; SHARE_BYTES]);
    db.set(key(&hasher(), b"k"), Value::Shared(&large), 0, Expiry::Never);
    let kept = db.get(key(&hasher(), b"k")).unwrap();
    assert_eq!(kept.bytes().as_ptr(), large.as_ptr(), "it is kept without a copy");
    db.entry(key(&hasher(), b"k")).edit(0, 0, |bytes| bytes[0] = b'y');
    assert_eq!((large[0], get(db, b"k").unwrap()[0]), (b'x', b'y'));
}
