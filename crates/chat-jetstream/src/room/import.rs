//! A room of an export, and the messages of the stream that it becomes.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use chat_core::{ChangeEntry, Event, Governance, Restriction, Role, RoomName, RoomRules, Standing, UserKey};
use chat_proto::{ExportLine, ExportedMessage, ExportedRoom};

use crate::life::{random_number, token};
use crate::record::{Content, Entry, KeyUse, MAX_BYTES, MAX_ENTRIES, MessageState, Record, Slot, user_key};

use super::rules::StoredRules;
use super::{MAX_PINS, MAX_STANDINGS};

/// A problem with the content of a room, as one line.
type Problem = String;

/// A room of an export while its lines are read. It is in memory as a whole.
pub(crate) struct ImportedRoom {
    name: RoomName,
    head: u64,
    first: u64,
    is_governed: bool,
    rules: Option<RoomRules>,
    standings: BTreeMap<String, Standing>,
    /// The position of the newest act.
    ruled: u64,
    /// The position of the newest act or entry of a purge.
    acted: u64,
    entries: Vec<Entry>,
    has_threads: bool,
    messages: ExportedRoom,
    slots: BTreeSet<Slot>,
    markers: BTreeMap<UserKey, u64>,
}

/// A room that can be written.
pub(crate) struct CompleteRoom {
    pub(crate) token: String,
    pub(crate) name: RoomName,
    /// The records, without their places. A room without entries has none.
    pub(crate) records: Vec<Record>,
    /// The parts of the rules.
    pub(crate) rules: Vec<(u8, Bytes)>,
    /// The states of messages, and the messages of the threads that begin with them.
    pub(crate) states: BTreeMap<u64, (MessageState, Vec<u64>)>,
    pub(crate) markers: BTreeMap<UserKey, u64>,
}

impl CompleteRoom {
    /// Returns the number of entries.
    pub(crate) fn entries(&self) -> usize {
        self.records.iter().map(|record| record.entries.len()).sum()
    }
}

impl ImportedRoom {
    /// Returns a room with the entries from `first` to `head`.
    pub(crate) fn new(name: RoomName, head: u64, first: u64, is_governed: bool) -> Self {
        let (rules, standings, ruled, acted, entries, has_threads, slots, markers) = Default::default();
        let messages = ExportedRoom::new(first);
        Self {
            name,
            head,
            first,
            is_governed,
            rules,
            standings,
            ruled,
            acted,
            entries,
            has_threads,
            messages,
            slots,
            markers,
        }
    }

    /// Adds a line of the room.
    pub(crate) fn add(&mut self, line: ExportLine) -> Result<(), Problem> {
        self.messages.add(&line).map_err(|contradiction| contradiction.to_string())?;
        match line {
            ExportLine::Rules { rules, .. } => {
                self.is_governed = true;
                self.rules = Some(rules);
            }
            ExportLine::Standing { user, role, restricted, .. } => {
                self.add_standing(user, role, restricted)?;
            }
            ExportLine::Event { event, guest } => self.add_event(&event, guest),
            ExportLine::Changed { seq, at, by, target, what, .. } => {
                let change = ChangeEntry::new(seq, at, by, target, what);
                self.entries.push(Entry { seq, at, key: None, content: Content::Change(change) });
            }
            ExportLine::Key { seq, user, guest, key, content, .. } => {
                let user = user_key(guest, &user).ok_or("its user is invalid")?;
                let used = KeyUse::restore(&user, &key, content);
                let index = self.entries.binary_search_by_key(&seq, |entry| entry.seq);
                // A cluster remembers the keys of entries that it has.
                if let Ok(index) = index
                    && (!self.slots.insert(used.slot) || self.entries[index].key.replace(used).is_some())
                {
                    return Err(twice());
                }
            }
            ExportLine::Marker { user, guest, seq, .. } => {
                let user = user_key(guest, &user).ok_or("its user is invalid")?;
                if self.markers.insert(user, seq).is_some() {
                    return Err(twice());
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn add_standing(
        &mut self,
        user: String,
        role: Role,
        restriction: Option<Restriction>,
    ) -> Result<(), Problem> {
        self.is_governed = true;
        if self.standings.insert(user, Standing::new(role, restriction)).is_some() {
            return Err("an earlier line of the room has the role of this user".to_owned());
        }
        if self.standings.len() > MAX_STANDINGS {
            return Err(format!("a room of a cluster has at most {MAX_STANDINGS} users with a role"));
        }
        Ok(())
    }

    fn add_event(&mut self, event: &Event, is_guest: bool) {
        let frame = event.encode();
        let (seq, at, content) = match event {
            Event::Message { seq, at, links, .. } => {
                self.has_threads |= links.as_ref().is_some_and(|links| links.thread.is_some());
                (*seq, *at, Content::Message { frame, is_guest, connection: None })
            }
            Event::Role { seq, at, .. } | Event::Settings { seq, at, .. } | Event::Purged { seq, at, .. } => {
                if !matches!(event, Event::Purged { .. }) {
                    self.is_governed = true;
                    self.ruled = *seq;
                }
                self.acted = *seq;
                // The messages that a purge has deleted are known at the end of the room.
                (*seq, *at, Content::Act { frame, targets: Vec::new() })
            }
            _ => return,
        };
        self.entries.push(Entry { seq, at, key: None, content });
    }

    /// Checks the room as a whole. A message of the stream has at most `max_bytes`.
    pub(crate) fn complete(mut self, max_bytes: usize) -> Result<CompleteRoom, Problem> {
        if self.head == 0 && self.is_governed {
            return Err(
                "a room of a cluster whose rules are set begins with a `settings` or a `role`".to_owned()
            );
        }
        if self.first <= self.head && self.entries.last().is_none_or(|last| last.seq < self.head) {
            return Err("the last entry of the room is lost; a cluster cannot have such a room".to_owned());
        }
        if self.is_governed {
            // The acts may be removed, or a converter has left them out.
            self.ruled = self.ruled.max(self.first - 1).max(1);
            self.acted = self.acted.max(self.ruled);
        }
        let messages = std::mem::replace(&mut self.messages, ExportedRoom::new(1)).finish();
        let messages = messages.map_err(|contradiction| contradiction.to_string())?;
        let pins: Vec<_> = messages
            .iter()
            .filter(|(_, message)| message.changes.folded.pinned)
            .map(|(seq, _)| *seq)
            .collect();
        if pins.len() > MAX_PINS {
            return Err(format!("a room of a cluster has at most {MAX_PINS} pinned messages"));
        }
        self.add_targets(&messages);
        let rules = self.rules_parts();
        let states = self.states(messages)?;
        let token = token(&self.name);
        let (name, markers) = (self.name.clone(), std::mem::take(&mut self.markers));
        let records = self.records(&pins, max_bytes);
        let records_fit = records.iter().all(|record| record.encode().len() <= max_bytes);
        let states_fit = states.values().all(|(state, _)| state.encode().len() <= max_bytes);
        if !records_fit || !states_fit || rules.iter().any(|(_, part)| part.len() > max_bytes) {
            let problem =
                "the room has a message, or rules, larger than the servers of NATS take (max_payload)";
            return Err(problem.to_owned());
        }
        Ok(CompleteRoom { token, name, records, rules, states, markers })
    }

    /// Adds the messages that each purge has deleted to its entry.
    fn add_targets(&mut self, messages: &BTreeMap<u64, ExportedMessage>) {
        for (seq, message) in messages {
            let deletion = message.changes.delete;
            if let Ok(index) = self.entries.binary_search_by_key(&deletion, |entry| entry.seq)
                && let Content::Act { targets, .. } = &mut self.entries[index].content
            {
                targets.push(*seq);
            }
        }
    }

    fn rules_parts(&mut self) -> Vec<(u8, Bytes)> {
        if !self.is_governed {
            return Vec::new();
        }
        let standings = std::mem::take(&mut self.standings);
        let governance = Governance::restore(self.name.clone(), self.rules.take(), standings);
        StoredRules::after(None, governance, self.ruled).1
    }

    fn states(
        &self,
        messages: BTreeMap<u64, ExportedMessage>,
    ) -> Result<BTreeMap<u64, (MessageState, Vec<u64>)>, Problem> {
        let mut states = BTreeMap::new();
        for (seq, message) in messages {
            // What is said about a message that is lost is lost too.
            let Ok(index) = self.entries.binary_search_by_key(&seq, |entry| entry.seq) else { continue };
            let ExportedMessage { changes, reactions, replies, .. } = message;
            let state = MessageState::restore(&self.entries[index], changes, reactions);
            states.insert(seq, (state.ok_or_else(|| format!("entry {seq} is no message"))?, replies));
        }
        Ok(states)
    }

    /// Returns the records. The oldest position is the same in each.
    fn records(self, pins: &[u64], max_bytes: usize) -> Vec<Record> {
        let Self { name, head, first, ruled, acted, entries, has_threads, .. } = self;
        let mut records: Vec<Record> = Vec::new();
        // The positions before the first one count as messages: no count of messages is above that of positions.
        let (mut messages, mut bytes) = (first - 1, 0);
        let entries = if entries.is_empty() && head > 0 { vec![end_of_removed(head)] } else { entries };
        for entry in entries {
            messages += u64::from(entry.is_message());
            bytes += entry.max_bytes();
            let full = |record: &mut Record| {
                let is_next = record.last() + 1 == entry.seq;
                !is_next || record.entries.len() >= MAX_ENTRIES || bytes > MAX_BYTES.min(max_bytes)
            };
            if records.last_mut().is_none_or(full) {
                bytes = entry.max_bytes();
                let (id, previous) = (random_number(), records.last().map_or(0, |record| record.id));
                records.push(Record {
                    id,
                    previous,
                    room: Bytes::copy_from_slice(name.as_str().as_bytes()),
                    oldest: first,
                    has_threads,
                    ruled,
                    acted,
                    pins: pins.to_vec(),
                    ..Record::default()
                });
            }
            if let Some(record) = records.last_mut() {
                record.entries.push(entry);
                record.messages = messages;
            }
        }
        records
    }
}

/// Returns the last entry of a room all of whose entries were removed. Nobody can read it: it is before the oldest
/// position. It only keeps its position from being given out again.
fn end_of_removed(seq: u64) -> Entry {
    Entry { seq, at: 0, key: None, content: Content::Act { frame: Bytes::new(), targets: Vec::new() } }
}

fn twice() -> Problem {
    "an earlier line of the room has said the same".to_owned()
}
