//! The mesh against models, and on real threads.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::{CAPACITY, Mesh, Published};
use crate::sys::ring_from;

#[test]
fn nothing_is_seen_before_it_is_published() {
    let [mut left, mut right] = pair();
    left.send(1, 'a');
    left.send(1, 'b');
    assert!(!right.has_mail());
    assert_eq!(right.look(0), 0);
    assert_eq!(right.receive(0), None);

    left.publish(|_| unreachable!());
    assert!(right.has_mail());
    assert_eq!(right.receive(0), None, "not looked yet");
    assert_eq!(right.look(0), 2);
    assert_eq!(right.receive(0), Some('a'));
    left.send(1, 'c');
    left.publish(|_| unreachable!());
    assert_eq!(right.receive(0), Some('b'));
    assert_eq!(right.receive(0), None, "came after the look");
    assert!(right.has_mail());
    assert_eq!(right.look(0), 1);
    assert_eq!(right.receive(0), Some('c'));
    assert!(!right.has_mail());
}

#[test]
fn a_shard_hears_nothing_from_itself() {
    let [mut left, _right] = pair::<u8>();
    assert_eq!((left.me(), left.shards()), (0, 2));
    assert_eq!(left.look(0), 0);
    assert_eq!(left.receive(0), None);
}

#[test]
#[should_panic(expected = "no mail for itself")]
fn a_shard_cannot_send_to_itself() {
    let [mut left, _right] = pair();
    left.send(0, 'a');
}

#[test]
fn a_lone_shard_sleeps() {
    let mut mesh = Mesh::<u8>::connect(1).remove(0);
    assert_eq!(mesh.publish(|_| unreachable!()), Published::default());
    assert!(mesh.park());
    assert!(!mesh.unpark(true));
}

#[test]
fn what_a_full_ring_refuses_waits_in_order() {
    let [mut left, mut right] = pair();
    let items = 3 * CAPACITY + 1;
    for item in 0..items {
        left.send(1, item);
    }
    assert_eq!(left.publish(|_| unreachable!()).backlog, 2 * CAPACITY + 1);
    for round in 0..3 {
        assert!(left.has_backlog());
        assert_eq!(right.look(0), CAPACITY);
        for item in 0..CAPACITY {
            assert_eq!(right.receive(0), Some(round * CAPACITY + item));
        }
        assert_eq!(left.publish(|_| unreachable!()).wakes_saved, 1);
    }
    assert!(!left.has_backlog());
    assert_eq!(right.look(0), 1);
    assert_eq!(right.receive(0), Some(items - 1));
    assert_eq!(left.publish(|_| unreachable!()), Published::default());
}

#[test]
fn only_a_parked_target_with_mail_is_woken_and_only_once() {
    const SHARDS: usize = 70;
    let mut meshes = Mesh::connect(SHARDS);
    let parked = [3, 63, 64, 69];
    for shard in parked {
        assert!(meshes[shard].park());
    }
    for target in [2, 3, 64, 69] {
        meshes[0].send(target, ());
    }
    let mut woken = Vec::new();
    let published = meshes[0].publish(|target| woken.push(target));
    assert_eq!(woken, [3, 64, 69]);
    assert_eq!(published, Published { wakes_sent: 3, wakes_saved: 1, backlog: 0 });

    for target in [63, 64] {
        meshes[68].send(target, ());
    }
    let published = meshes[68].publish(|target| assert_eq!(target, 63));
    assert_eq!(published, Published { wakes_sent: 1, wakes_saved: 1, backlog: 0 });

    for shard in parked {
        let mesh = &mut meshes[shard];
        assert!(!mesh.unpark(true), "a wake was on its way");
        assert!(!mesh.park(), "there is mail");
        let received = (0..SHARDS).map(|source| mesh.look(source)).sum::<usize>();
        assert_eq!(received, if shard == 64 { 2 } else { 1 });
        for source in 0..SHARDS {
            while mesh.receive(source).is_some() {}
        }
        assert!(mesh.park());
    }
}

#[test]
fn a_shard_with_something_to_publish_does_not_sleep() {
    let [mut left, mut right] = pair();
    for item in 0..=CAPACITY {
        left.send(1, item);
    }
    assert!(!left.park(), "nothing is published");
    left.publish(|_| unreachable!());
    assert!(!left.park(), "there is a backlog");
    right.look(0);
    while right.receive(0).is_some() {}
    left.publish(|_| unreachable!());
    assert!(left.park());
}

#[test]
fn mail_without_a_wake_is_told_after_a_timeout_only() {
    for timed_out in [true, false] {
        let [mut left, mut right] = pair();
        assert!(right.park());
        left.send(1, ());
        // As if the sender had not looked who is parked.
        left.publish_pending();
        assert_eq!(right.unpark(timed_out), timed_out);
    }
}

#[test]
fn a_sender_that_is_not_through_has_not_forgotten() {
    let [mut left, mut right] = pair();
    assert!(right.park());
    left.send(1, ());
    left.parking.begin_publishing(0);
    left.publish_pending();
    assert!(!right.unpark(true));
}

#[test]
fn what_is_never_received_is_dropped() {
    for left_goes_first in [true, false] {
        let item = Arc::new(());
        let [mut left, mut right] = pair();
        for _ in 0..CAPACITY + 5 {
            left.send(1, Arc::clone(&item));
        }
        left.publish(|_| unreachable!());
        right.look(0);
        for _ in 0..10 {
            right.receive(0);
        }
        left.send(1, Arc::clone(&item));
        let last = if left_goes_first { (drop(left), right).1 } else { (drop(right), left).1 };
        assert!(Arc::strong_count(&item) > 1);
        drop(last);
        assert_eq!(Arc::strong_count(&item), 1);
    }
}

#[derive(Clone, Copy, Debug)]
enum RingStep {
    Push,
    Publish,
    Look,
    Take,
}

fn ring_step() -> impl Strategy<Value = RingStep> {
    prop_oneof![
        4 => Just(RingStep::Push),
        2 => Just(RingStep::Publish),
        2 => Just(RingStep::Look),
        4 => Just(RingStep::Take),
    ]
}

#[derive(Clone, Copy, Debug)]
enum MeshStep {
    Send { source: usize, target: usize },
    Publish { source: usize },
    Receive { target: usize, source: usize, at_most: usize },
}

fn mesh_step(shards: usize) -> impl Strategy<Value = MeshStep> {
    let shard = 0..shards;
    prop_oneof![
        4 => (shard.clone(), shard.clone())
            .prop_map(|(source, target)| MeshStep::Send { source, target }),
        2 => shard.clone().prop_map(|source| MeshStep::Publish { source }),
        2 => (shard.clone(), shard, 0..4_usize).prop_map(|(target, source, at_most)| {
            MeshStep::Receive { target, source, at_most }
        }),
    ]
}

proptest! {
    #[test]
    fn a_ring_is_a_bounded_queue(
        before_the_wrap in 0..8_usize,
        capacity in prop_oneof![Just(1_usize), Just(2), Just(4)],
        steps in vec(ring_step(), 0..200),
    ) {
        let (mut producer, mut consumer) =
            ring_from(capacity, 0_usize.wrapping_sub(before_the_wrap));
        // The model: what is in the ring, and how many of it were published and seen. Slots are
        // free again when all that was seen is taken, or at a look.
        let mut queue = VecDeque::new();
        let (mut published, mut seen, mut not_freed) = (0, 0, 0);
        let item = Arc::new(());
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                RingStep::Push => {
                    let pushed = producer.push((number, Arc::clone(&item))).is_ok();
                    prop_assert_eq!(pushed, queue.len() + not_freed < capacity);
                    queue.extend(pushed.then_some(number));
                }
                RingStep::Publish => {
                    prop_assert_eq!(producer.publish(), published < queue.len());
                    published = queue.len();
                }
                RingStep::Look => {
                    seen = published;
                    not_freed = 0;
                    prop_assert_eq!(consumer.look(), seen);
                }
                RingStep::Take => {
                    let taken = consumer.take();
                    prop_assert_eq!(taken.is_some(), seen > 0);
                    if let Some((number, _)) = taken {
                        prop_assert_eq!(queue.pop_front(), Some(number));
                        published -= 1;
                        seen -= 1;
                        not_freed = if seen == 0 { 0 } else { not_freed + 1 };
                    }
                }
            }
            prop_assert_eq!(consumer.has_items(), published > 0);
            prop_assert_eq!(Arc::strong_count(&item) - 1, queue.len());
        }
        drop((producer, consumer));
        prop_assert_eq!(Arc::strong_count(&item), 1);
    }

    #[test]
    fn a_mesh_is_a_queue_per_pair(steps in vec(mesh_step(3), 0..300)) {
        const SHARDS: usize = 3;
        const CAPACITY: usize = 2;
        let mut meshes = Mesh::connect_with(SHARDS, CAPACITY);
        let mut sent = [[0; SHARDS]; SHARDS];
        let mut received = [[0; SHARDS]; SHARDS];
        for step in steps {
            match step {
                MeshStep::Send { source, target } if source != target => {
                    meshes[source].send(target, sent[source][target]);
                    sent[source][target] += 1;
                }
                MeshStep::Send { .. } => {}
                MeshStep::Publish { source } => {
                    meshes[source].publish(|_| unreachable!());
                    for target in (0..SHARDS).filter(|&target| target != source) {
                        let open = sent[source][target] - received[target][source];
                        prop_assert!(meshes[target].look(source) >= open.min(CAPACITY - 1));
                    }
                }
                MeshStep::Receive { target, source, at_most } => {
                    meshes[target].look(source);
                    for _ in 0..at_most {
                        if let Some(item) = meshes[target].receive(source) {
                            prop_assert_eq!(item, received[target][source]);
                            received[target][source] += 1;
                        }
                    }
                }
            }
        }
        while meshes.iter().any(|mesh| !mesh.pending.is_empty() || mesh.has_mail()) {
            for (mesh, received) in meshes.iter_mut().zip(&mut received) {
                mesh.publish(|_| unreachable!());
                for (source, received) in received.iter_mut().enumerate() {
                    mesh.look(source);
                    while let Some(item) = mesh.receive(source) {
                        prop_assert_eq!(item, *received);
                        *received += 1;
                    }
                }
            }
        }
        for (source, mesh) in meshes.iter().enumerate() {
            prop_assert!(!mesh.has_backlog());
            for target in 0..SHARDS {
                prop_assert_eq!(sent[source][target], received[target][source]);
            }
        }
    }
}

/// Each shard sends to all others in bursts that overflow the rings now and then, answers nothing,
/// and sleeps whenever it has nothing to do.
#[test]
fn threads_lose_nothing_and_sleep_through_nothing() {
    const SHARDS: usize = 3;
    const ITEMS: usize = if cfg!(miri) { 300 } else { 60_000 };
    let bells: Arc<[Bell]> = (0..SHARDS).map(|_| Bell::default()).collect();
    thread::scope(|scope| {
        for mut mesh in Mesh::connect_with(SHARDS, 16) {
            let bells = Arc::clone(&bells);
            scope.spawn(move || {
                let me = mesh.me();
                let mut sent = 0;
                let mut received = [0; SHARDS];
                received[me] = ITEMS;
                // Bursts of 1, 2, 4 .. 32, then a sleep's worth of nothing.
                let mut burst = 1;
                while sent < ITEMS
                    || mesh.has_backlog()
                    || received.iter().any(|&received| received < ITEMS)
                {
                    for _ in 0..burst.min(ITEMS - sent) {
                        for target in (0..SHARDS).filter(|&target| target != me) {
                            mesh.send(target, Box::new(sent));
                        }
                        sent += 1;
                    }
                    burst = if burst == 32 { 1 } else { burst * 2 };
                    mesh.publish(|target| bells[target].ring());
                    for (source, received) in received.iter_mut().enumerate() {
                        mesh.look(source);
                        while let Some(item) = mesh.receive(source) {
                            assert_eq!(*item, *received, "from {source} at {me}");
                            *received += 1;
                        }
                    }
                    let may_sleep = burst == 1 && sent < ITEMS;
                    if (may_sleep || sent == ITEMS)
                        && received.iter().any(|&received| received < ITEMS)
                        && mesh.park()
                    {
                        // With items of its own left it sleeps briefly, as for a timer.
                        let limit = if may_sleep { Duration::ZERO } else { Duration::from_secs(5) };
                        let timed_out = bells[me].wait(limit);
                        assert!(!mesh.unpark(timed_out), "mail without a wake at {me}");
                    }
                }
            });
        }
    });
}

/// What a parked thread waits for. Rung ahead of a wait, it ends it at once.
#[derive(Default)]
struct Bell {
    is_rung: Mutex<bool>,
    rung: Condvar,
}

impl Bell {
    fn ring(&self) {
        *self.is_rung.lock().unwrap() = true;
        self.rung.notify_one();
    }

    /// Whether the limit ended it.
    fn wait(&self, limit: Duration) -> bool {
        let is_rung = self.is_rung.lock().unwrap();
        let (mut is_rung, outcome) =
            self.rung.wait_timeout_while(is_rung, limit, |is_rung| !*is_rung).unwrap();
        *is_rung = false;
        outcome.timed_out()
    }
}

fn pair<T: Send>() -> [Mesh<T>; 2] {
    Mesh::connect(2).try_into().ok().unwrap()
}
