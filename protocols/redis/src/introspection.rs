//! COMMAND: what the server tells of its commands. All of it comes from their declarations.

mod catalogue;
mod describe;

use kevy_resp::{Error, Frame, Map, Resp};
use kevy_rt::{CommandInfo, Cx, Rest, commands};

pub(crate) use self::catalogue::is_hidden;
#[cfg(test)]
pub(crate) use self::catalogue::tests as testing;
use self::catalogue::{Catalogue, Named, Verb, categories, full_name, has_keys, key_flags, keys};
use crate::config::Config;
use crate::glob;
use crate::help::help;

const NO_SUCH_COMMAND: Error = Error::new("ERR Invalid command specified");
const NO_KEYS: Error = Error::new("ERR The command has no key arguments");
const WRONG_ARGUMENTS: Error = Error::new("ERR Invalid arguments specified for command");
const WRONG_NUMBER: Error = Error::new("ERR Invalid number of arguments specified for command");

/// The set of COMMAND and its subcommands.
#[derive(Debug)]
pub struct Introspection;

#[commands(store = Config, wire = Resp)]
impl Introspection {
    /// Get array of Redis command details
    #[command(
        route = local,
        since = "2.8.13",
        group = "server",
        complexity = "O(N) where N is the total number of Redis commands",
        flags(loading, stale),
        meta(categories = "connection", tips = "nondeterministic_output_order")
    )]
    fn command(cx: &Cx<'_>) -> Vec<Frame> {
        Catalogue::of(cx).verbs().iter().map(|verb| describe::info(Named::Verb(verb))).collect()
    }

    /// Get total number of Redis commands
    #[command(
        route = local,
        name = "COMMAND COUNT",
        since = "2.8.13",
        group = "server",
        complexity = "O(1)",
        flags(loading, stale),
        meta(categories = "connection")
    )]
    fn count(cx: &Cx<'_>) -> usize {
        Catalogue::of(cx).verbs().len()
    }

    /// Get an array of Redis command names
    #[command(
        route = local,
        name = "COMMAND LIST",
        since = "7.0.0",
        group = "server",
        complexity = "O(N) where N is the total number of Redis commands",
        flags(loading, stale),
        meta(categories = "connection", tips = "nondeterministic_output_order")
    )]
    fn list(cx: &Cx<'_>, filterby: Rest<'_>) -> Result<Vec<String>, Error> {
        let filter = Filter::read(&filterby.iter().collect::<Vec<_>>())?;
        let catalogue = Catalogue::of(cx);
        Ok(catalogue.verbs().iter().flat_map(|verb| filter.names(verb)).collect())
    }

    /// Get array of specific Redis command details, or all when no argument is given.
    #[command(
        route = local,
        name = "COMMAND INFO",
        since = "2.8.13",
        group = "server",
        complexity = "O(N) where N is the number of commands to look up",
        flags(loading, stale),
        meta(categories = "connection", tips = "nondeterministic_output_order")
    )]
    fn info(cx: &Cx<'_>, command_name: Rest<'_>) -> Vec<Frame> {
        if command_name.is_empty() {
            return Self::command(cx);
        }
        let catalogue = Catalogue::of(cx);
        let info = |name| catalogue.find(name).map_or(Frame::Null, describe::info);
        command_name.iter().map(info).collect()
    }

    /// Get array of specific Redis command documentation
    #[command(
        route = local,
        name = "COMMAND DOCS",
        since = "7.0.0",
        group = "server",
        complexity = "O(N) where N is the number of commands to look up",
        flags(loading, stale),
        meta(categories = "connection", tips = "nondeterministic_output_order")
    )]
    fn docs(cx: &Cx<'_>, command_name: Rest<'_>) -> Map<Frame, Frame> {
        let catalogue = Catalogue::of(cx);
        let named: Vec<Named<'_>> = match command_name.is_empty() {
            true => catalogue.verbs().iter().map(Named::Verb).collect(),
            false => command_name.iter().filter_map(|name| catalogue.find(name)).collect(),
        };
        Map(named.into_iter().map(describe::docs).collect())
    }

    /// Extract keys given a full Redis command
    #[command(
        route = local,
        name = "COMMAND GETKEYS",
        since = "2.8.13",
        group = "server",
        complexity = "O(N) where N is the number of arguments to the command",
        flags(loading, stale),
        meta(categories = "connection")
    )]
    fn getkeys(cx: &Cx<'_>, full_command: Rest<'_, 2>) -> Result<Vec<Vec<u8>>, Error> {
        let request: Vec<&[u8]> = full_command.iter().collect();
        let (_, keys) = keys_of(cx, &request)?;
        Ok(keys.into_iter().map(<[u8]>::to_vec).collect())
    }

    /// Extract keys and access flags given a full Redis command
    #[command(
        route = local,
        name = "COMMAND GETKEYSANDFLAGS",
        since = "7.0.0",
        group = "server",
        complexity = "O(N) where N is the number of arguments to the command",
        flags(loading, stale),
        meta(categories = "connection")
    )]
    fn getkeysandflags(cx: &Cx<'_>, full_command: Rest<'_, 2>) -> Result<Vec<Frame>, Error> {
        let request: Vec<&[u8]> = full_command.iter().collect();
        let (command, keys) = keys_of(cx, &request)?;
        let set = |flags: Vec<_>| Frame::Set(flags.into_iter().map(Frame::status).collect());
        let flags: Vec<Frame> = key_flags(command).into_iter().map(set).collect();
        let flags_of = |index: usize| flags[index.min(flags.len() - 1)].clone();
        let entry = |(index, key): (usize, &[u8])| Frame::Array(vec![key.into(), flags_of(index)]);
        Ok(keys.into_iter().enumerate().map(entry).collect())
    }

    /// Show helpful text about the different subcommands
    #[command(
        route = local,
        name = "COMMAND HELP",
        since = "5.0.0",
        group = "server",
        complexity = "O(1)",
        flags(loading, stale),
        meta(categories = "connection")
    )]
    fn help(cx: &Cx<'_>) -> Frame {
        help(cx, "COMMAND", HELP)
    }
}

const HELP: &[&str] = &[
    "(no subcommand)",
    "    Return details about all Redis commands.",
    "COUNT",
    "    Return the total number of commands in this Redis server.",
    "LIST",
    "    Return a list of all commands in this Redis server.",
    "INFO [<command-name> ...]",
    "    Return details about multiple Redis commands.",
    "    If no command names are given, documentation details for all",
    "    commands are returned.",
    "DOCS [<command-name> ...]",
    "    Return documentation details about multiple Redis commands.",
    "    If no command names are given, documentation details for all",
    "    commands are returned.",
    "GETKEYS <full-command>",
    "    Return the keys from a full Redis command.",
    "GETKEYSANDFLAGS <full-command>",
    "    Return the keys and the access flags from a full Redis command.",
];

/// The command of a request, and its keys.
fn keys_of<'a>(
    cx: &Cx<'_>,
    request: &[&'a [u8]],
) -> Result<(&'static CommandInfo, Vec<&'a [u8]>), Error> {
    let command = Catalogue::of(cx).command_of(request).ok_or(NO_SUCH_COMMAND)?;
    if !has_keys(command) {
        return Err(NO_KEYS);
    }
    if !command.takes(request.len()) {
        return Err(WRONG_NUMBER);
    }
    let keys = keys(command, request);
    if keys.is_empty() && !command.has_flag("no_mandatory_keys") {
        return Err(WRONG_ARGUMENTS);
    }
    Ok((command, keys))
}

/// Which names COMMAND LIST answers.
#[derive(Debug, PartialEq, Eq)]
enum Filter<'a> {
    All,
    /// There are no modules, so nothing.
    Module,
    Category(&'a [u8]),
    Pattern(&'a [u8]),
}

impl<'a> Filter<'a> {
    fn read(words: &[&'a [u8]]) -> Result<Self, Error> {
        let [filterby, kind, value] = words else {
            return if words.is_empty() { Ok(Filter::All) } else { Err(Error::SYNTAX) };
        };
        if !filterby.eq_ignore_ascii_case(b"FILTERBY") {
            return Err(Error::SYNTAX);
        }
        match kind.to_ascii_lowercase().as_slice() {
            b"module" => Ok(Filter::Module),
            b"aclcat" => Ok(Filter::Category(value)),
            b"pattern" => Ok(Filter::Pattern(value)),
            _ => Err(Error::SYNTAX),
        }
    }

    /// The names of a verb and of its subcommands, as far as they pass.
    fn names(&self, verb: &Verb) -> Vec<String> {
        let own = (verb.name.clone(), verb.command);
        let others = verb.subcommands.iter().map(|command| (full_name(command), Some(*command)));
        let all = std::iter::once(own).chain(others);
        let passing = all.filter(|(name, command)| match self {
            Filter::All => true,
            Filter::Module => false,
            Filter::Category(wanted) => command.is_some_and(|command| {
                let mut categories = categories(command).into_iter();
                categories.any(|category| wanted.eq_ignore_ascii_case(category.as_bytes()))
            }),
            Filter::Pattern(pattern) => glob::matches_ignoring_case(pattern, name.as_bytes()),
        });
        passing.map(|(name, _)| name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::catalogue::tests::{CLIENT_KILL, GET};
    use super::*;

    #[test]
    fn names_are_filtered_in_three_ways() {
        let client = Verb { name: "client".into(), command: None, subcommands: vec![&CLIENT_KILL] };
        let get = Verb { name: "get".into(), command: Some(&GET), subcommands: Vec::new() };
        let names = |line: &str| {
            let words: Vec<&[u8]> = line.split_whitespace().map(str::as_bytes).collect();
            let filter = Filter::read(&words)?;
            Ok([&client, &get].iter().flat_map(|verb| filter.names(verb)).collect::<Vec<_>>())
        };
        let fine = |line| names(line).unwrap_or_else(|error: Error| panic!("{line}: {error}"));
        assert_eq!(fine(""), ["client", "client|kill", "get"]);
        assert_eq!(fine("FILTERBY PATTERN CLI*"), ["client", "client|kill"]);
        assert_eq!(fine("filterby aclcat String"), ["get"]);
        assert_eq!(fine("FILTERBY ACLCAT nosuch"), [""; 0]);
        assert_eq!(fine("FILTERBY MODULE any"), [""; 0]);
        for line in ["FOO", "FILTERBY", "FILTERBY PATTERN", "FILTERBY FOO bar", "FOO PATTERN x"] {
            names(line).expect_err(line);
        }
    }
}
