//! Which numbered database a request names.

use kevy_resp::{Error, Resp};
use kevy_rt::{Arg, ArgKind, Cursor};

use crate::store::value::integer;

const NOT_AN_INT: Error =
    Error::new("ERR value is out of range, value must between -2147483648 and 2147483647");
const NO_SUCH_DATABASE: Error = Error::new("ERR DB index is out of range");

/// A number that a client gives for a database's; whether there is one is known where the databases
/// are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Index(i32);

impl Index {
    /// The number of one of `count` databases.
    ///
    /// # Errors
    /// If there is no such database.
    pub(crate) fn among(self, count: usize) -> Result<usize, Error> {
        let index = usize::try_from(self.0).ok().filter(|index| *index < count);
        index.ok_or(NO_SUCH_DATABASE)
    }
}

impl<'a> Arg<'a, Resp> for Index {
    const KIND: ArgKind = ArgKind::Integer;

    fn take(cursor: &mut Cursor<'a>) -> Result<Self, Error> {
        let number = integer(cursor.bytes()?).ok_or(Error::NOT_AN_INTEGER)?;
        i32::try_from(number).map(Index).map_err(|_| NOT_AN_INT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::args;

    #[test]
    fn a_number_may_be_none_of_a_database() {
        let index = |text: &str| {
            Index::take(&mut Cursor::new(args(&[text.as_bytes()]), 0))
                .and_then(|index| index.among(16))
        };
        assert_eq!((index("0"), index("15")), (Ok(0), Ok(15)));
        for text in ["16", "-1", "2147483647", "-2147483648"] {
            assert_eq!(index(text), Err(NO_SUCH_DATABASE), "{text}");
        }
        for text in ["2147483648", "-2147483649"] {
            assert_eq!(index(text), Err(NOT_AN_INT), "{text}");
        }
        for text in ["", "a", "1.5", "9223372036854775808"] {
            assert_eq!(index(text), Err(Error::NOT_AN_INTEGER), "{text}");
        }
    }
}
