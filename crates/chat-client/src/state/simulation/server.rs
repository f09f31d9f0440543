//! The server of the simulation.

use std::collections::{HashSet, VecDeque};

use serde_json::{Value, json};

use crate::state::Utf8Bytes;

/// The prefix of the keys of entries that the client does not know.
pub(super) const UNKNOWN: &str = "unknown-";

pub(super) fn is_unknown(key: &str) -> bool {
    key.starts_with(UNKNOWN)
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
    /// The position after which the client joined.
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
        let Self { logs, first, refuses, fails, failed, .. } = std::mem::take(self);
        *self = Self { logs, first, refuses, fails, failed, ..Self::default() };
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
            assert!(self.cursor.is_none(), "joined without a cursor");
            self.base =
                head - command.get("last").map_or(0, |last| last.as_u64().unwrap()).min(head - oldest);
            self.base
        };
        self.cursor = Some(cursor);
        json!({"type": "joined", "room": "lobby", "epoch": self.epoch(), "seq": head, "first": self.first,
               "recovered": recovered, "members": 1})
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
        if is_unknown(&key) {
            let changed =
                json!({"type": "changed", "room": "lobby", "seq": seq, "at": 1, "target": 1, "what": "x"});
            return Some(changed.to_string());
        }
        let user = json!({"id": "a", "name": "a"});
        let message = json!({"type": "message", "room": "lobby", "seq": seq, "user": user, "at": 1, "key": key,
                             "body": {"text": "hi"}});
        Some(message.to_string())
    }
}
