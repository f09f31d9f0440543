use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};

use super::MarkerError;
use crate::{Unavailable, UserKey};

/// The bytes that a marker takes beside the id of its user, rounded up.
const MARKER_OVERHEAD: usize = 128;

/// The markers of the users of a log in memory. They are of the epoch of the log.
#[derive(Debug, Default)]
pub(in crate::room) struct Markers {
    positions: BTreeMap<UserKey, u64>,
    /// The bytes of the ids.
    bytes: usize,
}

impl Markers {
    /// Returns the position of a user, 0 if there is none.
    pub(in crate::room) fn get(&self, user: &UserKey) -> u64 {
        self.positions.get(user).copied().unwrap_or_default()
    }

    /// Moves the marker of a user forward. Returns true if it has moved.
    ///
    /// Anyone can take any number of guest names. So the marker of a guest makes place for another user if there are
    /// `max`.
    pub(in crate::room) fn set(&mut self, user: &UserKey, seq: u64, max: usize) -> Result<bool, MarkerError> {
        if seq <= self.get(user) {
            return Ok(false);
        }
        if !self.positions.contains_key(user) {
            if self.positions.len() >= max.max(1) {
                let guest = self.other_guest(user).cloned();
                let guest = guest.ok_or_else(|| Unavailable::over_quota("the room has too many markers"))?;
                self.positions.remove(&guest);
                self.bytes -= guest.id().len();
            }
            self.bytes += user.id().len();
        }
        self.positions.insert(user.clone(), seq);
        Ok(true)
    }

    pub(in crate::room) fn memory_bytes(&self) -> usize {
        self.bytes + self.positions.len() * MARKER_OVERHEAD
    }

    /// Returns a guest who has a marker: the one after `user`, or the last.
    fn other_guest(&self, user: &UserKey) -> Option<&UserKey> {
        let next = self.positions.range((Excluded(user), Unbounded)).next();
        let is_guest = |(key, _): &(&UserKey, &u64)| key.is_guest();
        next.filter(is_guest).or_else(|| self.positions.last_key_value().filter(is_guest)).map(|(key, _)| key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_moves_forward_only() {
        let (mut markers, ann) = (Markers::default(), UserKey::new("ann"));
        for (seq, moved, read) in [(0, false, 0), (3, true, 3), (2, false, 3), (3, false, 3), (4, true, 4)] {
            assert_eq!(markers.set(&ann, seq, 10), Ok(moved));
            assert_eq!(markers.get(&ann), read);
        }
    }

    #[test]
    fn the_marker_of_a_guest_makes_place_for_another_user() {
        let mut markers = Markers::default();
        let guest = |name| UserKey::guest(name).expect("a name");
        for user in [guest("ann"), guest("bob"), UserKey::new("1")] {
            assert_eq!(markers.set(&user, 1, 3), Ok(true));
        }
        assert_eq!(markers.set(&UserKey::new("2"), 1, 3), Ok(true));
        assert_eq!(markers.set(&guest("cid"), 1, 3), Ok(true));
        let kept = [guest("ann"), guest("bob"), guest("cid"), UserKey::new("1"), UserKey::new("2")];
        assert_eq!(kept.map(|user| markers.get(&user)), [0, 0, 1, 1, 1]);
        assert_eq!(markers.set(&UserKey::new("3"), 1, 3), Ok(true));
        assert!(matches!(markers.set(&UserKey::new("4"), 1, 3), Err(MarkerError::Unavailable(_))));
        assert_eq!(markers.set(&UserKey::new("3"), 2, 3), Ok(true), "a marker that is there");
        assert_eq!(markers.memory_bytes(), 3 * (MARKER_OVERHEAD + 1));
    }
}
