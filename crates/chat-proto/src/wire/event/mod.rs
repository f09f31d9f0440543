mod read;
mod send;
mod summary;
mod write;

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

pub use read::RawEvent;
pub(crate) use send::{Changed, Message};
pub use summary::RoomSummary;

use crate::room::{Folded, Links, Mentions, Reaction, Restriction, Rights, RoomRules};
use crate::{CloseCode, ErrorCode, Limits, Role, RoomName, StoredMessage, User};

/// An event of the server: one JSON object in one text frame.
///
/// # Examples
///
/// ```
/// use chat_proto::{ErrorCode, Event};
///
/// let event = Event::error(Some("7".to_owned()), ErrorCode::NotJoined, None, Some("lobby".parse()?));
/// let text = event.encode();
/// let read = Event::parse(str::from_utf8(&text)?)?;
/// assert!(matches!(read, Event::Error { code: ErrorCode::NotJoined, .. }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
#[expect(missing_docs, reason = "the fields are those of PROTOCOL.md, section 4, word for word")]
pub enum Event {
    /// The user of the connection, and the reply to `hello`. It comes before all other events, unless the connection
    /// has no user yet.
    Welcome {
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
        connection: String,
        user: User,
        limits: LimitsNotice,
        ping_interval: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        expires_at: Option<u64>,
    },
    /// The reply to `join`.
    Joined {
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
        room: RoomName,
        epoch: String,
        seq: u64,
        first: u64,
        recovered: bool,
        members: usize,
        presence: PresenceMode,
        /// The role of the user.
        role: Role,
        /// The rights of the user.
        may: Rights,
        /// The pinned messages.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pins: Vec<u64>,
        /// The position of the user's marker. `None`, as the next two, if the log keeps no markers.
        #[serde(skip_serializing_if = "Option::is_none")]
        read: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        unread: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        mentions: Option<u64>,
        /// The other user of a direct room.
        #[serde(skip_serializing_if = "Option::is_none")]
        with: Option<User>,
        /// The title of the room.
        #[serde(skip_serializing_if = "Option::is_none")]
        title: Option<String>,
        /// The restriction of the user.
        #[serde(skip_serializing_if = "Option::is_none")]
        restricted: Option<Restriction>,
    },
    /// The reply to `leave`, and without a `ref` the end of a membership that the room no longer allows.
    Left {
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
        room: RoomName,
    },
    /// A message, as the log of its room has it.
    Message {
        room: RoomName,
        seq: u64,
        user: User,
        at: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        key: Option<String>,
        /// The state after its changes. `None` for a message that was not changed.
        #[serde(flatten, skip_serializing_if = "Option::is_none")]
        folded: Option<Box<Folded>>,
        /// `None` for a message that was deleted.
        #[serde(skip_serializing_if = "Option::is_none")]
        body: Option<Box<RawValue>>,
        /// The links to other messages and to users. `None` for a message without links.
        #[serde(flatten, skip_serializing_if = "Option::is_none")]
        links: Option<Box<Links>>,
    },
    /// A change to a message, as the log of its room has it.
    Changed {
        room: RoomName,
        seq: u64,
        at: u64,
        by: User,
        target: u64,
        #[serde(flatten)]
        what: What,
    },
    /// The role and the restriction of a user, as the log of the room has them.
    Role {
        room: RoomName,
        seq: u64,
        at: u64,
        by: User,
        user: User,
        role: Role,
        #[serde(skip_serializing_if = "Option::is_none")]
        restricted: Option<Restriction>,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// The rules of a room, as its log has them.
    Settings {
        room: RoomName,
        seq: u64,
        at: u64,
        by: User,
        /// True for the entry that creates the room.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        created: bool,
        #[serde(flatten)]
        rules: RoomRules,
    },
    /// The messages of a user, from the position `from` to `to`, were deleted.
    Purged {
        room: RoomName,
        seq: u64,
        at: u64,
        by: User,
        user: User,
        from: u64,
        to: u64,
        /// Those of the messages that are or were pinned.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        unpinned: Vec<u64>,
    },
    /// The reply to a change of a message, or to an act.
    Done {
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
        room: RoomName,
        #[serde(skip_serializing_if = "Option::is_none")]
        seq: Option<u64>,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        duplicate: bool,
    },
    /// The reply to `send`: the message is in the room's log.
    Sent {
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
        room: RoomName,
        seq: u64,
        at: u64,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        duplicate: bool,
    },
    /// The reply to `history`. Only [`encode`](Self::encode) writes it: its messages are encoded already.
    #[serde(skip_serializing)]
    History {
        reference: Option<String>,
        room: RoomName,
        epoch: String,
        messages: Vec<StoredMessage>,
        more: bool,
    },
    /// The reply to `search`. Only [`encode`](Self::encode) writes it: its messages are encoded already.
    #[serde(skip_serializing)]
    Found { reference: Option<String>, room: RoomName, messages: Vec<StoredMessage>, more: bool },
    /// The reply to `members`.
    Members {
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
        room: RoomName,
        members: Vec<User>,
        more: bool,
        total: usize,
    },
    /// The reply to `read`. Without a `ref`, the announcement that another connection of the user has moved the marker.
    Read {
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
        room: RoomName,
        user: User,
        seq: u64,
    },
    /// The reply to `rooms`.
    Rooms {
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
        rooms: Vec<RoomSummary>,
        more: bool,
    },
    /// The newest entry of a room that the user follows and the connection is not in, and the unread messages.
    Activity {
        room: RoomName,
        seq: u64,
        unread: u64,
        mentions: u64,
        /// The other user of a direct room.
        #[serde(skip_serializing_if = "Option::is_none")]
        with: Option<User>,
    },
    /// The first connection of a user joined the room, or the last one left it.
    Presence { room: RoomName, user: User, state: PresenceState },
    /// The number of users in a room, and the way in which it announces them from now on.
    Occupancy { room: RoomName, members: usize, presence: PresenceMode },
    /// A user started or stopped typing.
    Typing { room: RoomName, user: User, active: bool },
    /// A range of entries that this connection does not get.
    Gap { room: RoomName, epoch: String, from: u64, to: u64 },
    /// The reply to `ping`.
    Pong {
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    /// The announcement that the credentials of the connection expire soon.
    Expiring { at: u64 },
    /// The announcement that the server closes this connection.
    Closing {
        code: CloseCode,
        reason: Cow<'static, str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        reconnect_in_ms: Option<u64>,
    },
    /// The reply to a command that failed.
    Error {
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
        code: ErrorCode,
        message: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        room: Option<RoomName>,
        #[serde(skip_serializing_if = "Option::is_none")]
        detail: Option<Box<RawValue>>,
    },
    /// An event of a type that this version does not know, with the fields that a client needs to continue.
    ///
    /// A client must advance its cursor over an [`entry`](Self::entry) that it does not know.
    #[serde(skip_serializing)]
    Unknown {
        kind: String,
        reference: Option<String>,
        room: Option<RoomName>,
        seq: Option<u64>,
        at: Option<u64>,
    },
}

/// The `what` of a `changed` event, and the state of the message after the change.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
#[non_exhaustive]
pub enum What {
    /// The message has another body.
    Edited {
        /// The body.
        body: Box<RawValue>,
        /// The users that the message mentions.
        #[serde(skip_serializing_if = "Option::is_none")]
        mentions: Option<Mentions>,
    },
    /// The message was deleted.
    Deleted {
        /// The reason that the user gave.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// The message has other reactions.
    Reactions {
        /// All reactions.
        reactions: Vec<Reaction>,
    },
    /// The message was pinned or unpinned.
    Pinned {
        /// True if it is pinned.
        pinned: bool,
    },
    /// A later entry has replaced this change, or the log no longer has the message.
    Superseded,
    /// A change that this version does not know. A client only advances its cursor.
    #[serde(skip_serializing)]
    Unknown,
}

/// The reason why a text is not an event.
///
/// The text of this error repeats nothing of the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidEvent {
    /// The text is not one JSON object with a `type`, or a field of it has a wrong type.
    #[error("the text is not an event")]
    NotAnEvent,
    /// A field that the event needs is missing or invalid.
    #[error("the field `{field}` of the event `{event}` is missing or invalid")]
    Field {
        /// The `type` of the event.
        event: &'static str,
        /// The name of the field.
        field: &'static str,
    },
}

impl Event {
    /// Reads the text of one frame.
    ///
    /// Fields that the event does not have are ignored. An event of an unknown type is [`Event::Unknown`]. The
    /// messages of a page are kept as their text: [`StoredMessage::event`] reads one. An empty `ref` or `key` is
    /// the same as a missing one.
    ///
    /// # Errors
    ///
    /// [`InvalidEvent`] if the text is not an event, or a field that its type needs is missing or invalid.
    ///
    /// # Examples
    ///
    /// ```
    /// use chat_proto::{Event, InvalidEvent};
    ///
    /// let event = Event::parse(r#"{"type":"pinned","room":"lobby","seq":9,"at":1700000000000}"#)?;
    /// assert_eq!(event.entry().map(|(room, seq)| (room.as_str(), seq)), Some(("lobby", 9)));
    ///
    /// let invalid = Event::parse(r#"{"type":"gap","room":"lobby"}"#).unwrap_err();
    /// assert_eq!(invalid, InvalidEvent::Field { event: "gap", field: "epoch" });
    /// # Ok::<(), InvalidEvent>(())
    /// ```
    pub fn parse(text: &str) -> Result<Self, InvalidEvent> {
        RawEvent::parse(text)?.to_event()
    }

    /// Creates the announcement of a close that the server starts.
    pub fn closing(code: CloseCode, reconnect_in_ms: Option<u64>) -> Self {
        Self::Closing { code, reason: code.reason().into(), reconnect_in_ms }
    }

    /// Creates the reply to a command that failed.
    pub fn error(
        reference: Option<String>,
        code: ErrorCode,
        detail: Option<&str>,
        room: Option<RoomName>,
    ) -> Self {
        let message = code.to_string();
        let detail = detail.and_then(|detail| to_raw_value(detail).ok());
        Self::Error { reference, code, message, retry_after_ms: None, room, detail }
    }

    /// Creates the reply to a command that came too early. `retry_after_ms` is rounded up.
    pub fn rate_limited(reference: Option<String>, retry_after: Duration) -> Self {
        Self::later(reference, ErrorCode::RateLimited, retry_after, None)
    }

    /// Creates the reply to a command that cannot be carried out before a time. `retry_after_ms` is rounded up.
    pub fn later(
        reference: Option<String>,
        code: ErrorCode,
        retry_after: Duration,
        room: Option<RoomName>,
    ) -> Self {
        let milliseconds = retry_after.as_nanos().div_ceil(1_000_000);
        let retry_after_ms = Some(u64::try_from(milliseconds).unwrap_or(u64::MAX));
        Self::Error { reference, message: code.to_string(), code, retry_after_ms, room, detail: None }
    }

    /// Returns the `ref` of the command that this event replies to.
    pub fn reference(&self) -> Option<&str> {
        match self {
            Self::Welcome { reference, .. }
            | Self::Joined { reference, .. }
            | Self::Left { reference, .. }
            | Self::Sent { reference, .. }
            | Self::Done { reference, .. }
            | Self::History { reference, .. }
            | Self::Found { reference, .. }
            | Self::Members { reference, .. }
            | Self::Read { reference, .. }
            | Self::Rooms { reference, .. }
            | Self::Pong { reference }
            | Self::Error { reference, .. }
            | Self::Unknown { reference, .. } => reference.as_deref(),
            Self::Message { .. }
            | Self::Changed { .. }
            | Self::Role { .. }
            | Self::Settings { .. }
            | Self::Purged { .. }
            | Self::Activity { .. }
            | Self::Presence { .. }
            | Self::Occupancy { .. }
            | Self::Typing { .. }
            | Self::Gap { .. }
            | Self::Expiring { .. }
            | Self::Closing { .. } => None,
        }
    }

    /// Returns the place of this event in the log of its room, if it is an entry of that log.
    ///
    /// An event of an unknown type is an entry if it has `room`, `seq` and `at`, and is no reply: entries are the only
    /// events with these three fields.
    pub fn entry(&self) -> Option<(&RoomName, u64)> {
        match self {
            Self::Message { room, seq, .. }
            | Self::Changed { room, seq, .. }
            | Self::Role { room, seq, .. }
            | Self::Settings { room, seq, .. }
            | Self::Purged { room, seq, .. } => Some((room, *seq)),
            Self::Unknown { reference: None, room: Some(room), seq: Some(seq), at: Some(_), .. } => {
                Some((room, *seq))
            }
            _ => None,
        }
    }
}

impl StoredMessage {
    /// Reads the frame of this message.
    ///
    /// # Errors
    ///
    /// [`InvalidEvent`] if the frame is not the text of an event.
    ///
    /// # Examples
    ///
    /// ```
    /// use chat_proto::{Event, NewMessage, User};
    /// use serde_json::value::RawValue;
    ///
    /// let body = RawValue::from_string(r#"{"text":"hi"}"#.to_owned())?;
    /// let message = NewMessage::new(User::guest("ann")?, body);
    /// let stored = message.into_stored("lobby".parse()?, 7, 1_700_000_000_000);
    /// let Event::Message { seq, user, body, .. } = stored.event()? else { panic!("not a message") };
    /// assert_eq!((seq, user.name()), (7, "ann"));
    /// assert_eq!(body.ok_or("deleted")?.get(), r#"{"text":"hi"}"#);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn event(&self) -> Result<Event, InvalidEvent> {
        Event::parse(str::from_utf8(&self.frame).map_err(|_| InvalidEvent::NotAnEvent)?)
    }
}

/// The change that a `presence` event announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PresenceState {
    /// The user's first connection joined the room.
    Joined,
    /// The user's last connection left the room.
    Left,
}

/// The way in which a room announces its users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PresenceMode {
    /// A `presence` event for each user who joins or leaves.
    Each,
    /// The number of users, in `occupancy` events. There is no `typing` either.
    Count,
}

/// The limits that the server announces in `welcome`.
///
/// A limit that the server does not announce has its default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct LimitsNotice {
    /// Bytes of one command. See [`WireLimits::max_frame_bytes`](crate::WireLimits::max_frame_bytes).
    pub max_frame: usize,
    /// Rooms of one connection. See [`ConnectionLimits::max_rooms`](crate::ConnectionLimits::max_rooms).
    pub max_rooms: usize,
    /// Bytes of a standard body: its text, and the JSON beside it above 64 bytes. See
    /// [`WireLimits::max_body_bytes`](crate::WireLimits::max_body_bytes).
    pub max_body: usize,
    /// Messages in one `history`. See [`WireLimits::max_page_messages`](crate::WireLimits::max_page_messages).
    pub max_page: usize,
}

impl From<&Limits> for LimitsNotice {
    fn from(limits: &Limits) -> Self {
        Self {
            max_frame: limits.wire.max_frame_bytes,
            max_rooms: limits.connection.max_rooms,
            max_body: limits.wire.max_body_bytes,
            max_page: limits.wire.max_page_messages,
        }
    }
}

impl Default for LimitsNotice {
    fn default() -> Self {
        Self::from(&Limits::default())
    }
}
