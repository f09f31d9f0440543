//! The times at which clients are told to return, after a drain or a refused handshake.

use std::time::Duration;

use chat_proto::{HttpLimits, Returns};
use parking_lot::Mutex;
use tokio::time::Instant;

/// Gives each client of a crowd its own time, so that the crowd does not come at once.
#[derive(Debug)]
pub(crate) struct Returning {
    /// The shortest and the longest advice.
    advice: (Duration, Duration),
    /// The longest advice of a drain.
    most_of_drain: Duration,
    per_second: u32,
    started: Instant,
    // Nothing is awaited while this is held.
    returns: Mutex<Returns>,
}

impl Returning {
    /// Creates the advice of a chat. `grace` is the time after which the users of other nodes see them leave. Without
    /// such a time, or if it is zero, they see it at once.
    pub(crate) fn new(limits: &HttpLimits, grace: Option<Duration>) -> Self {
        let (least, most) = (limits.retry_after, limits.max_retry_after.max(limits.retry_after));
        // Each connection adds up to the shortest advice.
        let most_of_drain = most.max(least * 2);
        let grace = grace.filter(|grace| !grace.is_zero());
        Self {
            advice: (least, most),
            most_of_drain: grace.map_or(most_of_drain, |grace| most_of_drain.min(grace * 3 / 4)),
            per_second: limits.returns_per_second,
            started: Instant::now(),
            returns: Mutex::default(),
        }
    }

    /// Returns the time after which a client that was refused must return.
    pub(crate) fn after_refusal(&self) -> Duration {
        let (least, most) = self.advice;
        self.next(least, most)
    }

    /// Returns the time after which a client of a drained server must return. The number of the connection gives it a
    /// part of its own also in a small crowd.
    pub(super) fn after_drain(&self, connection: u64) -> Duration {
        let most = self.most_of_drain;
        // In a short grace, both the shortest time and the part of a connection are shorter.
        let least = self.advice.0.min(most * 2 / 3);
        let spread = least.min(most - least);
        let millis = u64::try_from(spread.as_millis()).unwrap_or(u64::MAX).max(1);
        let part = Duration::from_millis(connection.wrapping_mul(7_919) % millis);
        self.next(least, most - spread) + part
    }

    fn next(&self, least: Duration, most: Duration) -> Duration {
        self.returns.lock().next(self.started.elapsed(), self.per_second, &(least..=most.max(least)))
    }
}
