//! Requests that clients send, and what their replies say.

use kevy_checker::Action;

use crate::resp::Reply;

/// Digits of a value in the string of a list; the end of each value is told by its place.
const DIGITS: usize = 12;

/// A request. Keys and values are numbers; a key's name is the run's prefix and its number.
#[derive(Clone, Debug)]
pub(crate) enum Command {
    Get(u32),
    Set(u32, u64),
    /// `SET key value GET`.
    SetGet(u32, u64),
    GetSet(u32, u64),
    MGet(Vec<u32>),
    MSet(Vec<(u32, u64)>),
    Append(u32, u64),
    /// `GET` of a string that was appended to.
    GetList(u32),
    SAdd(u32, u64),
    SMembers(u32),
}

/// What is wrong with a reply.
#[derive(Debug)]
pub(crate) enum Wrong {
    /// The server refused the request.
    Refused(String),
    /// It isn't what the request can return, whatever was written.
    Nonsense(String),
}

impl Command {
    pub(crate) fn arguments(&self, prefix: &str) -> Vec<String> {
        let name = |key: &u32| format!("{prefix}{key}");
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        match self {
            Command::Get(key) | Command::GetList(key) => words(&["GET", &name(key)]),
            Command::Set(key, value) => words(&["SET", &name(key), &value.to_string()]),
            Command::SetGet(key, value) => words(&["SET", &name(key), &value.to_string(), "GET"]),
            Command::GetSet(key, value) => words(&["GETSET", &name(key), &value.to_string()]),
            Command::MGet(keys) => {
                std::iter::once("MGET".into()).chain(keys.iter().map(name)).collect()
            }
            Command::MSet(pairs) => {
                let both = pairs.iter().flat_map(|(key, value)| [name(key), value.to_string()]);
                std::iter::once("MSET".into()).chain(both).collect()
            }
            Command::Append(key, value) => {
                words(&["APPEND", &name(key), &format!("{value:0DIGITS$};")])
            }
            Command::SAdd(key, value) => words(&["SADD", &name(key), &value.to_string()]),
            Command::SMembers(key) => words(&["SMEMBERS", &name(key)]),
        }
    }

    /// What it writes, whatever the reply.
    pub(crate) fn writes(&self) -> Vec<Action> {
        match *self {
            Command::Set(key, value)
            | Command::SetGet(key, value)
            | Command::GetSet(key, value) => vec![Action::Write { key, value }],
            Command::MSet(ref pairs) => {
                pairs.iter().map(|&(key, value)| Action::Write { key, value }).collect()
            }
            Command::Append(key, value) => vec![Action::Append { key, value }],
            Command::SAdd(key, value) => vec![Action::Add { key, value }],
            Command::Get(_) | Command::MGet(_) | Command::GetList(_) | Command::SMembers(_) => {
                Vec::new()
            }
        }
    }

    /// What it did and saw.
    pub(crate) fn actions(&self, reply: &Reply) -> Result<Vec<Action>, Wrong> {
        if let Reply::Error(text) = reply {
            return Err(Wrong::Refused(text.clone()));
        }
        let nonsense = || Wrong::Nonsense(format!("{self:?} returned {reply:?}"));
        self.understood(reply).ok_or_else(nonsense)
    }

    fn understood(&self, reply: &Reply) -> Option<Vec<Action>> {
        let read = |key, reply: &Reply| match reply {
            Reply::Bulk(None) => Some(Action::Read { key, value: None }),
            Reply::Bulk(Some(bytes)) => Some(Action::Read { key, value: Some(number(bytes)?) }),
            _ => None,
        };
        let mut actions = match (self, reply) {
            (&Command::Get(key) | &Command::SetGet(key, _) | &Command::GetSet(key, _), reply) => {
                vec![read(key, reply)?]
            }
            (Command::MGet(keys), Reply::Array(Some(parts))) if parts.len() == keys.len() => {
                keys.iter().zip(parts).map(|(&key, part)| read(key, part)).collect::<Option<_>>()?
            }
            (&Command::GetList(key), Reply::Bulk(bytes)) => {
                vec![Action::ReadList { key, values: list(bytes.as_deref().unwrap_or_default())? }]
            }
            (&Command::SMembers(key), Reply::Array(Some(parts))) => {
                let values = parts.iter().map(|part| match part {
                    Reply::Bulk(Some(bytes)) => number(bytes),
                    _ => None,
                });
                vec![Action::ReadSet { key, values: values.collect::<Option<_>>()? }]
            }
            (Command::Set(..) | Command::MSet(_), Reply::Simple(text)) if text == "OK" => vec![],
            (Command::Append(..), Reply::Integer(_)) => vec![],
            (Command::SAdd(..), Reply::Integer(1)) => vec![],
            _ => return None,
        };
        actions.extend(self.writes());
        Some(actions)
    }
}

fn number(bytes: &[u8]) -> Option<u64> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

fn list(bytes: &[u8]) -> Option<Vec<u64>> {
    let tokens = bytes.chunks(DIGITS + 1).map(|token| {
        let (end, digits) = token.split_last()?;
        (*end == b';' && digits.len() == DIGITS).then(|| number(digits))?
    });
    tokens.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_from_its_string() {
        assert_eq!(list(b""), Some(vec![]));
        assert_eq!(list(b"000000000017;000000000002;"), Some(vec![17, 2]));
        assert_eq!(list(b"000000000017;0000"), None);
    }

    #[test]
    fn a_swap_reads_before_it_writes() {
        let actions = Command::SetGet(3, 9).actions(&Reply::Bulk(Some(b"7".to_vec()))).unwrap();
        let expected =
            [Action::Read { key: 3, value: Some(7) }, Action::Write { key: 3, value: 9 }];
        assert_eq!(actions, expected);
    }
}
