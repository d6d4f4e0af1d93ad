//! Replies that come later: a slot of the connection's reply queue is kept for them, wherever the
//! request ran.

use crate::commands::Commands;
use crate::conn::Conn;
use crate::offload::{Home, Later, Task};
use crate::shard::batch::{Call, Item};
use crate::shard::run::{Engine, take_muted};
use crate::shared::{Mark, Out};

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
        let number = conn.queue.wait(take_muted(&mut conn.state));
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
        let Later::Job(job) = later;
        let (scope, index) = (call.scope, call.index);
        let shard = self.server.place.shard as u16;
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
}
