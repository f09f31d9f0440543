use super::{Restriction, RoomRules, Standing};
use crate::room::StoredMessage;
use crate::{Event, Role, RoomName, User};

/// An entry of a log that sets the rules of its room or the standing of a user, or deletes messages of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ActEntry {
    /// The position of the entry.
    pub seq: u64,
    /// The time of the commit, in milliseconds since the Unix epoch.
    pub at: u64,
    /// The user who acted.
    pub by: User,
    /// The state after the act.
    pub state: ActState,
}

/// The state that an [`ActEntry`] sets.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ActState {
    /// The rules of the room.
    Rules {
        /// The rules.
        rules: RoomRules,
        /// True if the room was created by this entry.
        created: bool,
    },
    /// The standing of a user.
    Standing {
        /// The user.
        user: User,
        /// The role.
        role: Role,
        /// The restriction.
        restriction: Option<Restriction>,
        /// The reason of the restriction.
        reason: Option<String>,
    },
    /// A purge: the messages of a user in this range of positions are deleted.
    Purge {
        /// The user. Only the id counts.
        user: User,
        /// The first message.
        from: u64,
        /// The last message.
        to: u64,
        /// Those of the messages that are or were pinned. The purge has replaced the changes of their pins.
        unpinned: Vec<u64>,
    },
}

impl ActEntry {
    /// Returns an entry.
    pub fn new(seq: u64, at: u64, by: User, state: ActState) -> Self {
        Self { seq, at, by, state }
    }

    /// Returns the `settings`, `role` or `purged` event of this entry. It stays as it is: a later act is an event of
    /// its own.
    pub fn encode(&self, room: &RoomName) -> StoredMessage {
        let (room, by) = (room.clone(), self.by.clone());
        let Self { seq, at, .. } = *self;
        let event = match self.state.clone() {
            ActState::Rules { rules, created } => Event::Settings { room, seq, at, by, created, rules },
            ActState::Standing { user, role, restriction, reason } => {
                Event::Role { room, seq, at, by, user, role, restricted: restriction, reason }
            }
            ActState::Purge { user, from, to, unpinned } => {
                Event::Purged { room, seq, at, by, user, from, to, unpinned }
            }
        };
        StoredMessage::new(seq, event.encode())
    }
}

/// The effect that an entry, as a store reports it, has on the members of its room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::room) enum Affects {
    /// Everybody.
    All,
    /// The users of one id.
    Id(String),
}

/// Returns the members whose rights an entry may change, or `None` if it changes none.
pub(in crate::room) fn affects(frame: &[u8]) -> Option<Affects> {
    const ROLE: &[u8] = br#"{"type":"role","#;
    const SETTINGS: &[u8] = br#"{"type":"settings","#;
    if !frame.starts_with(ROLE) && !frame.starts_with(SETTINGS) {
        return None;
    }
    Some(match str::from_utf8(frame).map(Event::parse) {
        Ok(Ok(Event::Role { user, .. })) => Affects::Id(user.id().to_owned()),
        _ => Affects::All,
    })
}

impl ActState {
    /// Returns the standing of a user after the act, `None` for rules and a purge.
    pub fn standing(&self) -> Option<(&User, Standing)> {
        match self {
            Self::Rules { .. } | Self::Purge { .. } => None,
            Self::Standing { user, role, restriction, .. } => {
                Some((user, Standing::new(*role, *restriction)))
            }
        }
    }
}
