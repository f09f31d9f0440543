use std::sync::Arc;

use chat_proto::RoomName;
use serde_json::value::RawValue;

use crate::raw::part;
use crate::{JoinFrom, Message, RawEvent, User};

/// The reply to `join`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Joined {
    /// The room.
    pub room: RoomName,
    /// The epoch in which its positions count.
    pub epoch: Arc<str>,
    /// The newest message, 0 if there is none.
    pub seq: u64,
    /// The oldest message that can be read.
    pub first: u64,
    /// Whether everything that was asked for comes.
    pub recovered: bool,
    /// How many users the room has.
    pub members: usize,
}

/// The reply to `send`: the message is in the room's log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sent {
    /// Its place in the room.
    pub seq: u64,
    /// When, in ms since the Unix epoch by the server's clock.
    pub at: u64,
    /// The message was in the log already: an earlier attempt had come through.
    pub duplicate: bool,
}

/// The reply to `history` (oldest message first) and to `search` (newest first).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Page {
    /// The messages.
    pub messages: Vec<Message>,
    /// Whether there are more in that direction.
    pub more: bool,
}

/// What a command is answered with.
#[derive(Debug)]
pub(crate) enum Reply {
    Joined(Joined),
    Left,
    Sent(Sent),
    Page(Page),
    Members(Vec<User>),
    Pong,
}

/// A command, as far as its reply needs to know it.
#[derive(Debug)]
pub(crate) enum Ask {
    Join(RoomName, JoinFrom),
    Leave(RoomName),
    Send(RoomName),
    History(RoomName),
    Search(RoomName),
    Members(RoomName),
    Ping,
    /// The client's own: go on in a room where it stopped.
    Resume(RoomName),
}

impl Ask {
    pub(crate) fn room(&self) -> Option<&RoomName> {
        match self {
            Self::Join(room, _)
            | Self::Leave(room)
            | Self::Send(room)
            | Self::History(room)
            | Self::Search(room)
            | Self::Members(room)
            | Self::Resume(room) => Some(room),
            Self::Ping => None,
        }
    }

    /// Reads the reply; `None` if it is not the one to this command. `epoch` is that of the room so far.
    pub(crate) fn read(&self, raw: &RawEvent<'_>, epoch: &Arc<str>) -> Option<Reply> {
        Some(match (self, &*raw.kind) {
            (Self::Join(room, _) | Self::Resume(room), "joined") => Reply::Joined(Joined {
                room: room.clone(),
                epoch: Arc::from(&*raw.epoch),
                seq: raw.seq?,
                first: raw.first?.max(1),
                recovered: raw.recovered?,
                members: part(raw.members)?,
            }),
            (Self::Leave(_), "left") => Reply::Left,
            (Self::Send(_), "sent") => {
                Reply::Sent(Sent { seq: raw.seq?, at: raw.at?, duplicate: raw.duplicate })
            }
            (Self::History(room), "history") => Reply::Page(page(raw, room, &Arc::from(&*raw.epoch))?),
            (Self::Search(room), "found") => Reply::Page(page(raw, room, epoch)?),
            (Self::Members(_), "members") => Reply::Members(part(raw.members)?),
            (Self::Ping, "pong") => Reply::Pong,
            _ => return None,
        })
    }
}

fn page(raw: &RawEvent<'_>, room: &RoomName, epoch: &Arc<str>) -> Option<Page> {
    let messages: Vec<&RawValue> = part(raw.messages)?;
    let read = |message: &RawValue| Message::read(&RawEvent::parse(message.get())?, room, epoch);
    Some(Page { messages: messages.into_iter().map(read).collect::<Option<_>>()?, more: raw.more })
}
