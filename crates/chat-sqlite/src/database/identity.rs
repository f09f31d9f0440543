use std::fmt::Write;

use chat_core::RoomName;
use rusqlite::Connection;
use sha1::{Digest, Sha1};

/// The row of the `store` table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Random id that never changes.
    pub(crate) store: String,
    /// Random id that changes when acknowledged messages may be lost.
    pub(crate) epoch: String,
    /// Committed transactions.
    pub(crate) commits: u64,
}

impl Identity {
    pub(crate) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        connection.query_row("SELECT identity, epoch, commits FROM store", (), |row| {
            Ok(Self { store: row.get(0)?, epoch: row.get(1)?, commits: row.get(2)? })
        })
    }
}

/// The times of the `store` table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct StoreTimes {
    /// The newest time that the store has seen, in milliseconds since the Unix epoch. 0 if it has seen none.
    pub(crate) seen_at: u64,
    /// Time for which the store has been open, in milliseconds.
    pub(crate) open_ms: u64,
}

impl StoreTimes {
    pub(crate) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        connection.query_row("SELECT seen_at, open_ms FROM store", (), |row| {
            Ok(Self { seen_at: row.get(0)?, open_ms: row.get(1)? })
        })
    }
}

/// Returns 128 random bits as hexadecimal digits.
pub(crate) fn random_id() -> String {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the operating system provides random numbers after it has started");
    hex(&bytes)
}

/// Returns the epoch of a room, which depends on the epoch of the store and on the room's name.
pub(crate) fn room_epoch(store_epoch: &str, room: &RoomName) -> String {
    let digest = Sha1::new().chain_update(store_epoch).chain_update([0xff]).chain_update(room.as_str());
    hex(&digest.finalize()[..8])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}
