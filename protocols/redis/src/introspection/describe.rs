//! One command as COMMAND INFO and COMMAND DOCS show it.

use kevy_resp::Frame;
use kevy_rt::{ArgInfo, ArgKind, CommandInfo, KeySpec, LastKey};

use super::catalogue::{
    Named, Verb, arity, categories, first_last_step, flags, full_name, key_flags, tips,
};

fn statuses(words: impl IntoIterator<Item = String>) -> Frame {
    Frame::Set(words.into_iter().map(|word| Frame::Status(word.into())).collect())
}

fn text(text: impl Into<String>) -> Frame {
    text.into().into()
}

/// COMMAND INFO of a verb or a subcommand.
pub(super) fn info(named: Named<'_>) -> Frame {
    match named {
        Named::Subcommand(command) => command_info(command, Vec::new()),
        Named::Verb(Verb { name, command, subcommands }) => {
            let subcommands =
                subcommands.iter().map(|command| command_info(command, Vec::new())).collect();
            match command {
                Some(command) => command_info(command, subcommands),
                None => container_info(name, subcommands),
            }
        }
    }
}

fn command_info(command: &CommandInfo, subcommands: Vec<Frame>) -> Frame {
    let (first, last, step) = first_last_step(command);
    let arity = arity(command);
    // A subcommand's arguments count as its verb's.
    let arity = if subcommands.is_empty() { arity } else { -arity.abs() };
    Frame::Array(vec![
        text(full_name(command)),
        Frame::Integer(arity),
        statuses(flags(command).into_iter().map(String::from)),
        Frame::Integer(first),
        Frame::Integer(last),
        Frame::Integer(step),
        statuses(categories(command).into_iter().map(|category| format!("@{category}"))),
        Frame::set(tips(command)),
        Frame::Set(key_specs(command)),
        Frame::Set(subcommands),
    ])
}

/// A verb that is nothing without a subcommand.
fn container_info(name: &str, subcommands: Vec<Frame>) -> Frame {
    Frame::Array(vec![
        text(name),
        Frame::Integer(-2),
        Frame::Set(Vec::new()),
        Frame::Integer(0),
        Frame::Integer(0),
        Frame::Integer(0),
        statuses(["@slow".into()]),
        Frame::Set(Vec::new()),
        Frame::Set(Vec::new()),
        Frame::Set(subcommands),
    ])
}

/// Where its keys are, in the words of key specifications: one for all, or one for each if it does
/// different things with them.
fn key_specs(command: &CommandInfo) -> Vec<Frame> {
    let flags = key_flags(command);
    let (first, last, step) = first_last_step(command);
    let is_listed = command.route.keys().all(|spec| matches!(spec, KeySpec::At(_)));
    if is_listed && first > 0 && flags.len() == 1 {
        return vec![key_spec(&flags[0], first, range(last - first, step))];
    }
    let mut specs = Vec::new();
    for (index, spec) in command.route.keys().enumerate() {
        let flags = flags[index.min(flags.len() - 1)].as_slice();
        match spec {
            KeySpec::At(at) => specs.push(key_spec(flags, at.into(), range(0, 1))),
            KeySpec::Range(keys) => match keys.last {
                LastKey::At(last) => {
                    let first = i64::from(keys.first);
                    let last = i64::from(last);
                    let last = if last < 0 { last } else { last - first };
                    specs.push(key_spec(flags, first, range(last, keys.step.into())));
                }
                LastKey::Counted(at) => {
                    let spec = [("keynumidx", 0), ("firstkey", 1), ("keystep", keys.step.into())];
                    specs.push(key_spec(flags, at.into(), ("keynum", Frame::map(spec))));
                }
            },
            // No words say what a function finds.
            KeySpec::Found(_) => {}
        }
    }
    specs
}

/// Keys from where the search began; `last` counts from the first one.
fn range(last: i64, step: i64) -> (&'static str, Frame) {
    ("range", Frame::map([("lastkey", last), ("keystep", step), ("limit", 0)]))
}

fn key_spec(flags: &[&'static str], begin: i64, (kind, found): (&'static str, Frame)) -> Frame {
    Frame::map([
        ("flags", statuses(flags.iter().copied().map(String::from))),
        (
            "begin_search",
            Frame::map([
                ("type", Frame::text("index")),
                ("spec", Frame::map([("index", Frame::Integer(begin))])),
            ]),
        ),
        ("find_keys", Frame::map([("type", Frame::text(kind)), ("spec", found)])),
    ])
}

/// COMMAND DOCS of a verb or a subcommand: its name and what is said of it.
pub(super) fn docs(named: Named<'_>) -> (Frame, Frame) {
    match named {
        Named::Subcommand(command) => (text(full_name(command)), Frame::Map(command_docs(command))),
        Named::Verb(Verb { name, command, subcommands }) => {
            let mut docs = match command {
                Some(command) => command_docs(command),
                None => container_docs(name, subcommands),
            };
            if !subcommands.is_empty() {
                let subcommands = subcommands
                    .iter()
                    .map(|command| (text(full_name(command)), Frame::Map(command_docs(command))));
                docs.push((text("subcommands"), Frame::Map(subcommands.collect())));
            }
            (text(name), Frame::Map(docs))
        }
    }
}

fn command_docs(command: &CommandInfo) -> Vec<(Frame, Frame)> {
    let mut docs = vec![(text("summary"), text(command.doc))];
    for fact in ["since", "group", "complexity"] {
        docs.extend(command.fact(fact).map(|value| (text(fact), text(value))));
    }
    if let Some(since) = command.fact("deprecated_since") {
        docs.push((text("doc_flags"), statuses(["deprecated".into()])));
        docs.push((text("deprecated_since"), text(since)));
        docs.extend(command.fact("replaced_by").map(|by| (text("replaced_by"), text(by))));
    }
    if !command.arguments.is_empty() {
        let arguments = Frame::Array(arguments(command.arguments, &mut KeyPlaces::of(command)));
        docs.push((text("arguments"), arguments));
    }
    docs
}

fn container_docs(name: &str, subcommands: &[&'static CommandInfo]) -> Vec<(Frame, Frame)> {
    let summary = format!("A container for {name} commands");
    let group = subcommands.iter().find_map(|command| command.fact("group"));
    let mut docs = vec![(text("summary"), text(summary))];
    // It is as old as its oldest subcommand.
    let version = |since: &&str| -> Vec<u32> {
        since.split('.').map(|number| number.parse().unwrap_or_default()).collect()
    };
    let since = subcommands.iter().filter_map(|command| command.fact("since")).min_by_key(version);
    docs.extend(since.map(|since| (text("since"), text(since))));
    docs.extend(group.map(|group| (text("group"), text(group))));
    docs.push((text("complexity"), text("Depends on subcommand.")));
    docs
}

/// Which key specification the next key argument belongs to.
struct KeyPlaces {
    next: i64,
    last: i64,
}

impl KeyPlaces {
    fn of(command: &CommandInfo) -> Self {
        KeyPlaces { next: 0, last: (key_specs(command).len() as i64 - 1).max(0) }
    }

    fn next(&mut self) -> i64 {
        let place = self.next.min(self.last);
        self.next += 1;
        place
    }
}

/// Arguments as they are told; those that may come in any order stand among the others.
fn arguments(declared: &[ArgInfo], keys: &mut KeyPlaces) -> Vec<Frame> {
    let mut told = Vec::new();
    for argument in declared {
        match argument.kind {
            ArgKind::Options(options) if argument.token.is_none() => {
                told.extend(arguments(options, keys));
            }
            _ => told.push(self::argument(argument, keys)),
        }
    }
    told
}

fn argument(argument: &ArgInfo, keys: &mut KeyPlaces) -> Frame {
    let (kind, parts): (_, &[ArgInfo]) = match argument.kind {
        ArgKind::Key => ("key", &[]),
        ArgKind::Text => ("string", &[]),
        ArgKind::Pattern => ("pattern", &[]),
        ArgKind::Integer => ("integer", &[]),
        ArgKind::Float => ("double", &[]),
        ArgKind::UnixTime => ("unix-time", &[]),
        ArgKind::Token => ("pure-token", &[]),
        ArgKind::OneOf(parts) => ("oneof", parts),
        ArgKind::Block(parts) | ArgKind::Options(parts) => ("block", parts),
    };
    let mut fields = vec![(text("name"), text(argument.name)), (text("type"), text(kind))];
    if kind == "key" {
        fields.push((text("key_spec_index"), Frame::Integer(keys.next())));
    }
    fields.extend(argument.token.map(|token| (text("token"), text(token))));
    let flags = [
        (argument.is_optional, "optional"),
        (argument.is_multiple, "multiple"),
        (argument.repeats_token, "multiple_token"),
    ];
    let flags: Vec<String> =
        flags.into_iter().filter(|(is, _)| *is).map(|(_, flag)| flag.into()).collect();
    if !flags.is_empty() {
        fields.push((text("flags"), statuses(flags)));
    }
    if !parts.is_empty() {
        fields.push((text("arguments"), Frame::Array(arguments(parts, keys))));
    }
    Frame::Map(fields)
}

#[cfg(test)]
mod tests {
    use super::super::catalogue::tests::{CLIENT_KILL, GET, MSET, RENAME, STORE_COUNTED};
    use super::*;

    fn entries(frame: &Frame) -> Vec<(String, Frame)> {
        let Frame::Map(entries) = frame else { panic!("no map: {frame:?}") };
        let name = |frame: &Frame| match frame {
            Frame::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            other => panic!("no name: {other:?}"),
        };
        entries.iter().map(|(key, value)| (name(key), value.clone())).collect()
    }

    #[test]
    fn info_has_ten_elements() {
        let Frame::Array(info) = info(Named::Subcommand(&MSET)) else { panic!("no list") };
        assert_eq!(info.len(), 10);
        assert_eq!(info[..2], [text("mset"), Frame::Integer(-3)]);
        assert_eq!(info[2], statuses(["write".into(), "denyoom".into()]));
        assert_eq!(info[3..6], [1, -1, 2].map(Frame::Integer));
    }

    #[test]
    fn keys_that_differ_have_a_specification_each() {
        assert_eq!(key_specs(&MSET).len(), 1);
        let specs = key_specs(&RENAME);
        let expected = [
            key_spec(&["RW", "access", "delete"], 1, range(0, 1)),
            key_spec(&["OW", "update"], 2, range(0, 1)),
        ];
        assert_eq!(specs, expected);
        let specs = key_specs(&STORE_COUNTED);
        let counted = Frame::map([("keynumidx", 0), ("firstkey", 1), ("keystep", 1)]);
        let expected = [
            key_spec(&["OW", "update"], 1, range(0, 1)),
            key_spec(&["RO", "access"], 2, ("keynum", counted)),
        ];
        assert_eq!(specs, expected);
    }

    #[test]
    fn a_container_lists_its_subcommands() {
        let verb = Verb { name: "client".into(), command: None, subcommands: vec![&CLIENT_KILL] };
        let Frame::Array(info) = info(Named::Verb(&verb)) else { panic!("no list") };
        assert_eq!(info[..2], [text("client"), Frame::Integer(-2)]);
        let Frame::Set(subcommands) = &info[9] else { panic!("no set") };
        assert_eq!(subcommands.len(), 1);
        let (name, docs) = docs(Named::Verb(&verb));
        assert_eq!(name, text("client"));
        assert!(entries(&docs).iter().any(|(name, _)| name == "subcommands"));
    }

    #[test]
    fn docs_tell_summary_facts_and_arguments() {
        let (name, docs) = docs(Named::Subcommand(&GET));
        assert_eq!(name, text("get"));
        let docs = entries(&docs);
        let names: Vec<_> = docs.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["summary", "since", "group", "complexity", "arguments"]);
        assert_eq!(docs[0].1, text("Get the value of a key"));
        let Frame::Array(arguments) = &docs[4].1 else { panic!("no list") };
        let key = entries(&arguments[0]);
        assert_eq!(key[0], ("name".into(), text("key")));
        assert_eq!(key[1], ("type".into(), text("key")));
    }

    #[test]
    fn arguments_are_told_by_what_they_are() {
        const WORDS: &[ArgInfo] = &[ArgInfo::token("nx", "NX"), ArgInfo::token("xx", "XX")];
        const OPTIONS: &[ArgInfo] = &[
            ArgInfo::needed("condition", ArgKind::OneOf(WORDS)).or_none(),
            ArgInfo {
                is_multiple: true,
                repeats_token: true,
                token: Some("GET"),
                ..ArgInfo::needed("pattern", ArgKind::Pattern)
            },
        ];
        let declared = [
            ArgInfo::needed("key", ArgKind::Key),
            ArgInfo::needed("options", ArgKind::Options(OPTIONS)).or_none(),
            ArgInfo::needed("other-key", ArgKind::Key),
        ];
        let told = arguments(&declared, &mut KeyPlaces { next: 0, last: 1 });
        let map = |fields: Vec<(&str, Frame)>| {
            Frame::Map(fields.into_iter().map(|(name, value)| (text(name), value)).collect())
        };
        let flags = |flags: &[&str]| ("flags", statuses(flags.iter().map(ToString::to_string)));
        let word = |name, token| {
            map(vec![("name", text(name)), ("type", text("pure-token")), ("token", text(token))])
        };
        let key = |name, place| {
            let place = ("key_spec_index", Frame::Integer(place));
            map(vec![("name", text(name)), ("type", text("key")), place])
        };
        let expected = [
            key("key", 0),
            map(vec![
                ("name", text("condition")),
                ("type", text("oneof")),
                flags(&["optional"]),
                ("arguments", Frame::Array(vec![word("nx", "NX"), word("xx", "XX")])),
            ]),
            map(vec![
                ("name", text("pattern")),
                ("type", text("pattern")),
                ("token", text("GET")),
                flags(&["multiple", "multiple_token"]),
            ]),
            key("other-key", 1),
        ];
        assert_eq!(told, expected);
    }
}
