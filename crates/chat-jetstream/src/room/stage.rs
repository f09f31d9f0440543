use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use chat_core::{AppendError, AppendReceipt, Limits, NewMessage, RoomName, Unavailable};

use crate::life::{Life, random_number};
use crate::record::{Entry, KeyUse, KeyWindow, Keyed, Record};

use super::state::Tail;

/// The log of a room as its writer has it: all records up to the end are applied.
#[derive(Debug)]
pub(super) struct Applied {
    pub(super) life: Arc<Life>,
    pub(super) tail: Tail,
    pub(super) keys: KeyWindow,
    /// The time until which a record that cannot be read may have keys.
    pub(super) damaged: Option<u64>,
    /// True after such a record. The next one has a later time.
    pub(super) after_damage: bool,
}

/// The decision about a message.
enum Decided {
    Known(Keyed),
    New(Option<KeyUse>),
}

/// The limits of a room's log.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogLimits {
    pub(super) max_keys: usize,
    pub(super) retain_messages: Option<u64>,
    /// The bytes that a record has at most. One entry may have more.
    pub(super) max_bytes: usize,
}

/// A record that can be stored after the end of the log, and the answers to its messages once it is stored.
/// A message without an answer has no space in it.
#[derive(Debug)]
pub(super) struct Staged {
    pub(super) record: Record,
    pub(super) bytes: Bytes,
    pub(super) answers: Vec<Result<AppendReceipt, AppendError>>,
}

impl Applied {
    /// Returns a log of which no key is known yet.
    pub(super) fn new(life: Arc<Life>, tail: Tail) -> Self {
        Self { life, tail, keys: KeyWindow::default(), damaged: None, after_damage: false }
    }

    /// Adds a record that is stored. `None` is one that cannot be read.
    pub(super) fn apply(&mut self, record: Option<&Record>) {
        self.learn_keys(record);
        if let Some(record) = record {
            self.tail = Tail::of(record);
        }
    }

    /// Adds the keys of a record. `None` is one that cannot be read.
    pub(super) fn learn_keys(&mut self, record: Option<&Record>) {
        let Some(record) = record else {
            self.after_damage = true;
            return;
        };
        if std::mem::take(&mut self.after_damage) {
            self.damaged = Some(record.at());
        }
        for entry in &record.entries {
            if let Some(key) = &entry.key {
                self.keys.insert(key, entry.stored.seq, entry.at);
            }
        }
    }

    /// Decides about messages, in their order, until the record is full.
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
        let (mut answers, mut bytes) = (Vec::new(), 0);
        for message in messages {
            let decided = self.decide(message, &new_keys, limits, log, at);
            let key = match decided {
                Ok(Decided::Known(known)) => {
                    answers.push(Ok(AppendReceipt::new(&*epoch, known.seq, known.at).repeated()));
                    continue;
                }
                Ok(Decided::New(key)) => key,
                Err(error) => {
                    answers.push(Err(error));
                    continue;
                }
            };
            let seq = self.tail.head + 1 + entries.len() as u64;
            let entry = Entry { stored: message.folded(room, seq, at, None), at, key };
            bytes += entry.max_bytes();
            if bytes > log.max_bytes && !entries.is_empty() {
                break;
            }
            if let Some(key) = &key {
                new_keys.insert(key, seq, at);
            }
            entries.push(entry);
            answers.push(Ok(AppendReceipt::new(&*epoch, seq, at)));
        }
        let head = self.tail.head + entries.len() as u64;
        let retained = log.retain_messages.map_or(1, |count| (head + 1).saturating_sub(count.max(1)));
        let oldest = self.tail.oldest.max(retained).max(1);
        let record = Record { place: 0, id: random_number(), previous: self.tail.id, oldest, entries };
        Staged { bytes: record.encode(), record, answers }
    }

    fn decide(
        &self,
        message: &NewMessage,
        new_keys: &KeyWindow,
        limits: &Limits,
        log: LogLimits,
        at: u64,
    ) -> Result<Decided, AppendError> {
        let key = KeyUse::of(message);
        if let Some(key) = &key {
            let known = match self.keys.find(key) {
                Ok(None) => new_keys.find(key),
                known => known,
            };
            if let Some(known) = known.map_err(|_| AppendError::KeyConflict)? {
                return Ok(Decided::Known(known));
            }
            let window = u64::try_from(limits.rooms.key_window.as_millis()).unwrap_or(u64::MAX);
            if self.damaged.is_some_and(|damaged| at.saturating_sub(damaged) < window) {
                return Err(Unavailable::new("a damaged record may have the key").into());
            }
            if self.keys.count(key) + new_keys.count(key) >= log.max_keys.max(1) {
                return Err(Unavailable::over_quota("the user has too many keys in this room").into());
            }
        }
        message.judge_without_threads()?;
        Ok(Decided::New(key))
    }
}

pub(super) fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chat_core::{RawValue, StoredMessage, User};

    use super::*;

    const LOG: LogLimits = LogLimits { max_keys: 100, retain_messages: None, max_bytes: 64 * 1024 };

    fn message(key: Option<&str>, text: &str) -> NewMessage {
        let body = RawValue::from_string(format!(r#"{{"text":"{text}"}}"#)).unwrap();
        NewMessage::new(User::guest("ann").unwrap(), body).with_key(key.map(ToOwned::to_owned))
    }

    fn stage(log: &mut Applied, messages: &[NewMessage], limits: &Limits) -> Staged {
        log.stage(&"lobby".parse().unwrap(), messages.iter(), limits, LOG)
    }

    #[test]
    fn a_record_ends_before_the_message_that_has_no_space_in_it() {
        let mut log = Applied::new(Arc::new(Life::for_tests()), Tail::default());
        let messages = ["a", "b", "c"].map(|letter| message(None, &letter.repeat(30_000)));
        let staged = stage(&mut log, &messages, &Limits::default());
        assert_eq!((staged.answers.len(), staged.record.entries.len()), (2, 2));
        assert!(staged.bytes.len() < LOG.max_bytes, "{}", staged.bytes.len());
        let large = message(None, &"d".repeat(100_000));
        let staged = stage(&mut log, &[large, message(None, "e")], &Limits::default());
        assert_eq!(staged.answers.len(), 1, "it is a record of its own");
    }

    #[test]
    fn a_new_key_is_unavailable_while_a_record_that_cannot_be_read_may_have_it() {
        let limits = Limits::default().with(|limits| limits.rooms.key_window = Duration::from_millis(200));
        let mut log = Applied::new(Arc::new(Life::for_tests()), Tail::default());
        let first = stage(&mut log, &[message(Some("k"), "1")], &limits).record;
        log.apply(Some(&Record { place: 1, ..first }));
        log.apply(None);
        let entry = Entry { stored: StoredMessage::new(3, "{}"), at: unix_millis(), key: None };
        log.apply(Some(&Record { place: 3, id: 3, previous: 2, oldest: 1, entries: vec![entry] }));
        let messages = [message(Some("l"), "2"), message(Some("k"), "1"), message(None, "3")];
        let staged = stage(&mut log, &messages, &limits);
        assert!(matches!(staged.answers[0], Err(AppendError::Unavailable(_))), "{:?}", staged.answers[0]);
        assert!(staged.answers[1].as_ref().is_ok_and(|receipt| receipt.duplicate));
        assert!(staged.answers[2].is_ok());
        std::thread::sleep(Duration::from_millis(210));
        assert!(stage(&mut log, &messages[..1], &limits).answers[0].is_ok(), "the window is over");
    }
}
