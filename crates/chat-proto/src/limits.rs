use std::time::Duration;

/// Every number of the protocol that a server may choose, with the protocol's defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one message on the wire, fragments joined. Default 16 KiB.
    pub max_frame: usize,
    /// Bytes of text in one standard message. Default 4,096.
    pub max_body: usize,
    /// Rooms that one connection may be in at once. Default 100.
    pub max_rooms: usize,
    /// Rooms that are open in this process at once; beyond it, those that have been empty for the longest are
    /// forgotten. Default 10,000.
    pub max_open_rooms: usize,
    /// Connections at once, those still being upgraded included. Default 100,000.
    pub max_connections: usize,
    /// Bytes of a `ref`. Default 64.
    pub max_ref: usize,
    /// Bytes of an idempotency key. Default 64.
    pub max_key: usize,
    /// Messages in a `history` that asks for no number, and after a resume that could not reach back.
    /// Default 50.
    pub default_page: usize,
    /// Messages in one `history` at most. Default 200.
    pub max_page: usize,
    /// Messages in a `found` that asks for no number. Default 20.
    pub default_found: usize,
    /// Messages in one `found` at most. Default 100.
    pub max_found: usize,
    /// Bytes of a `query`. Default 256.
    pub max_query: usize,
    /// Bytes of messages in one `history` or `found`, and in one batch to a connection, where more than one message
    /// is in it. Default 64 KiB.
    pub max_batch: usize,
    /// Commands of one connection that wait for the one in hand. Default 64.
    pub max_backlog: usize,
    /// Errors within [`error_window`](Self::error_window) that close a connection. Default 10.
    pub max_errors: usize,
    /// See [`max_errors`](Self::max_errors). Default 10 s.
    pub error_window: Duration,
    /// Silence after which the server pings. Default 20 s.
    pub ping_interval: Duration,
    /// Silence after that ping which ends the session. Default 20 s.
    pub ping_timeout: Duration,
    /// How long a peer may take nothing while something waits for it. Default 15 s.
    pub write_timeout: Duration,
    /// How long a room's log may take over one command. Default 5 s.
    pub room_timeout: Duration,
    /// How long an accepted upgrade may take until the connection is there. Default 5 s.
    pub upgrade_timeout: Duration,
    /// How long the closing handshake may take. Default 1 s.
    pub close_timeout: Duration,
    /// How long accepting pauses when the process has no descriptor left. Default 100 ms.
    pub accept_pause: Duration,
    /// How long a request head may take to arrive. Default 10 s.
    pub head_timeout: Duration,
    /// Bytes of a request head. Default 16 KiB.
    pub max_head: usize,
    /// What `Retry-After` advises; `reconnect_in_ms` advises up to twice as long, so that not all come back at
    /// once. Default 2 s.
    pub retry_after: Duration,
    /// Messages that a room in memory keeps. Default 1,000.
    pub log_messages: usize,
    /// Bytes of messages that a room in memory keeps, where more than one is kept. Default 1 MiB.
    pub log_bytes: usize,
    /// Idempotency keys that a room in memory remembers. Default 10,000.
    pub log_keys: usize,
    /// How long an idempotency key is remembered. Default 24 h.
    pub key_window: Duration,
    /// Events that a room keeps encoded for its members, in at most [`log_bytes`](Self::log_bytes). Default
    /// 256.
    pub tail_events: usize,
    /// How long a room without members is kept, a tenth of it more or less; one in which nothing was written
    /// is not kept. Default 10 min.
    pub room_idle: Duration,
}

impl Limits {
    /// The same, with at least one of everything without which nothing would work.
    #[must_use]
    pub fn workable(mut self) -> Self {
        let counts = [
            &mut self.max_batch,
            &mut self.max_backlog,
            &mut self.max_page,
            &mut self.default_page,
            &mut self.max_found,
            &mut self.default_found,
            &mut self.max_errors,
            &mut self.log_messages,
            &mut self.tail_events,
        ];
        for count in counts {
            *count = (*count).max(1);
        }
        self
    }

    /// Bytes that a server may read of a request head. Between [`max_head`](Self::max_head) and this the chat
    /// itself says that it is too large.
    pub fn head_buffer(&self) -> usize {
        // hyper wants 8 KiB at the least.
        self.max_head.saturating_mul(2).max(8 * 1024)
    }

    /// How long a transport that the session cannot end itself may keep a peer that takes nothing: longer than a
    /// session does, with its last words.
    pub fn abandon_timeout(&self) -> Duration {
        (self.write_timeout + self.close_timeout) * 2
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_frame: 16 * 1024,
            max_body: 4_096,
            max_rooms: 100,
            max_open_rooms: 10_000,
            max_connections: 100_000,
            max_ref: 64,
            max_key: 64,
            default_page: 50,
            max_page: 200,
            default_found: 20,
            max_found: 100,
            max_query: 256,
            max_batch: 64 * 1024,
            max_backlog: 64,
            max_errors: 10,
            error_window: Duration::from_secs(10),
            ping_interval: Duration::from_secs(20),
            ping_timeout: Duration::from_secs(20),
            write_timeout: Duration::from_secs(15),
            room_timeout: Duration::from_secs(5),
            upgrade_timeout: Duration::from_secs(5),
            close_timeout: Duration::from_secs(1),
            accept_pause: Duration::from_millis(100),
            head_timeout: Duration::from_secs(10),
            max_head: 16 * 1024,
            retry_after: Duration::from_secs(2),
            log_messages: 1_000,
            log_bytes: 1024 * 1024,
            log_keys: 10_000,
            key_window: Duration::from_secs(24 * 60 * 60),
            tail_events: 256,
            room_idle: Duration::from_secs(10 * 60),
        }
    }
}
