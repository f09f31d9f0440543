use std::time::Duration;

use serde_json::value::RawValue;

use crate::command::{JoinFrom, Token};
use crate::room::{Act, Change, ChangeReceipt, Joined, Links, Marked, MembersPage, Mentions, Unread};
use crate::{
    AppendReceipt, CloseCode, ErrorCode, Event, Page, Range, RoomName, RoomSummary, Search, SearchPage, User,
};

/// An effect of a session, to be performed.
#[derive(Debug)]
pub enum Effect {
    /// Send this event.
    Reply(Event),
    /// Send a ping.
    Ping,
    /// Ask the host about these credentials, and pass the answer to
    /// [`Session::handle_identification`](super::Session::handle_identification). No other command is in flight then.
    Identify(Token),
    /// Perform this in a room, and pass the result to [`Session::handle_outcome`](super::Session::handle_outcome).
    /// One operation is in flight at a time, unless [`Session::handle_submitted`](super::Session::handle_submitted)
    /// allows more messages. The results are passed on in the order of the operations.
    Perform(Operation),
    /// List rooms, and pass the result to [`Session::handle_outcome`](super::Session::handle_outcome) as for `Perform`.
    List(Listing),
    /// Announce that the user started or stopped typing. There is no reply.
    Typing(RoomName, bool),
    /// Close the connection: the `closing` event, then a close frame.
    Close(CloseCode),
}

/// An operation in a room.
#[derive(Debug)]
pub struct Operation {
    /// The room.
    pub room: RoomName,
    /// The operation.
    pub action: Action,
}

/// A list of the rooms that the user follows, and of those that the connection is in.
#[derive(Debug)]
pub struct Listing {
    /// The last room of the page before.
    pub after: Option<RoomName>,
    /// The largest number of rooms.
    pub limit: usize,
    /// The rooms that the connection is in, in the order of their names.
    pub joined: Vec<RoomName>,
}

/// The kinds of [`Operation`].
#[derive(Debug)]
pub enum Action {
    /// Become a member, or read again from another position.
    Join(JoinFrom),
    /// Become a member of the direct room of the user and another one, which is opened if it is not open yet.
    JoinDirect {
        /// The other user. Only the id counts.
        with: User,
        /// The messages that are delivered first.
        from: JoinFrom,
    },
    /// Stop being a member. The membership is given back by [`Session::leave`](super::Session::leave).
    Leave,
    /// Append a message.
    Send {
        /// The idempotency key.
        key: Option<String>,
        /// The body, not yet checked.
        body: Box<RawValue>,
        /// The links to other messages and to users.
        links: Option<Box<Links>>,
    },
    /// Change a message. The body of an edit is not yet checked.
    Change {
        /// The `seq` of the message.
        seq: u64,
        /// The change.
        change: Change,
        /// The newest entry that the client knows of the message.
        rev: Option<u64>,
        /// The idempotency key.
        key: Option<String>,
        /// The users that an edited message mentions from now on.
        mentions: Option<Mentions>,
    },
    /// Set the rules of the room, or the standing of a user.
    Govern(Act),
    /// Read single messages.
    Messages(Vec<u64>),
    /// Read the thread that begins with a message.
    Thread(u64, Range),
    /// Read the log.
    History(Range),
    /// Search the log.
    Search(Search),
    /// List the users.
    Members {
        /// The last user of the page before.
        after: Option<User>,
        /// The largest number of users.
        limit: usize,
    },
    /// Move the marker of the user to this position.
    Read(u64),
    /// Follow the room, or end that.
    Follow(bool),
}

/// The result of an operation. `M` is a membership of a room; dropping it leaves the room.
#[derive(Debug)]
pub enum Outcome<M> {
    /// The connection is a member.
    Joined {
        /// The membership; `None` if the connection was a member before.
        membership: Option<M>,
        /// The answer of the room.
        joined: Box<Joined>,
        /// The unread messages of the user. `None` if the log keeps no markers.
        unread: Option<Unread>,
    },
    /// The connection has left.
    Left,
    /// The message is in the log.
    Sent(AppendReceipt),
    /// The change or the act is in the log.
    Changed(ChangeReceipt),
    /// A part of the log.
    History(Page),
    /// A page of a search.
    Found(SearchPage),
    /// A part of the users in the room.
    Members(MembersPage),
    /// The marker of the user is stored.
    Read(Marked),
    /// The user follows the room if this is true, and does not follow it otherwise.
    Followed(bool),
    /// A part of the rooms that the user follows or is in.
    Listed {
        /// The rooms, in the order of their names.
        rooms: Vec<RoomSummary>,
        /// True if there may be more rooms.
        more: bool,
        /// Those of the rooms that the user follows.
        followed: Vec<RoomName>,
    },
    /// An error.
    Refused {
        /// The code on the wire.
        code: ErrorCode,
        /// A text of the host for the client.
        detail: Option<String>,
    },
    /// The command came too early and had no effect. It can succeed after this time.
    TooEarly(Duration),
    /// The server has too much to do, and the command had no effect. The client must return after this time.
    Busy(Duration),
    /// Nothing. The operation was skipped, because no reply can reach the peer.
    Skipped,
}

impl<M> From<ErrorCode> for Outcome<M> {
    fn from(code: ErrorCode) -> Self {
        Self::Refused { code, detail: None }
    }
}
