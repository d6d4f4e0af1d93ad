//! One command as COMMAND INFO and COMMAND DOCS show it.

use kevy_resp::Frame;
use kevy_rt::{ArgInfo, CommandInfo};

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
    let (first, last, step) = first_last_step(command);
    let flags = key_flags(command);
    match flags.as_slice() {
        _ if first == 0 => Vec::new(),
        [flags] => {
            let last = if last < 0 { last } else { last - first };
            vec![key_spec(flags, first, last, step)]
        }
        flags => {
            let places = (0..).map(|index| first + index * step);
            flags.iter().zip(places).map(|(flags, at)| key_spec(flags, at, 0, 1)).collect()
        }
    }
}

/// `last` counts from the first one.
fn key_spec(flags: &[&'static str], first: i64, last: i64, step: i64) -> Frame {
    let range = [("lastkey", last), ("keystep", step), ("limit", 0)];
    Frame::map([
        ("flags", statuses(flags.iter().copied().map(String::from))),
        (
            "begin_search",
            Frame::map([
                ("type", Frame::text("index")),
                ("spec", Frame::map([("index", Frame::Integer(first))])),
            ]),
        ),
        ("find_keys", Frame::map([("type", Frame::text("range")), ("spec", Frame::map(range))])),
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
        let arguments = command.arguments.iter().map(argument).collect();
        docs.push((text("arguments"), Frame::Array(arguments)));
    }
    docs
}

fn container_docs(name: &str, subcommands: &[&'static CommandInfo]) -> Vec<(Frame, Frame)> {
    let summary = format!("A container for {name} commands");
    let group = subcommands.iter().find_map(|command| command.fact("group"));
    let mut docs = vec![(text("summary"), text(summary))];
    docs.extend(group.map(|group| (text("group"), text(group))));
    docs.push((text("complexity"), text("Depends on subcommand.")));
    docs
}

/// An argument by what its handler's parameter says.
fn argument(argument: &ArgInfo) -> Frame {
    let has = |word: &str| argument.kind.contains(word);
    let kind = match () {
        () if has("Key") => "key",
        () if has("bool") => "pure-token",
        () if has("[") => "string",
        () if ["u8", "u16", "u32", "u64", "usize", "i8", "i16", "i32", "i64"]
            .iter()
            .any(|integer| is_word(argument.kind, integer)) =>
        {
            "integer"
        }
        () if has("f64") => "double",
        () => "string",
    };
    let mut fields = vec![
        (text("name"), text(argument.name.trim_start_matches('_').replace('_', "-"))),
        (text("type"), text(kind)),
    ];
    if kind == "key" {
        fields.push((text("key_spec_index"), Frame::Integer(0)));
    }
    fields.extend(argument.token.map(|token| (text("token"), text(token))));
    let is_rest = has("Rest");
    let needs_one = is_rest && argument.kind.contains(|digit: char| digit.is_ascii_digit());
    let is_optional = has("Option") || has("bool") || (is_rest && !needs_one);
    let flags = [(is_optional, "optional"), (is_rest, "multiple")];
    let flags: Vec<String> =
        flags.into_iter().filter(|(is, _)| *is).map(|(_, flag)| flag.into()).collect();
    if !flags.is_empty() {
        fields.push((text("flags"), statuses(flags)));
    }
    Frame::Map(fields)
}

/// Whether a word stands in a type, as a word of its own.
fn is_word(kind: &str, word: &str) -> bool {
    kind.split(|letter: char| !letter.is_ascii_alphanumeric()).any(|part| part == word)
}

#[cfg(test)]
mod tests {
    use super::super::catalogue::tests::{CLIENT_KILL, GET, MSET, RENAME};
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
        let expected =
            [key_spec(&["RW", "access", "delete"], 1, 0, 1), key_spec(&["OW", "update"], 2, 0, 1)];
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
    fn arguments_are_told_by_their_types() {
        let shown = |kind, token| {
            let shown = entries(&argument(&ArgInfo { name: "_an_arg", kind, token }));
            let find = |name: &str| {
                shown.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
            };
            assert_eq!(find("name"), Some(text("an-arg")));
            let flags = match find("flags") {
                Some(Frame::Set(flags)) => flags.len(),
                _ => 0,
            };
            (find("type"), flags)
        };
        for (kind, token, expected, flags) in [
            ("& [u8]", None, "string", 0),
            ("Option < u64 >", Some("EX"), "integer", 1),
            ("bool", Some("NX"), "pure-token", 1),
            ("f64", None, "double", 0),
            ("Rest < '_ >", None, "string", 2),
            ("Rest < '_ , 1 >", None, "string", 1),
        ] {
            assert_eq!(shown(kind, token), (Some(text(expected)), flags), "{kind}");
        }
    }
}
