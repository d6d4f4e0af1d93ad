//! The replies of HELP subcommands.

use kevy_resp::{Frame, Resp};
use kevy_rt::{CommandInfo, Cx, reference};

use crate::introspection::is_hidden;

/// What Redis says of a verb's subcommands, in its own words and order, and what the declarations say
/// of all others. A heading comes before, HELP itself at the end.
pub(crate) fn help(cx: &Cx<'_>, verb: &'static str, lines: &'static [&'static str]) -> Frame {
    let others = cx.server().commands_over::<Resp>().map(|(command, _)| command);
    let others = others.filter(|command| command.verb() == verb && !is_hidden(command));
    frame(verb, lines, others)
}

fn frame(
    verb: &str,
    lines: &'static [&'static str],
    commands: impl Iterator<Item = &'static CommandInfo>,
) -> Frame {
    let heading = format!("{verb} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:");
    let mut reply = vec![Frame::Status(heading.into())];
    reply.extend(lines.iter().map(|line| Frame::status(line)));
    let is_told = |name: &str| {
        name == "HELP" || lines.iter().any(|line| line.split(' ').next() == Some(name))
    };
    for command in commands {
        if let Some(name) = command.subcommand().filter(|name| !is_told(name)) {
            let usage = reference::usage(command);
            let usage = usage[usage.len().min(verb.len() + 1)..].to_owned();
            debug_assert!(usage.starts_with(name));
            reply.push(Frame::Status(usage.into()));
            reply.push(Frame::Status(format!("    {}", command.doc).into()));
        }
    }
    reply.extend(["HELP", "    Prints this help."].map(Frame::status));
    Frame::Array(reply)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::introspection::testing::{CLIENT_ID, CLIENT_KILL};

    #[test]
    fn a_subcommand_without_words_of_its_own_is_told_by_its_declaration() {
        let lines = &["KILL <ip:port>", "    Kill connection made from <ip:port>."];
        let commands = [&CLIENT_KILL, &CLIENT_ID].into_iter();
        let Frame::Array(told) = frame("CLIENT", lines, commands) else { panic!("no list") };
        let expected = [
            "CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
            "KILL <ip:port>",
            "    Kill connection made from <ip:port>.",
            "ID key",
            "    Get the value of a key",
            "HELP",
            "    Prints this help.",
        ];
        assert_eq!(told, expected.map(Frame::status));
    }
}
