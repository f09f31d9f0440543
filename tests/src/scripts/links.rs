//! The links of messages in scripts: to other messages, and to users.

use std::fmt;

use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::command::target;

/// The links of a message. A link to a message names the entry this far behind the newest.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Links {
    pub(super) reply_to: Option<u64>,
    pub(super) thread: Option<u64>,
    pub(super) mentions: Option<Mentions>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Mentions {
    Users(&'static [&'static str]),
    Room,
}

impl Links {
    /// Returns the fields of a command or of a message. `head` is the newest entry of the room.
    pub(super) fn json(self, head: u64) -> Value {
        let mut fields = json!({});
        for (field, back) in [("reply_to", self.reply_to), ("thread", self.thread)] {
            if let Some(back) = back {
                fields[field] = json!(target(head, back));
            }
        }
        match self.mentions {
            None => {}
            Some(Mentions::Users(users)) => fields["mentions"] = json!(users),
            Some(Mentions::Room) => fields["mentions"] = json!("@room"),
        }
        fields
    }
}

/// Generates the links of a message. One that mentions the room has no other link, so that one error is possible.
pub(super) fn links() -> impl Strategy<Value = Links> {
    let users = select(vec![&["bob"][..], &["ann", "cid"], &["nobody"]]).prop_map(Mentions::Users);
    let behind = || prop_oneof![6 => 0_u64..4, 1 => 0_u64..20];
    prop_oneof![
        4 => Just(Links::default()),
        3 => (option::weighted(0.4, behind()), option::weighted(0.7, behind()), option::weighted(0.2, users))
            .prop_map(|(reply_to, thread, mentions)| Links { reply_to, thread, mentions }),
        1 => Just(Links { mentions: Some(Mentions::Room), ..Links::default() }),
    ]
}

impl fmt::Display for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, back) in [("in reply to", self.reply_to), ("in the thread of", self.thread)] {
            if let Some(back) = back {
                write!(f, ", {name} the entry {back} behind the head")?;
            }
        }
        match self.mentions {
            None => Ok(()),
            Some(Mentions::Users(users)) => write!(f, ", mentioning {users:?}"),
            Some(Mentions::Room) => f.write_str(", mentioning the room"),
        }
    }
}
