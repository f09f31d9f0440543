use serde_json::value::RawValue;

use crate::command::JoinFrom;
use crate::room::Joined;
use crate::{AppendReceipt, CloseCode, ErrorCode, Event, Page, Range, RoomName, Search, SearchPage, User};

/// An effect of a session, to be performed.
#[derive(Debug)]
pub enum Effect {
    /// Send this event.
    Reply(Event),
    /// Send a ping.
    Ping,
    /// Perform this in a room, and report it to [`Session::handle_outcome`]. There is one at a time.
    Perform(Operation),
    /// Announce that the user is, or is no longer, writing. Nothing is answered.
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

/// The kinds of [`Operation`].
#[derive(Debug)]
pub enum Action {
    /// Become a member, or read again from another position.
    Join(JoinFrom),
    /// Stop being a member.
    Leave,
    /// Append a message.
    Send {
        /// The idempotency key.
        key: Option<String>,
        /// The body, not yet checked.
        body: Box<RawValue>,
    },
    /// Read the log.
    History(Range),
    /// Search the log.
    Search(Search),
    /// List the users.
    Members,
}

/// The result of an operation. `M` is a membership of a room; dropping it leaves the room.
#[derive(Debug)]
pub enum Outcome<M> {
    /// The connection is a member.
    Joined {
        /// The membership; `None` if the connection was a member before.
        membership: Option<M>,
        /// The answer of the room.
        joined: Joined,
    },
    /// The connection has left.
    Left,
    /// The message is in the log.
    Sent(AppendReceipt),
    /// A part of the log.
    History(Page),
    /// A part of the messages that fit a search.
    Found(SearchPage),
    /// The users in the room.
    Members(Vec<User>),
    /// An error; `detail` is a text of the host's code for the client.
    Refused {
        /// The code on the wire.
        code: ErrorCode,
        /// The text of the host.
        detail: Option<String>,
    },
    /// Nothing was done, because no answer can reach the peer.
    Skipped,
}

impl<M> From<ErrorCode> for Outcome<M> {
    fn from(code: ErrorCode) -> Self {
        Self::Refused { code, detail: None }
    }
}
