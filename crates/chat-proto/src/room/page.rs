use super::StoredMessage;

/// A part of a log to read: messages, or entries of all kinds.
///
/// A store answers a range that it does not know with [`Unavailable`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Range {
    /// The newest messages of the log.
    Newest {
        /// The largest number of messages.
        limit: usize,
    },
    /// The newest messages before a position.
    Before {
        /// The first position that is not in the range.
        seq: u64,
        /// The largest number of messages.
        limit: usize,
    },
    /// The oldest messages after a position.
    After {
        /// The last position that is not in the range.
        seq: u64,
        /// The largest number of messages.
        limit: usize,
    },
    /// The oldest entries after a position, messages and changes. In a log without changes, it is the same as
    /// [`After`](Self::After).
    Entries {
        /// The last position that is not in the range.
        after: u64,
        /// The largest number of entries.
        limit: usize,
    },
    /// The oldest [acts](crate::Act) after a position.
    Acts {
        /// The last position that is not in the range.
        after: u64,
        /// The largest number of acts.
        limit: usize,
    },
}

impl Range {
    /// Returns the range of the newest messages of a log, at most `limit`.
    ///
    /// ```
    /// use chat_proto::Range;
    ///
    /// assert_eq!(Range::newest(10), Range::Newest { limit: 10 });
    /// ```
    pub fn newest(limit: usize) -> Self {
        Self::Newest { limit }
    }

    /// Returns the range of the newest messages before `seq`, at most `limit`.
    pub fn before(seq: u64, limit: usize) -> Self {
        Self::Before { seq, limit }
    }

    /// Returns the range of the oldest entries after `seq`, at most `limit`.
    pub fn entries(after: u64, limit: usize) -> Self {
        Self::Entries { after, limit }
    }

    /// Returns the range of the oldest acts after `seq`, at most `limit`.
    pub fn acts(after: u64, limit: usize) -> Self {
        Self::Acts { after, limit }
    }

    /// Returns the range of the oldest messages after `seq`, at most `limit`.
    pub fn after(seq: u64, limit: usize) -> Self {
        Self::After { seq, limit }
    }
}

/// A part of a log, oldest entry first.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Page {
    /// The epoch in which the positions count.
    pub epoch: String,
    /// The entries. They are messages, except for [`Range::Entries`], which has changes too.
    pub messages: Vec<StoredMessage>,
    /// True if the log has more of them in the direction of the range.
    pub more: bool,
}

impl Page {
    /// Returns a page of these entries, after which the log has no more.
    pub fn new(epoch: impl Into<String>, messages: Vec<StoredMessage>) -> Self {
        Self { epoch: epoch.into(), messages, more: false }
    }

    /// Sets [`more`](Self::more).
    #[must_use]
    pub fn with_more(mut self, more: bool) -> Self {
        self.more = more;
        self
    }

    /// Returns a page that was read newest entry first, in the order of a page.
    pub(super) fn reversed(mut self) -> Self {
        self.messages.reverse();
        self
    }
}

/// The extent of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogBounds {
    /// The identifier of the log's contents. A log that is lost and begins again gets another epoch. Positions of
    /// different epochs cannot be compared.
    pub epoch: String,
    /// The `seq` of the newest entry, 0 if there is none.
    pub head: u64,
    /// The `seq` of the oldest entry that can be read; `head + 1` if there is none.
    pub first: u64,
    /// True if some entries are changes or acts, so that positions do not count messages.
    pub has_changes: bool,
    /// True if the log has or had an act, so that the room may have rules, and users in it a standing.
    pub has_rules: bool,
    /// The `seq`s of the pinned messages, ascending.
    pub pins: Vec<u64>,
}

impl LogBounds {
    /// Returns the extent of a log that has kept all its messages.
    ///
    /// ```
    /// use chat_proto::LogBounds;
    ///
    /// let bounds = LogBounds::new("k3f9", 100);
    /// assert_eq!((bounds.first, bounds.head), (1, 100));
    /// assert_eq!(bounds.with_first(21).first, 21);
    /// ```
    pub fn new(epoch: impl Into<String>, head: u64) -> Self {
        Self { epoch: epoch.into(), head, first: 1, has_changes: false, has_rules: false, pins: Vec::new() }
    }

    /// Sets [`has_changes`](Self::has_changes).
    #[must_use]
    pub fn with_changes(mut self, has_changes: bool) -> Self {
        self.has_changes = has_changes;
        self
    }

    /// Sets [`has_rules`](Self::has_rules).
    #[must_use]
    pub fn with_rules(mut self, has_rules: bool) -> Self {
        self.has_rules = has_rules;
        self
    }

    /// Sets the pinned messages.
    #[must_use]
    pub fn with_pins(mut self, pins: Vec<u64>) -> Self {
        self.pins = pins;
        self
    }

    /// Sets the `seq` of the oldest entry that can be read.
    #[must_use]
    pub fn with_first(mut self, first: u64) -> Self {
        self.first = first;
        self
    }
}
