use std::time::Duration;

use crate::Rate;

/// Rates at which clients may cause work. [`Rate::UNLIMITED`] lifts one.
///
/// A command costs tokens: `ping`, `typing`, `send`, `read` and an invalid command 1, `join`, `leave` and `follow` 2,
/// `history`, `members`, `rooms`, `search`, `purge` and `hello` 5.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RateLimits {
    /// Tokens for the commands of one connection. Default 50 per second, 200 at once.
    pub connection: Rate,
    /// Tokens for the commands of all connections of one user. Default 100 per second, 400 at once.
    pub user: Rate,
    /// Time for which a connection may send commands earlier than `retry_after_ms` said, without a break of a second.
    /// Default 10 s. After each such command, the connection is not read for that time, at least 100 ms and at most
    /// 500 ms.
    pub close_after: Duration,
    /// Bytes that one connection may send, with 64 bytes more for each frame. A connection that sends faster is read
    /// more slowly. Default 256 KiB per second, 1 MiB at once.
    pub read_bytes: Rate,
    /// Bytes of replies and of replayed entries that one connection may ask for. Beyond it, its next command and its
    /// replay wait. Events of rooms do not count. Default 4 MiB per second, 16 MiB at once, which is 256 of the largest
    /// pages of history.
    pub reply_bytes: Rate,
    /// Log lines per minute, on average and at once, about the connections of one address. Each connection has two. The
    /// others are counted, and their number is logged once a minute. 0 is no limit. Default 200, which is 100
    /// connections.
    pub log_lines: u32,
}

impl RateLimits {
    /// Returns rates that limit nothing, for load tests and for trusted clients.
    ///
    /// ```
    /// use chat_proto::{Limits, RateLimits};
    ///
    /// let limits = Limits::default().with(|limits| limits.rates = RateLimits::unlimited());
    /// assert!(limits.rates.connection.is_unlimited());
    /// ```
    pub fn unlimited() -> Self {
        let none = Rate::UNLIMITED;
        Self {
            connection: none,
            user: none,
            read_bytes: none,
            reply_bytes: none,
            log_lines: 0,
            ..Self::default()
        }
    }
}

impl Default for RateLimits {
    fn default() -> Self {
        Self {
            connection: Rate::new(50, 200),
            user: Rate::new(100, 400),
            close_after: Duration::from_secs(10),
            read_bytes: Rate::new(256 * 1024, 1024 * 1024),
            reply_bytes: Rate::new(4 * 1024 * 1024, 16 * 1024 * 1024),
            log_lines: 200,
        }
    }
}
