//! Replies that come later: a slot of the connection's reply queue is kept for them, wherever the
//! request ran.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::commands::Commands;
use crate::conn::{Closing, Conn, ConnId};
use crate::cx::{Caller, Cx};
use crate::errands::Errand;
use crate::later::Later;
use crate::offload::{Home, Task};
use crate::shard::batch::{Call, Item};
use crate::shard::run::{Engine, take_muted};
use crate::shared::{Mark, Out};
use crate::stream::{PIECE_BYTES, Pieces, Source, Step, There};

impl<C: Commands, Socket: Send + 'static> Engine<C, Socket> {
    /// A request of a lent connection is answered later.
    #[cold]
    pub(super) fn answer_later(
        &mut self,
        conn: &mut Conn,
        call: Call<C::Store>,
        later: Option<Later>,
    ) {
        let Some(later) = later else { return };
        if let Later::Pieces(pieces) = &later {
            self.project(pieces.part());
        }
        let number = conn.queue.wait(take_muted(&mut conn.state));
        let later = match later {
            Later::Pieces(pieces) => {
                return conn.queue.stream(number, Source::Here(pieces), call.scope);
            }
            later @ Later::Job(_) => later,
        };
        let mut refusal = Out::default();
        let home = Home { whom: conn.facts.handle(), number, bytes: 0 };
        if !self.start_later(later, home, call, &mut refusal) {
            let end = refusal.mark();
            conn.queue.finish(number, &refusal, (Mark::default(), end), &mut conn.out);
        }
    }

    /// Sets a reply going that comes later. False if it can't be: the refusal is in `out`.
    pub(super) fn start_later(
        &mut self,
        later: Later,
        home: Home,
        call: Call<C::Store>,
        out: &mut Out,
    ) -> bool {
        let (scope, index) = (call.scope, call.index);
        let shard = self.server.place.shard as u16;
        let job = match later {
            Later::Job(job) => job,
            Later::Pieces(pieces) => {
                self.start_stream(pieces, home, scope);
                return true;
            }
        };
        let task = Task { job, shard, home, scope, index };
        match self.server.process.offload(task) {
            Ok(()) => {
                self.open_tasks += 1;
                true
            }
            Err(task) => {
                self.count_rejected(index);
                task.job.encode(scope, out);
                false
            }
        }
    }

    /// Takes in what the pool has done. Answers whether there was anything.
    pub(super) fn take_done_tasks(&mut self) -> bool {
        if self.open_tasks == 0 {
            return false;
        }
        let done = self.server.process.pool.take_done(self.server.place.shard as u16);
        let had_any = !done.is_empty();
        for Task { job, home, scope, index, .. } in done {
            self.open_tasks -= 1;
            let mut reply = Out::default();
            job.encode(scope, &mut reply);
            if reply.errors() != 0 {
                self.server.stats[index as usize].failed.add(1);
                self.server.metrics.error_replies.add(1);
            }
            self.finish_late(home, reply);
        }
        had_any
    }

    /// A reply is there that a connection of some shard waits for.
    pub(super) fn finish_late(&mut self, home: Home, reply: Out) {
        let Home { whom, number, bytes } = home;
        let shard = usize::from(whom.shard);
        if shard == self.server.place.shard {
            self.late_reply(whom.id, number, &reply);
        } else {
            let late = Item::Late { conn: whom.id, number, reply: Box::new(reply), bytes };
            self.outbox.push_free(shard, late);
        }
    }

    /// Sets a reply in pieces going whose connection is not lent, and may be another shard's.
    fn start_stream(&mut self, pieces: Box<dyn Pieces>, home: Home, scope: u64) {
        self.project(pieces.part());
        if usize::from(home.whom.shard) != self.server.place.shard {
            let stream = self.streams.insert(Sending { pieces, home, scope });
            return self.send_piece(stream);
        }
        if let Some(conn) = self.server.conns.borrow_mut().get_mut(home.whom.id) {
            conn.queue.stream(home.number, Source::Here(pieces), scope);
            self.touched.push(home.whom.id);
        }
    }

    /// Makes the next piece for a connection of another shard, and sends it.
    pub(super) fn send_piece(&mut self, stream: u32) {
        let Some(mut sending) = self.streams.take(stream) else { return };
        let Sending { home, scope, .. } = sending;
        let mut reply = Out::default();
        let mut steps = 0;
        let ended = loop {
            steps += 1;
            match self.step(&mut *sending.pieces, scope, &mut reply) {
                Some(Step::More) if reply.len() >= PIECE_BYTES || steps >= STEPS => {
                    break Some(false);
                }
                Some(Step::More) => {}
                Some(Step::Done) => break Some(true),
                None => break None,
            }
        };
        let shard = usize::from(home.whom.shard);
        if ended == Some(false) {
            self.streams.put_back(stream, sending);
            let Home { whom, number, bytes } = home;
            let piece = Box::new(reply);
            let item = Item::Piece { conn: whom.id, number, stream, bytes, piece };
            return self.outbox.push_free(shard, item);
        }
        self.streams.remove(stream);
        if ended.is_none() {
            let close = Item::Errand(home.whom.id, Errand::Close(Closing::Now));
            self.outbox.push_errand(shard, close);
        }
        self.finish_late(home, reply);
    }

    /// Takes one step. `None` if it panicked.
    fn step(&mut self, pieces: &mut dyn Pieces, scope: u64, out: &mut Out) -> Option<Step> {
        let (project, caller) = (self.project(pieces.part()), Caller::Nobody);
        let stepped = catch_unwind(AssertUnwindSafe(|| {
            let cx = Cx { now_ms: self.now_ms, scope, server: &self.server, caller };
            pieces.step(project(&mut self.store, &cx), &cx, out)
        }));
        if stepped.is_err() {
            tracing::error!("a reply in pieces panicked; its connection is closed");
        }
        stepped.ok()
    }

    /// A piece came from another shard.
    pub(super) fn take_piece(&mut self, id: ConnId, number: u64, from: There, piece: Box<Out>) {
        if let Some(conn) = self.server.conns.borrow_mut().get_mut(id) {
            conn.queue.put_piece(number, from, piece);
            self.touched.push(id);
            return;
        }
        self.stop_stream(from);
    }

    fn stop_stream(&mut self, from: There) {
        let owner = usize::from(from.owner);
        self.outbox.push_free(owner, Item::StopStream(from.stream));
        self.outbox.close(owner, from.bytes);
    }

    /// A connection goes: nobody wants the rest of its replies in pieces. Those that are asked for
    /// the next one find it gone.
    pub(super) fn stop_streams(&mut self, conn: &Conn) {
        if !conn.queue.is_empty() {
            conn.queue.unasked_streams().for_each(|from| self.stop_stream(from));
        }
    }

    /// Goes on with the reply in pieces that a lent connection waits for first, while little of its
    /// output is left. Answers whether there is more to do at once.
    pub(super) fn stream(&mut self, conn: &mut Conn) -> bool {
        let most = PIECE_BYTES.min(self.server.limits.get().output_soft_bytes);
        self.lend_output(conn);
        for _ in 0..STEPS {
            // Replies behind it wait for it, so they don't count here.
            let leaving = conn.out.len() + conn.sending_bytes;
            if leaving >= most || conn.closing() == Closing::Now {
                return false;
            }
            let piece = conn.queue.take_piece();
            let Conn { queue, out, facts, .. } = conn;
            let Some(stream) = queue.first_stream() else { return false };
            stream.has_begun = true;
            let (scope, is_muted, mark) = (stream.scope, stream.is_muted, out.mark());
            match &mut stream.source {
                Source::Here(pieces) => {
                    let stepped = self.step(&mut **pieces, scope, out);
                    if is_muted {
                        out.truncate(mark);
                    }
                    match stepped {
                        Some(Step::More) => {}
                        Some(Step::Done) => queue.end_stream(out),
                        None => facts.close(Closing::Now),
                    }
                }
                Source::There { from, is_asked, .. } => {
                    if let Some(piece) = piece.filter(|_| !is_muted) {
                        out.append(&piece);
                    }
                    if *is_asked {
                        return false;
                    }
                    *is_asked = true;
                    self.outbox.push_free(from.owner.into(), Item::NextPiece(from.stream));
                }
            }
        }
        true
    }
}

/// Steps that are taken in a row at most.
///
/// Smaller: small pieces take many turns. Larger: others wait for a reply whose steps write nothing.
const STEPS: usize = 256;

/// A reply in pieces for a connection of another shard.
pub(super) struct Sending {
    pieces: Box<dyn Pieces>,
    home: Home,
    scope: u64,
}

/// Those of a shard, by number. There are no more than requests that other shards have open here.
#[derive(Default)]
pub(super) struct Streams {
    places: Vec<Option<Sending>>,
    free: Vec<u32>,
}

impl Streams {
    fn insert(&mut self, sending: Sending) -> u32 {
        let stream = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() as u32 - 1
        });
        self.put_back(stream, sending);
        stream
    }

    fn take(&mut self, stream: u32) -> Option<Sending> {
        self.places.get_mut(stream as usize)?.take()
    }

    fn put_back(&mut self, stream: u32, sending: Sending) {
        self.places[stream as usize] = Some(sending);
    }

    /// It is over: frees its number.
    pub(super) fn remove(&mut self, stream: u32) {
        self.places[stream as usize] = None;
        self.free.push(stream);
    }
}
