mod purge;
mod rules;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use chat_core::{
    ChangeEntry, ChangeError, ChangeKind, Governance, Limits, NewChange, NewMessage, RoomLimits, RoomName,
    Unavailable, Verdict,
};

use crate::life::{Life, random_number};
use crate::record::{Block, Content, Entry, KeyUse, KeyWindow, Keyed, MessageState, Purge, Record};

use super::erase::Erasure;
use super::keys::RecordKeys;
use super::load::{Loaded, Loading};
use super::rules::StoredRules;
use super::state::{Tail, Unfinished};
use super::work::of_append;
use super::{Receipt, States, Work};

use self::rules::StagedRules;

/// The messages that a record changes, at most. Each is a message of the stream.
pub(super) const MAX_TARGETS: usize = 32;

/// The deleted messages whose text is not erased yet, at most.
const MAX_ERASING: usize = 1_024;

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
    /// The oldest position when records were last removed.
    pub(super) trimmed: u64,
    /// The number of connections that were lost when the leader was last asked for the end of the log.
    pub(super) losses: u64,
}

/// The limits of a room's log.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogLimits {
    pub(super) max_keys: usize,
    pub(super) retain_messages: Option<u64>,
    /// The bytes that a record has at most. One entry may have more.
    pub(super) max_bytes: usize,
    /// The bytes that the state of a message has at most.
    pub(super) max_state: usize,
    /// The latest time that an entry gets, unless the one before it is later.
    pub(super) latest: u64,
}

/// A record that can be stored after the end of the log, and the answers to its messages, changes and acts once it is
/// stored. One without an answer has no space in it.
#[derive(Debug)]
pub(super) struct Staged {
    pub(super) record: Record,
    pub(super) bytes: Bytes,
    /// The states that are stored together with the record.
    pub(super) states: States,
    /// The parts of threads that are stored together with it, with the positions of their roots.
    pub(super) blocks: Vec<(u64, Block)>,
    /// The rules after the record, if it has an act.
    pub(super) rules: Option<NewRules>,
    pub(super) answers: Vec<Answer>,
}

/// The rules after a record, and their parts that are stored together with it.
#[derive(Debug)]
pub(super) struct NewRules {
    pub(super) stored: Arc<StoredRules>,
    pub(super) parts: Vec<(u8, Bytes)>,
}

impl NewRules {
    fn new(before: Option<&StoredRules>, governance: Governance, seq: u64) -> Self {
        let (stored, parts) = StoredRules::after(before, governance, seq);
        Self { stored: Arc::new(stored), parts }
    }
}

/// An answer, and the message whose text must be erased before it is given.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) result: Result<Receipt, ChangeError>,
    pub(super) erasing: Option<Erasure>,
}

/// A record that is being made.
struct Staging<'a> {
    room: &'a RoomName,
    limits: &'a Limits,
    log: LogLimits,
    loaded: &'a Loaded,
    tail: &'a Tail,
    at: u64,
    epoch: String,
    new_keys: KeyWindow,
    entries: Vec<Entry>,
    bytes: usize,
    states: BTreeMap<u64, MessageState>,
    blocks: Vec<(u64, Block)>,
    has_threads: bool,
    /// The entry of this record that has the reactions of a message.
    reacted: BTreeMap<u64, u64>,
    pins: Vec<u64>,
    erasing: Vec<u64>,
    purges: Vec<Purge>,
    rules: StagedRules<'a>,
}

impl Applied {
    /// Returns a log of which no key is known yet.
    pub(super) fn new(life: Arc<Life>, tail: Tail) -> Self {
        let (keys, damaged, after_damage, trimmed, losses) = Default::default();
        Self { life, tail, keys, damaged, after_damage, trimmed, losses }
    }

    /// Adds a record that is stored. `None` is one that cannot be read.
    pub(super) fn apply(&mut self, record: Option<&Record>) {
        self.learn_keys(record);
        if let Some(record) = record {
            self.tail = Tail::of(record);
        }
    }

    /// Adds a record before the end of the log, of which only the keys count.
    pub(super) fn learn_keys(&mut self, record: Option<&Record>) {
        self.learn(record.map(RecordKeys::of));
    }

    /// Adds the keys of a record. `None` is one that cannot be read.
    pub(super) fn learn(&mut self, keys: Option<RecordKeys>) {
        let Some(RecordKeys { at, uses }) = keys else {
            self.after_damage = true;
            return;
        };
        if std::mem::take(&mut self.after_damage) {
            self.damaged = Some(at);
        }
        uses.iter().for_each(|(key, seq, at)| self.keys.insert(key, *seq, *at));
    }

    /// Decides about messages, changes and acts, in their order, until the record is full.
    pub(super) fn stage<'a>(
        &mut self,
        room: &RoomName,
        works: impl Iterator<Item = &'a Work>,
        (loaded, unfinished): (&Loaded, Unfinished),
        limits: &Limits,
        log: LogLimits,
    ) -> Staged {
        // A clock that is set back must not make an entry older than the one before it.
        let at = unix_millis().min(log.latest).max(self.tail.at);
        self.keys.forget(at, limits.rooms.key_window);
        let (new_keys, entries, bytes, states, blocks, reacted) = Default::default();
        let (epoch, pins) = (self.life.epoch(room), self.tail.pins.to_vec());
        let Unfinished { erasing, purges } = unfinished;
        let before = loaded.rules.as_deref();
        let rules = StagedRules::new(before.map(|rules| &rules.governance), self.tail.ruled);
        let mut staging = Staging {
            room,
            limits,
            log,
            loaded,
            tail: &self.tail,
            at,
            epoch,
            new_keys,
            entries,
            bytes,
            states,
            blocks,
            has_threads: self.tail.has_threads,
            reacted,
            pins,
            erasing,
            purges,
            rules,
        };
        let mut answers = Vec::new();
        for work in works {
            let Some(answer) = self.add(work, &mut staging) else { break };
            answers.push(answer);
        }
        let Staging { entries, states, blocks, has_threads, mut pins, erasing, purges, rules, .. } = staging;
        let head = self.tail.head + entries.len() as u64;
        let added = entries.iter().filter(|entry| entry.is_message()).count() as u64;
        let messages = self.tail.messages + added;
        let oldest = self.tail.oldest.max(retained(head, messages, log.retain_messages)).max(1);
        pins.retain(|seq| *seq >= oldest);
        let (id, previous) = (random_number(), self.tail.id);
        let purges = if rules.ruled > self.tail.ruled { rules.still_allowed(purges, at) } else { purges };
        let StagedRules { governance, ruled, .. } = rules;
        let governance = governance.filter(|_| ruled > self.tail.ruled);
        let rules = governance.map(|governance| NewRules::new(before, governance.into_owned(), ruled));
        let acted = entries.iter().rev().find(|entry| entry.is_act()).map_or(self.tail.acted, |act| act.seq);
        let (place, copy, trim) = (0, None, None);
        let record = Record {
            place,
            copy,
            id,
            previous,
            room: Bytes::copy_from_slice(room.as_str().as_bytes()),
            oldest,
            messages,
            has_threads,
            ruled,
            acted,
            pins,
            erasing,
            purges,
            trim,
            entries,
        };
        Staged {
            bytes: record.encode(),
            record,
            states: states.into_iter().collect(),
            blocks,
            rules,
            answers,
        }
    }

    /// Adds the entry of a message, a change or an act to a record. Returns `None` if it has no space there.
    fn add(&self, work: &Work, staging: &mut Staging<'_>) -> Option<Answer> {
        let key = match self.key(work, staging) {
            Ok(Ok(key)) => key,
            Ok(Err(known)) => {
                return Some(staging.answer(Some(known.seq), known.at).repeated().into());
            }
            Err(error) => return Some(Answer::from(error)),
        };
        let seq = self.tail.head + 1 + staging.entries.len() as u64;
        match work {
            Work::Append(message) => staging.append(message, seq, key),
            Work::Act(act) => staging.govern(act, seq),
            Work::Step(step) if Arc::ptr_eq(&step.life, &self.life) => staging.purge(step, seq),
            Work::Step(_) => Some(ChangeError::from(Unavailable::new("the log has a new epoch")).into()),
            // It is carried out in steps.
            Work::Purge(_) => Some(ChangeError::Unsupported.into()),
            Work::Change(change) => match staging.check_change(change) {
                Err(error) => Some(error.into()),
                Ok(change) if (1..=self.tail.head).contains(&change.target) => {
                    let is_readable = change.target >= self.tail.first();
                    staging.change(&change, seq, key, is_readable)
                }
                // It may be a message of this record, whose record must not be the one that is replaced.
                Ok(change) if change.target < seq && change.target > 0 => None,
                Ok(_) => Some(ChangeError::NoMessage.into()),
            },
        }
    }

    /// Returns the use of a key that is new, or the entry of its first use.
    fn key(&self, work: &Work, staging: &Staging<'_>) -> Result<Result<Option<KeyUse>, Keyed>, ChangeError> {
        let Some(key) = work.key() else { return Ok(Ok(None)) };
        let Staging { new_keys, limits, log, at, .. } = staging;
        let known = match self.keys.find(&key) {
            Ok(None) => new_keys.find(&key),
            known => known,
        };
        if let Some(known) = known.map_err(|_| ChangeError::KeyConflict)? {
            return Ok(Err(known));
        }
        let window = u64::try_from(limits.rooms.key_window.as_millis()).unwrap_or(u64::MAX);
        if self.damaged.is_some_and(|damaged| at.saturating_sub(damaged) < window) {
            return Err(Unavailable::new("a damaged record may have the key").into());
        }
        if self.keys.count(&key) + new_keys.count(&key) >= log.max_keys.max(1) {
            return Err(Unavailable::over_quota("the user has too many keys in this room").into());
        }
        Ok(Ok(Some(key)))
    }
}

impl Staging<'_> {
    fn append(&mut self, message: &NewMessage, seq: u64, key: Option<KeyUse>) -> Option<Answer> {
        if let Err(error) = self.check_send(message) {
            return Some(of_append(error).into());
        }
        let root = match self.judge_links(message, seq)? {
            Ok(root) => root,
            Err(error) => return Some(error.into()),
        };
        let (is_guest, connection) = (message.user.is_guest(), message.connection);
        let frame = message.folded(self.room, seq, self.at, None).frame;
        let content = Content::Message { frame, is_guest, connection };
        self.push(Entry { seq, at: self.at, key, content })?;
        if let Some(root) = root {
            self.set_root(root);
        }
        Some(self.answer(Some(seq), self.at).into())
    }

    fn change(
        &mut self,
        change: &NewChange,
        seq: u64,
        key: Option<KeyUse>,
        is_readable: bool,
    ) -> Option<Answer> {
        let target = change.target;
        let state = match (self.states.get(&target), self.loaded.targets.get(&target)) {
            _ if !is_readable => return Some(ChangeError::NoMessage.into()),
            (Some(state), _) => state,
            (None, Some(Loading::Known(state))) => state,
            (None, Some(Loading::Missing)) => return Some(ChangeError::NoMessage.into()),
            (None, Some(Loading::Damaged)) => {
                return Some(ChangeError::from(Unavailable::new("the message is damaged")).into());
            }
            (None, None) => return None,
        };
        match state.judge(change, self.pins.len(), self.at, self.limits) {
            Err(error) => return Some(error.into()),
            Ok(Verdict::Unchanged) => return Some(self.answer(None, self.at).into()),
            Ok(Verdict::Deleted(seq)) => {
                let erasing = Some(self.erasure(target, state));
                return Some(Answer { result: Ok(self.answer(Some(seq), self.at).repeated()), erasing });
            }
            Ok(Verdict::Store) => {}
        }
        let kind = change.change.kind();
        let is_deletion = kind == ChangeKind::Deleted;
        if is_deletion && self.erasing.len() >= MAX_ERASING {
            return Some(ChangeError::from(Unavailable::new("too many deletions are not complete")).into());
        }
        if !self.states.contains_key(&target) && self.states.len() >= MAX_TARGETS {
            return None;
        }
        // All reactions to one message in one record are one entry, unless another change came between them.
        let joined = self.reacted.get(&target).copied();
        let joined = joined.filter(|seq| kind == ChangeKind::Reactions && state.is_at(*seq));
        let mut state = state.clone();
        let seq = joined.unwrap_or(seq);
        state.apply(change, seq, self.at, &self.loaded.recent);
        if state.encode().len() > self.log.max_state {
            return Some(
                ChangeError::from(Unavailable::over_quota("the message has too many changes")).into(),
            );
        }
        if joined.is_none() {
            let entry = ChangeEntry::new(seq, self.at, change.user.clone(), target, kind);
            self.push(Entry { seq, at: self.at, key, content: Content::Change(entry) })?;
        }
        let erasing = is_deletion.then(|| self.erasure(target, &state));
        self.states.insert(target, state);
        match kind {
            ChangeKind::Reactions => drop(self.reacted.insert(target, seq)),
            ChangeKind::Pinned | ChangeKind::Deleted => self.pin(target),
            _ => {}
        }
        if is_deletion {
            self.erasing.push(target);
        }
        Some(Answer { result: Ok(self.answer(Some(seq), self.at)), erasing })
    }

    /// Returns the erasure of a message in this deleted form.
    fn erasure(&self, seq: u64, state: &MessageState) -> Erasure {
        let has_states = self.loaded.places.contains_key(&seq);
        Erasure { seq, frame: Some(state.stored(self.room, seq).frame), has_states }
    }

    /// Adds a message to the pinned ones, or removes it.
    fn pin(&mut self, seq: u64) {
        self.pins.retain(|pinned| *pinned != seq);
        if self.states.get(&seq).is_some_and(MessageState::is_pinned) {
            let index = self.pins.partition_point(|pinned| *pinned < seq);
            self.pins.insert(index, seq);
        }
    }

    /// Adds an entry. Returns `None` if it has no space.
    fn push(&mut self, entry: Entry) -> Option<()> {
        self.bytes += entry.max_bytes();
        if self.bytes > self.log.max_bytes && !self.entries.is_empty() {
            return None;
        }
        if let Some(key) = &entry.key {
            self.new_keys.insert(key, entry.seq, entry.at);
        }
        self.entries.push(entry);
        Some(())
    }

    fn answer(&self, seq: Option<u64>, at: u64) -> Receipt {
        Receipt::new(self.epoch.clone(), seq, at, false)
    }
}

impl Answer {
    /// Returns true if a later entry could be the reason for another answer.
    pub(super) fn is_refusal(&self) -> bool {
        match &self.result {
            Ok(receipt) => receipt.seq.is_none(),
            Err(ChangeError::KeyConflict | ChangeError::Unavailable(_)) => false,
            Err(_) => true,
        }
    }
}

impl From<Receipt> for Answer {
    fn from(receipt: Receipt) -> Self {
        Self { result: Ok(receipt), erasing: None }
    }
}

impl From<ChangeError> for Answer {
    fn from(error: ChangeError) -> Self {
        Self { result: Err(error), erasing: None }
    }
}

/// Returns the oldest position that a log keeps: at least the newest messages stay, unless there are too many entries.
fn retained(head: u64, messages: u64, retain: Option<u64>) -> u64 {
    let Some(count) = retain else { return 1 };
    let count = count.max(1);
    // The position of a message is not below its number.
    let by_messages = (messages + 1).saturating_sub(count);
    by_messages.max((head + 1).saturating_sub(RoomLimits::max_entries(count)))
}

pub(crate) fn unix_millis() -> u64 {
    #[cfg(test)]
    if let Some(millis) = crate::model::unix_millis() {
        return millis;
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

mod links;
#[cfg(test)]
mod tests;
