//! What this shard has for the others in this turn, and how much of what it sent is still open.
//!
//! Credits bound the mesh: a shard that has too many open requests with another takes no new ones
//! for it from its connections, so no ring, backlog or batch grows past what they allow. Answers
//! need no credit and always go. What waits for a transaction stays open until it is through, on
//! this shard too: so tables of those who wait are bounded by the same credits.

use std::collections::VecDeque;

use crate::conn::ConnId;
use crate::cx::Sent;
use crate::errands::ERRANDS_UNDER_WAY;
use crate::mesh::Mesh;
use crate::shard::batch::{Batch, Item};
use crate::tx::fault::{self, Fault};

/// Open requests that one shard may have with another.
///
/// Smaller: a deep pipeline waits for round trips. Larger: more memory per pair of shards, and a
/// longer stretch of work that a batch brings its owner.
pub(crate) const CREDITS: usize = 2048;

/// Bytes of arguments that one shard may have on their way to another.
const CREDIT_BYTES: usize = 32 * 1024 * 1024;

/// Emptied batches that are kept.
const POOL: usize = 64;

struct Lane<S: 'static, Socket> {
    /// What was gathered in this turn.
    batch: Option<Box<Batch<S, Socket>>>,
    /// Requests with the other shard, in this turn's batch too; of the own one, those that wait.
    open: usize,
    /// Bytes of their arguments, this turn's batch left out.
    open_bytes: usize,
    /// Connections that wait for credits, in the order in which they began to.
    waiting: VecDeque<ConnId>,
    /// Errands that the other shard hasn't taken in.
    errands: usize,
}

/// The outgoing side of a shard.
pub(crate) struct Outbox<S: 'static, Socket> {
    lanes: Vec<Lane<S, Socket>>,
    #[expect(clippy::vec_box, reason = "they travel boxed, and come back so")]
    pool: Vec<Box<Batch<S, Socket>>>,
    /// Bytes of the pool's buffers.
    pooled_bytes: usize,
    /// Lanes with a batch.
    filled: Vec<usize>,
    /// Connections that wait in any lane.
    waiting: usize,
}

impl<S: 'static, Socket> Outbox<S, Socket> {
    pub(crate) fn new(shards: usize) -> Self {
        let lane =
            |_| Lane { batch: None, open: 0, open_bytes: 0, waiting: VecDeque::new(), errands: 0 };
        let lanes = (0..shards).map(lane).collect();
        Outbox { lanes, pool: Vec::new(), pooled_bytes: 0, filled: Vec::new(), waiting: 0 }
    }

    /// Whether a request for `target` may be taken.
    #[inline]
    pub(crate) fn has_credit(&self, target: usize) -> bool {
        let lane = &self.lanes[target];
        lane.open < CREDITS && lane.open_bytes < CREDIT_BYTES
    }

    /// A connection waits for credits of `target`.
    pub(crate) fn wait_for_credit(&mut self, target: usize, id: ConnId) {
        self.lanes[target].waiting.push_back(id);
        self.waiting += 1;
    }

    /// Names those who waited longest where there are credits again, one for each credit. Who
    /// finds none by then has to wait again.
    pub(crate) fn end_credit_waits(&mut self, mut end: impl FnMut(ConnId)) {
        if self.waiting == 0 {
            return;
        }
        for lane in &mut self.lanes {
            if lane.open_bytes < CREDIT_BYTES {
                let credits = CREDITS.saturating_sub(lane.open).min(lane.waiting.len());
                self.waiting -= credits;
                lane.waiting.drain(..credits).for_each(&mut end);
            }
        }
    }

    /// This turn's batch for `target`.
    #[inline]
    pub(crate) fn batch(&mut self, target: usize) -> &mut Batch<S, Socket> {
        let lane = &mut self.lanes[target];
        lane.batch.get_or_insert_with(|| {
            self.filled.push(target);
            let batch = self.pool.pop().unwrap_or_default();
            self.pooled_bytes -= batch.memory();
            batch
        })
    }

    /// Adds a request or a part of one, whose arguments are in the batch for `target`.
    #[inline]
    pub(crate) fn push(&mut self, target: usize, item: Item<S, Socket>) {
        self.lanes[target].open += 1;
        self.batch(target).items.push(item);
    }

    /// Adds the first item of a transaction's visit, with so many bytes of arguments, which is open
    /// until [`Outbox::close`].
    pub(crate) fn open_visit(&mut self, target: usize, item: Item<S, Socket>, bytes: usize) {
        self.open(target, bytes);
        self.push_free(target, item);
        if fault::is_on(Fault::Overtake) {
            self.batch(target).items.rotate_right(1);
        }
    }

    /// Something that is not in a batch is open at `target`, which may be this shard.
    pub(crate) fn open(&mut self, target: usize, bytes: usize) {
        self.lanes[target].open += 1;
        self.lanes[target].open_bytes += bytes;
    }

    /// Takes back the credit of a visit, or of a request that had to wait there.
    pub(crate) fn close(&mut self, target: usize, bytes: usize) {
        self.lanes[target].open -= 1;
        self.lanes[target].open_bytes -= bytes;
    }

    /// Requests that are open, with all shards.
    pub(crate) fn open_requests(&self) -> usize {
        self.lanes.iter().map(|lane| lane.open).sum()
    }

    /// Adds what needs no answer.
    pub(crate) fn push_free(&mut self, target: usize, item: Item<S, Socket>) {
        self.batch(target).items.push(item);
    }

    /// Whether few enough errands are under way there.
    pub(crate) fn has_errand_room(&self, target: usize) -> bool {
        self.lanes[target].errands < ERRANDS_UNDER_WAY
    }

    /// Adds an errand for a connection of another shard.
    pub(crate) fn push_errand(&mut self, target: usize, item: Item<S, Socket>) {
        self.lanes[target].errands += 1;
        let batch = self.batch(target);
        batch.errands += 1;
        batch.items.push(item);
    }

    /// Takes back the credits of a batch that came home.
    pub(crate) fn settle(&mut self, target: usize, batch: &Batch<S, Socket>) {
        let lane = &mut self.lanes[target];
        lane.open -= batch.requests;
        lane.open_bytes -= batch.argument_bytes() - batch.waiting_bytes;
        lane.errands -= batch.errands;
    }

    /// Keeps an emptied batch for a later turn, or frees it.
    pub(crate) fn recycle(&mut self, mut batch: Box<Batch<S, Socket>>) {
        if self.pool.len() < POOL && batch.is_small() {
            batch.clear();
            self.pooled_bytes += batch.memory();
            self.pool.push(batch);
        } else {
            batch.free();
        }
    }

    /// Bytes of memory of the batches that are kept.
    #[inline]
    pub(crate) fn pooled_bytes(&self) -> usize {
        self.pooled_bytes
    }

    /// Hands this turn's batches to the mesh, and counts what goes where; answers how many there
    /// were.
    pub(crate) fn dispatch(
        &mut self,
        mesh: &mut Mesh<Box<Batch<S, Socket>>>,
        sent: &[Sent],
    ) -> usize
    where
        S: 'static,
        Box<Batch<S, Socket>>: Send,
    {
        let filled = self.filled.len();
        for target in self.filled.drain(..) {
            let lane = &mut self.lanes[target];
            let Some(batch) = lane.batch.take() else { continue };
            lane.open_bytes += batch.argument_bytes();
            sent[target].batches.add(1);
            sent[target].items.add(batch.items.len() as u64);
            mesh.send(target, batch);
        }
        filled
    }
}
