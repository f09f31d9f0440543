use chat_core::Limits;

/// A part of the contract that not every store can keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Capability {
    /// A room that is opened again is the same log, also after a restart.
    Persistence,
    /// The oldest of more than [`RoomLimits::log_messages`](chat_core::RoomLimits::log_messages) messages are removed.
    Retention,
    /// A user with [`RoomLimits::log_keys`](chat_core::RoomLimits::log_keys) keys in a room is refused further ones.
    KeyLimit,
    /// A key is forgotten after [`RoomLimits::key_window`](chat_core::RoomLimits::key_window).
    KeyWindow,
    /// Messages can be edited, deleted, pinned, and get reactions.
    Changes,
    /// Rooms have rules, and users in them roles and restrictions.
    Rules,
    /// All messages of a user can be deleted at once.
    Purges,
    /// Messages can answer others and be in threads.
    Threads,
    /// The store keeps the markers of users, and the rooms that they follow.
    Markers,
    /// Messages can be searched.
    Search,
    /// A second node can open the same log: [`Fixture::store`](crate::Fixture::store) returns a store for node 1.
    MultipleNodes,
    /// The suite can make the store unreachable: [`Fixture::set_reachable`](crate::Fixture::set_reachable).
    Outage,
    /// The suite can make open logs start a new epoch: [`Fixture::renew`](crate::Fixture::renew).
    Renewal,
}

impl Capability {
    /// Returns the limits that the capability is about, as a failure shows them.
    pub(crate) fn limits(self, limits: &Limits) -> Option<String> {
        let rooms = &limits.rooms;
        match self {
            Self::Retention => Some(format!(
                "RoomLimits::log_messages is {}, RoomLimits::log_bytes is {}",
                rooms.log_messages, rooms.log_bytes
            )),
            Self::KeyLimit => Some(format!("RoomLimits::log_keys is {}", rooms.log_keys)),
            Self::KeyWindow => Some(format!("RoomLimits::key_window is {:?}", rooms.key_window)),
            _ => None,
        }
    }
}

/// The conditions under which a case runs.
#[derive(Clone, Debug, Default)]
pub struct Conditions {
    /// The capabilities without which a store fails the case.
    pub needs: Vec<Capability>,
    change: Option<fn(&mut Limits)>,
}

impl Conditions {
    /// Returns the limits of the chat in this case.
    pub fn chat_limits(&self) -> Limits {
        let mut limits = Limits::default();
        if let Some(change) = self.change {
            change(&mut limits);
        }
        limits.clamped()
    }

    /// Adds a capability that the case needs. `#[with(needs(..))]` calls it.
    #[must_use]
    pub(crate) fn needs(mut self, capability: Capability) -> Self {
        self.needs.push(capability);
        self
    }

    /// Sets limits that are not the default. `#[with(limits(..))]` calls it.
    #[must_use]
    pub(crate) fn limits(mut self, change: fn(&mut Limits)) -> Self {
        self.change = Some(change);
        self
    }
}
