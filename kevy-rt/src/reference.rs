//! What a server's commands are, written out from their declarations: for people in Markdown, for
//! programs in JSON.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

use crate::args::MANY;
use crate::commands::{ArgInfo, ArgKind, CommandInfo, Commands, KeySpec, LastKey, Route};

/// The commands of one port.
#[derive(Debug)]
pub struct Reference {
    commands: Vec<&'static CommandInfo>,
}

impl Reference {
    /// Of the commands of a server's port, counted from 0. One that it doesn't have has none.
    pub fn of<C: Commands>(port: usize) -> Self {
        let port = C::ports().get(port);
        let commands = port.map(|port| port.table.commands().map(|command| &command.info));
        Reference { commands: commands.into_iter().flatten().collect() }
    }

    /// Without the commands that `is_left_out`.
    #[must_use]
    pub fn without(mut self, is_left_out: impl Fn(&CommandInfo) -> bool) -> Self {
        self.commands.retain(|command| !is_left_out(command));
        self
    }

    /// Writes `NAME.md` and `NAME.json` into a directory, which is made if it isn't there.
    ///
    /// # Errors
    /// What the file system says.
    pub fn write(&self, directory: &Path, name: &str) -> io::Result<()> {
        fs::create_dir_all(directory)?;
        fs::write(directory.join(format!("{name}.md")), self.markdown(name))?;
        fs::write(directory.join(format!("{name}.json")), self.json())
    }

    /// A document with a section for each group of commands, in alphabetical order.
    pub fn markdown(&self, title: &str) -> String {
        let mut text = format!("# Commands of {title}\n\nWritten from their declarations.\n");
        let group = |command: &CommandInfo| command.fact("group").unwrap_or(command.set);
        let mut commands = self.commands.clone();
        commands.sort_by_key(|command| (group(command), command.name));
        let mut open = None;
        for command in commands {
            if open != Some(group(command)) {
                open = Some(group(command));
                let _ = write!(text, "\n## {}\n", group(command));
            }
            let _ = write!(text, "\n### {}\n\n", command.name);
            let _ = write!(text, "```text\n{}\n```\n\n", usage(command));
            if !command.doc.is_empty() {
                let _ = write!(text, "{}\n\n", command.doc);
            }
            let _ = writeln!(text, "{}", remarks(command));
        }
        text
    }

    /// A list with an object for each command, in the order of their declaration.
    pub fn json(&self) -> String {
        let commands: Vec<String> = self.commands.iter().map(|command| json(command)).collect();
        format!("[\n{}\n]\n", commands.join(",\n"))
    }
}

/// A command with its arguments, as one writes it: `SET key value [NX | XX]`.
pub fn usage(command: &CommandInfo) -> String {
    let mut text = command.name.to_owned();
    for argument in command.arguments {
        text.push(' ');
        text.push_str(&argument_usage(argument));
    }
    text
}

fn argument_usage(argument: &ArgInfo) -> String {
    let parts = |parts: &[ArgInfo], between: &str| {
        parts.iter().map(argument_usage).collect::<Vec<_>>().join(between)
    };
    let value = match argument.kind {
        ArgKind::Token => String::new(),
        ArgKind::OneOf(words) => parts(words, " | "),
        ArgKind::Block(block) => parts(block, " "),
        // They are in brackets themselves.
        ArgKind::Options(options) => return parts(options, " "),
        _ => argument.name.to_owned(),
    };
    let once = match argument.token {
        Some(token) if value.is_empty() => token.to_owned(),
        Some(token) => format!("{token} {value}"),
        None => value.clone(),
    };
    let all = match (argument.is_multiple, argument.repeats_token) {
        (false, _) => once,
        (true, false) => format!("{once} [{value} ...]"),
        (true, true) => format!("{once} [{once} ...]"),
    };
    let is_choice = matches!(argument.kind, ArgKind::OneOf(_)) && argument.token.is_none();
    match (argument.is_optional, is_choice) {
        (true, _) => format!("[{all}]"),
        (false, true) => format!("<{all}>"),
        (false, false) => all,
    }
}

/// Where it runs, and what else is known of it, on one line.
fn remarks(command: &CommandInfo) -> String {
    let mut remarks = vec![place(command)];
    if command.write {
        remarks.push("It may write.".into());
    }
    if command.barrier {
        remarks.push("It runs when nothing earlier of its connection is open.".into());
    }
    if let Some(complexity) = command.fact("complexity") {
        remarks.push(format!("{}.", complexity.trim_end_matches('.')));
    }
    if let Some(since) = command.fact("since") {
        remarks.push(format!("Since {since}."));
    }
    if let Some(since) = command.fact("deprecated_since") {
        let by = command.fact("replaced_by").map_or(String::new(), |by| format!(" by {by}"));
        remarks.push(format!("Replaced{by} since {since}."));
    }
    if !command.flags.is_empty() {
        remarks.push(format!("Flags: {}.", command.flags.join(", ")));
    }
    remarks.join(" ")
}

fn place(command: &CommandInfo) -> String {
    let keys: Vec<String> = command.route.keys().map(key_text).collect();
    let keys = keys.join(", and ");
    match command.route {
        Route::Local => "Runs on its connection's shard.".into(),
        Route::Session => "Runs on its connection's shard, and may change the session.".into(),
        Route::Single(_) => format!("Runs on the shard of one key: {keys}."),
        Route::Keys(_) => format!("Runs on the shards of its keys, at one moment: {keys}."),
        Route::All { loose: false } => "Runs on every shard, at one moment.".into(),
        Route::All { loose: true } => "Runs on every shard, on each at its own time.".into(),
        Route::Tx(_) => format!("A transaction over the shards of its keys: {keys}."),
        Route::At(_) => "Runs on one shard, which follows from its arguments.".into(),
    }
}

fn key_text(spec: KeySpec) -> String {
    match spec {
        KeySpec::At(at) => format!("argument {at}"),
        KeySpec::Range(range) => {
            let step = match range.step {
                1 => String::new(),
                step => format!(", one in {step}"),
            };
            match range.last {
                LastKey::At(-1) => format!("from argument {} on{step}", range.first),
                LastKey::At(last) if last < 0 => {
                    format!(
                        "from argument {} to the {} before the last{step}",
                        range.first,
                        -1 - last
                    )
                }
                LastKey::At(last) => format!("arguments {} to {last}{step}", range.first),
                LastKey::Counted(at) => format!("as many as argument {at} says, behind it"),
            }
        }
        KeySpec::Found(_) => "where a function finds them".into(),
    }
}

fn json(command: &CommandInfo) -> String {
    let facts = command.meta.iter().map(|(fact, text)| (*fact, quoted(text)));
    let keys: Vec<String> = command.route.keys().map(key_json).collect();
    let (kind, loose) = match command.route {
        Route::Local => ("local", false),
        Route::Session => ("session", false),
        Route::Single(_) => ("single", false),
        Route::Keys(_) => ("keys", false),
        Route::All { loose } => ("all", loose),
        Route::Tx(_) => ("tx", false),
        Route::At(_) => ("at", false),
    };
    let max = if command.max == MANY { "null".to_owned() } else { command.max.to_string() };
    let flags: Vec<String> = command.flags.iter().map(|flag| quoted(flag)).collect();
    object(
        [
            ("name", quoted(command.name)),
            ("set", quoted(command.set)),
            ("doc", quoted(command.doc)),
            ("usage", quoted(&usage(command))),
            ("min", command.min.to_string()),
            ("max", max),
            ("route", quoted(kind)),
            ("loose", loose.to_string()),
            ("keys", list(&keys)),
            ("write", command.write.to_string()),
            ("wake", command.wake.map_or("null".into(), |at| at.to_string())),
            ("barrier", command.barrier.to_string()),
            ("flags", list(&flags)),
            ("facts", object(facts)),
            ("arguments", arguments_json(command.arguments)),
        ]
        .into_iter(),
    )
}

fn key_json(spec: KeySpec) -> String {
    match spec {
        KeySpec::At(at) => object([("at", at.to_string())].into_iter()),
        KeySpec::Range(range) => {
            let end = match range.last {
                LastKey::At(last) => ("last", last.to_string()),
                LastKey::Counted(at) => ("count_at", at.to_string()),
            };
            let (first, step) = (range.first.to_string(), range.step.to_string());
            object([("first", first), end, ("step", step)].into_iter())
        }
        KeySpec::Found(_) => object([("found", "true".to_owned())].into_iter()),
    }
}

fn arguments_json(arguments: &[ArgInfo]) -> String {
    let arguments: Vec<String> = arguments.iter().map(argument_json).collect();
    list(&arguments)
}

fn argument_json(argument: &ArgInfo) -> String {
    let (kind, parts): (_, &[ArgInfo]) = match argument.kind {
        ArgKind::Key => ("key", &[]),
        ArgKind::Text => ("text", &[]),
        ArgKind::Pattern => ("pattern", &[]),
        ArgKind::Integer => ("integer", &[]),
        ArgKind::Float => ("float", &[]),
        ArgKind::UnixTime => ("unix_time", &[]),
        ArgKind::Token => ("token", &[]),
        ArgKind::OneOf(parts) => ("one_of", parts),
        ArgKind::Block(parts) => ("block", parts),
        ArgKind::Options(parts) => ("options", parts),
    };
    let flags = [
        ("optional", argument.is_optional),
        ("multiple", argument.is_multiple),
        ("repeats_token", argument.repeats_token),
    ];
    let flags = flags.into_iter().filter(|(_, is)| *is).map(|(flag, _)| (flag, "true".to_owned()));
    let fields = [("name", quoted(argument.name)), ("kind", quoted(kind))].into_iter();
    let token = argument.token.map(|token| ("token", quoted(token)));
    let parts = (!parts.is_empty()).then(|| ("arguments", arguments_json(parts)));
    object(fields.chain(token).chain(flags).chain(parts))
}

fn object<'a>(fields: impl Iterator<Item = (&'a str, String)>) -> String {
    let fields: Vec<String> =
        fields.map(|(name, value)| format!("{}: {value}", quoted(name))).collect();
    format!("{{{}}}", fields.join(", "))
}

fn list(items: &[String]) -> String {
    format!("[{}]", items.join(", "))
}

/// A text as JSON has it.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => {
                quoted.push('\\');
                quoted.push(letter);
            }
            letter if letter < ' ' => {
                let _ = write!(quoted, "\\u{:04x}", letter as u32);
            }
            letter => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: &[ArgInfo] = &[ArgInfo::token("nx", "NX"), ArgInfo::token("xx", "XX")];
    const LIMIT: &[ArgInfo] =
        &[ArgInfo::needed("offset", ArgKind::Integer), ArgInfo::needed("count", ArgKind::Integer)];
    const ARGUMENTS: &[ArgInfo] = &[
        ArgInfo::needed("key", ArgKind::Key),
        ArgInfo::needed("side", ArgKind::OneOf(WORDS)),
        ArgInfo::needed("condition", ArgKind::OneOf(WORDS)).or_none(),
        ArgInfo {
            token: Some("LIMIT"),
            ..ArgInfo::needed("limit", ArgKind::Block(LIMIT)).or_none()
        },
        ArgInfo::token("get", "GET").or_none(),
        ArgInfo {
            token: Some("BY"),
            is_multiple: true,
            repeats_token: true,
            ..ArgInfo::needed("pattern", ArgKind::Pattern).or_none()
        },
        ArgInfo { is_multiple: true, ..ArgInfo::needed("member", ArgKind::Text) },
    ];

    const COMMAND: CommandInfo = CommandInfo {
        name: "SORTED ADD",
        set: "Sorted",
        doc: "Adds \"members\".",
        min: 4,
        max: MANY,
        route: Route::Single(2),
        write: true,
        wake: Some(2),
        barrier: false,
        queueing: crate::Queueing::Queued,
        flags: &["fast"],
        meta: &[("group", "sorted"), ("since", "1.0"), ("complexity", "O(1)")],
        arguments: ARGUMENTS,
    };

    #[test]
    fn a_command_is_written_as_one_writes_it() {
        assert_eq!(
            usage(&COMMAND),
            "SORTED ADD key <NX | XX> [NX | XX] [LIMIT offset count] [GET] \
             [BY pattern [BY pattern ...]] member [member ...]"
        );
    }

    #[test]
    fn a_document_has_a_section_for_each_group() {
        const OTHER: CommandInfo =
            CommandInfo { name: "PING", route: Route::Local, meta: &[], arguments: &[], ..COMMAND };
        let reference = Reference { commands: vec![&OTHER, &COMMAND] };
        let text = reference.markdown("a test");
        let expected = "\n## sorted\n\n### SORTED ADD\n\n```text\nSORTED ADD key <NX | XX> ";
        assert!(text.contains(expected), "{text}");
        let expected = "\nRuns on the shard of one key: argument 2. It may write. O(1). Since 1.0. \
                        Flags: fast.\n";
        assert!(text.contains(expected), "{text}");
        assert!(text.find("## Sorted") < text.find("## sorted"), "{text}");
        assert!(!reference.without(|command| command.name == "PING").json().contains("PING"));
    }

    #[test]
    fn json_says_all_of_it() {
        let expected = "{\"name\": \"SORTED ADD\", \"set\": \"Sorted\", \
                        \"doc\": \"Adds \\\"members\\\".\", \"usage\": ";
        let text = json(&COMMAND);
        assert!(text.starts_with(expected), "{text}");
        for part in [
            "\"max\": null, \"route\": \"single\", \"loose\": false, \"keys\": [{\"at\": 2}], ",
            "{\"name\": \"get\", \"kind\": \"token\", \"token\": \"GET\", \"optional\": true}, ",
            "\"multiple\": true, \"repeats_token\": true}",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert_eq!(quoted("a\n\\"), "\"a\\u000a\\\\\"");
    }
}
