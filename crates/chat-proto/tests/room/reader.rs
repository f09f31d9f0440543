use bytes::Bytes;
use chat_proto::{Cursor, Page, StoredMessage};

/// An entry of the tail: a message, or an event between two messages.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Entry {
    Message(StoredMessage),
    Event { number: u64, head: u64 },
}

impl AsRef<[u8]> for Entry {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Message(stored) => &stored.frame,
            Self::Event { .. } => &[b'e'; 20],
        }
    }
}

/// A reader of a tail, and the events that it must get.
pub(crate) struct Reader {
    pub(crate) cursor: Cursor,
    /// The `seq` that must come next.
    pub(crate) next: u64,
    /// The events taken, and the first one after this reader joined.
    pub(crate) events: Vec<u64>,
    pub(crate) first_event: u64,
    /// A page that was read from the log and not yet taken.
    pub(crate) page: Option<(Page, u64, u64)>,
}

impl Reader {
    pub(crate) fn take_entry(&mut self, entry: Entry, stored: &[Bytes]) {
        match entry {
            Entry::Message(message) => self.take_message(&message, stored),
            Entry::Event { number, head } => {
                assert!(number >= self.first_event && self.events.last().is_none_or(|last| *last < number));
                assert!(head < self.next, "event {number} came before message {head}");
                self.events.push(number);
            }
        }
    }

    fn take_message(&mut self, message: &StoredMessage, stored: &[Bytes]) {
        assert_eq!(message.seq, self.next);
        assert_eq!(message.frame, stored[usize::try_from(message.seq).expect("a small number") - 1]);
        self.next += 1;
    }

    /// Takes a page as far as `up_to`. The messages that the log, which began with `first`, had removed are a gap.
    pub(crate) fn take_page(&mut self, page: Page, up_to: u64, first: u64, stored: &[Bytes]) {
        let messages: Vec<StoredMessage> =
            page.messages.into_iter().filter(|stored| stored.seq <= up_to).collect();
        let resumes = messages.first().map_or(up_to + 1, |message| message.seq);
        assert!(resumes >= self.next);
        if resumes > self.next {
            assert!(resumes <= first, "{} to {resumes} are missing in a log from {first} on", self.next);
            self.next = resumes;
        }
        for message in &messages {
            self.take_message(message, stored);
        }
        self.cursor.seq = messages.last().map_or(up_to, |last| last.seq);
        assert_eq!(self.cursor.seq + 1, self.next);
    }
}
