//! The model of a room.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::change::{By, Change, Message, Verdict};
use super::command::{Page, Query};
use super::{DEFAULT_FOUND, DEFAULT_PAGE, MAX_FOUND, MAX_PAGE, RETAINED};

/// Entries that a room keeps for each message that it retains.
const ENTRIES_PER_MESSAGE: u64 = 5;

/// Everything that was ever written into a room.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// The entries. The `seq` of an entry is its index plus one.
    entries: Vec<Entry>,
    /// The messages that can be read.
    messages: BTreeMap<u64, Message>,
    /// The number of messages so far.
    written: u64,
    /// True if the number of messages, and not their positions, says which entries are kept.
    keeps_by_number: bool,
    /// The last entry that can no longer be read.
    forgotten: u64,
    /// The `seq` and the content of the entry for each user and key: the body of a message, or all of an edit.
    keys: BTreeMap<(&'static str, String), (u64, Value)>,
    /// The positions up to which users have read.
    markers: BTreeMap<&'static str, u64>,
    /// The current epoch, if it is known for certain.
    pub(super) epoch: Option<String>,
}

#[derive(Debug)]
struct Entry {
    /// The event as it was published, or as a deletion has left it.
    published: Value,
    /// The message and the `what` of a change.
    change: Option<(u64, &'static str)>,
}

/// The effect of a change on a room.
#[derive(Debug)]
pub(super) enum Changed {
    Stored(Value),
    Unchanged,
    /// An earlier change has done this.
    Duplicate(u64),
}

impl Room {
    /// A room of a chat on several nodes: changes among its newest messages let it keep more.
    pub(super) fn of_nodes() -> Self {
        Self { keeps_by_number: true, ..Self::default() }
    }

    pub(super) fn head(&self) -> u64 {
        self.entries.len() as u64
    }

    /// Returns the last entry that can no longer be read.
    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Returns the entries after a position: as they were published, and as the log has them now.
    pub(super) fn after(&self, seq: u64) -> impl Iterator<Item = (Value, Value)> {
        (seq + 1..=self.head()).map(|seq| (self.entry(seq).published.clone(), self.present(seq)))
    }

    /// Returns the position before the newest messages.
    pub(super) fn before_newest(&self, count: u64) -> u64 {
        let mut newest = self.messages.keys().rev().take(usize::try_from(count).unwrap_or(usize::MAX));
        newest.next_back().map_or(self.head(), |oldest| oldest - 1)
    }

    /// Returns the position up to which a user has read, the number of unread messages, and the number of those that
    /// mention the user.
    pub(super) fn unread(&self, user: &str) -> [u64; 3] {
        let read = self.markers.get(user).copied().unwrap_or_default();
        let later = self.messages.range(read + 1..).map(|(_, message)| message);
        let unread: Vec<_> = later.filter(|message| message.is_unread(user)).collect();
        let mentions = unread.iter().filter(|message| message.mentions(user)).count();
        [read, unread.len() as u64, mentions as u64]
    }

    /// Moves the marker of a user, unless the entry does not exist. Returns its position, and true if it has moved.
    pub(super) fn read(&mut self, user: &'static str, seq: u64) -> Option<(u64, bool)> {
        if seq > self.head() {
            return None;
        }
        let marker = self.markers.entry(user).or_default();
        let moves = seq > *marker;
        *marker = seq.max(*marker);
        Some((*marker, moves))
    }

    /// Returns true if messages may name a message, as the root of their thread or otherwise.
    pub(super) fn has_linked(&self, seq: u64, as_root: bool) -> bool {
        self.messages.get(&seq).is_some_and(|message| !as_root || message.thread().is_none())
    }

    /// Returns the positions of the pinned messages.
    pub(super) fn pins(&self) -> Vec<u64> {
        self.messages.iter().filter(|(_, message)| message.is_pinned()).map(|(seq, _)| *seq).collect()
    }

    fn entry(&self, seq: u64) -> &Entry {
        &self.entries[usize::try_from(seq - 1).expect("an index")]
    }

    /// Returns an entry as the log has it now.
    fn present(&self, seq: u64) -> Value {
        let Entry { published, change } = self.entry(seq);
        let Some((target, what)) = change else {
            return self.messages.get(&seq).map_or_else(|| published.clone(), Message::present);
        };
        let mut event = published.clone();
        let state = ["what", "body", "mentions", "reason", "reactions", "pinned"];
        event.as_object_mut().expect("an event is an object").retain(|field, _| !state.contains(&&**field));
        match self.messages.get(target) {
            Some(message) => message.add_state(what, seq, &mut event),
            // Nothing replaces a deletion.
            None => event["what"] = json!(if *what == "deleted" { what } else { "superseded" }),
        }
        event
    }

    fn push(&mut self, published: Value, change: Option<(u64, &'static str)>) {
        self.entries.push(Entry { published, change });
        while self.has_too_many_messages() || self.head() - self.forgotten > RETAINED * ENTRIES_PER_MESSAGE {
            self.forgotten += 1;
            self.messages.remove(&self.forgotten);
        }
    }

    fn has_too_many_messages(&self) -> bool {
        match self.keeps_by_number {
            true => self.written - self.forgotten.min(self.written) > RETAINED,
            false => self.messages.len() as u64 > RETAINED,
        }
    }

    /// Changes the message at `target`. `room` is the name of the room.
    pub(super) fn change(
        &mut self,
        room: &str,
        by: By,
        target: u64,
        change: Change,
    ) -> Result<Changed, &'static str> {
        let used = match change {
            Change::Edit { body, key: Some(key), .. } => {
                Some((key.to_string(), json!(["edit", target, body.json()])))
            }
            _ => None,
        };
        if let Some((key, content)) = &used
            && let Some((seq, first)) = self.known(by.user, Some(key))
        {
            return if first == content { Ok(Changed::Duplicate(*seq)) } else { Err("key_conflict") };
        }
        let (seq, head) = (self.head() + 1, self.head());
        let message = self.messages.get_mut(&target).ok_or("no_message")?;
        match message.judge(by, change, head)? {
            Verdict::Unchanged => return Ok(Changed::Unchanged),
            Verdict::Deleted(seq) => return Ok(Changed::Duplicate(seq)),
            Verdict::Store => message.apply(by, change, seq),
        }
        let mut event = json!({
            "type": "changed", "room": room, "seq": seq, "at": null, "by": {"id": by.user, "name": by.user},
            "target": target,
        });
        message.add_state(change.what(), seq, &mut event);
        if change.what() == "deleted" {
            for erased in target..seq {
                if erased == target || self.entry(erased).change.is_some_and(|(of, _)| of == target) {
                    let present = self.present(erased);
                    self.entries[usize::try_from(erased - 1).expect("an index")].published = present;
                }
            }
        }
        if let Some((key, content)) = used {
            self.keys.insert((by.user, key), (seq, content));
        }
        self.push(event.clone(), Some((target, change.what())));
        Ok(Changed::Stored(event))
    }

    /// Deletes the messages of a user, in the name of `by`. Returns the entry, `None` if there is none.
    pub(super) fn purge(&mut self, room: &str, by: By, user: &str) -> Option<Value> {
        let seq = self.head() + 1;
        let messages = self.messages.iter_mut().filter(|(_, message)| message.is_kept_of(user));
        let mut unpinned = Vec::new();
        let purged: BTreeSet<u64> = messages
            .map(|(purged, message)| {
                unpinned.extend(message.has_pin_change().then_some(*purged));
                message.apply(by, Change::Delete { reason: None }, seq);
                *purged
            })
            .collect();
        let (from, to) = (*purged.first()?, *purged.last()?);
        for erased in from..seq {
            let subject = self.entry(erased).change.map_or(erased, |(target, _)| target);
            if purged.contains(&subject) {
                let present = self.present(erased);
                self.entries[usize::try_from(erased - 1).expect("an index")].published = present;
            }
        }
        let mut event = json!({
            "type": "purged", "room": room, "seq": seq, "at": null, "by": {"id": by.user, "name": by.user},
            "user": {"id": user, "name": user}, "from": from, "to": to,
        });
        if !unpinned.is_empty() {
            event["unpinned"] = json!(unpinned);
        }
        self.push(event.clone(), None);
        Some(event)
    }

    /// Returns the `seq` and the content of the entry with this key.
    pub(super) fn known(&self, user: &'static str, key: Option<&str>) -> Option<&(u64, Value)> {
        self.keys.get(&(user, key?.to_owned()))
    }

    /// Adds a message. `room` is the name of the room.
    pub(super) fn write(
        &mut self,
        room: &str,
        (user, connection): (&'static str, u64),
        key: Option<&str>,
        (body, links): (Value, &Value),
    ) -> Value {
        let seq = self.head() + 1;
        let mut message = links.clone();
        if let Some(key) = key {
            message["key"] = json!(key);
            self.keys.insert((user, key.to_owned()), (seq, json!([body, links])));
        }
        for (field, value) in [
            ("type", json!("message")),
            ("room", json!(room)),
            ("seq", json!(seq)),
            ("user", json!({"id": user, "name": user})),
            ("at", Value::Null),
            ("body", body),
        ] {
            message[field] = value;
        }
        if let Some(root) = links["thread"].as_u64().and_then(|root| self.messages.get_mut(&root)) {
            root.count_reply(seq);
        }
        self.written += 1;
        self.messages.insert(seq, Message::new(user, connection, message.clone()));
        self.push(message.clone(), None);
        message
    }

    /// Returns a page of the history or of a thread, oldest first, and true if there is more in the same direction.
    pub(super) fn page(&self, root: Option<u64>, Page { from, limit }: Page) -> (Vec<Value>, bool) {
        let limit = limit.unwrap_or(DEFAULT_PAGE).clamp(1, MAX_PAGE);
        let is_in_thread = |message: &&Message| root.is_none() || message.thread() == root;
        let readable = self.messages.values().filter(is_in_thread).map(Message::present);
        let seq = |message: &Value| message["seq"].as_u64().unwrap_or_default();
        let mut wanted: Vec<_> = match from {
            None => readable.collect(),
            Some((true, before)) => readable.filter(|message| seq(message) < before).collect(),
            Some((false, after)) => readable.filter(|message| seq(message) > after).collect(),
        };
        let more = wanted.len() as u64 > limit;
        while wanted.len() as u64 > limit {
            // Remove the message farthest from where the reading began.
            wanted.remove(if let Some((false, _)) = from { wanted.len() - 1 } else { 0 });
        }
        (wanted, more)
    }

    /// Returns the messages that contain all words, newest first, and true if there are more.
    pub(super) fn find(&self, Query { words, before, limit }: Query) -> (Vec<Value>, bool) {
        let limit = limit.unwrap_or(DEFAULT_FOUND).clamp(1, MAX_FOUND);
        let words = words.to_lowercase();
        let has_all = |message: &Value| {
            let text = message["body"]["text"].as_str().unwrap_or_default();
            words.split_whitespace().all(|word| text.contains(word))
        };
        let is_before = |message: &Value| message["seq"].as_u64() < before.or(Some(u64::MAX));
        let messages = self.messages.values().map(Message::present);
        let mut found: Vec<_> = messages.filter(is_before).filter(has_all).collect();
        found.reverse();
        let more = found.len() as u64 > limit;
        found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        (found, more)
    }
}
