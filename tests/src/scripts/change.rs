//! The changes of messages in scripts, and what they do to a message.

use std::fmt;

use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::command::Body;

/// Users that a reaction names.
const NAMED: usize = 10;

/// A change of a message.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change {
    /// A new body. `rev` is the entry this far behind the newest.
    Edit {
        body: Body,
        rev: Option<u64>,
        key: Option<u8>,
    },
    Delete {
        reason: Option<&'static str>,
    },
    React {
        reaction: &'static str,
        on: bool,
    },
    Pin {
        on: bool,
    },
}

/// A user who changes a message, on a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct By {
    pub(super) user: &'static str,
    pub(super) connection: u64,
    pub(super) is_moderator: bool,
}

/// A message that a room still has.
#[derive(Debug)]
pub(super) struct Message {
    author: &'static str,
    connection: u64,
    /// The event of the message as it was sent, with the present body.
    event: Value,
    /// The newest change, and the newest one of each kind. 0 is none.
    rev: u64,
    edit: u64,
    reaction: u64,
    pin: u64,
    reactions: Vec<Reaction>,
    is_pinned: bool,
    /// The number of messages in the thread that begins with this one, and the newest of them.
    replies: (u64, u64),
    /// The position of the deletion, and its description.
    deleted: Option<(u64, Value)>,
}

#[derive(Debug)]
struct Reaction {
    reaction: &'static str,
    /// The users, and the entry of each.
    users: Vec<(u64, &'static str)>,
}

/// The effect of a change that is not refused.
#[derive(Debug)]
pub(super) enum Verdict {
    Store,
    Unchanged,
    Deleted(u64),
}

impl Change {
    /// Returns the command. `head` is the newest entry of the room.
    pub(super) fn json(self, room: &str, target: u64, head: u64) -> Value {
        let mut command = json!({"type": "", "room": room, "seq": target});
        match self {
            Self::Edit { body, rev, key } => {
                command["type"] = json!("edit");
                command["body"] = body.json();
                if let Some(behind) = rev {
                    command["rev"] = json!(head.saturating_sub(behind));
                }
                if let Some(key) = key {
                    command["key"] = json!(key.to_string());
                }
            }
            Self::Delete { reason } => {
                command["type"] = json!("delete");
                if let Some(reason) = reason {
                    command["reason"] = json!(reason);
                }
            }
            Self::React { reaction, on } => {
                command["type"] = json!("react");
                command["reaction"] = json!(reaction);
                command["on"] = json!(on);
            }
            Self::Pin { on } => {
                command["type"] = json!("pin");
                command["on"] = json!(on);
            }
        }
        command
    }

    /// Returns the `what` of the event.
    pub(super) fn what(self) -> &'static str {
        match self {
            Self::Edit { .. } => "edited",
            Self::Delete { .. } => "deleted",
            Self::React { .. } => "reactions",
            Self::Pin { .. } => "pinned",
        }
    }
}

impl Message {
    pub(super) fn new(author: &'static str, connection: u64, event: Value) -> Self {
        let (rev, edit, reaction, pin, reactions, is_pinned, replies, deleted) = Default::default();
        Self { author, connection, event, rev, edit, reaction, pin, reactions, is_pinned, replies, deleted }
    }

    /// Returns the result of a change. `head` is the newest entry of the room.
    pub(super) fn judge(&self, by: By, change: Change, head: u64) -> Result<Verdict, &'static str> {
        let is_author = (self.author, self.connection) == (by.user, by.connection);
        let is_allowed = match change {
            Change::Edit { .. } => is_author,
            Change::Delete { .. } => is_author || by.is_moderator,
            Change::React { .. } => true,
            Change::Pin { .. } => by.is_moderator,
        };
        match (change, &self.deleted) {
            _ if !is_allowed => Err("forbidden"),
            (Change::Delete { .. }, Some((seq, _))) => Ok(Verdict::Deleted(*seq)),
            (_, Some(_)) => Err("gone"),
            (Change::Edit { rev: Some(behind), .. }, None) if self.edit > head.saturating_sub(behind) => {
                Err("conflict")
            }
            (Change::React { reaction, on }, None) if self.has(reaction, by.user) == on => {
                Ok(Verdict::Unchanged)
            }
            (Change::Pin { on }, None) if self.is_pinned == on => Ok(Verdict::Unchanged),
            _ => Ok(Verdict::Store),
        }
    }

    /// Applies a change that is stored as the entry `seq`.
    pub(super) fn apply(&mut self, by: By, change: Change, seq: u64) {
        self.rev = seq;
        match change {
            Change::Edit { body, .. } => {
                self.event["body"] = body.json();
                self.edit = seq;
            }
            Change::Delete { reason } => {
                let mut deleted = json!({"at": null, "by": {"id": by.user, "name": by.user}});
                if let Some(reason) = reason {
                    deleted["reason"] = json!(reason);
                }
                self.deleted = Some((seq, deleted));
            }
            Change::React { reaction, on } => {
                self.reaction = seq;
                let known = self.reactions.iter().position(|known| known.reaction == reaction);
                let index = known.unwrap_or_else(|| {
                    self.reactions.push(Reaction { reaction, users: Vec::new() });
                    self.reactions.len() - 1
                });
                let users = &mut self.reactions[index].users;
                users.retain(|(_, user)| *user != by.user);
                if on {
                    users.push((seq, by.user));
                }
                self.reactions.retain(|reaction| !reaction.users.is_empty());
            }
            Change::Pin { on } => {
                self.is_pinned = on;
                self.pin = seq;
            }
        }
    }

    /// Returns true if the message is or was pinned.
    pub(super) fn has_pin_change(&self) -> bool {
        self.pin > 0
    }

    /// Returns true if a purge of the messages of a user deletes it.
    pub(super) fn is_kept_of(&self, user: &str) -> bool {
        self.deleted.is_none() && self.author == user
    }

    fn has(&self, reaction: &str, user: &str) -> bool {
        let users = self.reactions.iter().filter(|known| known.reaction == reaction).flat_map(|it| &it.users);
        users.into_iter().any(|(_, placer)| *placer == user)
    }

    /// Returns true if the message counts as unread for a user who has not read so far.
    pub(super) fn is_unread(&self, user: &str) -> bool {
        self.deleted.is_none() && self.author != user
    }

    /// Returns true if the message mentions a user.
    pub(super) fn mentions(&self, user: &str) -> bool {
        let mentions = &self.event["mentions"];
        *mentions == "@room" || mentions.as_array().is_some_and(|users| users.contains(&json!(user)))
    }

    /// Returns the root of the thread that the message is in.
    pub(super) fn thread(&self) -> Option<u64> {
        self.event["thread"].as_u64()
    }

    /// Counts a message of the thread that begins with this one.
    pub(super) fn count_reply(&mut self, seq: u64) {
        self.replies = (self.replies.0 + 1, seq);
        self.rev = seq;
    }

    pub(super) fn is_pinned(&self) -> bool {
        self.deleted.is_none() && self.is_pinned
    }

    /// Returns the event of the message in its present form.
    pub(super) fn present(&self) -> Value {
        let mut event = self.event.clone();
        if self.rev > 0 {
            event["rev"] = json!(self.rev);
        }
        if let (count @ 1.., last) = self.replies {
            event["replies"] = json!({"count": count, "last": last});
        }
        if let Some((_, deleted)) = &self.deleted {
            event["deleted"] = deleted.clone();
            let fields = event.as_object_mut().expect("an event is an object");
            fields.retain(|field, _| !["body", "key", "mentions"].contains(&&**field));
            return event;
        }
        if self.edit > 0 {
            event["edited"] = json!({"at": null});
        }
        if !self.reactions.is_empty() {
            event["reactions"] = self.reactions();
        }
        if self.is_pinned {
            event["pinned"] = json!(true);
        }
        event
    }

    /// Adds the state after a change of this kind, which is the entry `seq`, to its event. A change that a later one
    /// has replaced says only that.
    pub(super) fn add_state(&self, what: &'static str, seq: u64, event: &mut Value) {
        let newest = match (what, &self.deleted) {
            ("deleted", Some((deletion, _))) => *deletion,
            (_, Some(_)) => 0,
            ("edited", None) => self.edit,
            ("reactions", None) => self.reaction,
            _ => self.pin,
        };
        if newest != seq {
            event["what"] = json!("superseded");
            return;
        }
        event["what"] = json!(what);
        match what {
            "edited" => {
                event["body"] = self.event["body"].clone();
                if let Some(mentions) = self.event.get("mentions") {
                    event["mentions"] = mentions.clone();
                }
            }
            "reactions" => event["reactions"] = self.reactions(),
            "pinned" => event["pinned"] = json!(self.is_pinned),
            _ => {
                if let Some(reason) = self.deleted.as_ref().and_then(|(_, deleted)| deleted.get("reason")) {
                    event["reason"] = reason.clone();
                }
            }
        }
    }

    fn reactions(&self) -> Value {
        let reactions = self.reactions.iter().map(|Reaction { reaction, users }| {
            let named: Vec<_> =
                users.iter().take(NAMED).map(|(_, user)| json!({"id": user, "name": user})).collect();
            let stale = users.iter().filter(|(placed, _)| *placed < self.edit).count();
            let mut state = json!({"reaction": reaction, "count": users.len(), "users": named});
            if stale > 0 {
                state["stale"] = json!(stale);
            }
            state
        });
        reactions.collect()
    }
}

/// Generates a change.
pub(super) fn change() -> impl Strategy<Value = Change> {
    let body = prop_oneof![
        8 => (2_u8..5).prop_map(Body::Text),
        1 => select(vec![Body::Longest, Body::TooLong, Body::Blank, Body::Other]),
    ];
    let rev = option::weighted(0.3, 0_u64..6);
    let key = option::weighted(0.3, 0_u8..3);
    prop_oneof![
        4 => (body, rev, key).prop_map(|(body, rev, key)| Change::Edit { body, rev, key }),
        2 => select(vec![None, Some("spam")]).prop_map(|reason| Change::Delete { reason }),
        5 => (select(vec!["+1", "👩\u{200d}💻"]), prop::bool::weighted(0.7))
            .prop_map(|(reaction, on)| Change::React { reaction, on }),
        2 => prop::bool::weighted(0.6).prop_map(|on| Change::Pin { on }),
    ]
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Edit { body, rev, key } => {
                write!(f, "edit to {body:?}, rev {rev:?} behind, key {key:?}, of")
            }
            Self::Delete { reason: None } => f.write_str("delete"),
            Self::Delete { reason: Some(reason) } => write!(f, "delete as {reason}"),
            Self::React { reaction, on } => write!(f, "react {reaction} {on} to"),
            Self::Pin { on } => write!(f, "pin {on}"),
        }
    }
}
