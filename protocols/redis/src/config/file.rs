//! The configuration from outside: `redis.conf`, its includes, and the command line.
//!
//! Later lines win, and the command line comes last. A line that says `save` or one class of
//! `client-output-buffer-limit` adds to the earlier ones of the same source.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::table::at;
use super::{Config, find, words};
use crate::glob;

/// How deep files may include one another: more is a circle.
const INCLUDE_DEPTH: usize = 16;

/// Directives that this server refuses whatever their value, and why.
const REFUSED: &[(&str, &str)] = &[
    ("loadmodule", "this server loads no modules"),
    ("rename-command", "this server renames no commands"),
    ("sentinel", "this server is no sentinel"),
    ("user", "this server has no access control lists; `requirepass` sets a password"),
];

/// Directives of old files that were dropped long ago: passed over.
const DROPPED: &[&str] =
    &["list-max-ziplist-entries", "list-max-ziplist-value", "lua-replicate-commands"];

/// Why a configuration can't be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A line that isn't fine.
    #[error("Reading {place}\n>>> '{line}'\n{reason}")]
    Line {
        /// The file and the line's number, or the command line.
        place: String,
        /// The line.
        line: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file that can't be read.
    #[error("can't open config file '{}': {source}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Where a line comes from.
#[derive(Clone, Copy)]
enum Place<'a> {
    File(&'a Path, usize),
    Stdin(usize),
    Arguments,
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File(path, line) => {
                write!(f, "the configuration file {}, at line {line}", path.display())
            }
            Place::Stdin(line) => write!(f, "the configuration on standard input, at line {line}"),
            Place::Arguments => f.write_str("the command line"),
        }
    }
}

/// A configuration under construction.
#[derive(Default)]
struct Loader {
    config: Config,
    /// Whether a `save` line was met: the first one replaces the default, others add to it.
    saves: bool,
    depth: usize,
}

impl Config {
    /// Reads the arguments of the program, without its name: perhaps a file first, then
    /// `--directive value ...`; `-` stands for the standard input.
    ///
    /// # Errors
    /// The first line that isn't fine, or a file that can't be read.
    pub fn from_arguments(
        arguments: impl IntoIterator<Item = OsString>,
    ) -> Result<Config, LoadError> {
        let mut arguments: Vec<OsString> = arguments.into_iter().collect();
        let mut loader = Loader::default();
        if arguments.first().is_some_and(|first| !first.as_bytes().starts_with(b"-")) {
            let path = PathBuf::from(arguments.remove(0));
            loader.file(&path)?;
            loader.config.file = std::path::absolute(&path).ok();
        }
        // First or last, a dash alone is no value.
        let is_stdin = |argument: Option<&OsString>| argument.is_some_and(|it| it == "-");
        if is_stdin(arguments.first()) {
            arguments.remove(0);
            loader.stdin()?;
        } else if is_stdin(arguments.last()) {
            arguments.pop();
            loader.stdin()?;
        }
        let options = options(arguments.into_iter().map(OsString::into_vec));
        for option in options {
            loader.words(&option, Place::Arguments, &shown(&option))?;
        }
        Ok(loader.config)
    }
}

/// Splits a command line into directives with their values. `--save` alone means no save points.
fn options(arguments: impl Iterator<Item = Vec<u8>>) -> Vec<Vec<Vec<u8>>> {
    let mut options: Vec<Vec<Vec<u8>>> = Vec::new();
    let mut arguments = arguments.peekable();
    let mut is_awaiting_value = false;
    while let Some(argument) = arguments.next() {
        let Some(name) = argument.strip_prefix(b"--").filter(|_| !is_awaiting_value) else {
            match options.last_mut() {
                Some(option) => option.push(argument),
                None => options.push(vec![argument]),
            }
            is_awaiting_value = false;
            continue;
        };
        // `"--port 6380"` may be one argument.
        let mut option = words::split(name).unwrap_or_else(|| vec![name.to_vec()]);
        is_awaiting_value = option.len() == 1;
        let is_last = arguments.peek().is_none_or(|next| next.starts_with(b"--"));
        if is_awaiting_value && is_last && option[0].eq_ignore_ascii_case(b"save") {
            option.push(Vec::new());
            is_awaiting_value = false;
        }
        options.push(option);
    }
    options
}

/// A directive with its values, as a line.
fn shown(option: &[Vec<u8>]) -> String {
    let mut line = String::new();
    for (index, word) in option.iter().enumerate() {
        line += &match index {
            0 => word.escape_ascii().to_string(),
            _ => format!(" \"{}\"", word.escape_ascii()),
        };
    }
    line
}

impl Loader {
    fn file(&mut self, path: &Path) -> Result<(), LoadError> {
        let failed = |source| LoadError::File { path: path.to_owned(), source };
        if self.depth == INCLUDE_DEPTH {
            return Err(failed(io::Error::other("files include one another without end")));
        }
        let text = fs::read(path).map_err(failed)?;
        self.depth += 1;
        self.lines(&text, |number| Place::File(path, number))?;
        self.depth -= 1;
        Ok(())
    }

    fn stdin(&mut self) -> Result<(), LoadError> {
        let mut text = Vec::new();
        let read = io::stdin().read_to_end(&mut text);
        read.map_err(|source| LoadError::File { path: "-".into(), source })?;
        self.lines(&text, Place::Stdin)
    }

    fn lines<'a>(
        &mut self,
        text: &[u8],
        place: impl Fn(usize) -> Place<'a>,
    ) -> Result<(), LoadError> {
        for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
            let line = line.trim_ascii();
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            let (place, shown) = (place(index + 1), line.escape_ascii().to_string());
            match words::split(line) {
                Some(words) => self.words(&words, place, &shown)?,
                None => {
                    return Err(wrong(place, &shown, "Unbalanced quotes in configuration line"));
                }
            }
        }
        Ok(())
    }

    /// Takes one directive with its values.
    fn words(&mut self, words: &[Vec<u8>], place: Place<'_>, line: &str) -> Result<(), LoadError> {
        let Some((name, values)) = words.split_first() else { return Ok(()) };
        let values: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
        if let Some(index) = find(name) {
            return self.set(index, &values).map_err(|reason| wrong(place, line, &reason));
        }
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        if let ([path], true) = (&values[..], is("include")) {
            return self.include(Path::new(std::ffi::OsStr::from_bytes(path)));
        }
        if DROPPED.iter().any(|dropped| is(dropped)) && values.len() == 1 {
            return Ok(());
        }
        let refused = REFUSED.iter().find(|(refused, _)| is(refused)).map(|(_, reason)| *reason);
        let reason = refused.unwrap_or("Bad directive or wrong number of arguments");
        Err(wrong(place, line, reason))
    }

    fn set(&mut self, index: usize, values: &[&[u8]]) -> Result<(), String> {
        let is_save = index == const { at("save") };
        let earlier = self.config.values[index].clone();
        self.config.set(index, values)?;
        if is_save && self.saves && !earlier.is_empty() {
            let all = [&earlier, &self.config.values[index]];
            self.config.values[index] =
                all.map(AsRef::as_ref).join(&b' ').trim_ascii().to_vec().into();
        }
        self.saves |= is_save;
        Ok(())
    }

    /// Reads a file, or all whose names match; that none matches is no error.
    fn include(&mut self, path: &Path) -> Result<(), LoadError> {
        let pattern = path.file_name().unwrap_or_default().as_bytes();
        if !pattern.iter().any(|byte| matches!(byte, b'*' | b'?' | b'[')) {
            return self.file(path);
        }
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
        let Ok(entries) = fs::read_dir(dir.unwrap_or(Path::new("."))) else { return Ok(()) };
        let mut paths: Vec<PathBuf> = entries
            .flatten()
            .filter(|entry| glob::matches(pattern, entry.file_name().as_bytes()))
            .map(|entry| entry.path())
            .collect();
        paths.sort();
        paths.iter().try_for_each(|path| self.file(path))
    }
}

fn wrong(place: Place<'_>, line: &str, reason: &str) -> LoadError {
    LoadError::Line { place: place.to_string(), line: line.into(), reason: reason.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_text(text: &str) -> Result<Config, LoadError> {
        let mut loader = Loader::default();
        loader.lines(text.as_bytes(), |number| Place::File(Path::new("redis.conf"), number))?;
        Ok(loader.config)
    }

    fn from_line(arguments: &[&str]) -> Result<Config, LoadError> {
        Config::from_arguments(arguments.iter().map(OsString::from))
    }

    fn value(config: &Config, name: &str) -> String {
        let found = config.matching([name.as_bytes()].into_iter());
        String::from_utf8_lossy(found[0].1).into_owned()
    }

    #[test]
    fn a_file_has_comments_quotes_and_either_case() {
        let config = from_text(
            "# a comment\n\n  bind 127.0.0.1 ::1 \r\nMaxClients 77\nrequirepass \"a \\x41\"\n\
             client-output-buffer-limit normal 1mb 0 0\n\
             client-output-buffer-limit pubsub 32mb 8mb 60\nslave-priority 3\n",
        )
        .expect("it is fine");
        assert_eq!(value(&config, "bind"), "127.0.0.1 ::1");
        assert_eq!(config.max_clients(), 77);
        assert_eq!(config.password(), Some(&b"a A"[..]));
        assert_eq!(value(&config, "replica-priority"), "3");
        assert_eq!(
            value(&config, "client-output-buffer-limit"),
            "normal 1048576 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60"
        );
    }

    #[test]
    fn save_lines_add_up() {
        let saves = |text: &str| value(&from_text(text).expect("it is fine"), "save");
        assert_eq!(saves("save 900 1\nsave 300 10 60 10000\n"), "900 1 300 10 60 10000");
        assert_eq!(saves("save \"900 1\"\n"), "900 1");
        assert_eq!(saves("save \"\"\n"), "");
        assert_eq!(saves("save 900 1\nsave \"\"\n"), "900 1");
    }

    #[test]
    fn a_bad_line_is_told_with_its_place() {
        for (text, reason) in [
            ("nosuch 1", "Bad directive or wrong number of arguments"),
            ("timeout", "wrong number of arguments"),
            ("timeout 1 2", "wrong number of arguments"),
            ("timeout abc", "argument couldn't be parsed into an integer"),
            ("requirepass \"open", "Unbalanced quotes in configuration line"),
            ("client-output-buffer-limit \"normal 0 0\"", "Wrong number of arguments in buffer"),
            ("user default on", "this server has no access control lists"),
            ("rename-command FLUSHALL \"\"", "this server renames no commands"),
            ("daemonize yes", "this server stays in the foreground"),
            ("replicaof 127.0.0.1 6379", "this server has no replicas"),
            ("shards 0", "argument must be 'auto' or between 1 and 1024 inclusive"),
        ] {
            let error = from_text(&format!("# one\n{text}\n")).expect_err(text).to_string();
            let lines: Vec<&str> = error.lines().collect();
            assert_eq!(lines[0], "Reading the configuration file redis.conf, at line 2");
            assert!(lines[1].starts_with(">>> '"), "{error}");
            assert!(lines[2].starts_with(reason), "{error}");
        }
        let error = from_line(&["--nosuch", "1"]).expect_err("no such directive").to_string();
        assert_eq!(
            error,
            "Reading the command line\n>>> 'nosuch \"1\"'\n\
             Bad directive or wrong number of arguments"
        );
    }

    #[test]
    fn old_directives_are_passed_over() {
        from_text("lua-replicate-commands yes\nlist-max-ziplist-entries 5\n").expect("it is fine");
    }

    #[test]
    fn the_command_line_has_redis_form() {
        let config = from_line(&[
            "--save",
            "900",
            "1",
            "--port 7000",
            "--TIMEOUT",
            "30",
            "--bind",
            "127.0.0.1 ::1",
            "--requirepass",
            "--secret",
            "--save",
        ])
        .expect("it is fine");
        assert_eq!(config.port(), 7000);
        assert_eq!(value(&config, "timeout"), "30");
        assert_eq!(value(&config, "bind"), "127.0.0.1 ::1");
        assert_eq!(config.password(), Some(&b"--secret"[..]));
        for wrong in [&["--pidfile"][..], &["--tcp-keepalive", ""], &["-x", "1"]] {
            from_line(wrong).expect_err("it is wrong");
        }
    }

    #[test]
    fn files_include_others_and_the_command_line_comes_last() {
        let dir = std::env::temp_dir().join(format!("kevy-include-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("a directory");
        let write = |name: &str, text: String| fs::write(dir.join(name), text).expect("a file");
        let dir_name = dir.display();
        write(
            "main.conf",
            format!("port 1\ninclude {dir_name}/more*.conf\ninclude {dir_name}/none*\n"),
        );
        write("more1.conf", "port 2\ntimeout 5\n".into());
        write("more2.conf", "port 3\n".into());
        write("circle.conf", format!("include {dir_name}/circle.conf\n"));
        write("missing.conf", format!("include {dir_name}/nosuch.conf\n"));
        let load = |name: &str, more: &[&str]| {
            let first = OsString::from(dir.join(name));
            Config::from_arguments([first].into_iter().chain(more.iter().map(OsString::from)))
        };
        let config = load("main.conf", &[]).expect("it is fine");
        assert_eq!((config.port(), value(&config, "timeout")), (3, "5".into()));
        let config = load("main.conf", &["--port", "4"]).expect("it is fine");
        assert_eq!(config.port(), 4);
        for name in ["circle.conf", "missing.conf", "nosuch.conf"] {
            let error = load(name, &[]).expect_err(name);
            assert!(matches!(error, LoadError::File { .. }), "{error}");
        }
        fs::remove_dir_all(&dir).expect("remove it");
    }
}
