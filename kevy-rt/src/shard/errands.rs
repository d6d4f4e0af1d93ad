//! Connections are told messages and closed, as handlers, hooks and timers asked.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::commands::Commands;
use crate::conn::{Closing, Conn, ConnHandle, ConnId};
use crate::errands::Errand;
use crate::reactor::Reactor;
use crate::shard::Shard;
use crate::shard::batch::Item;
use crate::shard::run::Engine;

impl<C: Commands, R: Reactor> Shard<C, R> {
    /// Does the errands of this turn. Those for a shard that has too many under way wait, in order.
    pub(super) fn run_errands(&mut self) {
        let mut waiting = {
            let mut errands = self.engine.server.errands.borrow_mut();
            if errands.waiting.is_empty() {
                return;
            }
            errands.is_fresh = false;
            std::mem::take(&mut errands.waiting)
        };
        let mut left = VecDeque::new();
        let me = self.engine.server.place.shard;
        for (whom, errand) in waiting.drain(..) {
            let shard = usize::from(whom.shard);
            if shard == me {
                self.engine.do_errand(whom.id, errand);
            } else if self.engine.outbox.has_errand_room(shard) {
                self.engine.outbox.push_errand(shard, Item::Errand(whom.id, errand));
            } else {
                left.push_back((whom, errand));
            }
        }
        // The larger buffer is kept while nothing is left.
        let left = if left.is_empty() { waiting } else { left };
        self.engine.server.errands.borrow_mut().waiting = left;
        self.note_touched();
    }

    /// Closes a lent connection if a handler that ran with it in the table asked for that.
    pub(super) fn close_if_asked(&mut self, conn: &mut Conn) {
        let mine = ConnHandle { shard: self.engine.server.place.shard as u16, id: conn.id };
        for (whom, errand) in &self.engine.server.errands.borrow().waiting {
            if let (true, Errand::Close(how)) = (*whom == mine, errand) {
                conn.close(*how);
            }
        }
    }
}

impl<C: Commands, Socket: Send + 'static> Engine<C, Socket> {
    /// Does an errand for a connection of this shard.
    pub(super) fn do_errand(&mut self, id: ConnId, errand: Errand) {
        let lent = self.server.conns.borrow_mut().lend(id);
        let Some(mut conn) = lent else {
            if matches!(errand, Errand::Tell(_)) {
                self.server.metrics.messages_dropped.add(1);
            }
            return;
        };
        match errand {
            Errand::Close(how) => conn.close(how),
            Errand::Tell(message)
                if conn.closing() == Closing::No && self.port(&conn).wire == message.wire =>
            {
                self.lend_output(&mut conn);
                let scope = conn.state.scope;
                let out = conn.message_output();
                let mark = out.mark();
                let written = catch_unwind(AssertUnwindSafe(|| message.write(scope, out)));
                if written.is_ok() {
                    self.server.metrics.messages_sent.add(1);
                } else {
                    tracing::error!("the encoder of a message panicked; it is dropped");
                    conn.message_output().truncate(mark);
                }
            }
            Errand::Tell(_) => self.server.metrics.messages_dropped.add(1),
        }
        self.touched.push(id);
        self.server.conns.borrow_mut().give_back(conn);
    }
}
