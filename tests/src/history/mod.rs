//! What the clients of one room did and saw, and whether one room can have shown them that.

mod check;

pub use check::check;

/// What one client did and saw, in that order, over all its connections.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Who it is. Whoever writes has a name of its own.
    pub user: String,
    /// What it did and saw.
    pub records: Vec<Record>,
}

/// One thing done or seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// It asked for a message to be stored, for the first time or again.
    Asked {
        /// The idempotency key.
        key: String,
        /// The text.
        text: String,
    },
    /// It was told that a message is stored.
    Acknowledged {
        /// The idempotency key.
        key: String,
        /// Where the message is.
        seq: u64,
        /// Whether it was there already.
        duplicate: bool,
    },
    /// It has become a member.
    Joined {
        /// From where on it wanted messages.
        from: From,
        /// The room's life.
        epoch: String,
        /// The newest message.
        head: u64,
        /// The oldest that could be read.
        first: u64,
        /// Whether it was to get all that it asked for.
        recovered: bool,
    },
    /// It saw a message.
    Saw(Message),
    /// It was told of messages that it will not see.
    Gap {
        /// The first of them.
        from: u64,
        /// The last.
        to: u64,
    },
    /// Its connection ended.
    Gone,
}

/// From where on a member wants messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// Those to come.
    Now,
    /// The newest so many, and those to come.
    Last(u64),
    /// All after this one.
    After(u64),
}

/// A message as somebody saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its place.
    pub seq: u64,
    /// Who wrote it.
    pub user: String,
    /// When it was committed.
    pub at: u64,
    /// Its idempotency key.
    pub key: String,
    /// What it says.
    pub text: String,
}

/// Why no room can have shown this.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are what the words before them are about")]
pub enum Flaw {
    /// Two saw different messages in one place, or the same in two lives of the room.
    TwoOrders { seq: u64 },
    /// A message came that another should have come before.
    Hole { user: String, expected: u64, came: u64 },
    /// A message came again.
    Again { user: String, seq: u64 },
    /// Something came to one who was no member.
    Uninvited { user: String, seq: u64 },
    /// A gap was told of messages that were still there, or that were not the next.
    NeedlessGap { user: String, from: u64, to: u64 },
    /// `recovered` said something else than what could be read.
    Misled { user: String, after: u64, first: u64 },
    /// One who stayed did not get the newest messages.
    LeftBehind { user: String, next: u64, head: u64 },
    /// A message that nobody wrote, or that says something else than what was written.
    Foreign { seq: u64 },
    /// A message is in the room twice.
    StoredTwice { user: String, key: String },
    /// What was acknowledged is not where it was said to be.
    Lost { user: String, key: String, seq: u64 },
    /// What was asked was never answered.
    Unanswered { user: String, key: String },
    /// A message was called a duplicate, or not called one, against what had been asked.
    Miscalled { user: String, key: String },
    /// A writer's messages are not in the order written.
    OutOfOrder { user: String, key: String },
}
