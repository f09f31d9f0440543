use bytes::Bytes;

use crate::record::MessageState;
use crate::room::States;

/// The states of messages that the node has heard of, and not yet of the record with the changes: it comes next.
#[derive(Debug, Default)]
pub(super) struct HeardStates {
    room: String,
    /// The place of the last state.
    place: u64,
    states: Vec<(u64, Bytes)>,
}

impl HeardStates {
    /// Adds the state of the message at the position `seq`.
    pub(super) fn add(&mut self, place: u64, room: &str, seq: u64, state: Bytes) {
        // A batch of the stream has no other message between its own.
        if self.room != room || place != self.place + 1 {
            self.states.clear();
            room.clone_into(&mut self.room);
        }
        self.place = place;
        self.states.push((seq, state));
    }

    /// Returns the states that belong to the record at this place.
    pub(super) fn take(&mut self, place: u64, room: &str) -> States {
        let states = std::mem::take(&mut self.states);
        if self.room != room || place != self.place + 1 {
            return States::default();
        }
        states.into_iter().filter_map(|(seq, state)| Some((seq, MessageState::decode(state)?))).collect()
    }
}
