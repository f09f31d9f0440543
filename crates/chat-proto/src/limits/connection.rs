use std::time::Duration;

/// Numbers and times of connections.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionLimits {
    /// Connections at once, including those that are still being upgraded. Default 100,000.
    pub max_connections: usize,
    /// Connections of one user at once, on one node. 0 is no limit. Default 200: a person with several devices and
    /// dozens of tabs has fewer, and one address cannot take all connections of a guest's name.
    pub max_per_user: usize,
    /// Connections of one address at once, including those that are still being upgraded. 0 is no limit. The /64
    /// network of an IPv6 address counts as one address. Behind a proxy that is not trusted, all clients have one
    /// address. Default 100.
    pub max_per_address: usize,
    /// Plain connections of one address at once, in addition to [`max_per_address`](Self::max_per_address). A plain
    /// connection has not become a session. Default 32: five browsers that load the page.
    pub plain_allowance: usize,
    /// Rooms that one connection may be in at once. Default 100.
    pub max_rooms: usize,
    /// Commands of one connection that wait for the current one. Default 64.
    pub max_backlog_commands: usize,
    /// Messages of one connection that may be in flight to the store at once, if the store
    /// [keeps their order](https://docs.rs/chat-core/latest/chat_core/trait.Store.html#method.keeps_order). Default 32.
    pub max_sends_in_flight: usize,
    /// Errors within [`error_window`](Self::error_window) that close a connection. Default 10.
    pub max_errors: usize,
    /// The period in which [`max_errors`](Self::max_errors) counts. Default 10 s.
    pub error_window: Duration,
    /// Time for the first `hello` of a connection that opens without a user. Default 10 s.
    pub hello_timeout: Duration,
    /// Time from an `expiring` event until the credentials of the connection expire. Default 60 s.
    pub expiry_notice: Duration,
    /// Silence after which the server pings. Default 20 s.
    pub ping_interval: Duration,
    /// Silence after that ping that ends the session. Default 20 s.
    pub ping_timeout: Duration,
    /// Bytes of output that the operating system should hold for a connection; 0 leaves the size to the system. Linux
    /// uses up to twice this memory, and at most what `net.core.wmem_max` allows. Default 128 KiB: two of the largest
    /// pages of messages, and 10 Mbit/s to a peer that is 100 ms away.
    pub send_buffer_bytes: usize,
    /// Time for which a peer may read nothing while frames wait for it. Default 15 s.
    pub write_timeout: Duration,
    /// Time for the closing handshake. Default 1 s.
    pub close_timeout: Duration,
}

impl ConnectionLimits {
    /// Returns the number of plain connections that one address may have at once. It is more than
    /// [`max_per_address`](Self::max_per_address), so that all sessions of an address can reconnect at once. 0 is no
    /// limit, as for sessions.
    ///
    /// ```
    /// use chat_proto::Limits;
    ///
    /// let limits = Limits::default().with(|limits| limits.connection.max_per_address = 5);
    /// assert_eq!(limits.connection.max_plain_per_address(), 37);
    /// ```
    pub fn max_plain_per_address(&self) -> usize {
        match self.max_per_address {
            0 => 0,
            sessions => sessions.saturating_add(self.plain_allowance),
        }
    }

    /// Returns the time after which a transport drops a peer that reads nothing. It is longer than the time that the
    /// session itself needs to close such a peer.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use chat_proto::Limits;
    ///
    /// assert_eq!(Limits::default().connection.abandon_timeout(), Duration::from_secs(32));
    /// ```
    pub fn abandon_timeout(&self) -> Duration {
        (self.write_timeout + self.close_timeout) * 2
    }
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            max_connections: 100_000,
            max_per_user: 200,
            max_per_address: 100,
            plain_allowance: 32,
            max_rooms: 100,
            max_backlog_commands: 64,
            max_sends_in_flight: 32,
            max_errors: 10,
            error_window: Duration::from_secs(10),
            hello_timeout: Duration::from_secs(10),
            expiry_notice: Duration::from_secs(60),
            ping_interval: Duration::from_secs(20),
            ping_timeout: Duration::from_secs(20),
            send_buffer_bytes: 128 * 1024,
            write_timeout: Duration::from_secs(15),
            close_timeout: Duration::from_secs(1),
        }
    }
}
