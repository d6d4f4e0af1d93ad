//! One client: sends operations, reads their replies, records both with their times.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use kevy_checker::{Action, Operation};

use crate::command::{Command, Wrong};
use crate::resp::{Address, Connection, Reply};
use crate::workload::{Draw, Step};

/// How long a client waits before it connects again.
const PAUSE: Duration = Duration::from_millis(50);

/// What all clients of a run share.
pub(crate) struct Shared {
    pub(crate) address: Address,
    pub(crate) prefix: String,
    pub(crate) start: Instant,
    pub(crate) end: Instant,
    /// Operations that may still be begun. Clients take from it, in no particular order.
    pub(crate) left: AtomicU64,
}

/// What a client did.
#[derive(Default)]
pub(crate) struct Record {
    pub(crate) operations: Vec<Operation>,
    /// How many there were of each kind.
    pub(crate) counts: BTreeMap<&'static str, u64>,
    pub(crate) requests: u64,
    pub(crate) refusal: Option<String>,
    pub(crate) nonsense: Option<String>,
}

impl Record {
    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }
}

pub(crate) struct Client<'a> {
    pub(crate) number: u32,
    pub(crate) shared: &'a Shared,
    pub(crate) draw: Draw<'a>,
    pub(crate) pipeline: usize,
    pub(crate) record: Record,
}

impl Client<'_> {
    /// Runs until the time or the operations are used up.
    pub(crate) fn run(mut self) -> Record {
        while !self.is_over() {
            let Ok(mut connection) = Connection::open(&self.shared.address) else {
                thread::sleep(PAUSE);
                continue;
            };
            while !self.is_over() {
                if self.turn(&mut connection).is_err() {
                    self.record.count("connections lost");
                    break;
                }
            }
        }
        self.record
    }

    fn is_over(&self) -> bool {
        Instant::now() >= self.shared.end || self.shared.left.load(Ordering::Relaxed) == 0
    }

    /// Sends a pipeline and reads its replies. A watched transaction ends the pipeline before it.
    fn turn(&mut self, connection: &mut Connection) -> io::Result<()> {
        let mut steps = Vec::new();
        let mut watched = None;
        while steps.len() < self.pipeline && watched.is_none() && self.take() {
            match self.draw.next() {
                Step::Watched(keys, commands) => watched = Some((keys, commands)),
                step => steps.push(step),
            }
        }
        self.pipelined(connection, &steps)?;
        match watched {
            Some((keys, commands)) => self.watched(connection, &keys, commands),
            None => Ok(()),
        }
    }

    fn take(&self) -> bool {
        let left = &self.shared.left;
        left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }

    fn now(&self) -> u64 {
        self.shared.start.elapsed().as_nanos() as u64
    }

    fn pipelined(&mut self, connection: &mut Connection, steps: &[Step]) -> io::Result<()> {
        for step in steps {
            self.push(connection, step);
        }
        let sent = self.now();
        let mut outcome = connection.send();
        for step in steps {
            let replies = outcome.and_then(|()| replies(connection, step));
            self.note(step, sent, replies.as_ref().ok());
            outcome = replies.map(|_| ());
        }
        outcome
    }

    fn watched(
        &mut self,
        connection: &mut Connection,
        keys: &[u32],
        commands: Vec<Command>,
    ) -> io::Result<()> {
        let name = |key: &u32| format!("{}{key}", self.shared.prefix);
        let watch: Vec<String> =
            std::iter::once("WATCH".into()).chain(keys.iter().map(name)).collect();
        connection.push(&watch);
        self.record.requests += 1;
        let gets: Vec<Step> = keys.iter().map(|&key| Step::One(Command::Get(key))).collect();
        for get in &gets {
            self.push(connection, get);
        }
        let sent = self.now();
        connection.send()?;
        if let Reply::Error(text) = connection.reply()? {
            self.record.refusal = Some(text);
        }
        let mut read = Vec::new();
        for get in &gets {
            let replies = replies(connection, get)?;
            read.extend(self.note(get, sent, Some(&replies)));
        }
        let step = Step::Watched(keys.to_vec(), commands);
        self.push(connection, &step);
        let sent = self.now();
        let replies = connection.send().and_then(|()| replies(connection, &step));
        let before = self.record.operations.len();
        self.note(&step, sent, replies.as_ref().ok());
        if replies.is_ok() && self.record.operations.len() > before {
            let operation = self.record.operations.last_mut().expect("one more");
            if operation.replied.is_some() {
                read.append(&mut operation.actions);
                operation.actions = read;
            }
        }
        replies.map(|_| ())
    }

    fn push(&mut self, connection: &mut Connection, step: &Step) {
        let prefix = &self.shared.prefix;
        let (is_transaction, commands) = commands(step);
        if is_transaction {
            connection.push(&["MULTI".into()]);
        }
        commands.iter().for_each(|command| connection.push(&command.arguments(prefix)));
        if is_transaction {
            connection.push(&["EXEC".into()]);
        }
        self.record.requests += commands.len() as u64 + if is_transaction { 2 } else { 0 };
    }

    /// Records what came of a step, and gives the actions that are certain.
    fn note(&mut self, step: &Step, sent: u64, replies: Option<&Vec<Reply>>) -> Vec<Action> {
        let mut replied = Some(self.now());
        let (_, commands) = commands(step);
        let writes = || commands.iter().flat_map(Command::writes).collect();
        let actions: Vec<Action> = match replies.map(|replies| understood(step, replies)) {
            Some(Ok(Some(actions))) => actions,
            Some(Ok(None)) => {
                self.record.count("exec, null");
                return Vec::new();
            }
            Some(Err(wrong)) => {
                replied = None;
                match wrong {
                    Wrong::Refused(text) => {
                        self.record.count("refused");
                        self.record.refusal = Some(text);
                    }
                    Wrong::Nonsense(text) => self.record.nonsense = Some(text),
                }
                writes()
            }
            None => {
                self.record.count("unanswered");
                replied = None;
                writes()
            }
        };
        if !actions.is_empty() {
            self.record.count(name(step));
            let client = self.number;
            let operation = Operation { client, sent, replied, actions: actions.clone() };
            self.record.operations.push(operation);
        }
        if replied.is_some() { actions } else { Vec::new() }
    }
}

/// Whether a step is a transaction, and its requests.
fn commands(step: &Step) -> (bool, &[Command]) {
    match step {
        Step::One(command) => (false, std::slice::from_ref(command)),
        Step::Transaction(commands) | Step::Watched(_, commands) => (true, commands),
    }
}

/// The replies of a step: all of its requests', or what its `EXEC` returned.
fn replies(connection: &mut Connection, step: &Step) -> io::Result<Vec<Reply>> {
    let (is_transaction, commands) = commands(step);
    if is_transaction {
        for _ in 0..=commands.len() {
            connection.reply()?;
        }
    }
    Ok(vec![connection.reply()?])
}

/// What a step did and saw; `None` if it didn't run, since a watched key had changed.
fn understood(step: &Step, replies: &[Reply]) -> Result<Option<Vec<Action>>, Wrong> {
    let (is_transaction, commands) = commands(step);
    let parts = match &replies[0] {
        Reply::Error(text) => return Err(Wrong::Refused(text.clone())),
        Reply::Array(None) if matches!(step, Step::Watched(..)) => return Ok(None),
        Reply::Array(Some(parts)) if is_transaction && parts.len() == commands.len() => parts,
        reply if is_transaction => {
            return Err(Wrong::Nonsense(format!("EXEC of {commands:?} returned {reply:?}")));
        }
        _ => replies,
    };
    let actions: Result<Vec<_>, _> =
        commands.iter().zip(parts).map(|(command, part)| command.actions(part)).collect();
    Ok(Some(actions?.concat()))
}

fn name(step: &Step) -> &'static str {
    match step {
        Step::Transaction(_) => "exec",
        Step::Watched(..) => "watch, exec",
        Step::One(command) => match command {
            Command::Get(_) => "get",
            Command::Set(..) => "set",
            Command::SetGet(..) => "set, get",
            Command::GetSet(..) => "getset",
            Command::MGet(_) => "mget",
            Command::MSet(_) => "mset",
            Command::Append(..) => "append",
            Command::GetList(_) => "get of a list",
            Command::SAdd(..) => "sadd",
            Command::SMembers(_) => "smembers",
        },
    }
}
