//! The model of a room.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::command::{Page, Query};
use super::{DEFAULT_FOUND, DEFAULT_PAGE, MAX_FOUND, MAX_PAGE, RETAINED};

/// Everything that was ever written into a room.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// The `message` events. The `seq` of a message is its index plus one.
    messages: Vec<Value>,
    /// The `seq` and the body of the message for each user and key.
    keys: BTreeMap<(&'static str, String), (u64, Value)>,
    /// The current epoch, if it is known for certain.
    pub(super) epoch: Option<String>,
}

impl Room {
    pub(super) fn head(&self) -> u64 {
        self.messages.len() as u64
    }

    /// Returns the last message that can no longer be read.
    pub(super) fn forgotten(&self) -> u64 {
        self.head().saturating_sub(RETAINED)
    }

    /// Returns the messages after a position.
    pub(super) fn after(&self, seq: u64) -> impl Iterator<Item = &Value> {
        self.messages.iter().skip(usize::try_from(seq).unwrap_or(usize::MAX))
    }

    /// Returns the `seq` and the body of the message with this key.
    pub(super) fn known(&self, user: &'static str, key: Option<&str>) -> Option<&(u64, Value)> {
        self.keys.get(&(user, key?.to_owned()))
    }

    /// Adds a message. `room` is the name of the room.
    pub(super) fn write(&mut self, room: &str, user: &'static str, key: Option<&str>, body: Value) -> &Value {
        let seq = self.head() + 1;
        let mut message = json!({
            "type": "message", "room": room, "seq": seq, "user": {"id": user, "name": user}, "at": null, "body": body,
        });
        if let Some(key) = key {
            message["key"] = json!(key);
            self.keys.insert((user, key.to_owned()), (seq, body));
        }
        self.messages.push(message);
        &self.messages[self.messages.len() - 1]
    }

    /// Returns a page of the history, oldest first, and true if there is more in the same direction.
    pub(super) fn page(&self, Page { from, limit }: Page) -> (Vec<&Value>, bool) {
        let limit = limit.unwrap_or(DEFAULT_PAGE).clamp(1, MAX_PAGE);
        let readable = self.after(self.forgotten());
        let seq = |message: &&Value| message["seq"].as_u64().unwrap_or_default();
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
    pub(super) fn find(&self, Query { words, before, limit }: Query) -> (Vec<&Value>, bool) {
        let limit = limit.unwrap_or(DEFAULT_FOUND).clamp(1, MAX_FOUND);
        let words = words.to_lowercase();
        let has_all = |message: &&Value| {
            let text = message["body"]["text"].as_str().unwrap_or_default();
            words.split_whitespace().all(|word| text.contains(word))
        };
        let is_before = |message: &&Value| message["seq"].as_u64() < before.or(Some(u64::MAX));
        let mut found: Vec<_> = self.after(self.forgotten()).filter(is_before).filter(has_all).collect();
        found.reverse();
        let more = found.len() as u64 > limit;
        found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        (found, more)
    }
}
