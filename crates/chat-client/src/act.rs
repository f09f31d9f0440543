use std::sync::Arc;

use chat_proto::command::JoinFrom;
use chat_proto::{ActState, Event, RoomName, User};

/// An entry that sets the rules of a room or the standing of a user, as the room's log has it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReceivedAct {
    /// The room.
    pub room: RoomName,
    /// The epoch in which `seq` counts.
    pub epoch: Arc<str>,
    /// The position of the entry in the room's log.
    pub seq: u64,
    /// The time of the commit, in ms since the Unix epoch by the server's clock.
    pub at: u64,
    /// The user who acted.
    pub by: User,
    /// The state after the act.
    pub state: ActState,
}

impl ReceivedAct {
    /// Returns the start of a later [`join`](crate::Client::join) that continues after this entry.
    pub fn resume(&self) -> JoinFrom {
        JoinFrom::After { epoch: self.epoch.to_string(), seq: self.seq }
    }

    /// Returns the act of a `role` or `settings` event, or `None` for other events.
    pub(crate) fn from_wire(event: Event, epoch: &Arc<str>) -> Option<Self> {
        let (room, seq, at, by, state) = match event {
            Event::Role { room, seq, at, by, user, role, restricted: restriction, reason } => {
                (room, seq, at, by, ActState::Standing { user, role, restriction, reason })
            }
            Event::Settings { room, seq, at, by, created, rules } => {
                (room, seq, at, by, ActState::Rules { rules, created })
            }
            _ => return None,
        };
        Some(Self { room, epoch: Arc::clone(epoch), seq, at, by, state })
    }
}
