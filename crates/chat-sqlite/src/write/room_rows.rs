use std::collections::HashMap;

use chat_core::RoomName;

/// Rooms that are remembered. Above it, all are read again.
const MAX_ROOMS: usize = 10_000;

/// The row of a room, as an append needs it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RoomRow {
    pub(super) id: i64,
    pub(super) head: u64,
    pub(super) keys: u64,
    pub(super) changes: u64,
    /// `true` if the room has or had an act.
    pub(super) governed: bool,
    /// Time of the newest entry that this process has stored, or `None` if there is none.
    pub(super) last_at: Option<u64>,
}

/// The rows of rooms as the last commits have left them, so that an append to a busy room reads nothing.
///
/// A write that does not go through a batch, or that fails, makes them unknown.
#[derive(Debug, Default)]
pub(crate) struct RoomRows(HashMap<RoomName, RoomRow>);

impl RoomRows {
    pub(super) fn get(&self, room: &RoomName) -> Option<RoomRow> {
        self.0.get(room).copied()
    }

    /// Records the rows that a committed batch has written.
    pub(super) fn note_committed(&mut self, rows: HashMap<RoomName, RoomRow>) {
        if self.0.len() + rows.len() > MAX_ROOMS {
            self.0.clear();
        }
        self.0.extend(rows);
    }

    /// Forgets all rows.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
