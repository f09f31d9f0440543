//! Requests of other nodes that were held up on their way.

use std::collections::HashMap;
use std::time::Duration;

use async_nats::HeaderMap;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::bus::Clock;
use crate::room::unix_millis;

/// The header with the time at which a node has sent a request. A node of an earlier version sends none.
const SENT: &str = "Chat-Sent";

/// The nodes whose clocks are known, at most. Then all are learned again.
const MAX_CLOCKS: usize = 256;

/// The clock of this node, and those of the nodes that have asked it for something.
#[derive(Debug)]
pub(super) struct Clocks {
    started: Instant,
    /// The start of this node by the time of day. With its name, it tells the node from an earlier one of that name.
    started_at: u64,
    /// The clocks of other nodes, by their names and starts.
    others: Mutex<HashMap<String, Clock>>,
}

impl Clocks {
    pub(super) fn new() -> Self {
        Self { started: Instant::now(), started_at: unix_millis(), others: Mutex::default() }
    }

    /// Returns the headers of a request that the node of this name sends now.
    pub(super) fn headers(&self, name: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let micros = self.started.elapsed().as_micros();
        headers.insert(SENT, format!("{name}-{} {micros}", self.started_at).as_str());
        headers
    }

    /// Returns the time for which a request was on its way, at least.
    pub(super) fn delay(&self, headers: Option<&HeaderMap>) -> Duration {
        let sent = headers.and_then(|headers| headers.get(SENT)?.as_str().split_once(' '));
        let Some((node, Ok(micros))) = sent.map(|(node, micros)| (node, micros.parse())) else {
            return Duration::ZERO;
        };
        let mut others = self.others.lock();
        if others.len() >= MAX_CLOCKS && !others.contains_key(node) {
            others.clear();
        }
        let clock = others.entry(node.to_owned()).or_default();
        clock.delay(Duration::from_micros(micros), self.started.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_request_is_late_by_the_time_for_which_it_was_held_up() {
        let (one, other) = (Clocks::new(), Clocks::new());
        for _ in 0..3 {
            assert_eq!(other.delay(Some(&one.headers("one"))), Duration::ZERO);
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        let held_up = one.headers("one");
        tokio::time::advance(Duration::from_secs(6)).await;
        assert!(other.delay(Some(&held_up)) > Duration::from_secs(5));
        assert_eq!(other.delay(Some(&one.headers("one"))), Duration::ZERO);
        assert_eq!(other.delay(None), Duration::ZERO, "a node of an earlier version");
        // A node that has started again counts from its start.
        let again = Clocks { started_at: one.started_at + 1, ..Clocks::new() };
        assert_eq!(other.delay(Some(&again.headers("one"))), Duration::ZERO);
    }

    #[test]
    fn the_number_of_clocks_is_bounded() {
        let clocks = Clocks::new();
        for number in 0..3 * MAX_CLOCKS {
            clocks.delay(Some(&clocks.headers(&number.to_string())));
        }
        assert!(clocks.others.lock().len() <= MAX_CLOCKS);
    }
}
