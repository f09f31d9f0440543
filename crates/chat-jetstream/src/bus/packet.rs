use std::collections::BTreeMap;
use std::time::Duration;

use chat_core::{NodeId, Notice, RawValue};
use serde::{Deserialize, Serialize};
use serde_json::value::to_raw_value;

/// A message between nodes.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Packet<C = Content> {
    pub(super) from: NodeId,
    /// A random number of the node, which another one of the same name does not have.
    pub(super) life: u64,
    /// The time since the start of the node, in microseconds, at which the message was given to the bus. A node of an
    /// earlier version sends none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) sent: Option<u64>,
    /// True if the node can read parts. One of an earlier version cannot.
    #[serde(default)]
    pub(super) parts: bool,
    pub(super) content: C,
}

impl Packet {
    /// Returns the time of the sender at which the message was given to the bus.
    pub(super) fn sent(&self) -> Option<Duration> {
        self.sent.map(Duration::from_micros)
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Content {
    /// A notice for all nodes, or for the node on whose subject it is sent. `number` counts the notices of the node
    /// there. A notice that only a newer node knows counts too, so it is read later.
    Notice { number: u64, notice: Box<RawValue> },
    /// A sign of life, with the numbers of the last notices.
    Sign {
        /// The number of the last notice for all nodes.
        number: u64,
        /// The numbers of the last notices for single nodes.
        direct: BTreeMap<NodeId, u64>,
    },
    /// A part of a notice for the node on whose subject it is sent, because the servers do not take the notice as a
    /// whole. It counts as a notice, so that a lost part is noticed.
    Part {
        number: u64,
        is_first: bool,
        is_last: bool,
        /// A part of the notice as JSON.
        text: String,
    },
    /// The node has missed notices of the addressed one.
    Missed,
    /// The node leaves.
    Leaves,
}

/// Returns a notice as the text that a message has.
pub(super) fn encode(notice: &Notice) -> Option<Box<RawValue>> {
    to_raw_value(notice).ok()
}

/// Reads a notice. One that only a newer node knows is ignored.
pub(super) fn decode(notice: &RawValue) -> Option<Notice> {
    Notice::decode(notice.get().as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn packet(notice: &Value) -> Value {
        let content = json!({ "notice": { "number": 9, "notice": notice } });
        json!({ "from": "a", "life": 7, "sent": 5, "parts": true, "content": content })
    }

    #[test]
    fn a_notice_that_only_a_newer_node_knows_has_a_number() {
        let activity = json!({ "type": "activity", "room": "lobby" });
        let newer = json!({ "type": "newer", "of": [1, 2] });
        let user = json!({ "guest": true, "id": "ann", "name": "ann" });
        let state =
            json!({ "type": "presence", "room": "lobby", "user": user, "state": "newer", "version": 4 });
        for (text, is_known) in [(activity, true), (newer, false), (state, false)] {
            let packet = serde_json::from_str::<Packet>(&packet(&text).to_string());
            let packet = packet.expect("a packet");
            let Content::Notice { number: 9, notice: read } = &packet.content else { panic!("{packet:?}") };
            let notice = decode(read);
            assert_eq!(notice.is_some(), is_known, "{text}");
            if let Some(notice) = notice {
                assert_eq!(decode(&encode(&notice).expect("a text")), Some(notice));
            }
        }
    }
}
