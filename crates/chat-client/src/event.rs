use std::sync::Arc;
use std::time::Duration;

use chat_proto::command::JoinFrom;
use chat_proto::{LimitsNotice, PresenceMode, PresenceState, RoomName, User};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{Closed, Lost, ServerError};

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
    /// A range of entries that the client does not get, because the room's log no longer reached back.
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
    /// The client has a connection again. A [`Resumed`](Self::Resumed) follows for each room.
    Reconnected,
    /// A room continues on the new connection.
    Resumed {
        /// The room.
        room: RoomName,
        /// The room's epoch now.
        epoch: Arc<str>,
        /// True if the room continues exactly where it stopped. If not, a [`Gap`](Self::Gap) follows for the entries
        /// that are known to be missing. In another epoch, the unread entries of the old epoch are missing too.
        recovered: bool,
        /// The number of users in the room. Changes of presence while the client was away are not among the events.
        members: usize,
        /// The way in which the room announces its users.
        presence: PresenceMode,
    },
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

/// A message in a room.
///
/// In contrast to [`chat_proto::Event::Message`], it has the epoch of its position, so that a later
/// [`join`](crate::Client::join) can [resume](Self::resume) after it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReceivedMessage {
    /// The room.
    pub room: RoomName,
    /// The epoch in which `seq` counts.
    pub epoch: Arc<str>,
    /// The position of the message in the room's log.
    pub seq: u64,
    /// The user who wrote the message.
    pub user: User,
    /// The time of the commit, in ms since the Unix epoch by the server's clock.
    pub at: u64,
    /// The idempotency key of the message.
    pub key: Option<String>,
    /// The body, as the server sent it.
    pub body: Box<RawValue>,
}

impl ReceivedMessage {
    /// Returns the text of a standard message, or `None` if the body is of another kind.
    pub fn text(&self) -> Option<String> {
        #[derive(Deserialize)]
        struct Text {
            text: String,
        }
        serde_json::from_str::<Text>(self.body.get()).ok().map(|body| body.text)
    }

    /// Returns the start of a later [`join`](crate::Client::join) that continues after this message.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(last: chat_client::ReceivedMessage) -> Result<(), Box<dyn std::error::Error>> {
    /// let (client, events) = chat_client::Client::connect("ws://127.0.0.1:8080/ws").await?;
    /// let joined = client.join(&last.room, last.resume()).await?;
    /// println!("all later messages follow: {}", joined.recovered);
    /// # Ok(())
    /// # }
    /// ```
    pub fn resume(&self) -> JoinFrom {
        JoinFrom::After { epoch: self.epoch.to_string(), seq: self.seq }
    }

    /// Returns the message of a `message` event, or `None` for other events.
    pub(crate) fn from_wire(event: chat_proto::Event, epoch: &Arc<str>) -> Option<Self> {
        match event {
            chat_proto::Event::Message { room, seq, user, at, key, body } => {
                Some(Self { room, epoch: Arc::clone(epoch), seq, user, at, key, body })
            }
            _ => None,
        }
    }
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
