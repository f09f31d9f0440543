//! The events that the peers of a history may get.

use std::collections::BTreeMap;

use serde_json::Value;

use chat_testkit::{Frame, Peer};

/// The state of the rooms, as the first peer saw it.
#[derive(Default)]
pub(crate) struct Observed {
    pub(crate) epochs: BTreeMap<String, String>,
    /// The epochs that have messages.
    pub(crate) written: BTreeMap<String, String>,
    /// The event of each room and `seq`.
    pub(crate) messages: BTreeMap<(String, u64), Value>,
    /// The room, `seq` and body of the messages that were acknowledged.
    pub(crate) acknowledged: Vec<(String, u64, Value)>,
    /// The `seq` of each user, room and key.
    pub(crate) keys: BTreeMap<(String, String, String), u64>,
    /// The last message in a `gap`.
    pub(crate) gaps: BTreeMap<String, u64>,
}

/// A user, with the events of its present connection.
pub(crate) struct TestUser {
    pub(crate) name: &'static str,
    pub(crate) peer: Option<Peer>,
    /// The command of each `ref`.
    pub(crate) asked: Vec<Value>,
    /// The rooms of the connection, with the message that must come next.
    pub(crate) next: BTreeMap<String, u64>,
    /// The last message seen in each room, over all connections.
    pub(crate) seen: BTreeMap<String, u64>,
}

impl TestUser {
    pub(crate) fn ask(&mut self, mut command: Value) {
        let Some(peer) = &self.peer else { return };
        command["ref"] = self.asked.len().to_string().into();
        peer.send(command.clone());
        self.asked.push(command);
    }

    /// Checks the frames that have arrived.
    pub(crate) fn check(&mut self, observed: &mut Observed) {
        let frames = self.peer.as_ref().map(Peer::taken).unwrap_or_default();
        for frame in frames {
            if let Frame::Text(text) = frame {
                self.see(&serde_json::from_str(&text).expect("JSON"), observed);
            }
        }
    }

    fn see(&mut self, event: &Value, observed: &mut Observed) {
        let room = event["room"].as_str().unwrap_or_default().to_owned();
        let seq = event["seq"].as_u64();
        let asked = event["ref"].as_str().map(|reference| {
            let index: usize = reference.parse().expect("a number");
            self.asked[index].clone()
        });
        match (event["type"].as_str().expect("a type"), seq, asked) {
            ("joined", Some(head), Some(asked)) => {
                let epoch = event["epoch"].as_str().expect("an epoch").to_owned();
                observed.epochs.insert(room.clone(), epoch.clone());
                // A room without messages is closed once it is empty, so its epoch may change.
                if head > 0 {
                    assert_eq!(observed.written.entry(room.clone()).or_insert(epoch.clone()), &epoch);
                }
                let first = event["first"].as_u64().expect("a number");
                let next = if let Some(last) = asked["last"].as_u64().map(|last| last.min(4)) {
                    head.saturating_sub(last).max(first - 1) + 1
                } else if let Some(after) = asked["after"]["seq"].as_u64() {
                    let same = asked["after"]["epoch"] == event["epoch"];
                    assert_eq!(event["recovered"], same && after + 1 >= first, "{event} {asked}");
                    after + 1
                } else {
                    *self.next.get(&room).unwrap_or(&(head + 1))
                };
                self.next.insert(room, next);
            }
            ("left", None, Some(_)) => assert!(self.next.remove(&room).is_some()),
            ("message", Some(seq), None) => {
                assert_eq!(self.next.get(&room), Some(&seq), "{} {event}", self.name);
                self.next.insert(room.clone(), seq + 1);
                self.seen.insert(room.clone(), seq);
                let known = observed.messages.entry((room, seq)).or_insert(event.clone());
                assert_eq!(known, event, "one order for all");
            }
            ("gap", None, None) => {
                assert_eq!(self.next.get(&room).copied(), event["from"].as_u64(), "{} {event}", self.name);
                let to = event["to"].as_u64().expect("a number");
                self.next.insert(room.clone(), to + 1);
                let last = observed.gaps.entry(room).or_default();
                *last = to.max(*last);
            }
            ("sent", Some(seq), Some(asked)) => {
                if let Some(key) = asked["key"].as_str() {
                    let key = (self.name.to_owned(), room.clone(), key.to_owned());
                    let first = *observed.keys.entry(key).or_insert(seq);
                    assert_eq!(first, seq, "one message for one key");
                }
                observed.acknowledged.push((room, seq, asked["body"].clone()));
            }
            ("presence" | "typing", None, None) => {
                assert!(self.next.contains_key(&room), "{event} to {}, no member", self.name);
            }
            ("error", None, Some(asked)) if event["code"] == "not_joined" => {
                assert!(!self.next.contains_key(&room), "{asked} refused to a member");
            }
            ("closing", None, None) => {}
            _ => panic!("{event} to {}", self.name),
        }
    }
}
