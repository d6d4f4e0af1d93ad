//! The mesh under loom: each model is run through the interleavings of its threads and the values
//! that its loads may return, as the code stands, and again without each [`Step`] whose lack it
//! must notice.
//!
//! To see one model fail: `KEVY_LEAVE_OUT=SenderFence`, and the name of the test.
//!
//! A sleep is loom's `Notify`: a notification that comes first ends the next wait at once, as a
//! reactor's wake does. If one is lost, all threads wait, which loom reports.

use std::process::Command;

use loom::model::Builder;
use loom::sync::{Arc, Notify};
use loom::thread;

use super::Mesh;
use crate::sys::ring_from;
use crate::sys::sync::Step;
use crate::tx::stamp::{Stamp, Stamps};

/// A ring of two slots, whose positions wrap around at the second item.
fn ring_keeps_order() {
    const ITEMS: usize = 4;
    let (mut producer, mut consumer) = ring_from(2, usize::MAX);
    let sender = thread::spawn(move || {
        for item in 0..ITEMS {
            let mut item = Box::new(item);
            while let Err(refused) = producer.push(item) {
                item = refused;
                thread::yield_now();
            }
            producer.publish();
        }
    });
    let mut next = 0;
    while next < ITEMS {
        if consumer.look() == 0 {
            thread::yield_now();
        }
        while let Some(item) = consumer.take() {
            assert_eq!(*item, next);
            next += 1;
        }
    }
    sender.join().unwrap();
    assert!(!consumer.has_items());
}

/// A look sees all of a publish or nothing, and nothing that was not published.
fn ring_shows_whole_publishes() {
    let (mut producer, mut consumer) = ring_from(4, 0);
    let sender = thread::spawn(move || {
        producer.push(Box::new(0)).unwrap();
        producer.push(Box::new(1)).unwrap();
        producer.publish();
        producer.push(Box::new(2)).unwrap();
    });
    let seen = consumer.look();
    assert!(seen == 0 || seen == 2, "{seen}");
    for item in 0..seen {
        assert_eq!(consumer.take().as_deref(), Some(&item));
    }
    assert!(consumer.take().is_none());
    sender.join().unwrap();
}

/// A stamp that is taken after a message that follows another stamp is larger, on a shard that never
/// met the first one's.
fn stamps_rise_along_messages() {
    let stamps = Arc::new(Stamps::default());
    let (mut to_second, mut from_first) = ring_from(2, 0);
    let (mut to_third, mut from_second) = ring_from(2, 0);
    let first = thread::spawn({
        let stamps = Arc::clone(&stamps);
        move || {
            to_second.push(Box::new(stamps.take(0))).unwrap();
            to_second.publish();
        }
    });
    let third = thread::spawn({
        let stamps = Arc::clone(&stamps);
        move || {
            from_second.look();
            let before: Option<Box<Stamp>> = from_second.take();
            assert!(before.is_none_or(|before| stamps.take(0) > *before));
        }
    });
    from_first.look();
    if let Some(stamp) = from_first.take() {
        to_third.push(stamp).unwrap();
        to_third.publish();
    }
    first.join().unwrap();
    third.join().unwrap();
}

/// Items that are taken, published, and pushed only: whichever end goes first, each is dropped.
fn ring_drops_what_is_left() {
    let item = std::sync::Arc::new(());
    let (mut producer, mut consumer) = ring_from(4, usize::MAX);
    let sender = thread::spawn({
        let item = std::sync::Arc::clone(&item);
        move || {
            producer.push(std::sync::Arc::clone(&item)).unwrap();
            producer.push(std::sync::Arc::clone(&item)).unwrap();
            producer.publish();
            producer.push(item).unwrap();
        }
    });
    consumer.look();
    consumer.take();
    drop(consumer);
    sender.join().unwrap();
    assert_eq!(std::sync::Arc::strong_count(&item), 1);
}

/// Five items through two slots: the backlog and the ring are one sequence.
fn mesh_keeps_order_over_the_backlog() {
    const ITEMS: usize = 5;
    let [mut left, mut right] = pair(2);
    let sender = thread::spawn(move || {
        // Three at once, of which one overflows; then the others, which must stay behind it.
        for item in 0..3 {
            left.send(1, Box::new(item));
        }
        left.publish(|_| unreachable!("nobody parks"));
        for item in 3..ITEMS {
            left.send(1, Box::new(item));
            left.publish(|_| unreachable!("nobody parks"));
        }
        while left.has_backlog() {
            thread::yield_now();
            left.publish(|_| unreachable!("nobody parks"));
        }
    });
    let mut next = 0;
    while next < ITEMS {
        if right.look(0) == 0 {
            thread::yield_now();
        }
        while let Some(item) = right.receive(0) {
            assert_eq!(*item, next, "out of order");
            next += 1;
        }
    }
    sender.join().unwrap();
    assert!(!right.has_mail());
}

/// Two publishes to a shard that sleeps whenever it finds nothing.
fn sleeper_is_woken() {
    let [left, mut right] = pair(2);
    let bell = Arc::new(Notify::new());
    let sender = thread::spawn({
        let bell = Arc::clone(&bell);
        move || send_one_by_one(left, 1, 2, &bell)
    });
    receive_or_sleep(&mut right, 2, &bell);
    sender.join().unwrap();
}

/// Two senders to one sleeper, which at most one of them wakes per sleep.
fn sleeper_is_woken_once() {
    let mut meshes = Mesh::connect_with(3, 2);
    let mut sleeper = meshes.pop().unwrap();
    let bell = Arc::new(Notify::new());
    let senders: Vec<_> = meshes
        .into_iter()
        .map(|mesh| {
            let bell = Arc::clone(&bell);
            thread::spawn(move || send_one_by_one(mesh, 2, 1, &bell))
        })
        .collect();
    let parks = receive_or_sleep(&mut sleeper, 2, &bell);
    let wakes: usize = senders.into_iter().map(|sender| sender.join().unwrap()).sum();
    assert!(wakes <= parks, "{wakes} wakes for {parks} parks");
}

/// Two shards that send to each other and sleep until they have heard from each other.
fn sleepers_wake_each_other() {
    let [left, right] = pair(2);
    let bells = [Arc::new(Notify::new()), Arc::new(Notify::new())];
    let threads = [left, right].map(|mut mesh| {
        let bells = bells.clone();
        thread::spawn(move || {
            let (me, other) = (mesh.me(), 1 - mesh.me());
            mesh.send(other, Box::new(0));
            mesh.publish(|target| bells[target].notify());
            receive_or_sleep(&mut mesh, 1, &bells[me]);
        })
    });
    for thread in threads {
        thread.join().unwrap();
    }
}

/// A sleep may end by its time limit at any moment, and finds no sender that forgot it.
fn no_sender_forgets() {
    let [mut left, mut right] = pair(2);
    let sender = thread::spawn(move || {
        for item in 0..2 {
            left.send(1, Box::new(item));
            left.publish(drop);
        }
    });
    for _ in 0..2 {
        right.look(0);
        while right.receive(0).is_some() {}
        if right.park() {
            thread::yield_now();
            assert!(!right.unpark(true), "{FORGOTTEN}");
        }
    }
    sender.join().unwrap();
}

fn pair(capacity: usize) -> [Mesh<Box<usize>>; 2] {
    Mesh::connect_with(2, capacity).try_into().ok().unwrap()
}

/// Sends `items` items, a publish each. How many wakes that took.
fn send_one_by_one(
    mut mesh: Mesh<Box<usize>>,
    target: usize,
    items: usize,
    bell: &Notify,
) -> usize {
    let mut wakes = 0;
    for item in 0..items {
        mesh.send(target, Box::new(item));
        wakes += mesh.publish(|_| bell.notify()).wakes_sent;
    }
    wakes
}

/// Receives `items` items, sleeping whenever there are none. How often it said it would.
fn receive_or_sleep(mesh: &mut Mesh<Box<usize>>, items: usize, bell: &Notify) -> usize {
    let (mut received, mut parks) = (0, 0);
    loop {
        for source in 0..mesh.shards() {
            received += mesh.look(source);
            while mesh.receive(source).is_some() {}
        }
        if received == items {
            return parks;
        }
        parks += 1;
        if mesh.park() {
            bell.wait();
            mesh.unpark(false);
        }
    }
}

/// Runs the model through all interleavings in which threads are interrupted at most `preemptions`
/// times in all: a search without a bound doesn't end. Each missing step shows with two.
/// `LOOM_MAX_PREEMPTIONS` sets another bound.
fn explore(model: fn(), preemptions: usize) {
    let mut builder = Builder::new();
    builder.preemption_bound.get_or_insert(preemptions);
    builder.check(model);
}

/// Demands that the test `model` fails with `symptom` once `step` is left out. In a process of its
/// own: a model that fails may take the process with it.
fn notices(model: &str, step: Step, symptom: &str) {
    let test = format!("mesh::loom_tests::as_it_stands::{model}");
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &test, "--nocapture"])
        .env("KEVY_LEAVE_OUT", format!("{step:?}"))
        .output()
        .unwrap();
    assert!(!output.status.success(), "{test} passes without {step:?}");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains(symptom), "{test} without {step:?} says nothing of {symptom:?}: {told}");
}

/// What loom says of two threads at one slot.
const RACE: &str = "Causality violation";
/// What loom says when all threads sleep.
const ASLEEP: &str = "deadlock";
const FORGOTTEN: &str = "mail without a wake";

macro_rules! models {
    ($($model:ident($preemptions:literal): $($step:ident $symptom:expr),* ;)*) => {
        mod as_it_stands {$(
            #[test]
            fn $model() {
                super::explore(super::$model, $preemptions);
            }
        )*}

        mod left_out {
            use super::*;
            $(
                #[test]
                fn $model() {
                    $(notices(stringify!($model), Step::$step, $symptom);)*
                }
            )*
        }
    };
}

// Each model, how many preemptions it is searched with, so that all of them take seconds, and the
// steps whose lack it must notice, each with its symptom.
models! {
    ring_keeps_order(3):
        PublishRelease RACE, LookAcquire RACE, FreeRelease RACE, ReuseAcquire RACE;
    ring_shows_whole_publishes(5): PublishRelease RACE, LookAcquire RACE;
    ring_drops_what_is_left(5): LookAcquire RACE;
    stamps_rise_along_messages(3): LookAcquire RACE;
    mesh_keeps_order_over_the_backlog(5):
        BacklogOrder "out of order", PublishRelease RACE, LookAcquire RACE;
    sleeper_is_woken(5): SenderFence ASLEEP, SleeperFence ASLEEP, SecondLook ASLEEP;
    sleeper_is_woken_once(3):
        SenderFence ASLEEP, SleeperFence ASLEEP, SecondLook ASLEEP, OneClaim "wakes for";
    sleepers_wake_each_other(5): SenderFence ASLEEP, SleeperFence ASLEEP, SecondLook ASLEEP;
    no_sender_forgets(5):
        SenderFence FORGOTTEN, SleeperFence FORGOTTEN, SecondLook FORGOTTEN, JudgeLate FORGOTTEN;
}
