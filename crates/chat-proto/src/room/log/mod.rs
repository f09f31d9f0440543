mod entry;
mod keys;
mod purge;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use self::entry::Entry;
use self::keys::{Keys, OtherContent, Use};
use super::marker::Markers;
use super::rules::Governance;
use super::{
    ActEffect, ActEntry, AppendError, AppendReceipt, Change, ChangeError, ChangeKind, ChangeReceipt, Linked,
    LogBounds, Marked, MarkerError, NewAct, NewChange, NewMessage, Page, Range, RoomRules, Standing,
    StoredMessage, ThreadError, Uncounted, Unread, Verdict,
};
use crate::{Limits, Role, RoomLimits, RoomName, UserKey};

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
    entries: VecDeque<Entry>,
    /// The number of entries that are messages.
    messages: usize,
    bytes: usize,
    head: u64,
    /// The time of the newest entry.
    last_at: u64,
    /// True if a message was changed, or the log has had an act.
    has_changes: bool,
    /// The pinned messages.
    pins: BTreeSet<u64>,
    keys: Keys,
    /// The rules and the standings. `None` if the log never had an act.
    governance: Option<Box<Governance>>,
    markers: Markers,
}

/// The entries that a change has made or altered. The log commits them together.
#[derive(Debug)]
pub struct ChangedEntries {
    /// The present form of the entries that a deletion or a purge has erased: the messages, and all their changes.
    pub erased: Vec<StoredMessage>,
    /// The new entry.
    pub entry: StoredMessage,
}

impl Log {
    /// Returns the empty log of a room.
    pub fn new(room: RoomName, epoch: String, limits: Arc<Limits>) -> Self {
        Self {
            room,
            epoch,
            limits,
            entries: VecDeque::new(),
            messages: 0,
            bytes: 0,
            head: 0,
            last_at: 0,
            has_changes: false,
            pins: BTreeSet::new(),
            keys: Keys::default(),
            governance: None,
            markers: Markers::default(),
        }
    }

    /// Adds a message at the time `at`, in milliseconds since the Unix epoch, unless its key is known.
    ///
    /// Returns the receipt and, if a message was added, the stored message.
    ///
    /// # Errors
    ///
    /// [`AppendError::KeyConflict`] if the key was used for another body or other links. [`AppendError::Unavailable`]
    /// if the user has [`RoomLimits::log_keys`](crate::RoomLimits::log_keys) keys already. A key is never forgotten
    /// early. [`AppendError::Forbidden`] and [`AppendError::Muted`] in a room with rules, and the errors of
    /// [`Links::judge`](super::Links::judge).
    #[expect(clippy::needless_pass_by_value, reason = "the log owns what it keeps, as in `change`")]
    pub fn append(
        &mut self,
        at: u64,
        message: NewMessage,
    ) -> Result<(AppendReceipt, Option<StoredMessage>), AppendError> {
        self.keys.forget(at, self.limits.rooms.key_window);
        let used = Use::of_message(&message);
        if let Some(used) = &used {
            let known = self.keys.find(used).map_err(|OtherContent| AppendError::KeyConflict)?;
            if let Some(known) = known {
                return Ok((self.receipt(known.seq, known.at).repeated(), None));
            }
            self.keys.check_space(used, &self.limits.rooms)?;
        }
        let role = match &self.governance {
            Some(governance) => governance.check_send(&message, at.max(self.last_at))?,
            None if self.room.is_direct() => return Err(AppendError::Forbidden),
            None => message.role,
        };
        if let Some(links) = &message.links {
            let linked = |seq: Option<u64>| self.linked(seq?);
            links.judge(role, linked(links.reply_to), linked(links.thread))?;
        }
        let (seq, at) = self.next(at);
        if let Some(index) = message.thread().and_then(|root| self.index(root)) {
            let root = &mut self.entries[index];
            self.bytes -= root.bytes();
            root.reply(&self.room, seq);
            self.bytes += root.bytes();
        }
        let entry = Entry::message(&message, &self.room, seq, at);
        let stored = entry.stored.clone();
        self.push(at, entry, used);
        Ok((self.receipt(seq, at), Some(stored)))
    }

    /// Changes a message at the time `at`, in milliseconds since the Unix epoch.
    ///
    /// Returns the receipt and, if something has changed, the entries to report.
    ///
    /// # Errors
    ///
    /// The errors of [`Target::judge`](super::Target::judge), [`ChangeError::NoMessage`] if the log does not have the
    /// message, [`ChangeError::KeyConflict`], and [`ChangeError::Unavailable`] as for [`append`](Self::append).
    pub fn change(
        &mut self,
        at: u64,
        mut change: NewChange,
    ) -> Result<(ChangeReceipt, Option<ChangedEntries>), ChangeError> {
        self.keys.forget(at, self.limits.rooms.key_window);
        let used = Use::of_change(&change);
        if let Some(used) = &used {
            let known = self.keys.find(used).map_err(|OtherContent| ChangeError::KeyConflict)?;
            if let Some(known) = known {
                return Ok((ChangeReceipt::new(self.epoch.clone(), known.seq).repeated(), None));
            }
            self.keys.check_space(used, &self.limits.rooms)?;
        }
        if let Some(governance) = &self.governance {
            change.role = governance.check_change(&change, at.max(self.last_at))?;
        }
        let target = change.target;
        let index = self.index(target).ok_or(ChangeError::NoMessage)?;
        let state = self.entries[index].target(&change, self.pins.len()).ok_or(ChangeError::NoMessage)?;
        match state.judge(&change, at.max(self.last_at), &self.limits)? {
            Verdict::Unchanged => return Ok((ChangeReceipt::unchanged(self.epoch.clone()), None)),
            Verdict::Deleted(seq) => {
                return Ok((ChangeReceipt::new(self.epoch.clone(), seq).repeated(), None));
            }
            Verdict::Store => {}
        }
        let (seq, at) = self.next(at);
        let is_deletion = change.change.kind() == ChangeKind::Deleted;
        match &change.change {
            Change::Pin { on: true } => drop(self.pins.insert(target)),
            Change::Pin { on: false } | Change::Delete { .. } => drop(self.pins.remove(&target)),
            _ => {}
        }
        let replaced = self.entries[index].replaced_by(change.change.kind());
        self.bytes -= self.entries[index].bytes();
        let entry = self.entries[index].apply(change, &self.room, seq, at);
        self.bytes += self.entries[index].bytes();
        let entry = entry.ok_or(ChangeError::NoMessage)?;
        self.supersede(replaced);
        // A room may hold each change of the message as it was published.
        let is_erased = |erased: &&Entry| is_deletion && erased.concerns(target);
        let erased =
            self.entries.range(index..).filter(is_erased).map(|entry| entry.stored.clone()).collect();
        let stored = entry.stored.clone();
        self.has_changes = true;
        self.push(at, entry, used);
        let receipt = ChangeReceipt::new(self.epoch.clone(), seq);
        Ok((receipt, Some(ChangedEntries { erased, entry: stored })))
    }

    /// Sets the rules of the room or the standing of a user, at the time `at`.
    ///
    /// Returns the receipt and, if something has changed, the entry to report.
    ///
    /// # Errors
    ///
    /// The errors of [`ActContext::judge`](super::ActContext::judge).
    #[expect(clippy::needless_pass_by_value, reason = "the log owns what it keeps, as in `change`")]
    pub fn govern(
        &mut self,
        at: u64,
        new: NewAct,
    ) -> Result<(ChangeReceipt, Option<StoredMessage>), ChangeError> {
        if !new.fits(&self.room) {
            return Err(ChangeError::Forbidden);
        }
        let (seq, at) = self.next(at);
        let none = || Governance::new(self.room.clone());
        let mut context = match &self.governance {
            Some(governance) => governance.context(&new, self.head > 0),
            None => none().context(&new, self.head > 0),
        };
        if context.needs_space(&new, at, &self.limits)
            && let Some(governance) = &mut self.governance
        {
            governance.remove_ended(at);
            context = governance.context(&new, self.head > 0);
        }
        let effect = context.judge(&new, at, &self.limits)?;
        let (ActEffect::Store(state) | ActEffect::Create(state)) = &effect else {
            return Ok((ChangeReceipt::unchanged(self.epoch.clone()), None));
        };
        let entry = ActEntry::new(seq, at, new.user.clone(), state.clone());
        let stored = entry.encode(&self.room);
        self.governance.get_or_insert_with(|| Box::new(none())).apply(&new.user, &effect);
        self.has_changes = true;
        self.push(at, Entry::act(stored.clone()), None);
        Ok((ChangeReceipt::new(self.epoch.clone(), seq), Some(stored)))
    }

    /// Returns the rules of the room, and the standing that holds for a user.
    pub fn standing(&self, user: &UserKey) -> (RoomRules, Standing) {
        match &self.governance {
            Some(governance) => (governance.rules().into_owned(), governance.standing(user, Role::None)),
            None => (RoomRules::unset(&self.room), Standing::default()),
        }
    }

    /// Reads part of the log. A page of more than one entry has at most
    /// [`WireLimits::max_batch_bytes`](crate::WireLimits::max_batch_bytes) bytes.
    pub fn read(&self, range: Range) -> Page {
        self.select(range, Entry::is_message)
    }

    /// Reads part of the thread that begins with the message `root`, without that message, in pages like those of
    /// [`read`](Self::read).
    ///
    /// # Errors
    ///
    /// [`ThreadError::NoMessage`] if the log does not have the message, or it is in a thread itself.
    pub fn thread(&self, root: u64, range: Range) -> Result<Page, ThreadError> {
        if !self.linked(root).is_some_and(Linked::is_root) {
            return Err(ThreadError::NoMessage);
        }
        let range = match range {
            Range::Entries { after, limit } => Range::after(after, limit),
            range => range,
        };
        Ok(self.select(range, |entry| entry.is_in_thread(root)))
    }

    /// Returns a page of the messages that are wanted, or of all entries.
    fn select(&self, range: Range, is_wanted: impl Fn(&Entry) -> bool) -> Page {
        let start = |after| self.start(after);
        match range {
            Range::Newest { limit } => self.page(self.entries.iter().rev(), limit, is_wanted).reversed(),
            Range::Before { seq, limit } => {
                let end = start(seq.saturating_sub(1));
                self.page(self.entries.range(..end).rev(), limit, is_wanted).reversed()
            }
            Range::After { seq, limit } => self.page(self.entries.range(start(seq)..), limit, is_wanted),
            Range::Entries { after, limit } => self.page(self.entries.range(start(after)..), limit, |_| true),
            Range::Acts { after, limit } => {
                self.page(self.entries.range(start(after)..), limit, Entry::is_act)
            }
        }
    }

    /// Moves the marker of a user forward to `seq`. A marker that is there already does not move.
    ///
    /// # Errors
    ///
    /// [`MarkerError::BeyondHead`] if the log has no such position yet. [`MarkerError::Unavailable`] if the log has
    /// [`RoomLimits::log_markers`](crate::RoomLimits::log_markers) markers of users who are no guests.
    pub fn mark(&mut self, user: &UserKey, seq: u64) -> Result<Marked, MarkerError> {
        if seq > self.head {
            return Err(MarkerError::BeyondHead);
        }
        let moved = self.markers.set(user, seq, self.limits.rooms.log_markers)?;
        Ok(Marked::new(self.epoch.clone(), self.markers.get(user)).with_moved(moved))
    }

    /// Returns the marker of a user, and the messages after it up to `up_to`, of which the unread ones are not counted
    /// yet.
    pub fn unread(&self, user: &UserKey, up_to: u64) -> Uncounted {
        let read = self.markers.get(user);
        let later = self.entries.range(self.start(read)..self.start(up_to).max(self.start(read))).rev();
        let messages = later.filter_map(|entry| Some((entry.stored.clone(), entry.author()?.is_guest())));
        Uncounted::new(Unread::new(self.epoch.clone(), self.head, read), user.clone(), messages)
    }

    /// Returns the bytes that the entries, keys and markers take.
    pub fn memory_bytes(&self) -> usize {
        let entries = self.bytes + self.entries.capacity() * size_of::<Entry>();
        let governance = self.governance.as_ref().map_or(0, |governance| governance.memory_bytes());
        entries + self.keys.memory_bytes() + self.markers.memory_bytes() + governance
    }

    /// Drops the older half of the entries, but never the newest one. Returns true if a further call can drop more.
    ///
    /// A reader that has not read them gets a `gap`. Their keys stay.
    pub fn drop_oldest_half(&mut self) -> bool {
        for _ in 0..self.entries.len() / 2 {
            self.drop_oldest();
        }
        self.entries.shrink_to_fit();
        self.entries.len() > 1
    }

    /// Returns the extent of the log.
    pub fn bounds(&self) -> LogBounds {
        LogBounds::new(self.epoch.clone(), self.head)
            .with_first(self.first())
            .with_changes(self.has_changes)
            .with_rules(self.governance.is_some())
            .with_pins(self.pins.iter().copied().collect())
    }

    fn receipt(&self, seq: u64, at: u64) -> AppendReceipt {
        AppendReceipt::new(self.epoch.clone(), seq, at)
    }

    fn first(&self) -> u64 {
        self.entries.front().map_or(self.head + 1, |oldest| oldest.stored.seq)
    }

    /// Returns the index of the first entry after a position.
    fn start(&self, after: u64) -> usize {
        let first = self.first();
        usize::try_from(after.saturating_add(1).clamp(first, self.head + 1) - first).unwrap_or(usize::MAX)
    }

    /// Returns the index of an entry, if the log still has it.
    fn index(&self, seq: u64) -> Option<usize> {
        let index = usize::try_from(seq.checked_sub(self.first())?).ok()?;
        (index < self.entries.len()).then_some(index)
    }

    /// Returns the message at a position as a link sees it.
    fn linked(&self, seq: u64) -> Option<Linked> {
        self.entries[self.index(seq)?].linked()
    }

    /// Returns the position and the time of the next entry.
    fn next(&self, at: u64) -> (u64, u64) {
        // A clock that is set back must not make an entry older than the one before it.
        (self.head + 1, at.max(self.last_at))
    }

    fn push(&mut self, at: u64, entry: Entry, used: Option<Use>) {
        let seq = entry.stored.seq;
        (self.head, self.last_at) = (seq, at);
        self.bytes += entry.bytes();
        self.messages += usize::from(entry.is_message());
        self.entries.push_back(entry);
        if let Some(used) = used {
            self.keys.insert(used, seq, at);
        }
        self.trim();
    }

    /// Returns the entries that are wanted, in the order of the iterator, as far as they fit.
    fn page<'a>(
        &self,
        entries: impl Iterator<Item = &'a Entry>,
        limit: usize,
        is_wanted: impl Fn(&Entry) -> bool,
    ) -> Page {
        let mut entries = entries.filter(|entry| is_wanted(entry)).map(|entry| &entry.stored).peekable();
        let (mut messages, mut bytes) = (Vec::new(), 0);
        while messages.len() < limit
            && let Some(stored) = entries.next_if(|stored| {
                messages.is_empty() || bytes + stored.frame.len() <= self.limits.wire.max_batch_bytes
            })
        {
            bytes += stored.frame.len();
            messages.push(stored.clone());
        }
        Page { epoch: self.epoch.clone(), more: entries.peek().is_some(), messages }
    }

    fn trim(&mut self) {
        let rooms = &self.limits.rooms;
        let (max_messages, max_bytes) = (rooms.log_messages.max(1), rooms.log_bytes);
        let max_entries = RoomLimits::max_entries(max_messages as u64);
        while self.messages > max_messages
            || self.entries.len() as u64 > max_entries
            || (self.bytes > max_bytes && self.entries.len() > 1)
        {
            self.drop_oldest();
        }
    }

    /// Drops the oldest entry. If it is a message, the changes of it keep nothing of its state.
    fn drop_oldest(&mut self) {
        let Some(oldest) = self.entries.pop_front() else { return };
        self.bytes -= oldest.bytes();
        self.pins.remove(&oldest.stored.seq);
        self.messages -= usize::from(oldest.is_message());
        self.supersede(oldest.newest_changes());
    }

    /// Records that later entries have replaced these changes.
    fn supersede(&mut self, changes: Vec<u64>) {
        for seq in changes {
            let Some(index) = self.index(seq) else { continue };
            let entry = &mut self.entries[index];
            self.bytes -= entry.bytes();
            entry.supersede(&self.room);
            self.bytes += entry.bytes();
        }
    }
}
