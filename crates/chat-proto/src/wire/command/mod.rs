//! Commands: the requests of a client, each one JSON object in one text frame.

mod read;
mod token;
mod write;

use serde_json::value::RawValue;

use crate::room::{Change, Links, Mentions, Restriction, RoomRules};
use crate::{ErrorCode, LogBounds, Range, Role, RoomName, Search, User};

pub use read::parse;
pub(crate) use read::parse_with;
pub use token::Token;

/// A request of a client, with all checks that need no state.
///
/// # Examples
///
/// ```
/// use chat_proto::command::{self, Command};
///
/// let typing = Command::Typing { room: "lobby".parse()?, active: true };
/// assert_eq!(typing.encode(None), r#"{"type":"typing","room":"lobby","active":true}"#);
/// # Ok::<(), chat_proto::InvalidRoomName>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Command {
    /// Identifies the user of the connection, or renews the credentials of that user.
    Hello {
        /// The credentials.
        token: Token,
    },
    /// Makes the connection a member of a room.
    Join {
        /// The room.
        room: RoomName,
        /// The messages that are delivered first.
        from: JoinFrom,
    },
    /// Makes the connection a member of the direct room of the user and another one.
    JoinDirect {
        /// The other user. Only the id is on the wire.
        with: User,
        /// The messages that are delivered first.
        from: JoinFrom,
    },
    /// Ends the membership in a room.
    Leave {
        /// The room.
        room: RoomName,
    },
    /// Appends a message to a room.
    Send {
        /// The room.
        room: RoomName,
        /// The idempotency key.
        key: Option<String>,
        /// The body, as the client wrote it.
        body: Box<RawValue>,
        /// The links to other messages and to users. `None` if there are none.
        links: Option<Box<Links>>,
    },
    /// Changes a message.
    Change {
        /// The room.
        room: RoomName,
        /// The `seq` of the message.
        seq: u64,
        /// The change.
        change: Change,
        /// The newest entry that the client knows of the message.
        rev: Option<u64>,
        /// The idempotency key of an edit.
        key: Option<String>,
        /// The users that an edited message mentions from now on.
        mentions: Option<Mentions>,
    },
    /// Creates a room, or sets its rules.
    Create {
        /// The room.
        room: RoomName,
        /// All rules of the room.
        rules: RoomRules,
    },
    /// Gives a user a role in a room.
    Role {
        /// The room.
        room: RoomName,
        /// The user. Only the id is on the wire.
        user: User,
        /// The role.
        role: Role,
    },
    /// Restricts a user in a room.
    Restrict {
        /// The room.
        room: RoomName,
        /// The user. Only the id is on the wire.
        user: User,
        /// The restriction, `None` to end the present one.
        restriction: Option<Restriction>,
        /// A reason, which members see.
        reason: Option<String>,
    },
    /// Deletes all messages of a user in a room.
    Purge {
        /// The room.
        room: RoomName,
        /// The user. Only the id is on the wire.
        user: User,
    },
    /// Reads single messages of a room's log.
    Messages {
        /// The room.
        room: RoomName,
        /// The positions of the messages.
        seqs: Vec<u64>,
    },
    /// Reads a part of a thread.
    Thread {
        /// The room.
        room: RoomName,
        /// The `seq` of the message with which the thread begins.
        root: u64,
        /// The part of the thread.
        range: Range,
    },
    /// Reads a part of a room's log.
    History {
        /// The room.
        room: RoomName,
        /// The part of the log.
        range: Range,
    },
    /// Lists the users in a room.
    Members {
        /// The room.
        room: RoomName,
        /// The last user of the page before, `None` for the first page.
        after: Option<User>,
        /// The largest number of users.
        limit: usize,
    },
    /// Moves the marker of the user forward.
    Read {
        /// The room.
        room: RoomName,
        /// The position of the last entry that the user has read.
        seq: u64,
    },
    /// Lists a room in `rooms` although the user has not joined it, or ends that.
    Follow {
        /// The room.
        room: RoomName,
        /// True to follow it.
        on: bool,
    },
    /// Lists the rooms that the user follows or is in, with their unread messages.
    Rooms {
        /// The last room of the page before, `None` for the first page.
        after: Option<RoomName>,
        /// The largest number of rooms.
        limit: usize,
    },
    /// Searches a room's log.
    Search {
        /// The room.
        room: RoomName,
        /// The query.
        search: Search,
    },
    /// Announces that the user started or stopped typing.
    Typing {
        /// The room.
        room: RoomName,
        /// True if the user is typing.
        active: bool,
    },
    /// Asks for a `pong`.
    Ping,
}

impl Command {
    /// Returns the tokens that the command costs. See [`RateLimits`](crate::RateLimits).
    pub fn cost(&self) -> u32 {
        match self {
            Self::Send { .. }
            | Self::Change { .. }
            | Self::Role { .. }
            | Self::Restrict { .. }
            | Self::Read { .. }
            | Self::Typing { .. }
            | Self::Ping => 1,
            Self::Join { .. }
            | Self::JoinDirect { .. }
            | Self::Leave { .. }
            | Self::Create { .. }
            | Self::Follow { .. } => 2,
            Self::Hello { .. }
            | Self::Purge { .. }
            | Self::History { .. }
            | Self::Messages { .. }
            | Self::Thread { .. }
            | Self::Members { .. }
            | Self::Rooms { .. }
            | Self::Search { .. } => 5,
        }
    }

    /// Returns the room that the command names.
    pub(crate) fn room(&self) -> Option<&RoomName> {
        match self {
            Self::Hello { .. } | Self::JoinDirect { .. } | Self::Rooms { .. } | Self::Ping => None,
            Self::Join { room, .. }
            | Self::Leave { room }
            | Self::Send { room, .. }
            | Self::Change { room, .. }
            | Self::Create { room, .. }
            | Self::Role { room, .. }
            | Self::Restrict { room, .. }
            | Self::Purge { room, .. }
            | Self::Messages { room, .. }
            | Self::Thread { room, .. }
            | Self::History { room, .. }
            | Self::Members { room, .. }
            | Self::Read { room, .. }
            | Self::Follow { room, .. }
            | Self::Search { room, .. }
            | Self::Typing { room, .. } => Some(room),
        }
    }
}

/// The messages that a new member gets first.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JoinFrom {
    /// Only new messages.
    Now,
    /// The given number of the newest messages, then new ones.
    Last(u64),
    /// All messages after a position, then new ones.
    After {
        /// The `epoch` in which the position counts.
        epoch: String,
        /// The `seq` of the last entry that the client has.
        seq: u64,
    },
}

impl JoinFrom {
    /// Returns true if a log of this extent has reached the position.
    pub fn is_within(&self, bounds: &LogBounds) -> bool {
        match self {
            Self::Now | Self::Last(_) => true,
            Self::After { epoch, seq } => *epoch == bounds.epoch && *seq <= bounds.head,
        }
    }
}

/// The result of reading one frame: a command or an error, and the `ref` that the reply must carry.
#[derive(Debug)]
pub struct Parsed {
    /// The `ref`, if the frame has a valid one.
    pub reference: Option<String>,
    /// The command.
    pub command: Result<Command, Invalid>,
}

/// The reason why a text is not a command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}")]
pub struct Invalid {
    /// The error code of the reply.
    pub code: ErrorCode,
    /// The room that the command names, if it names a valid one.
    pub room: Option<RoomName>,
}
