use std::collections::BTreeMap;

use super::Reaction;
use crate::{User, UserKey};

/// The bytes of one reaction of a user, rounded up.
const OVERHEAD: usize = 160;

/// The reactions to one message: who has placed which one, and when.
#[derive(Clone, Debug, Default)]
pub struct ReactionSets(BTreeMap<String, Vec<(u64, User)>>);

impl ReactionSets {
    /// Returns true if a user has placed a reaction.
    pub fn contains(&self, reaction: &str, user: &UserKey) -> bool {
        self.0.get(reaction).is_some_and(|placed| placed.iter().any(|(_, placer)| placer.key() == *user))
    }

    /// Adds or removes a reaction of a user, at the position `seq`. `edit` is the newest edit of the message.
    ///
    /// Returns its state, `None` if no user has it any more.
    pub fn set(&mut self, reaction: &str, user: &User, on: bool, seq: u64, edit: u64) -> Option<Reaction> {
        let placed = self.0.entry(reaction.to_owned()).or_default();
        placed.retain(|(_, placer)| placer.key() != user.key());
        if on {
            placed.push((seq, user.clone()));
        }
        if placed.is_empty() {
            self.0.remove(reaction);
            return None;
        }
        let users = placed.iter().map(|(_, user)| user.clone()).take(Reaction::MAX_USERS).collect();
        let stale = placed.iter().filter(|(seq, _)| *seq < edit).count();
        Some(Reaction::new(reaction, placed.len() as u64, users).with_stale(stale as u64))
    }

    /// Returns the bytes that the reactions take, rounded up.
    pub(in crate::room) fn memory_bytes(&self) -> usize {
        self.0.values().map(|placed| placed.len() * OVERHEAD).sum()
    }
}
