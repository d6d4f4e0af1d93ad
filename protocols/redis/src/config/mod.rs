//! What the server is configured with: Redis's directives and a few of our own.
//!
//! Each shard's store has a copy of its own, and CONFIG SET changes all of them, so nothing here
//! is locked. Values are kept as the text that CONFIG GET answers; what reads one at every request
//! keeps it in the form that it needs.

mod file;
mod kind;
mod limits;
mod table;
mod words;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

use kevy_rt::ReactorChoice;

pub use file::LoadError;
use kind::{Text, WRONG_NUMBER, read_memory};
use table::{Change, DIRECTIVES, Directive, Effect, at};

use crate::glob;

/// The value of every directive, and which start of the server it is for.
#[derive(Clone, Debug)]
pub struct Config {
    /// In the order of the table.
    values: Vec<Text>,
    /// How often they were changed while the server runs.
    changes: u64,
    /// The file that it was read from.
    file: Option<PathBuf>,
    run_id: String,
    replication_id: String,
}

impl Default for Config {
    fn default() -> Self {
        let default = |directive: &Directive| Text::Borrowed(directive.default.as_bytes());
        Config {
            values: DIRECTIVES.iter().map(default).collect(),
            changes: 0,
            file: None,
            run_id: random_id(),
            replication_id: random_id(),
        }
    }
}

/// Forty hexadecimal digits that nobody else has.
fn random_id() -> String {
    // Each state has random keys of its own.
    let random = || RandomState::new().build_hasher().finish();
    let mut id = format!("{:016x}{:016x}{:016x}", random(), random(), random());
    id.truncate(40);
    id
}

/// Why CONFIG SET refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// No directive has this name.
    #[error("ERR Unknown option or number of arguments for CONFIG SET - '{0}'")]
    Unknown(String),
    /// This directive can't be changed, or not to this value.
    #[error("ERR CONFIG SET failed (possibly related to argument '{0}') - {1}")]
    Failed(String, String),
}

/// One of the addresses of `bind`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindAddress {
    /// As it was written, without the dash.
    pub name: String,
    /// Whether it is no error that this machine doesn't have it: it was written with a dash.
    pub is_optional: bool,
}

impl BindAddress {
    /// The addresses that it stands for.
    ///
    /// # Errors
    /// When it is the name of no host.
    pub fn resolve(&self, port: u16) -> std::io::Result<Vec<SocketAddr>> {
        match self.name.as_str() {
            "*" => Ok(vec![(Ipv4Addr::UNSPECIFIED, port).into()]),
            "::*" => Ok(vec![(Ipv6Addr::UNSPECIFIED, port).into()]),
            name => match name.parse::<IpAddr>() {
                Ok(address) => Ok(vec![(address, port).into()]),
                Err(_) => Ok((name, port).to_socket_addrs()?.collect()),
            },
        }
    }
}

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// What helps whoever works on the server.
    Debug,
    /// What helps whoever looks for a problem.
    Verbose,
    /// What an operator wants to know.
    Notice,
    /// What an operator has to know.
    Warning,
}

impl Config {
    /// The directives whose names one of the patterns matches, each once, with their values. A
    /// name without wildcards is answered as it was asked for.
    pub fn matching<'a>(&self, patterns: impl Iterator<Item = &'a [u8]>) -> Vec<(Vec<u8>, &[u8])> {
        let mut found: Vec<(Vec<u8>, &[u8])> = Vec::new();
        let mut add = |name: &[u8], index: usize| {
            if !found.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
                found.push((name.to_vec(), &self.values[index]));
            }
        };
        for pattern in patterns {
            let is_name = !pattern.iter().any(|byte| matches!(byte, b'[' | b'*' | b'?'));
            for (index, directive) in DIRECTIVES.iter().enumerate() {
                if is_name && directive.is_named(pattern) {
                    add(pattern, index);
                }
                if is_name || directive.is_hidden {
                    continue;
                }
                for name in [Some(directive.name), directive.alias].into_iter().flatten() {
                    if glob::matches_ignoring_case(pattern, name.as_bytes()) {
                        add(name.as_bytes(), index);
                    }
                }
            }
        }
        found
    }

    /// Changes directives while the server runs: all of them, or none.
    ///
    /// # Errors
    /// In the words of CONFIG SET.
    pub fn change(&mut self, pairs: &[(&[u8], &[u8])]) -> Result<(), ChangeError> {
        let shown = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
        let mut targets = Vec::with_capacity(pairs.len());
        for (name, _) in pairs {
            let index = find(name).ok_or_else(|| ChangeError::Unknown(shown(name)))?;
            let refusal = match DIRECTIVES[index].change {
                Change::AtStart => Some("can't set immutable config"),
                Change::Protected if !self.allows_protected() => Some("can't set protected config"),
                _ if targets.contains(&index) => Some("duplicate parameter"),
                _ => None,
            };
            if let Some(refusal) = refusal {
                return Err(ChangeError::Failed(shown(name), refusal.into()));
            }
            targets.push(index);
        }
        let mut changed = self.values.clone();
        for (&index, (name, value)) in targets.iter().zip(pairs) {
            let directive = &DIRECTIVES[index];
            let words: Vec<&[u8]> = match (directive.kind.is_words(), *value) {
                (true, b"") => Vec::new(),
                (true, value) => value.split(|byte| *byte == b' ').collect(),
                (false, value) => vec![value],
            };
            changed[index] = read(directive, &words, &changed[index])
                .map_err(|why| ChangeError::Failed(shown(&name.to_ascii_lowercase()), why))?;
        }
        self.values = changed;
        self.changes += 1;
        Ok(())
    }

    /// Sets one directive before the server starts.
    ///
    /// # Errors
    /// What is wrong with it.
    fn set(&mut self, index: usize, words: &[&[u8]]) -> Result<(), String> {
        let directive = &DIRECTIVES[index];
        let split;
        // Several words may come as one, quoted.
        let words = match words {
            [word] if directive.kind.is_words() && !word.is_empty() => {
                split = words::split(word).ok_or("unbalanced quotes")?;
                &split.iter().map(Vec::as_slice).collect::<Vec<_>>()[..]
            }
            words => words,
        };
        if words.is_empty() {
            return Err(WRONG_NUMBER.into());
        }
        self.values[index] = read(directive, words, &self.values[index])?;
        Ok(())
    }

    /// What the operator set and relies on though nothing comes of it: directive and value, and
    /// why.
    pub fn broken_promises(&self) -> impl Iterator<Item = (String, &'static str)> {
        self.changed().filter_map(|(directive, value)| match directive.effect {
            Effect::Promised(but) => Some((named(directive, value), but)),
            _ => None,
        })
    }

    /// What the operator set to no effect, and nobody relies on.
    pub fn idle_settings(&self) -> Vec<String> {
        let idle = self.changed().filter(|(directive, _)| directive.effect == Effect::None);
        idle.map(|(directive, value)| named(directive, value)).collect()
    }

    /// The directives that don't have their default.
    fn changed(&self) -> impl Iterator<Item = (&'static Directive, &Text)> {
        let all = DIRECTIVES.iter().zip(&self.values);
        all.filter(|(directive, value)| directive.default.as_bytes() != value.as_ref())
    }

    /// Makes `dir` the directory of this process, and keeps its full path. Relative paths start
    /// there.
    ///
    /// # Errors
    /// When there is no such directory, or it is not for this user.
    pub fn enter_dir(&mut self) -> std::io::Result<()> {
        use std::os::unix::ffi::OsStringExt;
        let index = const { at("dir") };
        std::env::set_current_dir(self.path(index).unwrap_or_else(|| ".".into()))?;
        self.values[index] = std::env::current_dir()?.into_os_string().into_vec().into();
        Ok(())
    }

    /// The file that it was read from, if any.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Tells this start of the server from all others: forty hexadecimal digits.
    pub fn run_id(&self) -> &str {
        &self.run_id
    }

    /// Tells this start's data from all others'.
    pub fn replication_id(&self) -> &str {
        &self.replication_id
    }

    fn text(&self, index: usize) -> String {
        String::from_utf8_lossy(&self.values[index]).into_owned()
    }

    /// `None` where the value is empty.
    fn path(&self, index: usize) -> Option<PathBuf> {
        use std::os::unix::ffi::OsStrExt;
        let value = &self.values[index];
        (!value.is_empty()).then(|| std::ffi::OsStr::from_bytes(value).into())
    }

    fn number(&self, index: usize) -> u64 {
        let digits = std::str::from_utf8(&self.values[index]).ok();
        digits.and_then(|digits| digits.parse().ok()).unwrap_or_default()
    }

    fn is_yes(&self, index: usize) -> bool {
        self.values[index].as_ref() == b"yes"
    }

    /// `local` can't be told apart on the shards that the client isn't connected to, and stays no.
    fn allows_protected(&self) -> bool {
        self.is_yes(const { at("enable-protected-configs") })
    }

    /// How many numbered databases there are.
    pub fn databases(&self) -> u16 {
        self.number(const { at("databases") }) as u16
    }

    /// The longest string that a client may send or make, in bytes.
    pub fn max_bulk_bytes(&self) -> usize {
        self.number(const { at("proto-max-bulk-len") }) as usize
    }

    fn query_buffer_bytes(&self) -> u64 {
        self.number(const { at("client-query-buffer-limit") })
    }

    fn output_limits(&self) -> &[u8] {
        &self.values[const { at("client-output-buffer-limit") }]
    }

    /// What all clients may hold, in bytes; 0 where it isn't said.
    fn client_memory_bytes(&self) -> u64 {
        let value = &self.values[const { at("maxmemory-clients") }];
        match value.split_last() {
            Some((b'%', percent)) => {
                let percent = read_memory(percent).unwrap_or_default();
                (u128::from(self.max_memory()) * u128::from(percent) / 100) as u64
            }
            _ => read_memory(value).unwrap_or_default(),
        }
    }

    /// How many clients there may be at once.
    pub fn max_clients(&self) -> u64 {
        self.number(const { at("maxclients") })
    }

    /// After how many seconds a client that sends nothing is closed; 0 for never.
    fn idle_timeout_s(&self) -> u64 {
        self.number(const { at("timeout") })
    }

    /// How often it was changed while the server runs: what was read of it holds until then.
    #[inline]
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// What the keyspace may hold, in bytes; 0 for no limit.
    pub fn max_memory(&self) -> u64 {
        self.number(const { at("maxmemory") })
    }

    /// Who goes first when it holds more.
    pub fn max_memory_policy(&self) -> String {
        self.text(const { at("maxmemory-policy") })
    }

    /// How many keys are compared to find one that may go.
    pub fn max_memory_samples(&self) -> usize {
        self.number(const { at("maxmemory-samples") }) as usize
    }

    /// How the frequency of keys is counted: how slowly counters grow, and in how many minutes they
    /// fall by one.
    pub fn frequency(&self) -> (u32, u32) {
        let log_factor = self.number(const { at("lfu-log-factor") }) as u32;
        (log_factor, self.number(const { at("lfu-decay-time") }) as u32)
    }

    /// The password, if one is asked for.
    pub fn password(&self) -> Option<&[u8]> {
        let password = &self.values[const { at("requirepass") }];
        (!password.is_empty()).then_some(password)
    }

    /// Whether only this machine may connect as long as there is no password.
    pub fn is_protected(&self) -> bool {
        self.is_yes(const { at("protected-mode") })
    }

    /// The TCP port; 0 for none.
    pub fn port(&self) -> u16 {
        self.number(const { at("port") }) as u16
    }

    /// Where the TCP port is; all addresses if `bind` is empty.
    pub fn bind(&self) -> Vec<BindAddress> {
        let text = self.text(const { at("bind") });
        let words: Vec<&str> = text.split(' ').filter(|word| !word.is_empty()).collect();
        let words = if words.is_empty() { vec!["*", "-::*"] } else { words };
        let address = |word: &str| {
            let optional = word.strip_prefix('-');
            BindAddress {
                name: optional.unwrap_or(word).to_owned(),
                is_optional: optional.is_some(),
            }
        };
        words.into_iter().map(address).collect()
    }

    /// The Unix socket.
    pub fn unix_socket(&self) -> Option<PathBuf> {
        self.path(const { at("unixsocket") })
    }

    /// Its mode, if it is to be set.
    pub fn unix_socket_mode(&self) -> Option<u32> {
        let mode = u32::from_str_radix(&self.text(const { at("unixsocketperm") }), 8).ok();
        mode.filter(|mode| *mode != 0)
    }

    /// How many connections may wait to be accepted.
    pub fn accept_queue(&self) -> i32 {
        self.number(const { at("tcp-backlog") }) as i32
    }

    /// After how many idle seconds TCP asks whether the other side is still there; 0 for never.
    pub fn keepalive_s(&self) -> u32 {
        self.number(const { at("tcp-keepalive") }) as u32
    }

    /// Where metrics and the status page are served; `None` for nowhere.
    pub fn http(&self) -> Option<SocketAddr> {
        self.text(const { at("http") }).parse().ok()
    }

    /// How many shards; `None` for as many as this process has cores.
    pub fn shards(&self) -> Option<usize> {
        self.text(const { at("shards") }).parse().ok()
    }

    /// The I/O engine.
    pub fn reactor(&self) -> ReactorChoice {
        match self.values[const { at("reactor") }].as_ref() {
            b"uring" => ReactorChoice::Uring,
            b"poll" => ReactorChoice::Poll,
            _ => ReactorChoice::Auto,
        }
    }

    /// Whether a request waits for the replies to all earlier ones of its connection.
    pub(super) fn has_strict_pipelines(&self) -> bool {
        self.values[const { at("pipeline-order") }].as_ref() == b"strict"
    }

    /// Whether each shard's thread stays on one core.
    pub fn pins_shards(&self) -> bool {
        self.is_yes(const { at("pin-shards") })
    }

    /// Where the log goes; the standard output if not said.
    pub fn log_file(&self) -> Option<PathBuf> {
        self.path(const { at("logfile") })
    }

    /// How much is logged.
    pub fn log_level(&self) -> LogLevel {
        match self.values[const { at("loglevel") }].as_ref() {
            b"debug" => LogLevel::Debug,
            b"verbose" => LogLevel::Verbose,
            b"warning" => LogLevel::Warning,
            _ => LogLevel::Notice,
        }
    }

    /// The file that says which process it is.
    pub fn pid_file(&self) -> Option<PathBuf> {
        self.path(const { at("pidfile") })
    }
}

fn find(name: &[u8]) -> Option<usize> {
    DIRECTIVES.iter().position(|directive| directive.is_named(name))
}

/// Reads a value, and refuses one that this server can't stand by.
fn read(directive: &Directive, words: &[&[u8]], current: &[u8]) -> Result<Text, String> {
    let value = directive.kind.read(words, current)?;
    match directive.effect {
        Effect::Refused(because) if value.as_ref() != directive.default.as_bytes() => {
            Err(because.into())
        }
        _ => Ok(value),
    }
}

/// A setting as the log may have it.
fn named(directive: &Directive, value: &[u8]) -> String {
    match directive.is_secret {
        true => directive.name.to_owned(),
        false => format!("{} {}", directive.name, value.escape_ascii()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(config: &mut Config, pairs: &[(&str, &str)]) -> Result<(), String> {
        let pairs: Vec<_> =
            pairs.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        config.change(&pairs).map_err(|error| error.to_string())
    }

    fn get(config: &Config, patterns: &[&str]) -> Vec<String> {
        let found = config.matching(patterns.iter().map(|pattern| pattern.as_bytes()));
        let shown = found.iter().map(|(name, value)| {
            format!("{} {}", String::from_utf8_lossy(name), String::from_utf8_lossy(value))
        });
        shown.collect()
    }

    #[test]
    fn a_name_is_answered_as_it_was_asked_for_and_once() {
        let config = Config::default();
        assert_eq!(get(&config, &["TimeOut"]), ["TimeOut 0"]);
        assert_eq!(get(&config, &["timeout", "TIMEOUT", "[t]imeout"]), ["timeout 0"]);
        assert_eq!(
            get(&config, &["*-PRIORITY", "nosuch", "databases"]),
            ["replica-priority 100", "slave-priority 100", "databases 16"]
        );
        assert_eq!(get(&config, &["watchdog*"]), [""; 0], "hidden");
        assert_eq!(get(&config, &["watchdog-period"]), ["watchdog-period 0"]);
    }

    #[test]
    fn a_change_is_made_whole_or_not_at_all() {
        let mut config = Config::default();
        let set = &mut config;
        for (pairs, refusal) in [
            (
                &[("timeout", "10"), ("nosuch", "1")][..],
                "ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'",
            ),
            (
                &[("nosuch", "1"), ("databases", "1")],
                "ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'",
            ),
            (
                &[("databases", "1"), ("nosuch", "1")],
                "ERR CONFIG SET failed (possibly related to argument 'databases') - can't set \
                 immutable config",
            ),
            (
                &[("timeout", "10"), ("TIMEOUT", "20")],
                "ERR CONFIG SET failed (possibly related to argument 'TIMEOUT') - duplicate \
                 parameter",
            ),
            (
                &[("dir", "/")],
                "ERR CONFIG SET failed (possibly related to argument 'dir') - can't set protected \
                 config",
            ),
            (
                &[("timeout", "10"), ("tcp-keepalive", "abc")],
                "ERR CONFIG SET failed (possibly related to argument 'tcp-keepalive') - argument \
                 couldn't be parsed into an integer",
            ),
        ] {
            assert_eq!(change(set, pairs), Err(refusal.into()));
            assert_eq!(get(set, &["timeout"]), ["timeout 0"]);
        }
        assert_eq!(change(set, &[("timeout", "10"), ("tcp-keepalive", "60")]), Ok(()));
        assert_eq!(get(set, &["timeout", "tcp-keepalive"]), ["timeout 10", "tcp-keepalive 60"]);
        let refused = change(set, &[("tls-port", "6380")]).expect_err("no TLS");
        assert!(refused.contains("TLS"), "{refused}");
        assert_eq!(change(set, &[("tls-port", "0")]), Ok(()));
    }

    #[test]
    fn ids_are_forty_digits_and_differ() {
        let (one, other) = (Config::default(), Config::default());
        for id in [one.run_id(), one.replication_id()] {
            assert_eq!(id.len(), 40);
            assert!(id.bytes().all(|byte| byte.is_ascii_hexdigit()));
        }
        assert_ne!(one.run_id(), other.run_id());
        assert_ne!(one.run_id(), one.replication_id());
        assert_eq!(one.run_id(), one.clone().run_id());
    }

    #[test]
    fn an_empty_bind_is_everywhere_and_a_dash_is_optional() {
        let mut config = Config::default();
        let address = |name: &str, is_optional| BindAddress { name: name.to_owned(), is_optional };
        assert_eq!(config.bind(), [address("127.0.0.1", false), address("::1", true)]);
        config.set(at("bind"), &[b""]).expect("it is fine");
        assert_eq!(config.bind(), [address("*", false), address("::*", true)]);
        let resolve = |name| address(name, false).resolve(7).expect("an address");
        assert_eq!(resolve("*"), ["0.0.0.0:7".parse().expect("an address")]);
        assert_eq!(resolve("::*"), ["[::]:7".parse().expect("an address")]);
        assert_eq!(resolve("::1"), ["[::1]:7".parse().expect("an address")]);
    }

    #[test]
    fn what_has_no_effect_is_told() {
        let mut config = Config::default();
        assert_eq!(config.broken_promises().count(), 0);
        assert_eq!(config.idle_settings(), [""; 0]);
        let pairs = [("save", "900 1"), ("hz", "20"), ("timeout", "1")];
        assert_eq!(change(&mut config, &pairs), Ok(()));
        let promises: Vec<_> = config.broken_promises().map(|(setting, _)| setting).collect();
        assert_eq!(promises, ["save 900 1"]);
        assert_eq!(config.idle_settings(), ["hz 20"]);
        assert_eq!(change(&mut config, &[("hz", "10"), ("masterauth", "secret")]), Ok(()));
        assert_eq!(config.idle_settings(), ["masterauth"]);
    }
}
