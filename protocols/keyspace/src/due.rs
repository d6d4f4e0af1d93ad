//! When something expires: for each block of the heap the soonest expiry in it, or an earlier one
//! that is over or was taken back. Finding what is due reads eight bytes for every 4 KiB of records.

/// Nothing in the block expires.
const NEVER: u64 = u64::MAX;

/// The soonest expiry of each block of records.
#[derive(Debug, Default)]
pub(crate) struct Due {
    soonest_ms: Vec<u64>,
    /// The block that the present pass looks at next.
    at: usize,
    /// The soonest expiry that the present pass has passed over.
    passed_ms: u64,
}

/// Where a pass over the blocks stands.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Records of this block may have expired.
    Block(usize),
    /// The pass is over; the soonest expiry that is left, if there is one.
    End(Option<u64>),
    /// As many blocks were looked at as were allowed.
    Paused,
}

impl Due {
    /// Says that a record of a block expires at `expires_ms`.
    #[inline]
    pub(crate) fn note(&mut self, block: usize, expires_ms: u64) {
        if block >= self.soonest_ms.len() {
            self.soonest_ms.resize(block + 1, NEVER);
        }
        let soonest = &mut self.soonest_ms[block];
        *soonest = expires_ms.min(*soonest);
        if block < self.at {
            self.passed_ms = self.passed_ms.min(expires_ms);
        }
    }

    /// Goes on with the pass to the next block in which something is due before `now_ms`, looking
    /// at no more than `blocks`, which are counted down. What still expires in the block it returns
    /// has to be noted again.
    pub(crate) fn find(&mut self, now_ms: u64, blocks: &mut usize) -> Found {
        if self.at == 0 {
            self.passed_ms = NEVER;
        }
        let end = self.soonest_ms.len().min(self.at.saturating_add(*blocks));
        let open = &self.soonest_ms[self.at..end];
        let found = open.iter().position(|&soonest| soonest < now_ms);
        let seen = found.unwrap_or(open.len());
        let soonest = open[..seen].iter().fold(NEVER, |a, &b| a.min(b));
        self.passed_ms = self.passed_ms.min(soonest);
        *blocks -= seen;
        self.at += seen;
        if found.is_some() {
            self.soonest_ms[self.at] = NEVER;
            *blocks -= 1;
            self.at += 1;
            return Found::Block(self.at - 1);
        }
        if self.at < self.soonest_ms.len() {
            return Found::Paused;
        }
        self.at = 0;
        Found::End((self.passed_ms != NEVER).then_some(self.passed_ms))
    }

    /// Some block from `from` on, or from the start again, in which something may expire; `None` if
    /// there is none among so many.
    pub(crate) fn some_block(&self, from: usize, most: usize) -> Option<usize> {
        let count = self.soonest_ms.len();
        let from = from.checked_rem(count)?;
        (0..most.min(count))
            .map(|step| (from + step) % count)
            .find(|&block| self.soonest_ms[block] != NEVER)
    }

    /// Blocks that are known.
    pub(crate) fn blocks(&self) -> usize {
        self.soonest_ms.len()
    }

    pub(crate) fn memory(&self) -> usize {
        self.soonest_ms.capacity() * size_of::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_finds_what_is_due_and_says_what_is_next() {
        let mut due = Due::default();
        due.note(15, 50);
        due.note(1, 20);
        due.note(1, 30);
        let mut blocks = 100;
        assert_eq!(due.find(20, &mut blocks), Found::End(Some(20)), "due only once it is over");
        assert_eq!(due.find(21, &mut blocks), Found::Block(1));
        due.note(1, 30);
        assert_eq!(due.find(21, &mut blocks), Found::End(Some(30)));
        assert_eq!(due.find(51, &mut blocks), Found::Block(1));
        assert_eq!(due.find(51, &mut blocks), Found::Block(15));
        assert_eq!(due.find(51, &mut blocks), Found::End(None));
        assert_eq!(due.some_block(3, 100), None);
        due.note(2, 7);
        assert_eq!((due.some_block(3, 100), due.some_block(3, 2)), (Some(2), None));
    }

    #[test]
    fn a_pass_pauses() {
        let mut due = Due::default();
        due.note(9, 5);
        let mut blocks = 4;
        assert_eq!(due.find(6, &mut blocks), Found::Paused);
        assert_eq!(blocks, 0);
        blocks = 6;
        assert_eq!(due.find(6, &mut blocks), Found::Block(9));
        assert_eq!(due.find(6, &mut blocks), Found::End(None));
    }
}
