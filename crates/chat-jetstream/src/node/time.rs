//! The present time. A node compares its clock with that of the leader of the stream.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::node::Node;
use crate::room::unix_millis;

/// The time by which the clock of a node may be ahead of that of the leader. No entry is older than the one before it,
/// so a room keeps the time of a clock that is ahead until it is over.
pub(crate) const MAX_AHEAD: Duration = Duration::from_secs(60 * 60);

impl Node {
    /// Returns the time of the leader's clock, or `None` before the leader has answered.
    pub(super) fn leader_now(&self) -> Option<u64> {
        let (time, since) = (*self.leader_time.lock())?;
        Some(time.saturating_add(millis(since.elapsed())))
    }

    /// Warns if the clock of the leader and that of this node begin to differ so much that entries get wrong times.
    pub(super) fn compare_clocks(&self, leader_time: u64) {
        let own_time = unix_millis();
        let differ = own_time.abs_diff(leader_time) > millis(MAX_AHEAD);
        let did_differ = self.clocks_differ.swap(differ, Ordering::Relaxed);
        if differ && !did_differ {
            let stream = &self.link.stream;
            tracing::warn!(
                %stream,
                own_time,
                leader_time,
                "clock of the server that leads the stream differs from that of this one"
            );
        }
    }

    /// Returns the latest time that an entry gets.
    pub(crate) fn latest(&self) -> u64 {
        self.leader_now().map_or(u64::MAX, |time| time.saturating_add(millis(MAX_AHEAD)))
    }

    /// Returns the time of this node's clock, but none after the latest one that an entry gets.
    pub(crate) fn now(&self) -> u64 {
        unix_millis().min(self.latest())
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
