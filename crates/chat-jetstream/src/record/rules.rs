use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use chat_core::{RoomRules, Standing};
use serde::{Deserialize, Serialize};

use super::{with_sum, without_sum};

/// A part of the rules of a room and of the standings of its users. It is a message of the stream of its own, which is
/// stored together with the entry of an act. The last message of each part holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RulesPart {
    /// The position of the newest act in it.
    pub(crate) seq: u64,
    /// The rules, in the first part. `None` if no act has set them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rules: Option<RoomRules>,
    /// The standings, by the ids of users.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) standings: BTreeMap<String, Standing>,
    /// The newest acts in the other parts, in the first part.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) parts: BTreeMap<u8, u64>,
}

impl RulesPart {
    pub(crate) fn encode(&self) -> Bytes {
        let text = serde_json::to_vec(self).expect("words, texts and numbers are always JSON");
        with_sum(BytesMut::from(&*text))
    }

    /// Reads a part, and checks its checksum.
    pub(crate) fn decode(bytes: Bytes) -> Option<Self> {
        serde_json::from_slice(&without_sum(bytes)?).ok()
    }
}
