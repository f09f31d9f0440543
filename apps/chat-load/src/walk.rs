//! Whether a room's history, read backwards page by page, is all there.

/// One reading of a room, from its newest message to its first.
#[derive(Debug)]
pub struct Walk {
    /// The room's first message when the reading began.
    first: u64,
    head: u64,
    /// The oldest message that has come.
    oldest: Option<u64>,
    messages: u64,
    over: bool,
}

impl Walk {
    /// Begins to read a room that has the messages from `first` to `head`.
    pub fn new(first: u64, head: u64) -> Self {
        Self { first, head, oldest: None, messages: 0, over: false }
    }

    /// The message that the next page is to end before, if there is to be one.
    pub fn before(&self) -> Option<u64> {
        (!self.over).then_some(self.oldest.unwrap_or(u64::MAX))
    }

    /// A page came: its messages, the oldest first, and whether there are more.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn page(&mut self, seqs: &[u64], more: bool) -> Result<(), &'static str> {
        if seqs.windows(2).any(|pair| pair[0] + 1 != pair[1]) {
            return Err("a page with a hole");
        }
        match (seqs.last(), self.oldest) {
            (None, _) if more => return Err("an empty page before others"),
            (Some(last), None) if *last < self.head => return Err("a first page without the newest message"),
            (Some(last), Some(oldest)) if last + 1 != oldest => return Err("a page that is not the next"),
            _ => {}
        }
        self.oldest = seqs.first().copied().or(self.oldest);
        self.messages += seqs.len() as u64;
        self.over = !more;
        Ok(())
    }

    /// How many messages there were, now that the room's first message is `first`: it may have lost some meanwhile,
    /// and never gets any back.
    ///
    /// # Errors
    ///
    /// If that is not where the pages ended.
    pub fn end(&self, first: u64) -> Result<u64, &'static str> {
        match self.oldest.unwrap_or(self.head + 1) {
            oldest if oldest < self.first => Err("pages with what the room had no more"),
            oldest if oldest > first => Err("pages that ended ahead of the room's first message"),
            _ => Ok(self.messages),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_that_are_next_to_each_other_are_the_whole_room() {
        let mut walk = Walk::new(1, 5);
        assert_eq!(walk.before(), Some(u64::MAX));
        // Two more have come since.
        walk.page(&[5, 6, 7], true).unwrap();
        assert_eq!(walk.before(), Some(5));
        walk.page(&[3, 4], true).unwrap();
        walk.page(&[1, 2], false).unwrap();
        assert_eq!((walk.before(), walk.end(1)), (None, Ok(7)));
    }

    #[test]
    fn a_room_may_lose_its_beginning_while_it_is_read() {
        let mut walk = Walk::new(3, 9);
        walk.page(&[8, 9], true).unwrap();
        walk.page(&[], false).unwrap();
        assert_eq!((walk.end(8), walk.end(9)), (Ok(2), Ok(2)));
        assert!(walk.end(7).is_err(), "the room has 7 still");
    }

    #[test]
    fn an_empty_room_is_read_at_once() {
        let mut walk = Walk::new(1, 0);
        walk.page(&[], false).unwrap();
        assert_eq!(walk.end(1), Ok(0));
    }

    #[test]
    fn what_is_missing_or_too_much_is_noticed() {
        let walk = || {
            let mut walk = Walk::new(2, 9);
            walk.page(&[8, 9], true).unwrap();
            walk
        };
        for seqs in [&[5, 7][..], &[5, 6], &[7, 8], &[7, 7], &[7, 6], &[]] {
            assert!(walk().page(seqs, true).is_err(), "{seqs:?}");
        }
        assert!(Walk::new(1, 9).page(&[7, 8], true).is_err(), "9 is missing");
        let mut short = walk();
        short.page(&[3, 4, 5, 6, 7], false).unwrap();
        assert!(short.end(2).is_err(), "2 is missing");
        let mut long = walk();
        long.page(&[1, 2, 3, 4, 5, 6, 7], false).unwrap();
        assert!(long.end(2).is_err(), "there was no 1 any more");
    }
}
