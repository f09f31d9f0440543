use std::sync::Arc;
use std::time::Duration;

use chat_proto::{LimitsNotice, PresenceMode, PresenceState, RoomName, RoomSummary, User};

use crate::{
    Closed, ConnectError, Joined, Lost, ReceivedAct, ReceivedChange, ReceivedMessage, ReceivedPurge,
    ServerError,
};

/// An event of a client: something that the server sent, or a change of the connection.
///
/// In contrast to [`chat_proto::Event`], the events of one room have no repeats and no unnamed gaps over all
/// connections, replies are not among them, and the changes of the connection are.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ClientEvent {
    /// A message. The messages of one room arrive in order and once, from the start that
    /// [`join`](crate::Client::join) was given.
    Message(ReceivedMessage),
    /// A change to a message. It is an entry of the room's log like a message, so it arrives in order and once.
    /// [`ReceivedMessage::apply`] and [`RoomView`](crate::RoomView) bring a message to its present state.
    Changed(ReceivedChange),
    /// Messages of a user were deleted. It is an entry of the room's log, so it arrives in order and once.
    /// [`ReceivedMessage::apply_purge`] and [`RoomView`](crate::RoomView) delete them.
    Purged(ReceivedPurge),
    /// Other rules of a room, or another standing of a user in it. It is an entry of the room's log too.
    Act(ReceivedAct),
    /// A range of entries that the client does not get, because the room's log no longer reached back.
    ///
    /// Changes are among the missing entries, so the messages up to `to` that the consumer keeps may be out of date
    /// until it reads them again.
    Gap {
        /// The room.
        room: RoomName,
        /// The epoch in which the positions count.
        epoch: Arc<str>,
        /// The first entry that is missing.
        from: u64,
        /// The last entry that is missing.
        to: u64,
    },
    /// The first connection of a user joined a room, or the last one left it.
    Presence {
        /// The room.
        room: RoomName,
        /// The user.
        user: User,
        /// The change: the user joined or left.
        state: PresenceState,
    },
    /// The number of users in a room that counts them, or that announces each of them again.
    ///
    /// With [`PresenceMode::Each`], a list of users that the consumer keeps is replaced by
    /// [`members`](crate::Client::members). With [`PresenceMode::Count`], no user is typing.
    Occupancy {
        /// The room.
        room: RoomName,
        /// The number of users.
        members: usize,
        /// The way in which the room announces its users from now on.
        presence: PresenceMode,
    },
    /// A user started or stopped typing.
    Typing {
        /// The room.
        room: RoomName,
        /// The user.
        user: User,
        /// True if the user is typing.
        active: bool,
    },
    /// The marker of this user was moved by another connection, or while the client did not read.
    Read {
        /// The room.
        room: RoomName,
        /// The position of the marker.
        seq: u64,
    },
    /// Another user in the room has read up to a position. It only arrives if the rules of the room allow `receipts`.
    /// An earlier position than one before changes nothing.
    Receipt {
        /// The room.
        room: RoomName,
        /// The user.
        user: User,
        /// The position of the user's marker.
        seq: u64,
    },
    /// New entries in a room that the user follows and the client is not in, and the unread messages.
    Activity {
        /// The room.
        room: RoomName,
        /// The other user, if this is a direct room.
        with: Option<User>,
        /// The newest entry.
        seq: u64,
        /// The number of unread messages.
        unread: u64,
        /// The number of unread messages that mention the user.
        mentions: u64,
    },
    /// A page of the user's rooms, in which activity may have been missed: after a reconnect, or because the consumer
    /// was slow. Only a client that has used [`follow`](crate::Client::follow) or [`rooms`](crate::Client::rooms) asks
    /// for them.
    Rooms(Vec<RoomSummary>),
    /// The credentials of the connection expire soon. A client with a [`Builder::token`](crate::Builder::token) renews
    /// them.
    Expiring {
        /// The time of the end, in ms since the Unix epoch by the server's clock.
        at: u64,
    },
    /// The connection is lost. Commands wait for the next one.
    Disconnected {
        /// The reason.
        lost: Lost,
        /// The time until the client tries to reconnect.
        retry_in: Duration,
    },
    /// An attempt to reconnect failed.
    ReconnectFailed {
        /// The reason.
        error: ConnectError,
        /// The time until the next attempt.
        retry_in: Duration,
    },
    /// The client has a connection again. A [`Resumed`](Self::Resumed) follows for each room.
    Reconnected,
    /// A room continues on the new connection. Changes of presence while the client was away are not among the events.
    ///
    /// [`Joined::recovered`] is true if the room continues exactly where it stopped. If not, a [`Gap`](Self::Gap)
    /// follows for the entries that are known to be missing. In another epoch, the unread entries of the old epoch are
    /// missing too.
    Resumed(Joined),
    /// The server refused to let the client back into a room. The room sends no more events.
    Expelled {
        /// The room.
        room: RoomName,
        /// The reason.
        error: ServerError,
    },
    /// An error that belongs to no pending command, such as an error of `typing`.
    Error(ServerError),
    /// The client has ended. This is the last event.
    Closed(Closed),
}

/// The first event on a connection: the fields of [`chat_proto::Event::Welcome`] for the caller of
/// [`Socket::welcome`](crate::socket::Socket::welcome).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Welcome {
    /// The id of the connection in the server's log.
    pub connection: String,
    /// The user of the connection.
    pub user: User,
    /// The limits of the server.
    pub limits: LimitsNotice,
}
