use std::collections::BTreeMap;

use chat_core::{
    Act, ActEntry, ActState, ChangeError, Deleted, Governance, NewAct, PurgePlaces, Unavailable,
};

use crate::record::{Content, Entry, Purge};
use crate::room::load::Loading;
use crate::room::work::PurgeStep;

use super::rules::StagedRules;
use super::{Answer, MAX_ERASING, MAX_TARGETS, Staging};

/// The purges of one room that go on, at most: each record names them.
const MAX_PURGES: usize = 4;

/// Decides about an entry of a purge.
fn judge(governance: &Governance, act: &NewAct, at: u64) -> Result<(), ChangeError> {
    governance.context(act, true).judge_purge(act, at)
}

impl StagedRules<'_> {
    /// Returns those of the purges to which their users still have the right after an act. The others are over, also if
    /// the right comes back.
    pub(super) fn still_allowed(&self, mut purges: Vec<Purge>, at: u64) -> Vec<Purge> {
        if let Some(governance) = &self.governance {
            purges.retain(|purge| purge.act().is_none_or(|act| judge(governance, &act, at).is_ok()));
        }
        purges
    }
}

impl Staging<'_> {
    /// Deletes the next messages of a purge, with one entry, if its user still has the right to it. The answer comes
    /// before their texts are erased. Returns `None` if they have no space in the record.
    pub(super) fn purge(&mut self, step: &PurgeStep, seq: u64) -> Option<Answer> {
        let PurgeStep { purge, act, messages, is_last, .. } = step;
        let Act::Purge { user } = &act.act else { return Some(ChangeError::Unsupported.into()) };
        if !act.fits(self.room) {
            return Some(ChangeError::Forbidden.into());
        }
        let judged = match &self.rules.governance {
            Some(governance) => judge(governance, act, self.at),
            None => judge(&Governance::new(self.room.clone()), act, self.at),
        };
        if let Err(error) = judged {
            return Some(error.into());
        }
        let (mut deleted, mut unpinned) = (BTreeMap::new(), Vec::new());
        let is_readable = |target: &u64| *target >= self.tail.first();
        for target in messages.iter().map(|entry| entry.seq).filter(is_readable) {
            let state = match (self.states.get(&target), self.loaded.targets.get(&target)) {
                (Some(state), _) => state,
                (None, Some(Loading::Known(state))) => state,
                (None, Some(Loading::Missing | Loading::Damaged)) => continue,
                (None, None) => return None,
            };
            if state.is_deleted() {
                continue;
            }
            if state.has_pin_change() {
                unpinned.push(target);
            }
            let mut state = state.clone();
            let how = Deleted::new(self.at, act.user.clone(), None);
            state.delete(target, seq, how, &self.loaded.recent);
            deleted.insert(target, state);
        }
        let (Some((from, _)), Some((to, _))) = (deleted.first_key_value(), deleted.last_key_value()) else {
            return Some(self.answer(None, self.at).into());
        };
        let (from, to) = (*from, *to);
        let added = deleted.keys().filter(|target| !self.states.contains_key(target)).count();
        if self.states.len() + added > MAX_TARGETS {
            return None;
        }
        if !is_last && let Err(error) = self.has_place(purge, act) {
            return Some(ChangeError::from(error).into());
        }
        if self.erasing.len() + deleted.len() > MAX_ERASING {
            return Some(ChangeError::from(Unavailable::new("too many deletions are not complete")).into());
        }
        let state = ActState::Purge { user: user.clone(), from, to, unpinned };
        let frame = ActEntry::new(seq, self.at, act.user.clone(), state).encode(self.room).frame;
        let content = Content::Act { frame, targets: deleted.keys().copied().collect() };
        self.push(Entry { seq, at: self.at, key: None, content })?;
        self.pins.retain(|pinned| !deleted.contains_key(pinned));
        self.erasing.extend(deleted.keys());
        self.purges.retain(|known| known.id != purge.id);
        self.purges.extend((!is_last).then(|| purge.clone()));
        let mut receipt = self.answer(Some(seq), self.at);
        receipt.erasing = deleted.iter().map(|(seq, state)| self.erasure(*seq, state)).collect();
        self.states.extend(deleted);
        Some(receipt.into())
    }

    /// Checks that the records may name a further purge.
    fn has_place(&self, purge: &Purge, act: &NewAct) -> Result<(), Unavailable> {
        if self.purges.iter().any(|known| known.id == purge.id) {
            return Ok(());
        }
        let others: Vec<_> = self.purges.iter().filter_map(Purge::act).collect();
        let places = PurgePlaces::default().with(|places| places.total = MAX_PURGES);
        let others = others.iter().map(|act| (self.room, act));
        places.check(others, self.room, act).map_err(Unavailable::over_quota)
    }
}
