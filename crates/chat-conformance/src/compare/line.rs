use std::fmt::Write as _;

use serde_json::Value;

use super::random::{lossy, timeless, timeless_text};
use crate::hex_lines;
use crate::transcript::Entry;

/// One entry without the open details.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) text: String,
    pub(super) bytes: Vec<u8>,
    pub(super) event: Option<Event>,
}

/// The fields of an event that determine its position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) kind: String,
    pub(super) room: String,
    pub(super) seq: Option<u64>,
    pub(super) user: Option<String>,
    /// The `what` of a `changed` event.
    pub(super) what: Option<String>,
}

impl Event {
    fn of(payload: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(payload).ok()?;
        let text = |field: &str| value[field].as_str().map(ToOwned::to_owned);
        Some(Self {
            kind: text("type")?,
            room: text("room").unwrap_or_default(),
            seq: value["seq"].as_u64(),
            user: value["user"]["id"].as_str().or(value["by"]["id"].as_str()).map(ToOwned::to_owned),
            what: text("what"),
        })
    }

    /// Returns true for an event about a user in a room.
    pub(super) fn is_about_a_user(&self) -> bool {
        self.is_entry() || matches!(&*self.kind, "presence" | "typing")
    }

    /// Returns true for an entry of a room's log.
    pub(super) fn is_entry(&self) -> bool {
        matches!(&*self.kind, "message" | "changed" | "role" | "settings")
    }
}

impl Line {
    pub(super) fn plain(text: String) -> Self {
        Self { text, bytes: Vec::new(), event: None }
    }

    pub(super) fn received(entry: &Entry) -> Self {
        if entry.bytes.starts_with(b"HTTP/") {
            return Self::answer(&entry.bytes);
        }
        let header = match entry.bytes.get(1) {
            Some(126) => 4,
            Some(127) => 10,
            _ => 2,
        };
        let (header, payload) = entry.bytes.split_at(header.min(entry.bytes.len()));
        let timeless = timeless(payload);
        // The client has read the frame, so the length in its header is that of the payload, in its shortest form:
        // with a random value in the payload it says nothing more.
        let header = if timeless == payload { header } else { &header[..1] };
        Self {
            text: format!("< {}", lossy(&timeless_text(&entry.what))),
            bytes: [header, &timeless].concat(),
            event: Event::of(payload),
        }
    }

    /// Returns an event's type, or the start of the description: `close 1000`, `HTTP/1.1 101`.
    pub(super) fn kind(&self) -> String {
        match &self.event {
            Some(event) => event.kind.clone(),
            None => self.text.split(' ').skip(1).take(2).collect::<Vec<_>>().join(" "),
        }
    }

    pub(super) fn shown(&self, around: usize) -> String {
        let mut text: String = self.text.chars().take(400).collect();
        let from = around.saturating_sub(32) / 16 * 16;
        let up_to = self.bytes.len().min(from + 96);
        if let Some(bytes) = self.bytes.get(from..up_to) {
            for (number, line) in hex_lines(bytes, bytes.len()).iter().enumerate() {
                // Writing to a string does not fail.
                let _written = write!(text, "\n      {:06x}  {line}", from + number * 16);
            }
        }
        text
    }
}
