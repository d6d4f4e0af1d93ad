//! The replies of HELP subcommands.

use kevy_resp::Frame;

/// The lines as Redis frames them: a heading before, itself at the end.
pub(crate) fn help(verb: &'static str, lines: &'static [&'static str]) -> Frame {
    let heading = format!("{verb} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:");
    let mut reply = vec![Frame::Status(heading.into())];
    reply.extend(lines.iter().map(|line| Frame::status(line)));
    reply.extend(["HELP", "    Prints this help."].map(Frame::status));
    Frame::Array(reply)
}
