use std::time::Duration;

/// Numbers and times of searches, of reads of history, and of counts of unread messages. Each kind has its own queue,
/// in which users take turns. A user has one search and one count in flight at a time, over all connections.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadLimits {
    /// Searches of all users in flight. At least 1. Default 4.
    pub max_searches: usize,
    /// Counts of unread messages of all users in flight, those of joins included. A join that gets no turn in time
    /// comes without its number. At least 1. Default 4.
    pub max_counts: usize,
    /// Reads of `history` of one user in flight. At least 1. Default 4.
    pub max_history_per_user: usize,
    /// Searches, reads of `history` and counts of one user that wait, each. Default 20: a client that searches
    /// while its user types has fewer.
    pub max_waiting_per_user: usize,
    /// Searches, reads of `history` and counts of all users that wait, each. Default 1,000.
    pub max_waiting: usize,
    /// Time for which a search, a read of `history` or a count waits for its turn. Default 5 s.
    pub wait_timeout: Duration,
    /// The advice in `retry_after_ms` if there is no place in a queue, or no turn in time. Default 1 s.
    pub retry_after: Duration,
}

impl Default for ReadLimits {
    fn default() -> Self {
        Self {
            max_searches: 4,
            max_counts: 4,
            max_history_per_user: 4,
            max_waiting_per_user: 20,
            max_waiting: 1_000,
            wait_timeout: Duration::from_secs(5),
            retry_after: Duration::from_secs(1),
        }
    }
}
