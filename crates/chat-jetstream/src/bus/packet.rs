use std::collections::BTreeMap;
use std::time::Duration;

use chat_core::{NodeId, Notice};
use serde::{Deserialize, Serialize};

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
    /// there.
    Notice { number: u64, notice: Notice },
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
