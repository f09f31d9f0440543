use bytes::Bytes;
use serde::Serialize;

use super::Event;
use super::send::{Message, Sent};
use crate::{RoomName, StoredMessage};

impl Event {
    /// Writes the event as the text of one frame.
    ///
    /// # Panics
    ///
    /// Never: every event is a map of strings, numbers and JSON that was checked before.
    pub fn encode(&self) -> Bytes {
        match self {
            Self::Message { room, seq, user, at, key, body, folded, links } => {
                let (key, body) = (key.as_deref(), body.as_deref());
                let (folded, links) = (folded.as_deref(), links.as_deref());
                Message { room, seq: *seq, user, at: *at, key, body, folded, links }.encode()
            }
            Self::Sent { reference, room, seq, at, duplicate } => {
                let reference = reference.as_deref();
                Sent { reference, room, seq: *seq, at: *at, duplicate: *duplicate }.encode()
            }
            Self::History { reference, room, epoch, messages, more } => {
                Head::History { reference, room, epoch }.followed_by(messages, *more)
            }
            Self::Found { reference, room, messages, more } => {
                Head::Found { reference, room }.followed_by(messages, *more)
            }
            Self::Unknown { kind, reference, room, seq, at } => {
                json(&Unknown { kind, reference, room, seq: *seq, at: *at }).into()
            }
            // Without the spare space of the buffer, because a room keeps the frame.
            event => json(event).into_boxed_slice().into(),
        }
    }
}

/// The fields of an event of an unknown type.
#[derive(Serialize)]
struct Unknown<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    reference: &'a Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    room: &'a Option<RoomName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<u64>,
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
    /// Writes the whole event. The messages are copied as they are: to parse them would cost more than the rest of the
    /// page.
    fn followed_by(&self, messages: &[StoredMessage], more: bool) -> Bytes {
        let opening = br#","messages":["#;
        let closing: &[u8] = if more { br#"],"more":true}"# } else { br#"],"more":false}"# };
        let commas = messages.len().saturating_sub(1);
        let frames: usize = messages.iter().map(|stored| stored.frame.len()).sum();
        let mut event = json(self);
        // The messages follow inside this object.
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
