use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use sha1::{Digest, Sha1};

use super::{AppendError, AppendReceipt, LogBounds, NewMessage, Page, Range, StoredMessage, Unavailable};
use crate::{Limits, RoomName, UserKey};

/// The bytes that a key takes beside its text: two nodes of a tree and a place in a queue, rounded up.
const KEY_OVERHEAD: usize = 256;

/// The log of a room in memory: its newest messages and the keys of their authors.
///
/// ```
/// use std::sync::Arc;
///
/// use chat_proto::{Limits, Log, NewMessage, Range, User};
/// use serde_json::value::RawValue;
///
/// let mut log = Log::new("lobby".parse()?, "k3f9".to_owned(), Arc::new(Limits::default()));
/// let body = RawValue::from_string(r#"{"text":"hi"}"#.to_owned())?;
/// let message = NewMessage::new(User::guest("ann")?, body).with_key("a1".to_owned());
/// let (receipt, stored) = log.append(1_700_000_000_000, message.clone())?;
/// assert_eq!((receipt.seq, receipt.duplicate, stored.is_some()), (1, false, true));
///
/// let (repeated, stored) = log.append(1_700_000_000_001, message)?;
/// assert_eq!((repeated.seq, repeated.duplicate, stored.is_some()), (1, true, false));
/// assert_eq!(log.read(Range::newest(10)).messages.len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Log {
    room: RoomName,
    epoch: String,
    limits: Arc<Limits>,
    entries: VecDeque<StoredMessage>,
    bytes: usize,
    head: u64,
    /// The time of the newest message.
    last_at: u64,
    /// The message of each user and key.
    keys: BTreeMap<(UserKey, Arc<str>), Keyed>,
    /// The keys and their times, oldest first.
    key_order: VecDeque<((UserKey, Arc<str>), u64)>,
    /// The bytes of the texts of the keys.
    key_bytes: usize,
    /// The number of keys of each user.
    key_counts: BTreeMap<UserKey, usize>,
}

#[derive(Debug)]
struct Keyed {
    seq: u64,
    at: u64,
    body: [u8; 20],
}

impl Log {
    /// Returns the empty log of a room.
    pub fn new(room: RoomName, epoch: String, limits: Arc<Limits>) -> Self {
        Self {
            room,
            epoch,
            limits,
            entries: VecDeque::new(),
            bytes: 0,
            head: 0,
            last_at: 0,
            keys: BTreeMap::new(),
            key_order: VecDeque::new(),
            key_bytes: 0,
            key_counts: BTreeMap::new(),
        }
    }

    /// Adds a message at the time `at`, in milliseconds since the Unix epoch, unless its key is known.
    ///
    /// Returns the receipt and, if a message was added, the stored message.
    ///
    /// # Errors
    ///
    /// [`AppendError::KeyConflict`] if the key was used for another body. [`AppendError::Unavailable`] if the user has
    /// [`RoomLimits::log_keys`](crate::RoomLimits::log_keys) keys already. A key is never forgotten early.
    pub fn append(
        &mut self,
        at: u64,
        message: NewMessage,
    ) -> Result<(AppendReceipt, Option<StoredMessage>), AppendError> {
        self.forget_keys(at);
        let slot = message.key.as_deref().map(|key| {
            let slot = (message.user.key(), Arc::from(key));
            (slot, Sha1::digest(message.body.get()).into())
        });
        if let Some((slot, digest)) = &slot
            && let Some(known) = self.keys.get(slot)
        {
            return if known.body == *digest {
                Ok((self.receipt(known.seq, known.at, true), None))
            } else {
                Err(AppendError::KeyConflict)
            };
        }
        if let Some(((user, _), _)) = &slot
            && self.key_counts.get(user).is_some_and(|count| *count >= self.limits.rooms.log_keys.max(1))
        {
            return Err(Unavailable::over_quota("the user has too many keys in this room").into());
        }
        let seq = self.head + 1;
        // A clock that is set back must not make a message older than the one before it.
        let at = at.max(self.last_at);
        self.last_at = at;
        let stored = message.stored(&self.room, seq, at);
        self.head = seq;
        self.bytes += stored.frame.len();
        self.entries.push_back(stored.clone());
        if let Some((slot, body)) = slot {
            *self.key_counts.entry(slot.0.clone()).or_default() += 1;
            self.key_bytes += 2 * slot.1.len();
            self.key_order.push_back((slot.clone(), at));
            self.keys.insert(slot, Keyed { seq, at, body });
        }
        self.trim();
        Ok((self.receipt(seq, at, false), Some(stored)))
    }

    /// Reads part of the log. A page of more than one message has at most
    /// [`WireLimits::max_batch_bytes`](crate::WireLimits::max_batch_bytes) bytes.
    pub fn read(&self, range: Range) -> Page {
        let first = self.first();
        let index = |seq: u64| usize::try_from(seq.clamp(first, self.head + 1) - first).unwrap_or(usize::MAX);
        let (messages, more) = match range {
            Range::Newest { limit } | Range::Before { limit, .. } => {
                let end = match range {
                    Range::Before { seq, .. } => index(seq),
                    _ => self.entries.len(),
                };
                let taken = self.fitting(self.entries.range(..end).rev(), limit);
                (self.entries.range(end - taken..end).cloned().collect(), taken < end)
            }
            Range::After { seq, limit } => {
                let start = index(seq.saturating_add(1));
                let taken = self.fitting(self.entries.range(start..), limit);
                let end = start + taken;
                (self.entries.range(start..end).cloned().collect(), end < self.entries.len())
            }
        };
        Page { epoch: self.epoch.clone(), messages, more }
    }

    /// Returns the bytes that the messages and keys take.
    pub fn memory_bytes(&self) -> usize {
        self.bytes
            + self.entries.capacity() * size_of::<StoredMessage>()
            + self.key_bytes
            + self.key_order.len() * KEY_OVERHEAD
    }

    /// Drops the older half of the messages, but never the newest one. Returns true if a further call can drop more.
    ///
    /// A reader that has not read them gets a `gap`. Their keys stay.
    pub fn drop_oldest_half(&mut self) -> bool {
        let dropped = self.entries.len() / 2;
        self.bytes -= self.entries.drain(..dropped).map(|stored| stored.frame.len()).sum::<usize>();
        self.entries.shrink_to_fit();
        self.entries.len() > 1
    }

    /// Returns the extent of the log.
    pub fn bounds(&self) -> LogBounds {
        LogBounds::new(self.epoch.clone(), self.head).with_first(self.first())
    }

    fn receipt(&self, seq: u64, at: u64, duplicate: bool) -> AppendReceipt {
        let receipt = AppendReceipt::new(self.epoch.clone(), seq, at);
        if duplicate { receipt.repeated() } else { receipt }
    }

    fn first(&self) -> u64 {
        self.entries.front().map_or(self.head + 1, |oldest| oldest.seq)
    }

    fn fitting<'a>(&self, entries: impl Iterator<Item = &'a StoredMessage>, limit: usize) -> usize {
        let mut bytes = 0;
        entries
            .take(limit)
            .enumerate()
            .take_while(|(index, stored)| {
                bytes += stored.frame.len();
                *index == 0 || bytes <= self.limits.wire.max_batch_bytes
            })
            .count()
    }

    fn trim(&mut self) {
        while self.entries.len() > self.limits.rooms.log_messages.max(1)
            || (self.bytes > self.limits.rooms.log_bytes && self.entries.len() > 1)
        {
            let Some(oldest) = self.entries.pop_front() else {
                break;
            };
            self.bytes -= oldest.frame.len();
        }
    }

    fn forget_keys(&mut self, now: u64) {
        while let Some((oldest, at)) = self.key_order.front() {
            if Duration::from_millis(now.saturating_sub(*at)) < self.limits.rooms.key_window {
                break;
            }
            self.keys.remove(oldest);
            self.key_bytes -= 2 * oldest.1.len();
            if let Some(count) = self.key_counts.get_mut(&oldest.0) {
                *count -= 1;
                if *count == 0 {
                    self.key_counts.remove(&oldest.0);
                }
            }
            self.key_order.pop_front();
        }
    }
}
