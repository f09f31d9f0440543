//! The changes of presence that the tail has dropped.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::{PresenceState, UserKey};

/// Dropped changes that are kept before the first look at the positions of the members.
const MIN_CHANGES: usize = 32;

/// The changes of presence that some member may have missed, merged for each user.
///
/// A member gets at most one event for each user: the state at the end of the changes that it has missed, if that
/// differs from the state before them.
#[derive(Debug, Default)]
pub(super) struct MissedPresence {
    /// Changes that are in the tail, in the order of their positions.
    in_tail: VecDeque<(u64, UserKey, PresenceState, Bytes)>,
    dropped: BTreeMap<UserKey, Changes>,
    /// The number of dropped changes, and the number at which the next merge is due.
    count: usize,
    merge_at: usize,
}

/// The dropped changes of one user.
#[derive(Debug)]
struct Changes {
    /// The changes, or only those that are the first one after the position of some member.
    firsts: Vec<(u64, PresenceState)>,
    /// The last change, and its frame.
    last: PresenceState,
    frame: Bytes,
}

impl Changes {
    /// Returns the last change, if the state after it differs from the state before `position`.
    fn since(&self, position: u64) -> Option<PresenceState> {
        let (_, first) = self.firsts.iter().find(|(changed, _)| *changed >= position)?;
        // The changes alternate, so the state before the first one is the opposite of it.
        (*first == self.last).then_some(self.last)
    }
}

impl MissedPresence {
    /// Records a change that was pushed into the tail.
    pub(super) fn push(&mut self, position: u64, user: UserKey, state: PresenceState, frame: Bytes) {
        self.in_tail.push_back((position, user, state, frame));
    }

    /// Records that the tail starts at this position. `members` are the positions of all members.
    pub(super) fn drop_before(&mut self, start: u64, members: impl Iterator<Item = u64>) {
        if self.in_tail.front().is_none_or(|(position, ..)| *position >= start) {
            return;
        }
        while self.in_tail.front().is_some_and(|(position, ..)| *position < start)
            && let Some((position, user, state, frame)) = self.in_tail.pop_front()
        {
            let none = || Changes { firsts: Vec::new(), last: state, frame: Bytes::new() };
            let changes = self.dropped.entry(user).or_insert_with(none);
            changes.firsts.push((position, state));
            (changes.last, changes.frame) = (state, frame);
            self.count += 1;
        }
        if self.count > self.merge_at.max(MIN_CHANGES) {
            let mut behind: Vec<_> = members.filter(|position| *position < start).collect();
            behind.sort_unstable();
            self.merge(&behind);
        }
    }

    /// Keeps only what a member at one of these positions needs. They are sorted.
    fn merge(&mut self, members: &[u64]) {
        self.count = 0;
        self.dropped.retain(|_, Changes { firsts, last, .. }| {
            let mut before = 0;
            firsts.retain(|(position, _)| {
                let next = members.partition_point(|member| *member < before);
                before = position + 1;
                members.get(next).is_some_and(|member| *member <= *position)
            });
            if firsts.iter().all(|(_, first)| first != last) {
                firsts.clear();
            }
            self.count += firsts.len();
            !firsts.is_empty()
        });
        self.merge_at = 2 * self.count;
    }

    /// Returns the changes that a member at this position has missed.
    pub(super) fn since(&self, position: u64) -> impl Iterator<Item = (&UserKey, PresenceState, &Bytes)> {
        let change = move |(user, changes)| {
            let changes: &Changes = changes;
            changes.since(position).map(|state| (user, state, &changes.frame))
        };
        self.dropped.iter().filter_map(change)
    }
}
