use serde::{Deserialize, Serialize};

use crate::{NodeId, Role, RoomName, User, UserKey};

/// A message between nodes.
///
/// A bus writes it with [`encode`](Self::encode) and reads it with [`decode`](Self::decode), or uses another format of
/// `serde`.
///
/// ```
/// use chat_core::{Notice, User};
///
/// let notice = Notice::Kick { user: User::guest("ann")?.key(), version: 7 };
/// assert_eq!(notice.encode(), br#"{"type":"kick","user":{"guest":true,"id":"ann"},"version":7}"#);
/// assert_eq!(Notice::decode(&notice.encode())?, notice);
/// assert!(Notice::decode(b"{}").is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Notice {
    /// The presence of a user in a room on the node that publishes the notice has changed.
    Presence {
        /// The room.
        room: RoomName,
        /// The user.
        #[serde(with = "chat_proto::user_record")]
        user: User,
        /// The present state.
        state: NodePresence,
        /// The highest role that the credentials and the host give the user there. A role that does not
        /// [protect](Role::protects) is left out. A node of an earlier version sends none.
        #[serde(default, skip_serializing_if = "is_without_effect")]
        role: Role,
        /// The version of the node's state. It grows with each notice of the node.
        version: u64,
    },
    /// A user started or stopped typing.
    Typing {
        /// The room.
        room: RoomName,
        /// The user.
        #[serde(with = "chat_proto::user_record")]
        user: User,
        /// True if the user is typing.
        active: bool,
    },
    /// A user has moved the marker of a room.
    Read {
        /// The room.
        room: RoomName,
        /// The user.
        #[serde(with = "chat_proto::user_record")]
        user: User,
        /// The epoch in which the position counts.
        epoch: String,
        /// The position of the marker.
        seq: u64,
        /// True if the rules of the room allow receipts.
        receipt: bool,
    },
    /// A user no longer follows a room, or follows a direct room that was opened. It may be late, so a node asks the
    /// store if it is still so. A node of an earlier version takes each of them for the first one, and does nothing
    /// because of the store's answer.
    #[serde(rename = "unfollowed")]
    Followed {
        /// The room.
        room: RoomName,
        /// The user.
        user: UserKey,
        /// True if the user follows the room.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        on: bool,
    },
    /// A room has new entries. A node publishes it at most once per second for each room.
    Activity {
        /// The room.
        room: RoomName,
    },
    /// All connections of a user must be closed.
    Kick {
        /// The user.
        user: UserKey,
        /// The version of the node's state, as in [`Presence`](Self::Presence). A kick of the user by the same node
        /// whose version is not higher than that of an earlier one is ignored.
        version: u64,
    },
    /// Each addressed node publishes its [`Roster`](Self::Roster) of these rooms.
    RosterRequest {
        /// The addressed node; `None` for all.
        to: Option<NodeId>,
        /// The rooms: at most 100.
        rooms: Vec<RoomName>,
    },
    /// All users with connections in a room on the node that publishes the notice.
    Roster {
        /// The addressed node. Other nodes ignore the notice.
        to: NodeId,
        /// The room.
        room: RoomName,
        /// The users.
        users: Vec<RosterEntry>,
        /// The version of the node's state, as in [`Presence`](Self::Presence).
        version: u64,
    },
}

/// The presence of a user in a room on one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum NodePresence {
    /// The user has at least one connection.
    Connected,
    /// The last connection is lost. The user leaves after
    /// [`NodeLimits::leave_grace`](crate::NodeLimits::leave_grace).
    Disconnected,
    /// The last connection has left the room. The user leaves at once.
    Left,
}

/// A user in a roster. Its serialized form states if the user is a guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RosterEntry {
    /// The user.
    #[serde(flatten, with = "chat_proto::user_record")]
    pub user: User,
    /// The role, as in [`Notice::Presence`].
    #[serde(default, skip_serializing_if = "is_without_effect")]
    pub role: Role,
}

impl RosterEntry {
    /// Returns the entry of a user with a role.
    pub fn new(user: User, role: Role) -> Self {
        Self { user, role }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "for serde")]
fn is_without_effect(role: &Role) -> bool {
    !role.protects()
}

/// The error of bytes that are not a notice of this version of the chat.
#[derive(Debug, thiserror::Error)]
#[error("the bytes are not a notice")]
pub struct InvalidNotice(#[from] serde_json::Error);

impl Notice {
    /// Returns the only node that needs the notice, or `None` for all others. A bus may use it to send less.
    pub fn recipient(&self) -> Option<&NodeId> {
        match self {
            Self::RosterRequest { to, .. } => to.as_ref(),
            Self::Roster { to, .. } => Some(to),
            _ => None,
        }
    }

    /// Returns the notice as JSON.
    ///
    /// # Panics
    ///
    /// Never.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a notice has only texts, numbers and lists")
    }

    /// Reads a notice. A bus ignores bytes that are not a notice: a newer node may have sent them.
    ///
    /// # Errors
    ///
    /// [`InvalidNotice`].
    pub fn decode(bytes: &[u8]) -> Result<Self, InvalidNotice> {
        Ok(serde_json::from_slice(bytes)?)
    }
}
