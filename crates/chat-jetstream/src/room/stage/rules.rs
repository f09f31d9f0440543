use std::borrow::Cow;

use chat_core::{
    ActEffect, ActEntry, AppendError, ChangeError, Governance, NewAct, NewChange, NewMessage, Role,
    Unavailable,
};

use crate::record::{Content, Entry};
use crate::room::rules::has_space;

use super::{Answer, Staging};

/// The acts in a record, at most: each looks at all standings of the room.
const MAX_ACTS: usize = 32;

/// The rules of a room while a record is made.
pub(super) struct StagedRules<'a> {
    /// The rules and the standings after the entries so far. `None` if the log has no act.
    pub(super) governance: Option<Cow<'a, Governance>>,
    /// The position of the newest act.
    pub(super) ruled: u64,
    /// The acts in the record.
    acts: usize,
    /// True if the standings that have ended were removed. That is done once in a record.
    is_swept: bool,
}

impl<'a> StagedRules<'a> {
    pub(super) fn new(governance: Option<&'a Governance>, ruled: u64) -> Self {
        Self { governance: governance.map(Cow::Borrowed), ruled, acts: 0, is_swept: false }
    }
}

impl Staging<'_> {
    /// Checks that the author of a message may send it. Returns the role with which its links are judged.
    pub(super) fn check_send(&self, message: &NewMessage) -> Result<Role, AppendError> {
        match &self.rules.governance {
            Some(governance) => governance.check_send(message, self.at),
            // Nobody is in a direct room before it is opened.
            None if self.room.is_direct() => Err(AppendError::Forbidden),
            None => Ok(message.role),
        }
    }

    /// Checks that a user may make a change. Returns the change with the role with which it is judged.
    pub(super) fn check_change<'c>(&self, change: &'c NewChange) -> Result<Cow<'c, NewChange>, ChangeError> {
        let Some(governance) = &self.rules.governance else { return Ok(Cow::Borrowed(change)) };
        let role = governance.check_change(change, self.at)?;
        Ok(if role == change.role {
            Cow::Borrowed(change)
        } else {
            Cow::Owned(change.clone().with_role(role))
        })
    }

    /// Sets the rules of the room or the standing of a user, if the user who acts has the right to do so. Returns
    /// `None` if the act has no space in the record.
    pub(super) fn govern(&mut self, act: &NewAct, seq: u64) -> Option<Answer> {
        if !act.fits(self.room) {
            return Some(ChangeError::Forbidden.into());
        }
        if self.rules.acts >= MAX_ACTS {
            return None;
        }
        let (at, has_entries) = (self.at, seq > 1);
        let none = || Cow::Owned(Governance::new(self.room.clone()));
        let mut governance = self.rules.governance.take().unwrap_or_else(none);
        let mut context = governance.context(act, has_entries);
        if context.needs_space(act, at, self.limits) && !self.rules.is_swept {
            self.rules.is_swept = true;
            governance.to_mut().remove_ended(at);
            context = governance.context(act, has_entries);
        }
        let judged = context.judge(act, at, self.limits);
        let answer = match &judged {
            Err(error) => Some(error.clone().into()),
            Ok(ActEffect::Unchanged) => Some(self.answer(None, at).into()),
            Ok(effect) => self.store_act(act, effect, &governance, seq),
        };
        if self.rules.ruled == seq
            && let Ok(effect) = &judged
        {
            governance.to_mut().apply(&act.user, effect);
        }
        self.rules.governance = Some(governance);
        answer
    }

    /// Adds the entry of an act.
    fn store_act(
        &mut self,
        act: &NewAct,
        effect: &ActEffect,
        governance: &Governance,
        seq: u64,
    ) -> Option<Answer> {
        let (ActEffect::Store(state) | ActEffect::Create(state)) = effect else { return None };
        let standing = effect.standing(&act.user);
        let is_new = |id: &str| governance.standings().all(|(other, _)| other != id);
        // The space of a user who has a standing is counted already.
        let standing = standing.filter(|(user, standing)| !standing.is_default() && is_new(user.id()));
        if standing.is_some_and(|(user, _)| !has_space(governance, user.id(), self.log.max_state)) {
            let full = Unavailable::over_quota("the room has too many users with a role or a restriction");
            return Some(ChangeError::from(full).into());
        }
        let entry = ActEntry::new(seq, self.at, act.user.clone(), state.clone());
        let frame = entry.encode(self.room).frame;
        self.push(Entry {
            seq,
            at: self.at,
            key: None,
            content: Content::Act { frame, targets: Vec::new() },
        })?;
        self.rules.ruled = seq;
        self.rules.acts += 1;
        Some(self.answer(Some(seq), self.at).into())
    }
}
