//! The members of a room whose rights an entry may have changed.

use std::collections::BTreeSet;

use super::Room;
use super::rules::Affects;
use crate::User;

/// The members whose rights must be decided again.
#[derive(Debug, Default)]
pub(super) struct Affected {
    /// The newest position at which rights may have changed: that of an act, or the end of unknown entries.
    seq: u64,
    /// True once there was an act.
    has_acts: bool,
    all: bool,
    ids: BTreeSet<String>,
}

impl Affected {
    /// Records entries that may have changed rights.
    pub(super) fn note(&mut self, seq: u64, affects: Affects) {
        self.seq = self.seq.max(seq);
        match affects {
            Affects::All => self.all = true,
            Affects::Id(id) => drop(self.ids.insert(id)),
        }
    }

    /// Records an act.
    pub(super) fn note_act(&mut self, seq: u64, affects: Affects) {
        self.has_acts = true;
        self.note(seq, affects);
    }

    fn take(&mut self) -> Self {
        let (seq, has_acts) = (self.seq, self.has_acts);
        std::mem::replace(self, Self { seq, has_acts, ..Self::default() })
    }
}

impl<W> Room<W> {
    /// Returns the newest position at which rights may have changed, 0 if there is none.
    ///
    /// The standing of a user who enters is read after the bounds of the log. If this position is beyond those
    /// bounds, the standing may be out of date, and must be read again.
    pub fn rights_seq(&self) -> u64 {
        self.affected.seq
    }

    /// Returns true if the room has taken an act, so that it may have rules.
    pub fn has_acts(&self) -> bool {
        self.affected.has_acts
    }

    /// Returns the wakers of the members whose rights may have changed since the last call.
    pub fn take_affected(&mut self) -> Vec<&W> {
        if !self.affected.all && self.affected.ids.is_empty() {
            return Vec::new();
        }
        let Affected { all, ids, .. } = self.affected.take();
        let is_affected = |user: &User| all || ids.contains(user.id());
        let members = self.members.values().filter(|member| member.user.as_ref().is_some_and(is_affected));
        members.map(|member| &member.waker).collect()
    }

    /// Returns the members of this id: the user, and the wakers of that user's connections.
    pub fn members_of<'a>(&'a self, id: &'a str) -> impl Iterator<Item = (&'a User, &'a W)> {
        self.connections().filter(move |(user, _)| user.id() == id)
    }

    /// Returns the user and the waker of each member.
    pub fn connections(&self) -> impl Iterator<Item = (&User, &W)> {
        self.members.values().filter_map(|member| Some((member.user.as_ref()?, &member.waker)))
    }
}
