//! The memory that a room takes.

use super::Room;

impl<W> Room<W> {
    /// Returns the bytes of the events that the room keeps for its members. The frames are shared with those who have
    /// not yet sent them.
    pub fn memory_bytes(&self) -> usize {
        self.tail.memory_bytes() + self.early.bytes()
    }

    /// Drops the events of the tail. Members that have not taken all of them read the entries from the log, and get the
    /// changes of presence as after any other delay. Other events are lost.
    pub fn drop_tail(&mut self) {
        self.tail.restart(self.tail.head());
    }
}
