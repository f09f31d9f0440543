//! The server of the simulation.

use std::collections::{HashSet, VecDeque};

use serde_json::{Value, json};

use crate::state::Utf8Bytes;

/// The prefix of the keys of entries that the client does not know.
pub(super) const UNKNOWN: &str = "unknown-";

/// The prefix of the keys of acts.
pub(super) const ACT: &str = "act-";

/// The prefix of the keys of edits. The `seq` of the message follows, and the number of the edit.
pub(super) const EDIT: &str = "edit-";

pub(super) fn is_unknown(key: &str) -> bool {
    key.starts_with(UNKNOWN)
}

/// Returns the `seq` of the message that an entry edits.
pub(super) fn target(key: &str) -> Option<u64> {
    key.strip_prefix(EDIT)?.split('-').next()?.parse().ok()
}

fn is_message(key: &str) -> bool {
    !is_unknown(key) && !key.starts_with(ACT) && target(key).is_none()
}

/// A server with one room and one connection.
#[derive(Default)]
pub(super) struct Server {
    /// The keys of the entries of each epoch. The last epoch is the current one.
    pub(super) logs: Vec<Vec<String>>,
    /// The oldest entry that can be read.
    pub(super) first: u64,
    pub(super) refuses: bool,
    pub(super) fails: Option<bool>,
    /// The keys of the messages at which the log failed.
    pub(super) failed: HashSet<String>,
    pub(super) commands: VecDeque<Utf8Bytes>,
    pub(super) replies: VecDeque<String>,
    /// The last entry that was delivered, or `None` before `join`.
    pub(super) cursor: Option<u64>,
    /// The position after which the client joined last without one of its own.
    pub(super) base: u64,
    /// The keys that were sent on this connection.
    pub(super) keys: HashSet<String>,
}

impl Server {
    pub(super) fn log(&mut self) -> &mut Vec<String> {
        self.logs.last_mut().unwrap()
    }

    pub(super) fn head(&self) -> u64 {
        self.logs.last().unwrap().len() as u64
    }

    pub(super) fn epoch(&self) -> String {
        format!("e{}", self.logs.len())
    }

    pub(super) fn restart(&mut self) {
        self.logs.push(Vec::new());
        self.first = 1;
    }

    pub(super) fn disconnect(&mut self) {
        let Self { logs, first, refuses, fails, failed, base, .. } = std::mem::take(self);
        *self = Self { logs, first, refuses, fails, failed, base, ..Self::default() };
    }

    pub(super) fn serve(&mut self) {
        let Some(command) = self.commands.pop_front() else { return };
        let command: Value = serde_json::from_str(&command).unwrap();
        let mut reply = match command["type"].as_str().unwrap() {
            "join" => self.join(&command),
            "send" => self.append(&command),
            other => panic!("{other}"),
        };
        reply["ref"] = command["ref"].clone();
        self.replies.push_back(reply.to_string());
    }

    fn join(&mut self, command: &Value) -> Value {
        let (head, oldest) = (self.head(), self.first - 1);
        let mut recovered = true;
        let cursor = if let Some(after) = command.get("after") {
            if std::mem::take(&mut self.refuses) {
                return json!({"type": "error", "code": "unavailable", "message": "", "retry_after_ms": 1_500});
            }
            let same = after["epoch"] == *self.epoch();
            let seq = if same { after["seq"].as_u64().unwrap() } else { 0 };
            assert!(seq <= head, "the room never had this position");
            recovered = same && seq >= oldest;
            seq
        } else {
            let last = command.get("last").map_or(0, |last| last.as_u64().unwrap());
            assert!(self.cursor.is_none() || last > 0, "joined without a cursor");
            self.base = self.before_newest(last, oldest);
            self.base
        };
        self.cursor = Some(cursor);
        json!({"type": "joined", "room": "lobby", "epoch": self.epoch(), "seq": head, "first": self.first,
               "recovered": recovered, "members": 1})
    }

    /// Returns the position before the newest `count` messages.
    fn before_newest(&self, count: u64, oldest: u64) -> u64 {
        let (mut seq, mut count) = (self.head(), count);
        while seq > oldest && count > 0 {
            seq -= 1;
            count -= u64::from(is_message(&self.logs.last().unwrap()[usize::try_from(seq).unwrap()]));
        }
        seq
    }

    fn append(&mut self, command: &Value) -> Value {
        assert!(self.cursor.is_some(), "the send precedes the join of its room");
        let key = command["key"].as_str().unwrap().to_owned();
        assert!(self.keys.insert(key.clone()), "{key} was sent twice on one connection");
        let fails = self.fails.take();
        if fails.is_some() {
            self.keys.remove(&key);
            self.failed.insert(key.clone());
        }
        if fails == Some(false) {
            return json!({"type": "error", "room": "lobby", "code": "unavailable", "message": ""});
        }
        let before = self.log().iter().position(|stored| *stored == key);
        if before.is_none() {
            self.log().push(key);
        }
        if fails == Some(true) {
            return json!({"type": "error", "room": "lobby", "code": "unavailable", "message": ""});
        }
        let seq = before.map_or(self.head(), |index| index as u64 + 1);
        json!({"type": "sent", "room": "lobby", "seq": seq, "at": 1, "duplicate": before.is_some()})
    }

    /// Returns the next event for the client. The reply to a `join` precedes the entries that it asks for.
    pub(super) fn next_event(&mut self, replies_first: bool) -> Option<String> {
        let joining = self.replies.iter().any(|reply| !reply.contains("\"sent\""));
        if replies_first || joining {
            self.replies.pop_front().or_else(|| self.deliver())
        } else {
            self.deliver().or_else(|| self.replies.pop_front())
        }
    }

    fn deliver(&mut self) -> Option<String> {
        let seq = self.cursor? + 1;
        if seq < self.first {
            self.cursor = Some(self.first - 1);
            let (epoch, to) = (self.epoch(), self.first - 1);
            return Some(
                json!({"type": "gap", "room": "lobby", "epoch": epoch, "from": seq, "to": to}).to_string(),
            );
        }
        let key = self.log().get(usize::try_from(seq).unwrap() - 1)?.clone();
        self.cursor = Some(seq);
        let user = json!({"id": "a", "name": "a"});
        let entry = json!({"room": "lobby", "seq": seq, "at": 1});
        let fields = if is_unknown(&key) {
            json!({"type": "danced"})
        } else if key.starts_with(ACT) {
            json!({"type": "role", "by": user, "user": user, "role": "moderator"})
        } else if let Some(target) = target(&key) {
            let what = match self.newest_edit(target) {
                Some((newest, _)) if newest == seq => json!({"what": "edited", "body": {"text": key}}),
                _ => json!({"what": "superseded"}),
            };
            merged(&json!({"type": "changed", "by": user, "target": target}), &what)
        } else {
            let (rev, text) = self.fresh(seq);
            let message = json!({"type": "message", "user": user, "key": key, "body": {"text": text}});
            if rev > seq { merged(&message, &json!({"rev": rev, "edited": {"at": 1}})) } else { message }
        };
        Some(merged(&entry, &fields).to_string())
    }

    /// Returns the `seq` and the text of the newest edit of a message.
    fn newest_edit(&self, message: u64) -> Option<(u64, String)> {
        let log = self.logs.last().unwrap().iter().enumerate();
        log.rev()
            .find(|(_, key)| target(key) == Some(message))
            .map(|(index, key)| (index as u64 + 1, key.clone()))
    }

    /// Returns the `rev` and the text of a message now.
    pub(super) fn fresh(&self, message: u64) -> (u64, String) {
        self.newest_edit(message).unwrap_or_else(|| (message, "hi".to_owned()))
    }

    /// Edits the message that is the `choice`-th newest, if there is one.
    pub(super) fn edit(&mut self, choice: u8, number: u64) {
        let log = self.logs.last().unwrap().iter().enumerate();
        let messages: Vec<_> = log.filter(|(_, key)| is_message(key)).map(|(index, _)| index + 1).collect();
        if let Some(seq) = messages.iter().rev().nth(choice.into()) {
            self.log().push(format!("{EDIT}{seq}-{number}"));
        }
    }
}

fn merged(object: &Value, fields: &Value) -> Value {
    let fields = [object, fields].into_iter().filter_map(Value::as_object).flatten();
    Value::Object(fields.map(|(name, value)| (name.clone(), value.clone())).collect())
}
