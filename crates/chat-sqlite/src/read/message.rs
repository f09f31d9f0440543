use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use chat_core::{RoomName, StoredMessage};
use parking_lot::Mutex;
use rusqlite::Row;

use crate::database::row::verified_frame;

/// Unreadable messages that are remembered. Above this number each read of one is counted, and none is logged.
const MAX_REMEMBERED: usize = 10_000;

/// The messages that differ from their checksum. Each is counted and logged once.
#[derive(Debug, Default)]
pub(crate) struct UnreadableMessages {
    seen: Mutex<BTreeSet<i64>>,
    count: AtomicU64,
}

impl UnreadableMessages {
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    fn record(&self, room: &RoomName, id: i64, seq: u64) {
        let mut seen = self.seen.lock();
        if seen.contains(&id) {
            return;
        }
        let is_remembered = seen.len() < MAX_REMEMBERED && seen.insert(id);
        drop(seen);
        self.count.fetch_add(1, Ordering::Relaxed);
        if is_remembered {
            tracing::error!(%room, seq, "message unreadable: it differs from its checksum; reads omit it");
        }
    }
}

/// Returns the message of a row `(id, sum, frame)`.
///
/// Returns `None` if it differs from its checksum. Readers treat it like a message that retention has deleted.
pub(crate) fn stored_message(
    room: &RoomName,
    row: &Row<'_>,
    unreadable: &UnreadableMessages,
) -> rusqlite::Result<Option<StoredMessage>> {
    let (seq, frame) = verified_frame(room, row)?;
    if frame.is_none() {
        unreadable.record(room, row.get(0)?, seq);
    }
    Ok(frame.map(|frame| StoredMessage::new(seq, Bytes::copy_from_slice(frame))))
}
