//! Checks that the history of a room, read backwards page by page, is complete.

/// A reading of the history of a room, from the newest message to the first.
#[derive(Debug)]
pub struct HistoryReader {
    /// The first message of the room at the start.
    first: u64,
    head: u64,
    /// The oldest received message.
    oldest: Option<u64>,
    messages: u64,
    is_complete: bool,
}

impl HistoryReader {
    /// Starts to read a room that has the messages from `first` to `head`.
    pub fn new(first: u64, head: u64) -> Self {
        Self { first, head, oldest: None, messages: 0, is_complete: false }
    }

    /// Returns the position before which the next page must end, or `None` after the last page.
    pub fn next_before(&self) -> Option<u64> {
        (!self.is_complete).then_some(self.oldest.unwrap_or(u64::MAX))
    }

    /// Checks a page: its positions, oldest first, and its `more`.
    ///
    /// # Errors
    ///
    /// Fails if the page does not continue the reading.
    pub fn page(&mut self, seqs: &[u64], more: bool) -> Result<(), &'static str> {
        if seqs.windows(2).any(|pair| pair[0] + 1 != pair[1]) {
            return Err("a page with a hole");
        }
        match (seqs.last(), self.oldest) {
            (None, _) if more => return Err("an empty page that is not the last"),
            (Some(last), None) if *last < self.head => return Err("a first page without the newest message"),
            (Some(last), Some(oldest)) if last + 1 != oldest => return Err("a page that is not the next"),
            _ => {}
        }
        self.oldest = seqs.first().copied().or(self.oldest);
        self.messages += seqs.len() as u64;
        self.is_complete = !more;
        Ok(())
    }

    /// Ends the reading and returns the number of messages. `first` is now the first message of the room: retention may
    /// have removed some.
    ///
    /// # Errors
    ///
    /// Fails if the pages did not end at the first message.
    pub fn finish(&self, first: u64) -> Result<u64, &'static str> {
        match self.oldest.unwrap_or(self.head + 1) {
            oldest if oldest < self.first => Err("pages with messages that the room did not have"),
            oldest if oldest > first => Err("pages that end before the first message of the room"),
            _ => Ok(self.messages),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adjacent_pages_cover_the_room() {
        let mut reader = HistoryReader::new(1, 5);
        assert_eq!(reader.next_before(), Some(u64::MAX));
        // Two more messages were sent after the start.
        reader.page(&[5, 6, 7], true).unwrap();
        assert_eq!(reader.next_before(), Some(5));
        reader.page(&[3, 4], true).unwrap();
        reader.page(&[1, 2], false).unwrap();
        assert_eq!(reader.next_before(), None);
        assert_eq!(reader.finish(1), Ok(7));
    }

    #[test]
    fn retention_may_remove_messages_during_a_reading() {
        let mut reader = HistoryReader::new(3, 9);
        reader.page(&[8, 9], true).unwrap();
        reader.page(&[], false).unwrap();
        assert_eq!(reader.finish(8), Ok(2));
        assert_eq!(reader.finish(9), Ok(2));
        assert!(reader.finish(7).is_err(), "7 is still in the room");
    }

    #[test]
    fn an_empty_room_is_complete() {
        let mut reader = HistoryReader::new(1, 0);
        reader.page(&[], false).unwrap();
        assert_eq!(reader.finish(1), Ok(0));
    }

    #[test]
    fn missing_and_extra_messages_are_found() {
        let reader = || {
            let mut reader = HistoryReader::new(2, 9);
            reader.page(&[8, 9], true).unwrap();
            reader
        };
        for seqs in [&[5, 7][..], &[5, 6], &[7, 8], &[7, 7], &[7, 6], &[]] {
            assert!(reader().page(seqs, true).is_err(), "{seqs:?}");
        }
        assert!(HistoryReader::new(1, 9).page(&[7, 8], true).is_err(), "9 is missing");
        let mut short = reader();
        short.page(&[3, 4, 5, 6, 7], false).unwrap();
        assert!(short.finish(2).is_err(), "2 is missing");
        let mut long = reader();
        long.page(&[1, 2, 3, 4, 5, 6, 7], false).unwrap();
        assert!(long.finish(2).is_err(), "1 was not in the room");
    }
}
