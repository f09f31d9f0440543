use std::time::Duration;

/// Sizes and times of requests and upgrades.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpLimits {
    /// Bytes of a request head. Default 16 KiB.
    pub max_head_bytes: usize,
    /// Time for a request head to arrive: from the start of the connection, then from the head's first byte.
    /// Default 10 s.
    pub head_timeout: Duration,
    /// Time for which a connection may be idle between two requests. Default 75 s, longer than load balancers keep one.
    pub idle_timeout: Duration,
    /// Time for the host's code to identify a user. Default 5 s.
    pub identify_timeout: Duration,
    /// Time from an accepted upgrade to its connection. Default 5 s.
    pub upgrade_timeout: Duration,
    /// Pause of accepting when the process has no file descriptor left. Default 100 ms.
    pub accept_pause: Duration,
    /// Time between two log lines about the same problem that peers can cause. Default 1 min.
    pub log_interval: Duration,
    /// The shortest advice in `Retry-After`, rounded down to seconds, at least 1. `reconnect_in_ms` is up to twice as
    /// long in a small crowd, so that clients do not return all at once. Default 2 s.
    pub retry_after: Duration,
    /// The longest advice for a crowd of clients. With other nodes, that of a drain is at most three quarters of
    /// [`NodeLimits::leave_grace`](crate::NodeLimits::leave_grace), so that no user seems to leave. Default 30 s.
    pub max_retry_after: Duration,
    /// Clients that are told to return in the same second. The advice grows with their number. 0 lets the advice stay
    /// short. Default 2,000.
    pub returns_per_second: u32,
}

impl HttpLimits {
    /// Returns the bytes of a request head that a server reads. To a head between
    /// [`max_head_bytes`](Self::max_head_bytes) and this number, the chat itself answers that it is too large.
    ///
    /// ```
    /// use chat_proto::Limits;
    ///
    /// assert_eq!(Limits::default().http.head_buffer_bytes(), 32 * 1024);
    /// ```
    pub fn head_buffer_bytes(&self) -> usize {
        self.max_head_bytes.saturating_mul(2)
    }
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            max_head_bytes: 16 * 1024,
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            identify_timeout: Duration::from_secs(5),
            upgrade_timeout: Duration::from_secs(5),
            accept_pause: Duration::from_millis(100),
            log_interval: Duration::from_secs(60),
            retry_after: Duration::from_secs(2),
            max_retry_after: Duration::from_secs(30),
            returns_per_second: 2_000,
        }
    }
}
