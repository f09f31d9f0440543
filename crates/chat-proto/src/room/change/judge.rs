use std::time::Duration;

use super::{Change, ChangeError, MessageChanges, NewChange};
use crate::{Limits, Mentions, Role, UserKey};

/// The message that a change names, as the log has it at the place where the change would be stored.
#[derive(Clone, Debug)]
pub struct Target<'a> {
    /// The author.
    pub author: &'a UserKey,
    /// The connection on which a guest has sent it.
    pub connection: Option<u64>,
    /// The time of its commit, in milliseconds since the Unix epoch.
    pub at: u64,
    /// Its changes so far.
    pub changes: Option<&'a MessageChanges>,
    /// For a reaction: true if the user has placed it.
    pub has_reaction: bool,
    /// For a pin: the number of pinned messages in the log.
    pub pins: usize,
}

/// The effect of a change that is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The change is stored.
    Store,
    /// The message is already as the change would make it. Nothing is stored.
    Unchanged,
    /// The message was deleted by the entry at this position. Nothing is stored.
    Deleted(u64),
}

impl Target<'_> {
    /// Decides about a change at the time `now`, in milliseconds since the Unix epoch.
    ///
    /// A store calls it inside of its serialized append, so that rights hold at a place in the log.
    ///
    /// # Errors
    ///
    /// [`ChangeError::Forbidden`] before all others, so that an error tells nothing to those without the right. Then
    /// [`Gone`](ChangeError::Gone), [`Conflict`](ChangeError::Conflict), [`TooLate`](ChangeError::TooLate),
    /// [`TooManyReactions`](ChangeError::TooManyReactions) and [`TooManyPins`](ChangeError::TooManyPins).
    pub fn judge(&self, change: &NewChange, now: u64, limits: &Limits) -> Result<Verdict, ChangeError> {
        if !self.allows(change) {
            return Err(ChangeError::Forbidden);
        }
        let deletion = self.changes.and_then(|changes| changes.newest(super::ChangeKind::Deleted));
        if let Some(seq) = deletion {
            let is_repeated = matches!(change.change, Change::Delete { .. });
            return if is_repeated { Ok(Verdict::Deleted(seq)) } else { Err(ChangeError::Gone) };
        }
        let edited = self.changes.map_or(0, |changes| changes.edit);
        if change.rev.is_some_and(|rev| edited > rev) {
            return Err(ChangeError::Conflict);
        }
        let folded = self.changes.map(|changes| &changes.folded);
        let is_unchanged = match &change.change {
            Change::Edit { .. } => {
                let age = Duration::from_millis(now.saturating_sub(self.at));
                if limits.rooms.edit_window.is_some_and(|window| age > window) {
                    return Err(ChangeError::TooLate);
                }
                false
            }
            Change::Delete { .. } => false,
            Change::React { reaction, on } => {
                let reactions = folded.map_or(&[][..], |folded| &folded.reactions);
                let is_new = *on && !self.has_reaction;
                let is_new_kind = is_new && !reactions.iter().any(|known| known.reaction == *reaction);
                let count: u64 = reactions.iter().map(|known| known.count).sum();
                if (is_new_kind && reactions.len() >= limits.rooms.max_reaction_kinds)
                    || (is_new && count >= limits.rooms.max_reactions as u64)
                {
                    return Err(ChangeError::TooManyReactions);
                }
                *on == self.has_reaction
            }
            Change::Pin { on } => {
                let is_unchanged = *on == folded.is_some_and(|folded| folded.pinned);
                if *on && !is_unchanged && self.pins >= limits.rooms.max_pins {
                    return Err(ChangeError::TooManyPins);
                }
                is_unchanged
            }
        };
        Ok(if is_unchanged { Verdict::Unchanged } else { Verdict::Store })
    }

    fn allows(&self, change: &NewChange) -> bool {
        let is_author = *self.author == change.user.key()
            // A later guest of the same name may be another person.
            && (!self.author.is_guest() || (self.connection.is_some() && self.connection == change.connection));
        let is_moderator = change.role >= Role::Moderator;
        match change.change {
            Change::Edit { .. } => is_author && (is_moderator || change.mentions != Some(Mentions::Room)),
            Change::Delete { .. } => is_author || is_moderator,
            Change::React { .. } => true,
            Change::Pin { .. } => is_moderator,
        }
    }
}
