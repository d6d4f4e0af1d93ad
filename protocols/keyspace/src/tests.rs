//! Tests of the whole, against plain models.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use kevy_rt::{Changes, Key, KeyHasher, Shared, Value, testing};
use proptest::prelude::*;

use crate::{
    Among, Content, Db, Expiry, Extra, Keyspace, NoObject, Object, Policy, SHARE_BYTES, Tracking,
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
    PutWith { key: u8, len: usize, expiry: Option<u64>, extra: Extra },
    Mark(u8, Extra),
    TakeAndPut(u8),
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
        4 => (any::<u8>(), lengths(), expiry(), any::<Extra>())
            .prop_map(|(key, len, expiry, extra)| Step::PutWith { key, len, expiry, extra }),
        2 => (any::<u8>(), any::<Extra>()).prop_map(|(key, extra)| Step::Mark(key, extra)),
        1 => any::<u8>().prop_map(Step::TakeAndPut),
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
        3 => 510,
        4 => 511,
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

/// A value with its tag, its expiry and its extra words.
type ModelEntry = (ModelValue, u8, u64, Option<Extra>);

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_database_is_a_map_with_expiries(steps in steps()) {
        let hasher = hasher();
        let mut keyspace = Keyspace::<List>::new(1, &hasher);
        let mut now = 1000;
        keyspace.begin(now);
        let mut model: BTreeMap<Vec<u8>, ModelEntry> = BTreeMap::new();
        for (number, step) in steps.into_iter().enumerate() {
            let number = number as u64;
            model.retain(|_, (_, _, expires, _)| *expires == 0 || now <= *expires);
            let db = &mut keyspace.dbs[0];
            match step {
                Step::Put { key: k, len, expiry, tag } => {
                    let (name, bytes) = (name(k), content(number, len));
                    let at = expiry.map_or(0, |over| now + over);
                    let how = expiry.map_or(Expiry::Never, |over| Expiry::At(now + over));
                    let shared = Shared::new(bytes.clone());
                    let value = if number.is_multiple_of(2) { Value::Shared(&shared) } else { Value::Slice(&bytes) };
                    db.set(key(&hasher, &name), value, tag, how);
                    model.insert(name, (ModelValue::Bytes(bytes), tag, at, None));
                }
                Step::PutWith { key: k, len, expiry, extra } => {
                    let (name, bytes) = (name(k), content(number, len));
                    let at = expiry.map_or(0, |over| now + over);
                    let how = expiry.map_or(Expiry::Never, |over| Expiry::At(now + over));
                    db.entry(key(&hasher, &name)).put_with(Value::Slice(&bytes), 4, how, extra);
                    model.insert(name, (ModelValue::Bytes(bytes), 4, at, Some(extra)));
                }
                Step::Mark(k, extra) => {
                    let name = name(k);
                    if let Some(record) = db.find(key(&hasher, &name)) {
                        record.set_extra(extra);
                        let entry = model.get_mut(&name).expect("it is in both");
                        entry.3 = entry.3.map(|_| extra);
                    }
                }
                Step::TakeAndPut(k) => {
                    let name = name(k);
                    if let Some(detached) = db.entry(key(&hasher, &name)).take() {
                        db.entry(key(&hasher, &name)).put_detached(detached);
                    }
                }
                Step::Keep { key: k, len } => {
                    let (name, bytes) = (name(k), content(number, len));
                    db.set(key(&hasher, &name), Value::Slice(&bytes), 1, Expiry::Keep);
                    let at = model.get(&name).map_or(0, |entry| entry.2);
                    model.insert(name, (ModelValue::Bytes(bytes), 1, at, None));
                }
                Step::Edit { key: k, len } => {
                    let name = name(k);
                    let edited = db.entry(key(&hasher, &name)).edit(len, 2, |bytes| {
                        if let Some(last) = bytes.last_mut() { *last = number as u8; }
                        bytes.to_vec()
                    });
                    let entry = model.entry(name).or_insert((ModelValue::Bytes(vec![]), 2, 0, None));
                    let mut bytes = match &entry.0 {
                        ModelValue::Bytes(bytes) => bytes.clone(),
                        ModelValue::List(_) => vec![],
                    };
                    bytes.resize(bytes.len().max(len), 0);
                    if let Some(last) = bytes.last_mut() { *last = number as u8; }
                    prop_assert_eq!(&edited, &bytes);
                    *entry = (ModelValue::Bytes(bytes), 2, entry.2, None);
                }
                Step::Object(k) => {
                    let name = name(k);
                    let mut entry = db.entry(key(&hasher, &name));
                    if entry.change_object(|list| list.0.push(number)).is_none() {
                        entry.put_object(List(vec![number]), 3, Expiry::Never);
                        model.insert(name, (ModelValue::List(vec![number]), 3, 0, None));
                    } else if let Some((ModelValue::List(list), ..)) = model.get_mut(&name) {
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
        model.retain(|_, (_, _, expires, _)| *expires == 0 || now <= *expires);
        let seen: BTreeMap<Vec<u8>, ModelEntry> = keyspace.dbs[0].iter().map(|record| {
            let value = match record.content() {
                Content::Bytes(value) => ModelValue::Bytes(value.bytes().to_vec()),
                Content::Object(list) => ModelValue::List(list.0.clone()),
            };
            let entry = (value, record.tag(), record.expires_ms(), record.extra());
            (record.key().to_vec(), entry)
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
    assert!(ticks > 2, "{ticks} ticks");
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

/// Random hashes hardly ever lie on the edge of a bucket, where a scan that goes on one place too far
/// passes over them.
#[test]
fn a_scan_visits_what_lies_on_the_edges_of_buckets() {
    use crate::index::{Index, Position};
    // Sizes that the first root's segment goes through, and their smallest and largest hashes.
    let mut hashes: Vec<u64> = [3, 12, 48]
        .into_iter()
        .flat_map(|count| (0..count).map(move |bucket| Index::first_hash_of(bucket, count)))
        .flat_map(|first| [first, first.wrapping_sub(1 << 20)])
        .filter(|hash| hash >> 44 == 0)
        .collect();
    hashes.sort_unstable();
    hashes.dedup();
    let hash = |number: u64| hashes[number as usize];
    let mut index = Index::default();
    for number in 0..hashes.len() as u64 {
        // In an order of its own, so that every size has edges on both sides.
        let number = number * 7919 % hashes.len() as u64;
        index.insert(hash(number), crate::heap::RecordId(number + 8192), &Numbers(&hash));
        let mut visited = Vec::new();
        let mut next = Position::from_number(0);
        while let Some(from) = next {
            next = index.scan(from, |id| visited.push(id.0));
            // What is behind the first root is empty.
            next = next.filter(|next| next.number() >> 44 == 0);
        }
        visited.sort_unstable();
        visited.dedup();
        assert_eq!(visited.len(), index.len());
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

/// What may be done to a few keys of two databases.
#[derive(Clone, Debug)]
enum Deed {
    Put { db: usize, key: u8, len: usize, expiry: Option<u64> },
    Edit { db: usize, key: u8, len: usize },
    Object { db: usize, key: u8 },
    Expire { db: usize, key: u8, expiry: Option<u64> },
    Remove { db: usize, key: u8 },
    Transfer { from: (usize, u8), to: (usize, u8), copies: bool },
    Advance(u64),
    Tick,
    Evict,
    Clear { db: usize },
    Swap,
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let key = || 0..8u8;
    let expiry = || prop::option::of(1..60u64);
    let deed = prop_oneof![
        6 => (0..2usize, key(), lengths(), expiry())
            .prop_map(|(db, key, len, expiry)| Deed::Put { db, key, len, expiry }),
        2 => (0..2usize, key(), lengths()).prop_map(|(db, key, len)| Deed::Edit { db, key, len }),
        1 => (0..2usize, key()).prop_map(|(db, key)| Deed::Object { db, key }),
        3 => (0..2usize, key(), expiry())
            .prop_map(|(db, key, expiry)| Deed::Expire { db, key, expiry }),
        3 => (0..2usize, key()).prop_map(|(db, key)| Deed::Remove { db, key }),
        3 => ((0..2usize, key()), (0..2usize, key()), any::<bool>())
            .prop_map(|(from, to, copies)| Deed::Transfer { from, to, copies }),
        3 => (1..40u64).prop_map(Deed::Advance),
        3 => Just(Deed::Tick),
        1 => Just(Deed::Evict),
        1 => (0..2usize).prop_map(|db| Deed::Clear { db }),
        1 => Just(Deed::Swap),
    ];
    prop::collection::vec(deed, 1..120)
}

/// A key's value, tag and expiry, for all that a reader sees.
fn seen(db: &Db<List>, key: Key<'_>) -> Option<(ModelValue, u8, u64)> {
    db.find(key).map(|record| {
        let value = match record.content() {
            Content::Bytes(bytes) => ModelValue::Bytes(bytes.bytes().to_vec()),
            Content::Object(list) => ModelValue::List(list.0.clone()),
        };
        (value, record.tag(), record.expires_ms())
    })
}

/// Does it; answers which keys are written by it, if only with what they had.
fn perform(keyspace: &mut Keyspace<List>, now: &mut u64, deed: Deed) -> Vec<(usize, u8)> {
    let hasher = hasher();
    let bytes = name(0);
    match deed {
        Deed::Put { db, key: k, len, expiry } => {
            let how = expiry.map_or(Expiry::Never, |over| Expiry::At(*now + over));
            keyspace.dbs[db].set(key(&hasher, &name(k)), Value::Slice(&content(7, len)), 1, how);
            vec![(db, k)]
        }
        Deed::Edit { db, key: k, len } => {
            keyspace.dbs[db].entry(key(&hasher, &name(k))).edit(len, 1, |_| ());
            vec![(db, k)]
        }
        Deed::Object { db, key: k } => {
            let name = name(k);
            let mut entry = keyspace.dbs[db].entry(key(&hasher, &name));
            if entry.change_object(|list| list.0.push(1)).is_none() {
                entry.put_object(List(vec![3]), 2, Expiry::Keep);
            }
            vec![(db, k)]
        }
        Deed::Expire { db, key: k, expiry } => {
            let name = name(k);
            let mut entry = keyspace.dbs[db].entry(key(&hasher, &name));
            entry.set_expiry(expiry.map_or(Expiry::Never, |over| Expiry::At(*now + over)));
            if entry.exists() && expiry.is_some() { vec![(db, k)] } else { Vec::new() }
        }
        Deed::Remove { db, key: k } => {
            keyspace.dbs[db].remove(key(&hasher, &name(k)));
            Vec::new()
        }
        Deed::Transfer { from, to, copies } => {
            let name_from = name(from.1);
            let detached = match copies {
                true => keyspace.dbs[from.0]
                    .find(key(&hasher, &name_from))
                    .map(|record| record.detached()),
                false => keyspace.dbs[from.0].entry(key(&hasher, &name_from)).take(),
            };
            let Some(detached) = detached else { return Vec::new() };
            keyspace.dbs[to.0].entry(key(&hasher, &name(to.1))).put_detached(detached);
            if copies { vec![to] } else { vec![from, to] }
        }
        Deed::Advance(over) => {
            *now += over;
            keyspace.begin(*now);
            Vec::new()
        }
        Deed::Tick => {
            keyspace.tick(&|_| false);
            Vec::new()
        }
        Deed::Evict => {
            let kept = hasher.hash(&bytes);
            keyspace.evict(Policy::Random(Among::All), 4, &|hash| hash == kept);
            Vec::new()
        }
        Deed::Clear { db } => {
            keyspace.dbs[db].clear();
            Vec::new()
        }
        Deed::Swap => {
            keyspace.swap(0, 1);
            // What is in both places is a change though it may look the same.
            (0..8).flat_map(|k| [(0, k), (1, k)]).collect()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Whoever watches a key is told of all that changes it, and of nothing else.
    #[test]
    fn changes_are_told_of(deeds in deeds(), watch_lag in 1..4usize) {
        let hasher = hasher();
        let changes = Changes::default();
        let mut keyspace = Keyspace::<List>::new(2, &hasher);
        keyspace.attach(&changes);
        let mut now = 1000;
        keyspace.begin(now);
        for several in deeds.chunks(watch_lag) {
            let mut watched = Vec::new();
            for (db, k) in (0..2).flat_map(|db| (0..8u8).map(move |k| (db, k))) {
                let name = name(k);
                let key = key(&hasher, &name);
                keyspace.dbs[db].settle(key);
                let before = seen(&keyspace.dbs[db], key);
                watched.push((db, k, before, testing::Watched::new(&changes, db as u64, key)));
            }
            let mut written = Vec::new();
            let mut steps = Vec::new();
            for deed in several {
                written.extend(perform(&mut keyspace, &mut now, deed.clone()));
                let step = watched.iter().map(|(db, k, ..)| {
                    seen(&keyspace.dbs[*db], key(&hasher, &name(*k)))
                });
                steps.push(step.collect::<Vec<_>>());
            }
            for (at, (db, k, before, watched)) in watched.into_iter().enumerate() {
                keyspace.dbs[db].settle(key(&hasher, &name(k)));
                let differs = steps.iter().any(|step| step[at] != before);
                if differs {
                    prop_assert!(watched.is_changed(), "{db} {k} {before:?}");
                } else if watched.is_changed() {
                    prop_assert!(written.contains(&(db, k)), "{db} {k} {before:?}");
                }
            }
            prop_assert!(!changes.matter());
        }
    }
}

#[test]
fn a_write_is_told_though_it_writes_the_same() {
    let changes = Changes::default();
    let mut keyspace = keyspace();
    keyspace.attach(&changes);
    let hasher = hasher();
    let k = key(&hasher, b"k");
    let db = &mut keyspace.dbs[1];
    let mut told = |deed: &dyn Fn(&mut Db<NoObject>)| {
        let watched = testing::Watched::new(&changes, 1, k);
        let other = testing::Watched::new(&changes, 0, k);
        deed(db);
        assert!(!other.is_changed(), "it is a key of another database");
        watched.is_changed()
    };
    assert!(!told(&|db| db.entry(k).set_expiry(Expiry::At(5000))), "it isn't there");
    assert!(!told(&|db| assert!(!db.remove(k))));
    assert!(told(&|db| set(db, b"k", b"v", Expiry::Never)));
    assert!(told(&|db| set(db, b"k", b"v", Expiry::Never)));
    assert!(!told(&|db| db.entry(k).set_expiry(Expiry::Never)), "it has none");
    assert!(!told(&|db| db.entry(k).set_expiry(Expiry::Keep)));
    assert!(told(&|db| db.entry(k).set_expiry(Expiry::At(5000))));
    assert!(told(&|db| db.entry(k).set_expiry(Expiry::At(5000))));
    assert!(told(&|db| db.entry(k).set_expiry(Expiry::Never)));
    assert!(!told(&|db| assert!(get(db, b"k").is_some())) && !told(&|db| db.settle(k)));
    assert!(told(&|db| db.entry(k).edit(1, 0, |_| ())));
    assert!(told(&|db| db.clear()) && !told(&|db| db.clear()));
}

#[test]
fn a_key_that_comes_with_its_time_over_was_never_there() {
    let changes = Changes::default();
    let mut keyspace = keyspace();
    keyspace.attach(&changes);
    let hasher = hasher();
    set(&mut keyspace.dbs[1], b"k", b"v", Expiry::At(2000));
    keyspace.begin(3000);
    let watched = testing::Watched::new(&changes, 0, key(&hasher, b"k"));
    keyspace.swap(0, 1);
    drain(&mut keyspace);
    keyspace.dbs[0].settle(key(&hasher, b"k"));
    assert!(!watched.is_changed());
    assert!(keyspace.is_empty());
    set(&mut keyspace.dbs[1], b"k", b"v", Expiry::Never);
    keyspace.swap(1, 0);
    assert!(watched.is_changed());
}

#[test]
fn claimed_keys_stay() {
    let hasher = hasher();
    let mut keyspace = keyspace();
    for number in 0..100u8 {
        set(&mut keyspace.dbs[0], &[number], b"v", Expiry::At(2000));
    }
    keyspace.begin(3000);
    let claimed = hasher.hash(&[42]);
    while keyspace.tick(&|hash| hash == claimed) == Some(0) {}
    assert_eq!(keyspace.len(), 1);
    assert_eq!(keyspace.tick(&|hash| hash == claimed), Some(1), "it is looked at again soon");
    for policy in [Policy::Random(Among::All), Policy::Expiry] {
        assert!(!keyspace.evict(policy, 4, &|hash| hash == claimed));
    }
    keyspace.begin(3001);
    drain(&mut keyspace);
    assert!(keyspace.is_empty());
}

#[test]
fn a_value_moves_whole() {
    let hasher = hasher();
    let mut keyspace = keyspace();
    keyspace.track(Tracking::Frequency { log_factor: 0, decay_minutes: 1 });
    let (from, to) = (key(&hasher, b"from"), key(&hasher, b"to"));
    let db = &mut keyspace.dbs[0];
    let large = Shared::new(vec![b'x'; 2 * SHARE_BYTES]);
    for value in [&b"short"[..], &[b'y'; 5000], &large] {
        let shared = Shared::new(value.to_vec());
        db.set(from, Value::Shared(&shared), 7, Expiry::At(9000));
        (0..50).for_each(|_| assert!(db.read(from).is_some()));
        let used = db.frequency(db.find(from).expect("it was set"));
        assert!(used > 40);

        let copy = db.find(from).expect("it was set").detached();
        db.entry(to).put_detached(copy);
        assert!(db.frequency(db.find(to).expect("it was copied")) < 10, "a copy wasn't used");

        let taken = db.entry(from).take().expect("it was set");
        assert!(db.find(from).is_none() && db.entry(from).take().is_none());
        db.remove(to);
        db.entry(to).put_detached(taken);
        let record = db.find(to).expect("it was moved");
        assert_eq!(record.value().bytes(), value);
        assert_eq!((record.tag(), record.expires_ms(), db.frequency(record)), (7, 9000, used));
        if value.len() >= SHARE_BYTES {
            let is_shared = matches!(record.value(), Value::Shared(moved)
                if std::ptr::eq(moved.as_ptr(), shared.as_ptr()));
            assert!(is_shared, "not a byte was copied");
        }
        db.remove(to);
    }
    assert_eq!((db.len(), db.memory()), (0, 0));
}

#[test]
fn extra_words_are_there_for_who_asked_and_cost_nobody_else() {
    let mut keyspace = keyspace();
    let hasher = hasher();
    let db = &mut keyspace.dbs[0];
    for len in [16, 2000] {
        let value = content(1, len);
        db.set(key(&hasher, b"a key of 16 byte"), Value::Slice(&value), 0, Expiry::Never);
        let plain = db.find(key(&hasher, b"a key of 16 byte")).expect("it was set").memory();
        let mut entry = db.entry(key(&hasher, b"a key of 16 byte"));
        entry.put_with(Value::Slice(&value), 0, Expiry::Never, [1, 2]);
        let record = entry.record().expect("it was set");
        assert_eq!(record.memory(), plain + 16);
        record.set_extra([3, 4]);
        entry.set_expiry(Expiry::At(5000));
        let record = entry.record().expect("it was set");
        assert_eq!((record.extra(), record.value().bytes()), (Some([3, 4]), &value[..]));
        entry.edit(0, 0, |_| ());
        let record = entry.record().expect("it was set");
        assert_eq!((record.extra(), record.expires_ms()), (None, 5000));
        record.set_extra([5, 6]);
        assert_eq!((record.extra(), record.value().bytes()), (None, &value[..]));
    }
}
