//! What a measurement works with: the executables, the place, the pace and the keys.

use std::path::{Path, PathBuf};

use crate::compare::{Case, Contender, Pace, Serves};
use crate::report::{FLOOR, REDIS};
use crate::server::{Place, Program, StartFailure};
use crate::workload::{Class, KeySpace};

/// The name of the server under test, and of its variants with more shards.
pub(crate) const OURS: &str = "ours";
/// The name of the server on the same framework that only answers PING.
pub(crate) const PING: &str = "ping";

/// What stands for the number of shards in the arguments of the server under test.
pub const SHARDS: &str = "{shards}";

/// Where the servers' executables are, and how ours are called.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The server under test.
    pub ours: PathBuf,
    /// Its arguments, with [`SHARDS`] where the number of shards goes.
    pub ours_arguments: Vec<String>,
    /// The server on the same framework that only answers PING.
    pub ping: PathBuf,
    /// Its arguments, as `ours_arguments`.
    pub ping_arguments: Vec<String>,
    /// The server to compare with.
    pub redis: PathBuf,
    /// The lower bound.
    pub floor: PathBuf,
    /// Its arguments, less the lengths.
    pub floor_arguments: Vec<String>,
}

impl Programs {
    pub(crate) fn ours(&self, name: impl Into<String>, shards: usize) -> Program {
        Program::new(name, &self.ours, with_shards(&self.ours_arguments, shards))
    }

    fn ping(&self) -> Program {
        Program::new(PING, &self.ping, with_shards(&self.ping_arguments, 1))
    }

    pub(crate) fn redis(&self) -> Program {
        let arguments = ["--save", "", "--appendonly", "no"].map(str::to_owned).into();
        Program::new(REDIS, &self.redis, arguments)
    }

    fn floor(&self, class: &Class) -> Program {
        let (request, reply) = (class.request_bytes(), class.reply_bytes());
        let lengths = [format!("--request-bytes={request}"), format!("--reply-bytes={reply}")];
        let arguments = lengths.into_iter().chain(self.floor_arguments.iter().cloned()).collect();
        Program::new(FLOOR, &self.floor, arguments)
    }

    /// Whether the arguments depend on the number of shards.
    pub(crate) fn tells_shards(&self) -> bool {
        self.ours_arguments.iter().any(|argument| argument.contains(SHARDS))
    }
}

fn with_shards(arguments: &[String], shards: usize) -> Vec<String> {
    arguments.iter().map(|argument| argument.replace(SHARDS, &shards.to_string())).collect()
}

/// What a scenario works with.
pub struct Setting {
    /// The executables.
    pub programs: Programs,
    /// Where the servers run.
    pub place: Place,
    /// How often and how long to measure.
    pub pace: Pace,
    /// The number of small keys.
    pub keys: u64,
    /// The length of small values.
    pub value_bytes: usize,
}

impl Setting {
    /// The small keys.
    pub(crate) fn small(&self) -> KeySpace {
        KeySpace::new(self.keys, self.value_bytes)
    }

    pub(crate) fn start(
        &self,
        program: &Program,
        serves: Serves,
    ) -> Result<Contender, StartFailure> {
        Ok(Contender { server: program.start(&self.place)?, serves })
    }

    /// All the servers that can take part in `cases`, started; says which executable is missing.
    pub(crate) fn contenders(&self, cases: &[Case]) -> Result<Vec<Contender>, StartFailure> {
        let mut contenders = Vec::new();
        let everything = [(self.programs.redis(), Serves::Everything)]
            .into_iter()
            .chain([(self.programs.ours(OURS, 1), Serves::Everything)])
            .chain([(self.programs.ping(), Serves::Ping)]);
        for (program, serves) in everything {
            if serves == Serves::Ping && !cases.iter().any(|case| case.filled.is_empty()) {
                continue;
            }
            if is_there(&program.path) {
                contenders.push(self.start(&program, serves)?);
            }
        }
        let mut lengths = Vec::new();
        for class in cases.iter().filter_map(|case| case.workload.only_class()) {
            let serves =
                Serves::Lengths { request: class.request_bytes(), reply: class.reply_bytes() };
            if !lengths.contains(&serves) && is_there(&self.programs.floor) {
                lengths.push(serves);
                contenders.push(self.start(&self.programs.floor(class), serves)?);
            }
        }
        Ok(contenders)
    }
}

/// Whether the executable is there; says so on standard error if not.
fn is_there(path: &Path) -> bool {
    let is_there = path.is_file();
    if !is_there {
        eprintln!("{} is missing; left out", path.display());
    }
    is_there
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_put_into_the_arguments() {
        let arguments = ["--shards".to_owned(), SHARDS.to_owned()];
        assert_eq!(with_shards(&arguments, 5), ["--shards", "5"]);
    }
}
