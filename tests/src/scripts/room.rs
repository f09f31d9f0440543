//! A room as the model has it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::command::{Page, Query};
use super::{FOUND_DEFAULT, FOUND_MOST, HISTORY_DEFAULT, HISTORY_MOST, KEPT};

/// All that was ever written into a room.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// The `message` events; `seq` is the index and one.
    messages: Vec<Value>,
    /// What each (user, key) was used for: the `seq` and the body.
    keys: BTreeMap<(&'static str, String), (u64, Value)>,
    /// Its present life, as far as that is certain.
    pub(super) epoch: Option<String>,
}

impl Room {
    pub(super) fn head(&self) -> u64 {
        self.messages.len() as u64
    }

    /// The last message that cannot be read any more.
    pub(super) fn lost(&self) -> u64 {
        self.head().saturating_sub(KEPT)
    }

    /// The messages after one, up to the newest.
    pub(super) fn after(&self, seq: u64) -> impl Iterator<Item = &Value> {
        self.messages.iter().skip(usize::try_from(seq).unwrap_or(usize::MAX))
    }

    /// What a key was used for.
    pub(super) fn known(&self, user: &'static str, key: Option<&str>) -> Option<&(u64, Value)> {
        self.keys.get(&(user, key?.to_owned()))
    }

    /// Adds a message to the room of this name.
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

    /// Part of what can still be read, oldest first, and whether there is more in the direction asked.
    pub(super) fn page(&self, Page { from, limit }: Page) -> (Vec<&Value>, bool) {
        let limit = limit.unwrap_or(HISTORY_DEFAULT).clamp(1, HISTORY_MOST);
        let readable = self.after(self.lost());
        let seq = |message: &&Value| message["seq"].as_u64().unwrap_or_default();
        let mut wanted: Vec<_> = match from {
            None => readable.collect(),
            Some((true, before)) => readable.filter(|message| seq(message) < before).collect(),
            Some((false, after)) => readable.filter(|message| seq(message) > after).collect(),
        };
        let more = wanted.len() as u64 > limit;
        while wanted.len() as u64 > limit {
            // Those farthest from where reading began.
            wanted.remove(if let Some((false, _)) = from { wanted.len() - 1 } else { 0 });
        }
        (wanted, more)
    }

    /// What can still be read and has all words in its text, newest first, and whether there is more.
    pub(super) fn find(&self, Query { words, before, limit }: Query) -> (Vec<&Value>, bool) {
        let limit = limit.unwrap_or(FOUND_DEFAULT).clamp(1, FOUND_MOST);
        let words = words.to_lowercase();
        let has_all = |message: &&Value| {
            let text = message["body"]["text"].as_str().unwrap_or_default();
            words.split_whitespace().all(|word| text.contains(word))
        };
        let is_before = |message: &&Value| message["seq"].as_u64() < before.or(Some(u64::MAX));
        let mut found: Vec<_> = self.after(self.lost()).filter(is_before).filter(has_all).collect();
        found.reverse();
        let more = found.len() as u64 > limit;
        found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        (found, more)
    }
}
