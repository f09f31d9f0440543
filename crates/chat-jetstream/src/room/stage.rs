use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use chat_core::{AppendError, AppendReceipt, Limits, NewMessage, RoomName, Unavailable};

use crate::life::{Life, random_number};
use crate::record::{Entry, KeyUse, KeyWindow, Record};

use super::state::Tail;

/// The log of a room as its writer has it: all records up to the end are applied.
#[derive(Debug)]
pub(super) struct Applied {
    pub(super) life: Arc<Life>,
    pub(super) tail: Tail,
    pub(super) keys: KeyWindow,
}

/// The limits of a room's log.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogLimits {
    pub(super) max_keys: usize,
    pub(super) retain_messages: Option<u64>,
}

/// A record that can be stored after the end of the log, and the answers to its messages once it is stored.
#[derive(Debug)]
pub(super) struct Staged {
    pub(super) record: Record,
    pub(super) bytes: Bytes,
    pub(super) answers: Vec<Result<AppendReceipt, AppendError>>,
}

impl Applied {
    /// Adds the keys of a record that is stored.
    pub(super) fn apply(&mut self, record: &Record) {
        self.learn_keys(record);
        self.tail = Tail::of(record);
    }

    pub(super) fn learn_keys(&mut self, record: &Record) {
        for entry in &record.entries {
            if let Some(key) = &entry.key {
                self.keys.insert(key, entry.stored.seq, entry.at);
            }
        }
    }

    /// Decides about messages, in their order.
    pub(super) fn stage<'a>(
        &mut self,
        room: &RoomName,
        messages: impl Iterator<Item = &'a NewMessage>,
        limits: &Limits,
        log: LogLimits,
    ) -> Staged {
        // A clock that is set back must not make an entry older than the one before it.
        let at = unix_millis().max(self.tail.at);
        self.keys.forget(at, limits.rooms.key_window);
        let epoch = self.life.epoch(room);
        let mut new_keys = KeyWindow::default();
        let mut entries: Vec<Entry> = Vec::new();
        let mut decide = |message: &NewMessage| {
            let key = KeyUse::of(message);
            if let Some(key) = &key {
                let known = match self.keys.find(key) {
                    Ok(None) => new_keys.find(key),
                    known => known,
                };
                if let Some(known) = known.map_err(|_| AppendError::KeyConflict)? {
                    return Ok(AppendReceipt::new(&*epoch, known.seq, known.at).repeated());
                }
                if self.keys.count(key) + new_keys.count(key) >= log.max_keys.max(1) {
                    return Err(Unavailable::over_quota("the user has too many keys in this room").into());
                }
            }
            message.judge_without_threads()?;
            let seq = self.tail.head + 1 + entries.len() as u64;
            if let Some(key) = &key {
                new_keys.insert(key, seq, at);
            }
            entries.push(Entry { stored: message.folded(room, seq, at, None), at, key });
            Ok(AppendReceipt::new(&*epoch, seq, at))
        };
        let answers = messages.map(&mut decide).collect();
        let head = self.tail.head + entries.len() as u64;
        let retained = log.retain_messages.map_or(1, |count| (head + 1).saturating_sub(count.max(1)));
        let oldest = self.tail.oldest.max(retained).max(1);
        let record = Record { place: 0, id: random_number(), previous: self.tail.id, oldest, entries };
        Staged { bytes: record.encode(), record, answers }
    }
}

pub(super) fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
