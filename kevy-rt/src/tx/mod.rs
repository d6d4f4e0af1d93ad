//! Transactions: what touches several keys, or several shards, happens at one moment.
//!
//! The promise is strict serializability: all requests take effect in one order, and each at a
//! moment between its arrival and its reply. The method is a total order by proposed stamps (Skeen;
//! Cowling and Liskov, Granola, 2012) over intents (Ren and others, VLL, 2013).
//!
//! ```text
//! coordinator                                 owners A and B
//!   Schedule: intents, first hop  ------->      take a stamp, put in an unfixed entry
//!                                 <-------      Scheduled: the stamp, in the same turn, never refused
//!   order = the largest stamp
//!   Fix: order                    ------->      the entry moves to its order; it runs its hop when
//!                                               nothing that conflicts comes before it
//!                                 <-------      Ran: the answer; the last hop removes the entry
//! ```
//!
//! *Owner.* 1. A schedule is never refused, and its stamp is answered in the turn in which it came.
//! 2. An entry runs when it is fixed, its hop is here, and no entry that conflicts has a smaller
//! stamp ([`entries`]). 3. A request of one shard that conflicts with no entry runs at once, without
//! stamp or entry; else it gets a stamp and becomes an entry, fixed from the start.
//!
//! *Coordinator.* No hop runs anywhere before every owner has answered. In the *one-round* form, when
//! all owners but one are scheduled, the last one gets Schedule and Fix in one: its new stamp is the
//! largest, so it is the order. If it can't run at once it answers its stamp at once and the reply
//! later.
//!
//! # Why it holds
//!
//! Give each transaction its order as a number, each deferred request its stamp, and each request
//! that ran at once the counter's value then. Where two conflict, the shard that they meet on runs
//! them in the order of these numbers: of two entries by rule 2; a request that ran at once met no
//! entry that conflicts, so all those before it were fixed and had run, and those that come later
//! take larger stamps. Where one was answered before the other was sent, the numbers rise too: the
//! first one's number was taken before its answer, the second one's stamps after. So along every
//! edge of either kind numbers rise, and there is no cycle. Running a hop in the schedule of several
//! owners breaks the second half: its effect is seen before its number is known.
//!
//! Every unfixed entry is fixed within a round trip, as schedules are answered whatever else waits;
//! and what is fixed waits for smaller stamps only. So nothing waits in a circle. Once an order is
//! known all new stamps are larger: nothing overtakes for ever.
//!
//! *One connection.* Requests to one owner travel in one sequence. Until its order is known a
//! transaction may still move behind a later request of its connection, so a request that shares a
//! key with it, single or transaction, waits for the order. A queue's run waits for all orders, as
//! what it wants is found out when it starts.
//!
//! *Time.* A stamp carries a time ([`stamp`]); the hops of a transaction all see that of its order.
//!
//! # Where to look
//!
//! - [`stamp`], [`entries`]: the order, and one shard's table.
//! - [`task`]: handlers over several shards. [`hop`]: what travels to their owners.
//! - [`queue`], [`watch`]: requests that are queued to run as one, and the keys watched until then.
//! - `shard/transact.rs`: the shard's two sides, coordinator and owner.
//! - [`fault`]: each rule, to be left out by a test that has to notice.

pub(crate) mod entries;
pub(crate) mod fault;
pub(crate) mod hop;
pub(crate) mod queue;
pub(crate) mod stamp;
pub(crate) mod task;
pub(crate) mod watch;
