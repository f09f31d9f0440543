use bytes::{Buf, BufMut, Bytes, BytesMut};
use chat_core::NewAct;
use serde::{Deserialize, Serialize};

/// A purge that is not complete. Each record has those of its room, so that another node can continue them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Purge {
    /// A random number.
    pub(crate) id: u64,
    /// The node that carries it out.
    pub(crate) node: String,
    /// The last position that was looked at.
    pub(crate) after: u64,
    /// The last position of the purge.
    pub(crate) up_to: u64,
    /// The act, as JSON. One of a later version does not make the record unreadable.
    act: String,
}

impl Purge {
    /// Returns a purge that has not begun.
    pub(crate) fn new(id: u64, node: String, act: &NewAct, up_to: u64) -> Self {
        let act = serde_json::to_string(act).expect("words, texts and numbers are always JSON");
        Self { id, node, after: 0, up_to, act }
    }

    /// Returns the act, or `None` if it is one of a later version.
    pub(crate) fn act(&self) -> Option<NewAct> {
        serde_json::from_str(&self.act).ok()
    }

    /// Returns the bytes that the purge has in a record.
    pub(super) fn bytes(&self) -> usize {
        text(self).len() + 4
    }

    pub(super) fn encode(&self, bytes: &mut BytesMut) {
        let text = text(self);
        bytes.put_u32(u32::try_from(text.len()).unwrap_or(u32::MAX));
        bytes.put_slice(&text);
    }

    pub(super) fn decode(bytes: &mut Bytes) -> Option<Self> {
        let length = usize::try_from(bytes.try_get_u32().ok()?).ok()?;
        if bytes.remaining() < length {
            return None;
        }
        serde_json::from_slice(&bytes.split_to(length)).ok()
    }
}

fn text(purge: &Purge) -> Vec<u8> {
    serde_json::to_vec(purge).expect("texts and numbers are always JSON")
}
