//! The purges of a run, and what each must leave.

use std::collections::BTreeSet;
use std::sync::Arc;

use chat_core::{Act, Limits, NewAct, Range, Role};

use super::history::{GONE, Log};
use super::quiet::{node, open, run, send};
use super::schedule::user;
use crate::room::Work;

/// The purges of a run.
#[derive(Default)]
pub(super) struct Purges {
    purges: Vec<Purged>,
    /// The texts of messages that somebody has tried to delete.
    deletable: BTreeSet<String>,
}

/// A purge of the messages of a writer in a room.
struct Purged {
    /// The user who acts: another one in each purge.
    by: String,
    room: usize,
    /// The messages that were acknowledged before it began.
    before: Vec<(Log, u64, String)>,
    /// The epoch in which it was acknowledged.
    answered: Option<String>,
}

impl Purges {
    /// Adds a purge of these messages, some of which are acknowledged. Returns its number.
    pub(super) fn begin(
        &mut self,
        (room, by): (usize, &str),
        sent: &[String],
        before: Vec<(Log, u64, String)>,
    ) -> usize {
        self.deletable.extend(sent.iter().cloned());
        self.purges.push(Purged { by: by.to_owned(), room, before, answered: None });
        self.purges.len() - 1
    }

    /// Takes the acknowledgement of a purge.
    pub(super) fn end(&mut self, number: usize, epoch: String) {
        self.purges[number].answered = Some(epoch);
    }

    /// Takes the beginning of a deletion of one message.
    pub(super) fn begin_deletion(&mut self, text: &str) {
        self.deletable.insert(text.to_owned());
    }

    /// Returns true if somebody has tried to delete a message.
    pub(super) fn is_deletable(&self, text: &str) -> bool {
        self.deletable.contains(text)
    }

    /// Returns what the purges of this log that have begun have left, as `entries` are at the end.
    pub(super) fn left(&self, log: &Log, entries: &[String]) -> Vec<String> {
        let has_begun = |purge: &&Purged| {
            let begin = format!("purged-{}-", purge.by);
            purge.room == log.0
                && (purge.answered.as_ref() == Some(&log.1)
                    || entries.iter().any(|entry| entry.starts_with(&begin)))
        };
        let mut left = Vec::new();
        for Purged { by, before, .. } in self.purges.iter().filter(has_begun) {
            for (_, seq, text) in before.iter().filter(|(of, ..)| of == log) {
                let entry = usize::try_from(seq - 1).ok().and_then(|index| entries.get(index));
                if entry.is_some_and(|entry| entry != GONE) {
                    left.push(format!("room {}: {text} at {seq} is left of the purge by {by}", log.0));
                }
            }
        }
        left
    }
}

#[test]
fn a_purge_that_arrives_late_deletes_no_newer_message() {
    run(|model| async move {
        let limits = Limits::default();
        let store = node(&model, 0, &limits).await;
        let room = open(&store, "lobby", &limits).await;
        send(&room, "old").await;
        let act = NewAct::new(user(2), Act::Purge { user: user(1) }).with_role(Role::Owner);
        let shared = store.room(&"lobby".parse().expect("a name"), &Arc::new(limits));
        let order = shared.purge_order(act).await.expect("an order");
        send(&room, "new").await;
        shared.carry_out(Work::Purge(Box::new(order))).await.expect("a receipt");
        let page = room.read(Range::after(0, 9)).await.expect("a page");
        let frames = page.messages.iter().map(|stored| String::from_utf8_lossy(&stored.frame));
        let texts: Vec<_> =
            frames.map(|frame| (frame.contains("\"old\""), frame.contains("\"new\""))).collect();
        assert_eq!(texts, [(false, false), (false, true)]);
    });
}
