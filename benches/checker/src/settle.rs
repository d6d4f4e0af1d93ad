//! Finds an order of the chains that real time leaves open, or shows that there is none.
//!
//! If one chain's head reaches another's tail in the graph, the first is before the second. Orders
//! that follow so are added until no more do. Then what is left is searched in the order of time:
//! a pair is ordered as it must be, and by a guess if it may be either way. Every order that
//! follows remembers the guesses that it follows from. When one closes a cycle, the latest guess
//! that the cycle depends on is turned round, and everything decided since is decided again; if it
//! depends on none, there is no order.

use crate::explain;
use crate::facts::Facts;
use crate::graph::{EdgeNumber, Graph};
use crate::registers::{Chain, Pair};
use crate::topology::Topology;
use crate::verdict::Stop;

/// Passes over the open pairs that add what follows from the rest. Fewer leave more to the search,
/// which is slower where it has to go back; more cost time and rarely find anything.
const PASSES: usize = 4;

/// Guesses that may turn out wrong. An order of blind writes that nothing determines is as hard as
/// any problem in NP; this ends the search within minutes.
const WRONG_GUESSES: usize = 200_000;

pub(crate) fn settle(
    facts: &Facts<'_>,
    graph: Graph,
    topology: Topology,
    mut pairs: Vec<Pair>,
) -> Result<(), Stop> {
    pairs.sort_by_key(|pair| pair.one.last_sent.max(pair.other.last_sent));
    let certain = graph.edge_count();
    let decisions = pairs.iter().map(|_| None).collect();
    let mut search =
        Search { facts, graph, topology, pairs, decisions, certain, decided: Vec::new() };
    search.follow()?;
    search.guess()
}

/// The order of a pair.
struct Decision {
    is_turned: bool,
    /// The pairs whose guessed orders it follows from, in their order; a guess follows from itself.
    because: Vec<u32>,
}

/// Why a pair can't be ordered as decided.
struct Conflict {
    /// A cycle.
    cycle: Vec<explain::Step>,
    /// The pairs whose guessed orders it depends on.
    because: Vec<u32>,
}

struct Search<'a> {
    facts: &'a Facts<'a>,
    graph: Graph,
    topology: Topology,
    pairs: Vec<Pair>,
    decisions: Vec<Option<Decision>>,
    /// The edges that don't stand for a decision: the first ones.
    certain: usize,
    /// The pairs that the other edges stand for.
    decided: Vec<u32>,
}

impl Search<'_> {
    /// Adds orders that follow without guesses.
    fn follow(&mut self) -> Result<(), Stop> {
        for _ in 0..PASSES {
            let before = self.decided.len();
            for at in 0..self.pairs.len() {
                if self.decisions[at].is_some() {
                    continue;
                }
                if let Some(is_turned) = self.forced(at).map(|(is_turned, _)| is_turned) {
                    let decision = Decision { is_turned, because: Vec::new() };
                    self.decide(at, decision)
                        .map_err(|conflict| self.violation(&conflict.cycle))?;
                }
            }
            if self.decided.len() == before {
                break;
            }
        }
        Ok(())
    }

    /// Decides all that is left.
    fn guess(&mut self) -> Result<(), Stop> {
        let mut wrong = 0;
        let mut at = 0;
        while at < self.pairs.len() {
            if self.decisions[at].is_some() {
                at += 1;
                continue;
            }
            let mut decision = match self.forced(at) {
                Some((is_turned, because)) => Decision { is_turned, because },
                None => Decision { is_turned: self.likely(at), because: vec![at as u32] },
            };
            while let Err(Conflict { cycle, mut because }) = self.decide(at, decision) {
                let Some(guess) = because.pop() else {
                    return Err(self.violation(&cycle));
                };
                wrong += 1;
                if wrong > WRONG_GUESSES {
                    return Err(Stop::Undecided(format!(
                        "gave up on the order of blind writes after {WRONG_GUESSES} wrong guesses"
                    )));
                }
                at = guess as usize;
                decision = Decision { is_turned: !self.undo(at), because };
            }
            at += 1;
        }
        Ok(())
    }

    /// The chains of a pair, in this order.
    fn chains(&self, at: usize, is_turned: bool) -> (Chain, Chain) {
        let Pair { one, other } = self.pairs[at];
        if is_turned { (other, one) } else { (one, other) }
    }

    /// Whether a pair must be turned or mustn't, and the guesses that this follows from. `None` if
    /// either may be.
    fn forced(&mut self, at: usize) -> Option<(bool, Vec<u32>)> {
        [false, true].into_iter().find_map(|is_turned| {
            let (first, second) = self.chains(at, is_turned);
            let is_forced = self.topology.reaches(&self.graph, first.head, second.tail);
            is_forced.then(|| {
                let path = self.topology.path(&self.graph, first.head, second.tail);
                (is_turned, self.because(&[], &path))
            })
        })
    }

    /// The order of a pair that is already in the topological order, or nearly.
    fn likely(&self, at: usize) -> bool {
        let (one, other) = self.chains(at, false);
        let position = |node| self.topology.position(node);
        position(other.tail) < position(one.head)
            || position(one.tail) >= position(other.head)
                && position(other.head) < position(one.head)
    }

    fn decide(&mut self, at: usize, decision: Decision) -> Result<(), Conflict> {
        let (first, second) = self.chains(at, decision.is_turned);
        let inserted = self.topology.insert(&mut self.graph, first.tail, second.head, first.label);
        match inserted {
            Ok(_) => {
                self.decided.push(at as u32);
                self.decisions[at] = Some(decision);
                Ok(())
            }
            Err(path) => {
                let mut cycle = vec![explain::Step {
                    from: first.tail,
                    to: second.head,
                    label: first.label,
                    is_inferred: true,
                }];
                cycle.extend(path.iter().map(|&number| self.step(number)));
                Err(Conflict { cycle, because: self.because(&decision.because, &path) })
            }
        }
    }

    /// Takes back all decisions down to that of a pair, and tells whether it was turned.
    fn undo(&mut self, at: usize) -> bool {
        loop {
            let last = self.decided.pop().expect("the pair is decided") as usize;
            let decision = self.decisions[last].take().expect("it is decided");
            if last == at {
                self.graph.truncate(self.certain + self.decided.len());
                return decision.is_turned;
            }
        }
    }

    /// Some guesses, and those that the edges of a path depend on.
    fn because(&self, guesses: &[u32], path: &[EdgeNumber]) -> Vec<u32> {
        let mut all = guesses.to_vec();
        for &number in path.iter().filter(|&&number| number as usize >= self.certain) {
            let pair = self.decided[number as usize - self.certain];
            let decision = self.decisions[pair as usize].as_ref().expect("it has an edge");
            all.extend(&decision.because);
        }
        all.sort_unstable();
        all.dedup();
        all
    }

    fn step(&self, number: EdgeNumber) -> explain::Step {
        let is_inferred = number as usize >= self.certain;
        explain::Step { is_inferred, ..explain::Step::of(&self.graph, number) }
    }

    fn violation(&self, cycle: &[explain::Step]) -> Stop {
        explain::cycle(self.facts, &self.graph, cycle).into()
    }
}
