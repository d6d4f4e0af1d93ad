//! Histories as text: one line per operation.
//!
//! ```text
//! # A comment; `order free`, `order key` or `order all` may come before the operations.
//! order free
//! 3 1200 1580 r5=17 w5=18
//! 4 1300 ? a7=20 +9=21
//! 4 1700 1900 r6=- l7=20 s9=
//! ```
//!
//! Client, when it was sent, when it was answered (`?` if it wasn't), then what it did: `r` read a
//! register (`-` if it was absent), `w` wrote one, `a` appended to a list, `l` read one, `+` added
//! to a set, `s` read one; then the key, `=`, and the value or values, separated by commas.

use std::fmt;
use std::io::{self, BufRead, Write};

use crate::history::{Action, ClientOrder, History, Operation};

/// Why a history couldn't be loaded.
#[derive(Debug)]
pub enum FormatError {
    /// It couldn't be read.
    Io(io::Error),
    /// This line (counted from 1) isn't in the format.
    Line(usize),
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FormatError::Io(error) => write!(f, "{error}"),
            FormatError::Line(number) => write!(f, "line {number} is no operation of a history"),
        }
    }
}

impl std::error::Error for FormatError {}

/// Writes a history as text.
///
/// # Errors
///
/// What `to` fails with.
pub fn save(history: &History, to: &mut impl Write) -> io::Result<()> {
    let order = match history.client_order {
        ClientOrder::Free => "free",
        ClientOrder::Key => "key",
        ClientOrder::All => "all",
    };
    writeln!(to, "# client sent replied actions\norder {order}")?;
    for operation in &history.operations {
        write!(to, "{} {} ", operation.client, operation.sent)?;
        match operation.replied {
            Some(replied) => write!(to, "{replied}")?,
            None => write!(to, "?")?,
        }
        for action in &operation.actions {
            match action {
                Action::Read { key, value: None } => write!(to, " r{key}=-")?,
                Action::Read { key, value: Some(value) } => write!(to, " r{key}={value}")?,
                Action::Write { key, value } => write!(to, " w{key}={value}")?,
                Action::Append { key, value } => write!(to, " a{key}={value}")?,
                Action::ReadList { key, values } => save_values(to, 'l', *key, values)?,
                Action::Add { key, value } => write!(to, " +{key}={value}")?,
                Action::ReadSet { key, values } => save_values(to, 's', *key, values)?,
            }
        }
        writeln!(to)?;
    }
    Ok(())
}

fn save_values(to: &mut impl Write, letter: char, key: u32, values: &[u64]) -> io::Result<()> {
    write!(to, " {letter}{key}=")?;
    for (at, value) in values.iter().enumerate() {
        let comma = if at == 0 { "" } else { "," };
        write!(to, "{comma}{value}")?;
    }
    Ok(())
}

/// Reads what [`save`] wrote.
///
/// # Errors
///
/// If it can't be read or isn't in the format.
pub fn load(from: impl BufRead) -> Result<History, FormatError> {
    let mut history = History::default();
    for (at, line) in from.lines().enumerate() {
        let line = line.map_err(FormatError::Io)?;
        load_line(&line, &mut history).ok_or(FormatError::Line(at + 1))?;
    }
    Ok(history)
}

fn load_line(line: &str, history: &mut History) -> Option<()> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Some(());
    }
    if let Some(order) = line.strip_prefix("order ") {
        history.client_order = match order {
            "free" => ClientOrder::Free,
            "key" => ClientOrder::Key,
            "all" => ClientOrder::All,
            _ => return None,
        };
        return Some(());
    }
    let mut words = line.split_whitespace();
    let client = words.next()?.parse().ok()?;
    let sent = words.next()?.parse().ok()?;
    let replied = match words.next()? {
        "?" => None,
        replied => Some(replied.parse().ok()?),
    };
    let actions = words.map(load_action).collect::<Option<_>>()?;
    history.operations.push(Operation { client, sent, replied, actions });
    Some(())
}

fn load_action(word: &str) -> Option<Action> {
    let (letter, rest) = word.split_at_checked(1)?;
    let (key, text) = rest.split_once('=')?;
    let key = key.parse().ok()?;
    let value = || text.parse().ok();
    let values = || match text {
        "" => Some(Vec::new()),
        _ => text.split(',').map(|value| value.parse().ok()).collect(),
    };
    Some(match letter {
        "r" if text == "-" => Action::Read { key, value: None },
        "r" => Action::Read { key, value: Some(value()?) },
        "w" => Action::Write { key, value: value()? },
        "a" => Action::Append { key, value: value()? },
        "l" => Action::ReadList { key, values: values()? },
        "+" => Action::Add { key, value: value()? },
        "s" => Action::ReadSet { key, values: values()? },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_is_loaded() {
        let text = "# client sent replied actions\norder key\n1 0 5 r1=- w1=7 a2=8 l2=1,2,8\n\
                    2 3 ? r1=7 +3=9 s3=\n";
        let history = load(text.as_bytes()).unwrap();
        assert_eq!(history.operations.len(), 2);
        assert_eq!(history.client_order, ClientOrder::Key);
        let mut saved = Vec::new();
        save(&history, &mut saved).unwrap();
        assert_eq!(String::from_utf8(saved).unwrap(), text);
    }

    #[test]
    fn a_bad_line_is_told() {
        for bad in ["1 0", "1 0 5 x1=2", "1 0 5 r1", "1 0 5 w1=-", "order other", "1 0 5 é1=1"] {
            let text = format!("order all\n{bad}\n");
            assert!(matches!(load(text.as_bytes()), Err(FormatError::Line(2))), "{bad}");
        }
    }
}
