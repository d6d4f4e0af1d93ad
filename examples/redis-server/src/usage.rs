//! What `--help` and `--version` answer.

use std::ffi::OsStr;

use kevy_redis::connection::REDIS_VERSION;

/// The answer to the first argument, if it asks for one.
pub(crate) fn answer(first: &OsStr) -> Option<String> {
    match first.to_str()? {
        "-h" | "--help" => Some(HELP.to_owned()),
        "-v" | "--version" => Some(version() + "\n"),
        _ => None,
    }
}

/// The version, in the form that scripts read: `v=` is that of Redis which clients are told.
pub(crate) fn version() -> String {
    format!(
        "Redis-compatible server v={REDIS_VERSION} sha=00000000:0 malloc=mimalloc bits={} \
         build=kevy-{}",
        usize::BITS,
        env!("CARGO_PKG_VERSION"),
    )
}

const HELP: &str = "\
Usage: redis-server [FILE] [--DIRECTIVE VALUE ...] [-]

  FILE                a configuration in the form of redis.conf
  --DIRECTIVE VALUE   any of its directives; the command line comes last and wins
  -                   reads further directives from standard input

Of Redis's directives these have their effect, among others:

  --port 6379               0: no TCP
  --bind 127.0.0.1 -::1     addresses; `*` for all; a dash: no error if there is none such
  --unixsocket PATH         and --unixsocketperm 700
  --requirepass PASSWORD    without one only this machine may connect,
  --protected-mode yes      unless this says no
  --maxclients 10000        --timeout 0  --tcp-keepalive 300  --tcp-backlog 511
  --proto-max-bulk-len 512mb --client-query-buffer-limit 1gb
  --client-output-buffer-limit normal 0 0 0
  --databases 16            --dir .  --logfile PATH  --loglevel notice  --pidfile PATH

And of our own:

  --shards auto             threads with a part of the keys each: 1 to 1024; auto: one per core
  --reactor auto            uring, poll, or io_uring where the system lets us
  --http 127.0.0.1:9121     metrics for Prometheus and a status page; nowhere unless said
  --pin-shards yes          whether each shard's thread stays on one core

Directives about what this server doesn't have are refused if it would matter to you,
and else accepted; the log says which ones are without effect.

  --reference DIR writes redis.md and redis.json: all commands, with their arguments
  -h, --help      this text
  -v, --version   the version
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_questions_are_answered() {
        for question in ["-h", "--help", "-v", "--version"] {
            let answer = answer(OsStr::new(question)).expect(question);
            assert!(answer.ends_with('\n') && !answer.ends_with("\n\n"), "{answer}");
        }
        for other in ["redis.conf", "--port", "-", "--helpme"] {
            assert_eq!(answer(OsStr::new(other)), None, "{other}");
        }
        assert!(version().contains(" v=7.2.4 "), "{}", version());
    }

    #[test]
    fn the_help_names_directives_that_there_are() {
        for (at, _) in HELP.match_indices(" --") {
            let name =
                HELP[at + 3..].split(|letter: char| !letter.is_alphanumeric() && letter != '-');
            let name = name.into_iter().next().unwrap_or_default();
            if ["DIRECTIVE", "reference", "help", "version"].contains(&name) {
                continue;
            }
            let config = kevy_redis::config::Config::default();
            assert_eq!(config.matching([name.as_bytes()].into_iter()).len(), 1, "--{name}");
        }
    }
}
