use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Bytes of a node's name.
const MAX_NODE_BYTES: usize = 12;

/// The name of one server of a chat. A name that is deserialized is checked.
///
/// ```
/// use chat_core::{Chat, NodeId};
///
/// let node: NodeId = "eu-1".parse()?;
/// let chat = Chat::builder().node(node).build();
/// # drop(chat);
/// # Ok::<(), chat_core::InvalidNodeId>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct NodeId(Arc<str>);

/// The error of a name that is not valid for a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the name of a node is 1 to 12 ASCII letters, digits and -, with a letter or digit first")]
pub struct InvalidNodeId;

impl NodeId {
    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns a name that no other node has.
    pub(crate) fn random() -> Self {
        let number = getrandom::u32().expect("the operating system always has random numbers once it is up");
        Self(format!("{number:08x}").into())
    }
}

impl std::str::FromStr for NodeId {
    type Err = InvalidNodeId;

    fn from_str(name: &str) -> Result<Self, InvalidNodeId> {
        let fits = (1..=MAX_NODE_BYTES).contains(&name.len())
            && name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        if fits { Ok(Self(name.into())) } else { Err(InvalidNodeId) }
    }
}

impl TryFrom<String> for NodeId {
    type Error = InvalidNodeId;

    fn try_from(name: String) -> Result<Self, InvalidNodeId> {
        name.parse()
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
