//! The histories of the clients of one room, and the check that one room can have produced all of them.

mod check;

pub use check::check;

/// The history of one client over all its connections.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// The name of the user. Each writer has a name of its own.
    pub user: String,
    /// The records, in order.
    pub records: Vec<Record>,
}

/// An action of a client, or something that it received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// It sent a message, for the first time or again.
    Sent {
        /// The idempotency key.
        key: String,
        /// The text.
        text: String,
    },
    /// It received an acknowledgement.
    Acknowledged {
        /// The idempotency key.
        key: String,
        /// The position of the message.
        seq: u64,
        /// True if the server had the message already.
        duplicate: bool,
    },
    /// It joined.
    Joined {
        /// The start that it asked for.
        from: JoinFrom,
        /// The epoch of the room.
        epoch: String,
        /// The newest message.
        head: u64,
        /// The oldest readable message.
        first: u64,
        /// The value of `recovered`.
        recovered: bool,
    },
    /// It received a message.
    Received(Message),
    /// It was notified of a gap.
    Gap {
        /// The first missing message.
        from: u64,
        /// The last missing message.
        to: u64,
    },
    /// Its connection ended.
    Disconnected,
}

/// The start of the messages that a join asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinFrom {
    /// Future messages only.
    Now,
    /// This number of the newest messages.
    Last(u64),
    /// All messages after this position.
    After(u64),
}

/// A message as a client received it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The position in the room.
    pub seq: u64,
    /// The user who sent it.
    pub user: String,
    /// The commit time.
    pub at: u64,
    /// The idempotency key.
    pub key: String,
    /// The text.
    pub text: String,
}

/// The reason why no room can have produced the histories.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the doc of each variant explains its fields")]
pub enum Violation {
    /// Two clients saw different messages at one position, or different epochs.
    ConflictingOrder { seq: u64 },
    /// A message is older than its predecessor.
    TimeRunsBack { seq: u64 },
    /// A message came before its predecessor.
    MissingMessage { user: String, expected: u64, came: u64 },
    /// A message came twice.
    Repeated { user: String, seq: u64 },
    /// A message came to a client that was not a member.
    NotAMember { user: String, seq: u64 },
    /// A gap covers messages that were still readable, or that were not the next ones.
    UnjustifiedGap { user: String, from: u64, to: u64 },
    /// The value of `recovered` contradicts the readable messages.
    WrongRecovered { user: String, after: u64, first: u64 },
    /// A join names an older newest message than the client knew.
    HeadRunsBack { user: String, head: u64, known: u64 },
    /// A client that stayed did not receive the newest messages.
    Incomplete { user: String, next: u64, head: u64 },
    /// A message was never sent, or differs from the one that was sent.
    NeverSent { seq: u64 },
    /// A message was stored twice.
    StoredTwice { user: String, key: String },
    /// An acknowledged message is not at its position.
    Lost { user: String, key: String, seq: u64 },
    /// A message was never acknowledged.
    Unacknowledged { user: String, key: String },
    /// The value of `duplicate` contradicts the messages sent.
    WrongDuplicate { user: String, key: String },
    /// The messages of a writer are not in the order sent.
    OutOfOrder { user: String, key: String },
}
