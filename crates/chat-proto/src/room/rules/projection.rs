use std::borrow::Cow;
use std::collections::BTreeMap;

use super::{ActContext, ActEffect, ActState, Direct, NewAct, Right, RoomRules, Standing};
use crate::room::{AppendError, ChangeError, NewChange, NewMessage};
use crate::{Role, RoomName, User, UserKey};

/// The bytes of a standing beside its id, rounded up.
const OVERHEAD: usize = 128;

/// The rules of a room in memory and the standings of its users, as its acts have set them.
#[derive(Debug)]
pub(in crate::room) struct Projection {
    room: RoomName,
    rules: Option<RoomRules>,
    standings: BTreeMap<String, Standing>,
}

impl Projection {
    /// Returns that of a room without acts.
    pub(in crate::room) fn new(room: RoomName) -> Self {
        Self { room, rules: None, standings: BTreeMap::new() }
    }

    pub(in crate::room) fn rules(&self) -> Cow<'_, RoomRules> {
        match &self.rules {
            Some(rules) => Cow::Borrowed(rules),
            None => Cow::Owned(RoomRules::unset(&self.room)),
        }
    }

    /// Returns the standing that holds for a user with this role of the credentials or the host.
    pub(in crate::room) fn standing(&self, user: &UserKey, granted: Role) -> Standing {
        let stored = self.standings.get(user.id()).copied().unwrap_or_default();
        self.rules().standing(user, stored, granted)
    }

    /// Checks that the author of a message may send it. Returns the role with which its links are judged.
    pub(in crate::room) fn check_send(&self, message: &NewMessage, now: u64) -> Result<Role, AppendError> {
        let standing = self.standing(&message.user.key(), message.role);
        self.rules().check(Right::Send, &standing, now)?;
        Ok(standing.role)
    }

    /// Checks that a user may make a change, and sets the role with which the change is judged.
    pub(in crate::room) fn check_change(&self, change: &mut NewChange, now: u64) -> Result<(), ChangeError> {
        let standing = self.standing(&change.user.key(), change.role);
        change.role = standing.judge_change(Some(&self.rules()), &change.change, now)?;
        Ok(())
    }

    /// Returns the context of an act.
    pub(in crate::room) fn context(&self, new: &NewAct, has_entries: bool) -> ActContext {
        let target = new.act.target().and_then(|user| self.standings.get(user.id()));
        ActContext {
            rules: self.rules.clone(),
            has_entries,
            actor: self.standing(&new.user.key(), Role::None),
            target: target.copied().unwrap_or_default(),
            owners: self.standings.values().filter(|standing| standing.role == Role::Owner).count() as u64,
            standings: self.standings.len() as u64,
        }
    }

    /// Removes the standings that have ended.
    pub(in crate::room) fn remove_ended(&mut self, now: u64) {
        self.standings.retain(|_, standing| !standing.has_ended(now));
    }

    /// Applies an act of a user.
    pub(in crate::room) fn apply(&mut self, by: &User, effect: &ActEffect) {
        let (ActEffect::Store(state) | ActEffect::Create(state)) = effect else { return };
        match state {
            ActState::Rules { rules, .. } => self.rules = Some(rules.clone()),
            ActState::Standing { .. } | ActState::Purge { .. } => {}
        }
        if let Some((user, standing)) = effect.standing(by) {
            if standing.is_default() {
                self.standings.remove(user.id());
            } else {
                self.standings.insert(user.id().to_owned(), standing);
            }
        }
    }

    pub(in crate::room) fn memory_bytes(&self) -> usize {
        let standings: usize = self.standings.keys().map(|id| id.len() + OVERHEAD).sum();
        let rules = self.rules.as_ref().map_or(0, |rules| {
            let direct = rules.direct.as_ref().map_or(0, Direct::memory_bytes);
            rules.title.as_ref().map_or(0, String::len) + direct
        });
        OVERHEAD + standings + rules
    }
}

impl ActEffect {
    /// Returns the user whose standing the act sets, and that standing. `by` is the user who acts.
    pub fn standing<'a>(&'a self, by: &'a User) -> Option<(&'a User, Standing)> {
        match self {
            Self::Store(state) => state.standing(),
            // A direct room has no owner.
            Self::Create(ActState::Rules { rules, .. }) if rules.direct.is_some() => None,
            Self::Create(_) if !by.is_guest() => Some((by, Standing::new(Role::Owner, None))),
            Self::Create(_) | Self::Unchanged => None,
        }
    }
}
