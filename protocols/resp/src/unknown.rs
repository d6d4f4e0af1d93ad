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

#[cfg(test)]
mod tests {
    use kevy_rt::{Out, Span};

    use super::*;
    use crate::Dialect;

    fn refusal(args: &[&[u8]], container: Option<&'static str>) -> String {
        let mut at = 0;
        let spans: Vec<_> = args
            .iter()
            .map(|arg| {
                at += arg.len();
                Span::new(at - arg.len(), arg.len())
            })
            .collect();
        let (buffer, mut out) = (args.concat(), Out::default());
        let mut reply = Reply::in_scope(&mut out, Dialect::default());
        refuse(Args::new(&buffer, &spans, &[]), container, &mut reply);
        assert_eq!(out.errors(), 1);
        out.flat().escape_ascii().to_string()
    }

    #[test]
    fn verbs() {
        let unknown = |verb: &str, args: &str| {
            format!("-ERR unknown command '{verb}', with args beginning with: {args}\\r\\n")
                .replace('\'', "\\'")
        };
        assert_eq!(refusal(&[b"foo"], None), unknown("foo", ""));
        assert_eq!(refusal(&[b"foo", b"a", b"", b"c"], None), unknown("foo", "'a' '' 'c' "));
        assert_eq!(refusal(&[b"f\ro\no", b"a\0b"], None), unknown("f o o", "'a' "));
        let long = "x".repeat(200);
        assert_eq!(refusal(&[long.as_bytes()], None), unknown(&long[..128], ""));
        let args = |len: usize| format!("'{}' 'b' ", &long[..len]);
        assert_eq!(refusal(&[b"foo", &[b'x'; 124], b"b"], None), unknown("foo", &args(124)));
        let args = format!("'{}' ", &long[..125]);
        assert_eq!(refusal(&[b"foo", &[b'x'; 125], b"b"], None), unknown("foo", &args));
    }

    #[test]
    fn subcommands() {
        assert_eq!(
            refusal(&[b"client", b"foo\nbar"], Some("client")),
            "-ERR unknown subcommand \\'foo bar\\'. Try CLIENT HELP.\\r\\n"
        );
        assert_eq!(
            refusal(&[b"CLIENT"], Some("CLIENT")),
            "-ERR wrong number of arguments for \\'client\\' command\\r\\n"
        );
    }
}
