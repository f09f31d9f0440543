//! The copy of the stream that one server has.

use std::collections::{BTreeMap, BTreeSet};

use async_nats::HeaderMap;
use bytes::Bytes;
use serde_json::Value;

/// A message that is stored.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) subject: String,
    pub(super) headers: Option<HeaderMap>,
    pub(super) payload: Bytes,
    pub(super) at: u64,
}

/// A step of the stream, which all copies take in the same order.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Create(Value),
    Update(Value),
    Remove,
    /// One message, or those of a batch.
    Store(Vec<Stored>),
    Delete(u64),
    Purge {
        filter: String,
        before: u64,
    },
}

/// The result of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Done {
    Stored {
        last: u64,
        count: u64,
    },
    Purged(u64),
    /// The stream to create is there.
    Exists,
    /// The message to delete is not there.
    NoMessage,
    Other,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Copy {
    /// The settings. `None` if the stream does not exist.
    pub(super) config: Option<Value>,
    pub(super) messages: BTreeMap<u64, Stored>,
    pub(super) last: u64,
    /// The places of each subject.
    places: BTreeMap<String, BTreeSet<u64>>,
}

impl Copy {
    pub(super) fn apply(&mut self, op: &Op) -> Done {
        match op {
            // Another node has created it meanwhile.
            Op::Create(_) if self.config.is_some() => return Done::Exists,
            Op::Create(config) | Op::Update(config) => self.config = Some(config.clone()),
            Op::Remove => *self = Self::default(),
            Op::Store(parts) => {
                for part in parts {
                    self.last += 1;
                    self.messages.insert(self.last, part.clone());
                    self.places.entry(part.subject.clone()).or_default().insert(self.last);
                }
                return Done::Stored { last: self.last, count: parts.len() as u64 };
            }
            Op::Delete(place) => {
                if !self.remove(*place) {
                    return Done::NoMessage;
                }
            }
            Op::Purge { filter, before } => {
                // As servers before 2.12.10 do.
                let before = if *before <= 1 { u64::MAX } else { *before };
                let removed: Vec<_> =
                    self.from(filter, 0).map(|(place, _)| place).filter(|place| *place < before).collect();
                for place in &removed {
                    self.remove(*place);
                }
                return Done::Purged(removed.len() as u64);
            }
        }
        Done::Other
    }

    /// Returns the last message of a subject.
    pub(super) fn last_of(&self, filter: &str) -> Option<(u64, &Stored)> {
        self.from(filter, 0).last()
    }

    /// Returns the messages of a subject that are not before a place.
    pub(super) fn from(&self, filter: &str, place: u64) -> impl Iterator<Item = (u64, &Stored)> {
        let mut places = Vec::new();
        if filter.contains(['*', '>']) {
            let matching = self.places.iter().filter(|(subject, _)| matches(filter, subject));
            matching.for_each(|(_, of_subject)| places.extend(of_subject.range(place..).copied()));
            places.sort_unstable();
        } else if let Some(of_subject) = self.places.get(filter) {
            places.extend(of_subject.range(place..).copied());
        }
        places.into_iter().filter_map(|place| Some((place, self.messages.get(&place)?)))
    }

    /// Removes a message. Returns false if it is not there.
    fn remove(&mut self, place: u64) -> bool {
        let Some(removed) = self.messages.remove(&place) else { return false };
        if let Some(places) = self.places.get_mut(&removed.subject) {
            places.remove(&place);
            if places.is_empty() {
                self.places.remove(&removed.subject);
            }
        }
        true
    }

    /// Returns the first place that is not before a time.
    pub(super) fn first_at(&self, at: u64) -> u64 {
        self.messages.iter().find(|(_, stored)| stored.at >= at).map_or(self.last + 1, |(place, _)| *place)
    }

    /// Returns true if a subject is one of the stream.
    pub(super) fn takes(&self, subject: &str) -> bool {
        let subjects = self.config.as_ref().and_then(|config| config["subjects"].as_array());
        subjects.is_some_and(|subjects| {
            subjects.iter().filter_map(Value::as_str).any(|filter| matches(filter, subject))
        })
    }

    /// Returns the subject under which a message is republished.
    pub(super) fn republished(&self, subject: &str) -> Option<String> {
        let republish = &self.config.as_ref()?["republish"];
        let [from, to] = ["src", "dest"].map(|key| republish[key].as_str()?.strip_suffix('>'));
        Some(format!("{}{}", to?, subject.strip_prefix(from?)?))
    }
}

/// Returns true if a subject is one of those that a filter describes.
pub(super) fn matches(filter: &str, subject: &str) -> bool {
    let (mut filter, mut subject) = (filter.split('.'), subject.split('.'));
    loop {
        match (filter.next(), subject.next()) {
            (Some(">"), Some(_)) | (None, None) => return true,
            (Some(wanted), Some(token)) if wanted == "*" || wanted == token => {}
            _ => return false,
        }
    }
}

impl Op {
    /// Returns a line about the step.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Create(config) | Self::Update(config) => format!("the settings {}", config["metadata"]),
            Self::Remove => "the removal of the stream".to_owned(),
            Self::Store(parts) => {
                let subjects: Vec<_> = parts.iter().map(|part| part.subject.as_str()).collect();
                format!("{subjects:?}")
            }
            Self::Delete(place) => format!("the removal of {place}"),
            Self::Purge { filter, before } => format!("the removal of {filter} before {before}"),
        }
    }
}
