use std::time::{Duration, Instant};

use super::clock::Clock;
use super::exchanges::Exchanges;
use super::parts::Parts;

/// The time without a message after which a node has left.
const MAX_SILENCE: Duration = Duration::from_secs(4);

/// Another node that has joined.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) life: u64,
    /// The time of the last message.
    seen: Instant,
    broadcasts: Received,
    direct: Received,
    /// The number of the last notice for this node, by the last sign of life. The notice may still be on its way, as it
    /// has another subject than the sign.
    announced: Option<u64>,
    pub(super) clock: Clock,
    pub(super) exchanges: Exchanges,
    /// True if the node can read parts of notices.
    pub(super) reads_parts: bool,
    pub(super) parts: Parts,
}

/// The numbers of the notices that arrived on one subject.
#[derive(Clone, Copy, Debug, Default)]
struct Received(Option<u64>);

impl Received {
    /// Records a notice. Returns false if one before it is missing.
    fn take(&mut self, number: u64) -> bool {
        let is_next = self.0.is_none_or(|last| number <= last + 1);
        self.0 = self.0.max(Some(number));
        is_next
    }

    /// Records that the notices up to this one were sent. Returns false if some of them are missing.
    fn take_all(&mut self, number: u64) -> bool {
        let is_complete = self.0.is_none_or(|last| number <= last);
        self.0 = self.0.max(Some(number));
        is_complete
    }
}

impl Peer {
    pub(super) fn new(life: u64, exchanges: Exchanges) -> Self {
        let (broadcasts, direct, clock, parts) = Default::default();
        let (announced, reads_parts) = (None, false);
        Self {
            life,
            seen: Instant::now(),
            broadcasts,
            direct,
            announced,
            clock,
            exchanges,
            reads_parts,
            parts,
        }
    }

    /// Records that a message of the node has arrived.
    pub(super) fn saw(&mut self) {
        self.seen = Instant::now();
    }

    pub(super) fn is_silent(&self) -> bool {
        self.seen.elapsed() > MAX_SILENCE
    }

    /// Records a notice. Returns false if one before it is missing.
    pub(super) fn take(&mut self, number: u64, is_direct: bool) -> bool {
        if is_direct { self.direct.take(number) } else { self.broadcasts.take(number) }
    }

    /// Records the numbers of a sign of life. Returns false if notices are missing.
    pub(super) fn take_sign(&mut self, broadcasts: u64, direct: u64) -> bool {
        let announced = self.announced.replace(direct);
        // The first sign of life begins the count.
        let has_direct = self.direct.take_all(announced.unwrap_or(direct));
        self.broadcasts.take_all(broadcasts) && has_direct
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_notice_is_noticed_by_the_next_one_or_by_a_sign_of_life() {
        let mut peer = Peer::new(1, Exchanges::default());
        assert!(peer.take_sign(7, 3));
        assert!(peer.take(8, false) && peer.take(9, false));
        assert!(!peer.take(11, false), "10 is missing");
        assert!(peer.take(10, false), "10 was late");
        assert!(peer.take(12, false) && peer.take_sign(12, 3));
        assert!(!peer.take_sign(13, 3), "13 is missing");
        assert!(peer.take_sign(13, 3));
    }

    #[test]
    fn a_notice_for_one_node_may_come_after_the_sign_of_life_that_counts_it() {
        let mut peer = Peer::new(1, Exchanges::default());
        assert!(peer.take_sign(0, 0));
        assert!(peer.take_sign(0, 1) && peer.take(1, true) && peer.take_sign(0, 1));
        assert!(peer.take_sign(0, 2), "it may be on its way");
        assert!(!peer.take_sign(0, 2), "it is lost");
        assert!(peer.take_sign(0, 2));
    }
}
