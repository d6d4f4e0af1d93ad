//! The answer to a verb that is not in the table.

use kevy_rt::{Args, Reply};

use crate::{Error, Resp, Writer};

/// Bytes of the verb, and of the arguments together, that are quoted.
const QUOTED_BYTES: usize = 128;

/// Answers `args`, whose verb, or whose subcommand of `container`, there is not.
#[cold]
pub(crate) fn refuse(args: Args<'_>, container: Option<&'static str>, reply: &mut Reply<'_, Resp>) {
    let mut text = Vec::with_capacity(2 * QUOTED_BYTES);
    match (container, args.get(1)) {
        (Some(container), Some(subcommand)) => {
            text.extend_from_slice(b"ERR unknown subcommand '");
            text.extend_from_slice(quoted(subcommand, QUOTED_BYTES));
            text.extend_from_slice(b"'. Try ");
            text.extend_from_slice(container.to_ascii_uppercase().as_bytes());
            text.extend_from_slice(b" HELP.");
        }
        (Some(container), None) => return reply.put(Error::arity(&container.to_ascii_lowercase())),
        (None, _) => {
            text.extend_from_slice(b"ERR unknown command '");
            text.extend_from_slice(quoted(args.get(0).unwrap_or_default(), QUOTED_BYTES));
            text.extend_from_slice(b"', with args beginning with: ");
            let first = text.len();
            for arg in args.iter().skip(1) {
                let Some(room) = QUOTED_BYTES.checked_sub(text.len() - first) else { break };
                if room == 0 {
                    break;
                }
                text.push(b'\'');
                text.extend_from_slice(quoted(arg, room));
                text.extend_from_slice(b"' ");
            }
        }
    }
    reply.error_bytes(&text);
}

/// As C's `%.*s` shows it: up to a zero byte, at most `room` bytes.
fn quoted(arg: &[u8], room: usize) -> &[u8] {
    let arg = &arg[..arg.len().min(room)];
    &arg[..memchr::memchr(0, arg).unwrap_or(arg.len())]
}
