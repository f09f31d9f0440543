use std::collections::{BTreeMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{BufRead, BufReader, Seek, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chat_core::{
    AppendError, AppendReceipt, Limits, LogBounds, NewMessage, Page, Range, RoomName, StoredMessage,
    Unavailable, UserKey,
};
use serde::{Deserialize, Serialize};

/// A line of the file.
#[derive(Serialize, Deserialize)]
struct Record {
    at: u64,
    message: NewMessage,
}

/// The log of one room: its file, and what was read from it.
pub(super) struct State {
    room: RoomName,
    limits: Arc<Limits>,
    file: File,
    epoch: String,
    /// The number of the last line, which is also the head.
    lines: u64,
    last_at: u64,
    pub(super) entries: VecDeque<StoredMessage>,
    keys: BTreeMap<(UserKey, String), Keyed>,
    key_order: VecDeque<(UserKey, String)>,
}

struct Keyed {
    seq: u64,
    at: u64,
    content: String,
}

impl State {
    pub(super) fn open(path: &Path, room: &RoomName, limits: &Arc<Limits>) -> std::io::Result<Self> {
        let file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let mut lines = BufReader::new(file.try_clone()?).lines();
        let epoch = lines.next().transpose()?;
        let mut state = Self {
            room: room.clone(),
            limits: Arc::clone(limits),
            file,
            epoch: epoch.clone().unwrap_or_default(),
            lines: 0,
            last_at: 0,
            entries: VecDeque::new(),
            keys: BTreeMap::new(),
            key_order: VecDeque::new(),
        };
        if epoch.is_none() {
            state.renew()?;
        }
        for line in lines {
            let record: String = serde_json::from_str(&line?)?;
            state.lines += 1;
            state.insert(state.lines, serde_json::from_str(&record)?);
        }
        Ok(state)
    }

    /// Begins another life: an empty file with another epoch.
    pub(super) fn renew(&mut self) -> std::io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.epoch = format!("{:016x}", RandomState::new().build_hasher().finish());
        writeln!(self.file, "{}", self.epoch)?;
        self.lines = 0;
        self.entries.clear();
        self.keys.clear();
        self.key_order.clear();
        Ok(())
    }

    /// Writes a line and returns its number.
    fn write(&mut self, record: &Record) -> std::io::Result<u64> {
        // As a string, a body with a line break is one line.
        let line = serde_json::to_string(&serde_json::to_string(record)?)? + "\n";
        self.file.write_all(line.as_bytes())?;
        self.lines += 1;
        Ok(self.lines)
    }

    /// Writes a message, unless its key is known. Returns the stored entry if there is a new one.
    pub(super) fn append(
        &mut self,
        message: NewMessage,
    ) -> Result<(AppendReceipt, Option<StoredMessage>), AppendError> {
        let now = unix_millis();
        self.forget_keys(now);
        let key = message.key.clone().map(|key| (message.user.key(), key));
        if let Some(known) = key.and_then(|key| self.keys.get(&key)) {
            return if known.content == message.content() {
                Ok((self.receipt(known.seq, known.at, true), None))
            } else {
                Err(AppendError::KeyConflict)
            };
        }
        message.judge_without_threads()?;
        if let Some(user) = message.key.as_ref().map(|_| message.user.key())
            && self.keys.keys().filter(|(owner, _)| *owner == user).count() >= self.limits.rooms.log_keys
        {
            return Err(Unavailable::new("the user has too many keys in this room").into());
        }
        let at = now.max(self.last_at);
        let record = Record { at, message };
        let seq = self.write(&record).map_err(Unavailable::from_source)?;
        Ok((self.receipt(seq, at, false), Some(self.insert(seq, record))))
    }

    fn receipt(&self, seq: u64, at: u64, duplicate: bool) -> AppendReceipt {
        let receipt = AppendReceipt::new(self.epoch.clone(), seq, at);
        if duplicate { receipt.repeated() } else { receipt }
    }

    /// Takes note of a line that is written.
    fn insert(&mut self, seq: u64, Record { at, message }: Record) -> StoredMessage {
        self.last_at = at;
        if let Some(key) = message.key.clone() {
            let (key, content) = ((message.user.key(), key), message.content().into_owned());
            self.key_order.push_back(key.clone());
            self.keys.insert(key, Keyed { seq, at, content });
        }
        let stored = message.into_stored(self.room.clone(), seq, at);
        self.entries.push_back(stored.clone());
        while self.entries.len() > self.limits.rooms.log_messages {
            self.entries.pop_front();
        }
        stored
    }

    fn forget_keys(&mut self, now: u64) {
        let window = self.limits.rooms.key_window;
        while let Some(at) = self.key_order.front().and_then(|key| self.keys.get(key)).map(|keyed| keyed.at)
            && Duration::from_millis(now.saturating_sub(at)) >= window
        {
            self.forget_oldest_key();
        }
    }

    fn forget_oldest_key(&mut self) {
        if let Some(oldest) = self.key_order.pop_front() {
            self.keys.remove(&oldest);
        }
    }

    pub(super) fn bounds(&self) -> LogBounds {
        let first = self.entries.front().map_or(self.lines + 1, |oldest| oldest.seq);
        LogBounds::new(self.epoch.clone(), self.lines).with_first(first)
    }

    pub(super) fn read(&self, range: Range) -> Result<Page, Unavailable> {
        let mut messages = Vec::new();
        let newest_first = self.entries.iter().rev();
        let more = match range {
            Range::Newest { limit } => self.fill(&mut messages, newest_first, limit),
            Range::Before { seq, limit } => {
                self.fill(&mut messages, newest_first.filter(|stored| stored.seq < seq), limit)
            }
            Range::After { seq, limit } | Range::Entries { after: seq, limit } => {
                self.fill(&mut messages, self.entries.iter().filter(|stored| stored.seq > seq), limit)
            }
            _ => return Err(Unavailable::new("this log does not know the range")),
        };
        messages.sort_unstable_by_key(|stored| stored.seq);
        Ok(Page::new(self.epoch.clone(), messages).with_more(more))
    }

    /// Fills a page. Returns true if there are more entries.
    fn fill<'a>(
        &self,
        page: &mut Vec<StoredMessage>,
        entries: impl Iterator<Item = &'a StoredMessage>,
        limit: usize,
    ) -> bool {
        let mut bytes = 0;
        for stored in entries {
            bytes += stored.frame.len();
            let fits = page.is_empty() || bytes <= self.limits.wire.max_batch_bytes;
            if page.len() >= limit.max(1) || !fits {
                return true;
            }
            page.push(stored.clone());
        }
        false
    }
}

fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
