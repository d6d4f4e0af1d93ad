//! Which clients CLIENT LIST tells and CLIENT KILL closes.

use kevy_resp::Error;
use kevy_rt::{ConnFacts, parse_integer};

const BAD_ID: Error = Error::new("ERR Invalid client ID");
const ID_TOO_SMALL: Error = Error::new("ERR client-id should be greater than 0");
const AGE_TOO_SMALL: Error = Error::new("ERR maxage should be greater than 0");

/// The classes of clients. All of this server's are of the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Normal,
    Other,
}

impl Class {
    fn read(word: &[u8]) -> Result<Self, Error> {
        match word.to_ascii_lowercase().as_slice() {
            b"normal" => Ok(Class::Normal),
            b"master" | b"replica" | b"slave" | b"pubsub" => Ok(Class::Other),
            _ => Err(Error::bytes([b"ERR Unknown client type '", word, b"'"].concat())),
        }
    }
}

/// What CLIENT LIST asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ListFilter {
    class: Option<Class>,
    ids: Option<Vec<u64>>,
}

impl ListFilter {
    /// Reads `[TYPE class | ID id ...]`.
    pub(super) fn read(words: &[&[u8]]) -> Result<Self, Error> {
        match words {
            [] => Ok(ListFilter::default()),
            [option, class] if option.eq_ignore_ascii_case(b"TYPE") => {
                Ok(ListFilter { class: Some(Class::read(class)?), ids: None })
            }
            [option, ids @ ..] if option.eq_ignore_ascii_case(b"ID") && !ids.is_empty() => {
                let id = |word: &&[u8]| integer(word).ok_or(BAD_ID);
                let ids: Result<Vec<i64>, Error> = ids.iter().map(id).collect();
                let ids = ids?.into_iter().filter_map(|id| u64::try_from(id).ok());
                Ok(ListFilter { class: None, ids: Some(ids.collect()) })
            }
            _ => Err(Error::SYNTAX),
        }
    }

    /// Where a client stands in the reply; `None` if nowhere.
    pub(super) fn rank(&self, conn: &ConnFacts) -> Option<u64> {
        match (&self.ids, self.class) {
            (Some(ids), _) => ids.iter().position(|id| *id == conn.id).map(|rank| rank as u64),
            (None, Some(Class::Other)) => None,
            _ => Some(conn.id),
        }
    }
}

/// What CLIENT KILL asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct KillFilter {
    id: Option<u64>,
    peer: Option<Vec<u8>>,
    local: Option<Vec<u8>>,
    class: Option<Class>,
    age_s: Option<u64>,
    spares_caller: bool,
    /// The old form, one address: the reply is OK or an error rather than a count.
    pub(super) is_old: bool,
}

impl KillFilter {
    /// Reads `address`, or `option value ...`.
    pub(super) fn read(words: &[&[u8]]) -> Result<Self, Error> {
        let mut filter = KillFilter {
            id: None,
            peer: None,
            local: None,
            class: None,
            age_s: None,
            spares_caller: true,
            is_old: false,
        };
        if let [address] = words {
            return Ok(KillFilter {
                peer: Some(address.to_vec()),
                spares_caller: false,
                is_old: true,
                ..filter
            });
        }
        for pair in words.chunks(2) {
            let [option, value] = pair else { return Err(Error::SYNTAX) };
            filter.take(option, value)?;
        }
        Ok(filter)
    }

    fn take(&mut self, option: &[u8], value: &[u8]) -> Result<(), Error> {
        match option.to_ascii_lowercase().as_slice() {
            b"id" => self.id = Some(positive(value).ok_or(ID_TOO_SMALL)?),
            b"type" => self.class = Some(Class::read(value)?),
            b"addr" => self.peer = Some(value.to_vec()),
            b"laddr" => self.local = Some(value.to_vec()),
            b"user" if value == b"default" => {}
            b"user" => {
                return Err(Error::bytes([b"ERR No such user '", value, b"'"].concat()));
            }
            b"maxage" => self.age_s = Some(positive(value).ok_or(AGE_TOO_SMALL)?),
            b"skipme" if value.eq_ignore_ascii_case(b"yes") => self.spares_caller = true,
            b"skipme" if value.eq_ignore_ascii_case(b"no") => self.spares_caller = false,
            _ => return Err(Error::SYNTAX),
        }
        Ok(())
    }

    /// Whether this client is meant.
    pub(super) fn matches(&self, conn: &ConnFacts, caller: Option<u64>, now_ms: u64) -> bool {
        let is = |address: &Option<Vec<u8>>, peer: &kevy_rt::Peer| {
            address.as_ref().is_none_or(|address| peer.to_string().as_bytes() == address)
        };
        let age_s = now_ms.saturating_sub(conn.opened_ms) / 1000;
        self.id.is_none_or(|id| id == conn.id)
            && self.class.is_none_or(|class| class == Class::Normal)
            && self.age_s.is_none_or(|least| age_s >= least)
            && !(self.spares_caller && caller == Some(conn.id))
            && is(&self.peer, &conn.peer)
            && is(&self.local, &conn.local)
    }
}

fn integer(word: &[u8]) -> Option<i64> {
    parse_integer(word).and_then(|number| i64::try_from(number).ok())
}

fn positive(word: &[u8]) -> Option<u64> {
    integer(word).and_then(|number| u64::try_from(number).ok()).filter(|number| *number > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<&[u8]> {
        line.split_whitespace().map(str::as_bytes).collect()
    }

    fn kill(line: &str) -> Result<KillFilter, String> {
        KillFilter::read(&words(line)).map_err(|error| error.to_string())
    }

    fn list(line: &str) -> Result<ListFilter, String> {
        ListFilter::read(&words(line)).map_err(|error| error.to_string())
    }

    #[test]
    fn one_word_is_an_address_and_may_be_the_callers() {
        let filter = kill("127.0.0.1:1").expect("it is fine");
        assert_eq!(filter.peer.as_deref(), Some(&b"127.0.0.1:1"[..]));
        assert!(filter.is_old && !filter.spares_caller);
    }

    #[test]
    fn options_may_come_in_any_number() {
        let filter = kill("id 7 ADDR a:1 laddr b:2 TYPE normal USER default MAXAGE 5 skipme no");
        let expected = KillFilter {
            id: Some(7),
            peer: Some(b"a:1".to_vec()),
            local: Some(b"b:2".to_vec()),
            class: Some(Class::Normal),
            age_s: Some(5),
            spares_caller: false,
            is_old: false,
        };
        assert_eq!(filter, Ok(expected));
        assert!(kill("SKIPME yes").expect("it is fine").spares_caller);
    }

    #[test]
    fn kill_refuses_in_redis_words() {
        for (line, error) in [
            ("ID 0", "ERR client-id should be greater than 0"),
            ("ID -1", "ERR client-id should be greater than 0"),
            ("ID abc", "ERR client-id should be greater than 0"),
            ("TYPE foo", "ERR Unknown client type 'foo'"),
            ("USER nobody", "ERR No such user 'nobody'"),
            ("SKIPME maybe", "ERR syntax error"),
            ("FOO bar", "ERR syntax error"),
            ("ID 1 ADDR", "ERR syntax error"),
            ("MAXAGE 0", "ERR maxage should be greater than 0"),
        ] {
            assert_eq!(kill(line), Err(error.into()), "{line}");
        }
    }

    #[test]
    fn list_takes_one_filter() {
        assert_eq!(list(""), Ok(ListFilter::default()));
        assert_eq!(list("TYPE Normal").map(|filter| filter.class), Ok(Some(Class::Normal)));
        assert_eq!(list("id 3 1 -1").map(|filter| filter.ids), Ok(Some(vec![3, 1])));
        for (line, error) in [
            ("FOO", "ERR syntax error"),
            ("TYPE", "ERR syntax error"),
            ("TYPE foo", "ERR Unknown client type 'foo'"),
            ("TYPE normal normal", "ERR syntax error"),
            ("ID", "ERR syntax error"),
            ("ID abc", "ERR Invalid client ID"),
            ("ID 1 abc", "ERR Invalid client ID"),
        ] {
            assert_eq!(list(line), Err(error.into()), "{line}");
        }
    }
}
