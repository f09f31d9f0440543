use std::sync::Arc;
use std::time::Duration;

use chat_proto::RoomName;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::raw::part;
use crate::{Closed, ErrorCode, JoinFrom, Lost, RawEvent, Refusal};

/// What a client tells: what the server told it, and how the connection is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A message. Those of one room come in order, each once, from wherever [`join`](crate::Client::join) began.
    Message(Message),
    /// Messages that will not come: the room's log no longer reached back. `history` may still have some.
    Gap {
        /// The room.
        room: RoomName,
        /// The epoch in which the positions count.
        epoch: Arc<str>,
        /// The first message missing.
        from: u64,
        /// The last message missing.
        to: u64,
    },
    /// A user came with their first connection, or went with their last.
    Presence {
        /// The room.
        room: RoomName,
        /// Who.
        user: User,
        /// Whether they are there now.
        joined: bool,
    },
    /// A user is, or is no longer, writing.
    Typing {
        /// The room.
        room: RoomName,
        /// Who.
        user: User,
        /// Whether they are.
        active: bool,
    },
    /// The connection is lost; commands wait for the next.
    Disconnected {
        /// How.
        lost: Lost,
        /// When the client tries to connect again.
        retry_in: Duration,
    },
    /// There is a connection again; a [`Resumed`](Self::Resumed) for each room follows.
    Reconnected,
    /// A room goes on, on a new connection.
    Resumed {
        /// The room.
        room: RoomName,
        /// The room's epoch now.
        epoch: Arc<str>,
        /// Whether it goes on exactly where it stopped. If not, what is known to be missing is in the
        /// [`Gap`](Self::Gap) that follows; in another epoch that is all that was not read of the old one, too.
        recovered: bool,
    },
    /// The server would not have the client back in a room: nothing more comes from there.
    Expelled {
        /// The room.
        room: RoomName,
        /// Why.
        refusal: Refusal,
    },
    /// An error that belongs to no command that waits, such as one of `typing`.
    Error(Refusal),
    /// The client has ended; the last event.
    Closed(Closed),
}

/// What a person wrote into a room.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Message {
    /// The room.
    pub room: RoomName,
    /// The epoch in which `seq` counts.
    pub epoch: Arc<str>,
    /// Its place in the room: 1, 2, 3 and so on.
    pub seq: u64,
    /// Who wrote it.
    pub user: User,
    /// When, in ms since the Unix epoch by the server's clock.
    pub at: u64,
    /// The idempotency key it was sent with.
    pub key: Option<String>,
    /// The body as it came.
    pub body: Box<RawValue>,
}

impl Message {
    /// The text of a standard message.
    pub fn text(&self) -> Option<String> {
        #[derive(Deserialize)]
        struct Text {
            text: String,
        }
        part::<Text>(Some(&self.body)).map(|body| body.text)
    }

    /// Where a later [`join`](crate::Client::join) goes on after this message.
    pub fn resume(&self) -> JoinFrom {
        JoinFrom::After { epoch: self.epoch.to_string(), seq: self.seq }
    }

    pub(crate) fn read(raw: &RawEvent<'_>, room: &RoomName, epoch: &Arc<str>) -> Option<Self> {
        Some(Self {
            room: room.clone(),
            epoch: Arc::clone(epoch),
            seq: raw.seq.filter(|seq| *seq > 0)?,
            user: part(raw.user)?,
            at: raw.at?,
            key: (!raw.key.is_empty()).then(|| raw.key.to_string()),
            body: raw.body?.to_owned(),
        })
    }
}

/// Somebody who writes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
pub struct User {
    /// Who it is.
    pub id: String,
    /// What people read.
    pub name: String,
}

/// The first event on a connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Welcome {
    /// The connection's name in the server's log.
    pub connection: String,
    /// Who the client speaks for.
    pub user: User,
    /// What the server takes.
    pub limits: ServerLimits,
}

/// What the server takes from a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ServerLimits {
    /// Bytes of one command.
    pub max_frame: usize,
    /// Bytes of text in one standard message.
    pub max_body: usize,
    /// Rooms at once.
    pub max_rooms: usize,
    /// Messages in one `history`.
    pub max_page: usize,
}

impl Default for ServerLimits {
    fn default() -> Self {
        let limits = chat_proto::Limits::default();
        Self {
            max_frame: limits.wire.max_frame_bytes,
            max_body: limits.wire.max_body_bytes,
            max_rooms: limits.connection.max_rooms,
            max_page: limits.wire.max_page_messages,
        }
    }
}

impl Welcome {
    /// Reads a `welcome`; `None` if it is something else.
    pub fn read(raw: &RawEvent<'_>) -> Option<Self> {
        if raw.kind != "welcome" {
            return None;
        }
        let limits = part(raw.limits).unwrap_or_default();
        Some(Self { connection: raw.connection.to_string(), user: part(raw.user)?, limits })
    }
}

impl Refusal {
    /// Reads an `error`.
    pub(crate) fn read(raw: &RawEvent<'_>) -> Option<Self> {
        let code: &str = part(raw.code)?;
        Some(Self {
            code: ErrorCode::from(code),
            message: raw.message.to_string(),
            room: raw.room.parse().ok(),
            retry_after: raw.retry_after_ms.map(Duration::from_millis),
        })
    }
}
