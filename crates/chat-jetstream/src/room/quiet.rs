//! The logs of rooms to which nobody writes at the moment.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use chat_core::Commit;
use parking_lot::Mutex;

use crate::life::Life;

use super::stage::Applied;
use super::state::Noted;
use super::writer::Writer;
use super::{SharedRoom, Tail};

/// The memory of a log without its keys and lists, and of its places in the maps, rounded up.
const LOG_BYTES: usize = 512;

/// The logs of rooms whose writers have ended, as these had them. So the next writer of a room reads only what other
/// nodes have stored since. If all logs need too much memory, those that were left longest ago are dropped.
#[derive(Debug)]
pub(crate) struct QuietLogs {
    max_bytes: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The logs by the tokens of their rooms.
    logs: HashMap<Arc<str>, Quiet>,
    /// The tokens in the order in which the logs were left, oldest first.
    order: BTreeMap<u64, Arc<str>>,
    next: u64,
    /// The bytes of these logs.
    bytes: usize,
    /// The bytes of the logs that writers have. They are never dropped.
    in_use: usize,
}

#[derive(Debug)]
struct Quiet {
    log: Applied,
    turn: u64,
    bytes: usize,
}

impl QuietLogs {
    /// Returns logs that need at most this much memory, together with those of the writers. 0 is no limit.
    pub(crate) fn new(max_bytes: usize) -> Self {
        let max_bytes = if max_bytes == 0 { usize::MAX } else { max_bytes };
        Self { max_bytes, state: Mutex::default() }
    }

    /// Keeps the log of a room, and drops those whose newest entry is before a time: none of their keys counts.
    pub(super) fn put(&self, token: &str, mut log: Applied, oldest_key: u64) {
        log.keys.shrink();
        let bytes = log.bytes();
        let mut state = self.state.lock();
        state.remove(token);
        let (token, turn): (Arc<str>, _) = (token.into(), state.next);
        state.next += 1;
        state.bytes += bytes;
        state.order.insert(turn, Arc::clone(&token));
        state.logs.insert(token, Quiet { log, turn, bytes });
        while state.oldest().is_some_and(|quiet| quiet.log.tail.at < oldest_key) {
            state.drop_oldest();
        }
        state.shrink(self.max_bytes);
    }

    /// Returns the log of a room, if it is there.
    pub(super) fn take(&self, token: &str) -> Option<Applied> {
        self.state.lock().remove(token)
    }

    /// Records that the log of a writer has this many bytes, and the bytes that it had before.
    pub(super) fn count(&self, before: usize, bytes: usize) {
        if before == bytes {
            return;
        }
        let mut state = self.state.lock();
        state.in_use = state.in_use + bytes - before;
        state.shrink(self.max_bytes);
    }

    /// Returns the number of logs, and the bytes of all of them and of those that writers have.
    #[cfg(test)]
    pub(crate) fn size(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.logs.len(), state.bytes + state.in_use)
    }
}

impl State {
    fn remove(&mut self, token: &str) -> Option<Applied> {
        let Quiet { log, turn, bytes } = self.logs.remove(token)?;
        self.order.remove(&turn);
        self.bytes -= bytes;
        Some(log)
    }

    fn oldest(&self) -> Option<&Quiet> {
        self.logs.get(self.order.first_key_value()?.1)
    }

    fn drop_oldest(&mut self) {
        if let Some((_, token)) = self.order.pop_first()
            && let Some(quiet) = self.logs.remove(&token)
        {
            self.bytes -= quiet.bytes;
        }
    }

    fn shrink(&mut self, max_bytes: usize) {
        while self.bytes.saturating_add(self.in_use) > max_bytes && !self.order.is_empty() {
            self.drop_oldest();
        }
    }
}

impl Applied {
    /// Returns the bytes of the log in memory.
    pub(super) fn bytes(&self) -> usize {
        LOG_BYTES + size_of::<u64>() * (self.tail.pins.len() + self.tail.erasing.len()) + self.keys.bytes()
    }
}

impl Writer {
    /// Takes the log that the last writer of the room has left, if its keys may still count.
    pub(super) fn resume(&mut self) {
        let Some(log) = self.room.node.quiet.take(&self.room.token) else { return };
        // The records after an older one may be removed already.
        if log.tail.at >= self.oldest_key() && self.room.restore(&log.life, &log.tail) {
            self.log = Some(log);
            self.room.resume_erasure(Duration::ZERO);
        }
    }

    /// Leaves the log to the next writer.
    pub(super) fn leave(&mut self) {
        if let Some(log) = self.log.take() {
            self.count();
            self.room.node.quiet.put(&self.room.token, log, self.oldest_key());
        }
    }

    /// Lets the node count the bytes of the log.
    pub(super) fn count(&mut self) {
        let bytes = self.log.as_ref().map_or(0, Applied::bytes);
        self.room.node.quiet.count(std::mem::replace(&mut self.counted, bytes), bytes);
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.room.node.quiet.count(self.counted, 0);
    }
}

impl SharedRoom {
    /// Records the end of the log as a writer of this node has known it. Returns false if it is of another life.
    fn restore(&self, life: &Arc<Life>, end: &Tail) -> bool {
        let noted = self.state.lock().note_end(life, end);
        match noted {
            Noted::Ignored => return false,
            Noted::Contradicts => {
                self.contradict(life);
                return false;
            }
            Noted::Known { is_new: true } => {
                self.sinks.report(Commit::Head { epoch: &life.epoch(&self.name), head: end.head });
            }
            Noted::Known { is_new: false } => {}
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use crate::record::KeyUse;

    use super::*;

    /// A log with this many keys, whose last entry has this time.
    fn log(keys: u64, at: u64) -> Applied {
        let mut log = Applied::new(Arc::new(Life::for_tests()), Tail { at, ..Tail::default() });
        for number in 0..keys {
            let mut slot = [0; 20];
            slot[..8].copy_from_slice(&number.to_be_bytes());
            log.keys.insert(&KeyUse { owner: 1, slot, digest: [0; 20] }, number, at);
        }
        log
    }

    #[test]
    fn the_logs_that_were_left_longest_ago_are_dropped_if_memory_is_short() {
        let quiet = QuietLogs::new(100_000);
        for number in 0..300_u32 {
            quiet.put(&number.to_string(), log(20, 1), 0);
            let (count, bytes) = quiet.size();
            assert!(
                bytes <= 100_000 && count >= 60.min(number as usize + 1),
                "{count} logs of {bytes} bytes"
            );
            // This one is used all the time.
            let used = quiet.take("0").expect("a log that was left a moment ago");
            quiet.put("0", used, 0);
        }
        let (count, _) = quiet.size();
        assert!((60..70).contains(&count), "{count}");
        assert!(quiet.take("299").is_some() && quiet.take("299").is_none());
        assert!(quiet.take("150").is_none());
        // Those of writers count too, and are not dropped.
        quiet.count(0, 90_000);
        let (fewer, bytes) = quiet.size();
        assert!((1..10).contains(&fewer) && bytes <= 100_000, "{fewer} logs of {bytes} bytes");
        quiet.count(90_000, 120_000);
        assert_eq!(quiet.size(), (0, 120_000));
        quiet.count(120_000, 0);
        quiet.put("large", log(5_000, 1), 0);
        assert_eq!(quiet.size(), (0, 0));
    }

    #[test]
    fn logs_whose_keys_do_not_count_any_more_are_dropped() {
        let quiet = QuietLogs::new(0);
        quiet.put("old", log(1, 1_000), 900);
        quiet.put("new", log(1, 1_900), 1_000);
        assert_eq!(quiet.size().0, 2);
        quiet.put("newer", log(1, 2_000), 1_001);
        assert!(quiet.take("old").is_none() && quiet.take("new").is_some());
    }
}
