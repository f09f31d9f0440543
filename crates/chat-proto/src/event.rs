use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{CloseCode, ErrorCode, RoomName, StoredMessage, User};

/// What the server tells: one JSON object in one text frame.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[expect(missing_docs, reason = "the fields are those of PROTOCOL.md, section 4, word for word")]
pub enum Event {
    /// The first event on every connection.
    Welcome { connection: String, user: User, limits: LimitsNotice, ping_interval: u64 },
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
    },
    /// The reply to `leave`.
    Left {
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
        room: RoomName,
    },
    /// A message, as its room's log holds it.
    Message {
        room: RoomName,
        seq: u64,
        user: User,
        at: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        key: Option<String>,
        body: Box<RawValue>,
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
    /// The reply to `history`. Only [`encode`](Self::encode) writes it, as its messages are written already.
    #[serde(skip_serializing)]
    History {
        reference: Option<String>,
        room: RoomName,
        epoch: String,
        messages: Vec<StoredMessage>,
        more: bool,
    },
    /// The reply to `search`, of which the same is true.
    #[serde(skip_serializing)]
    Found { reference: Option<String>, room: RoomName, messages: Vec<StoredMessage>, more: bool },
    /// The reply to `members`.
    Members {
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
        room: RoomName,
        members: Vec<User>,
    },
    /// A user came with their first connection, or went with their last.
    Presence { room: RoomName, user: User, state: PresenceState },
    /// A user is, or is no longer, writing.
    Typing { room: RoomName, user: User, active: bool },
    /// Messages that will not come on this connection.
    Gap { room: RoomName, epoch: String, from: u64, to: u64 },
    /// The reply to `ping`.
    Pong {
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    /// The server is about to close this connection.
    Closing {
        code: u16,
        reason: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        reconnect_in_ms: Option<u64>,
    },
    /// A command that was not carried out.
    Error {
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
        code: ErrorCode,
        message: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        room: Option<RoomName>,
        #[serde(skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
    },
}

impl Event {
    /// The event as the text of one frame.
    ///
    /// # Panics
    ///
    /// Never: every event is a map of strings, numbers and JSON that was checked on its way in.
    pub fn encode(&self) -> Bytes {
        match self {
            Self::History { reference, room, epoch, messages, more } => {
                Head::History { reference, room, epoch }.followed_by(messages, *more)
            }
            Self::Found { reference, room, messages, more } => {
                Head::Found { reference, room }.followed_by(messages, *more)
            }
            event => json(event).into(),
        }
    }

    /// What announces a close that the server starts.
    pub fn closing(code: CloseCode, reconnect_in_ms: Option<u64>) -> Self {
        Self::Closing { code: code.code(), reason: code.reason(), reconnect_in_ms }
    }

    /// The answer to a command that was not carried out.
    pub fn error(
        reference: Option<String>,
        code: ErrorCode,
        detail: Option<String>,
        room: Option<RoomName>,
    ) -> Self {
        Self::Error { reference, code, message: code.to_string(), room, detail }
    }
}

/// Whether a user came or went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PresenceState {
    /// The user's first connection joined the room.
    Joined,
    /// The user's last connection left it.
    Left,
}

/// The limits that a client is told about.
#[derive(Debug, Serialize)]
pub struct LimitsNotice {
    /// See [`WireLimits::max_frame_bytes`](crate::WireLimits::max_frame_bytes).
    pub max_frame: usize,
    /// See [`ConnectionLimits::max_rooms`](crate::ConnectionLimits::max_rooms).
    pub max_rooms: usize,
    /// See [`WireLimits::max_body_bytes`](crate::WireLimits::max_body_bytes).
    pub max_body: usize,
    /// See [`WireLimits::max_page_messages`](crate::WireLimits::max_page_messages).
    pub max_page: usize,
}

/// The fields of an event that come before its messages.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Head<'a> {
    History {
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: &'a Option<String>,
        room: &'a RoomName,
        epoch: &'a str,
    },
    Found {
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: &'a Option<String>,
        room: &'a RoomName,
    },
}

impl Head<'_> {
    /// The whole event, with its messages as they are: to read them again would cost more than all the rest of a page.
    fn followed_by(&self, messages: &[StoredMessage], more: bool) -> Bytes {
        let opening = br#","messages":["#;
        let closing: &[u8] = if more { br#"],"more":true}"# } else { br#"],"more":false}"# };
        let commas = messages.len().saturating_sub(1);
        let frames: usize = messages.iter().map(|stored| stored.frame.len()).sum();
        let mut event = json(self);
        // The object goes on.
        event.pop();
        event.reserve_exact(opening.len() + frames + commas + closing.len());
        event.extend_from_slice(opening);
        for (n, stored) in messages.iter().enumerate() {
            if n > 0 {
                event.push(b',');
            }
            event.extend_from_slice(&stored.frame);
        }
        event.extend_from_slice(closing);
        event.into()
    }
}

fn json(event: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(event).expect("an event is always JSON")
}
