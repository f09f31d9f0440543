use std::time::Duration;

use crate::{Rate, is_printable};

/// The limits of a chat, by subject.
///
/// ```
/// use chat_proto::Limits;
///
/// let limits = Limits::default().with(|limits| {
///     limits.wire.max_body_bytes = 1_000;
///     limits.connection.max_rooms = 10;
/// });
/// assert_eq!(limits.wire.max_frame_bytes, 16 * 1024);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Sizes of frames, messages and pages.
    pub wire: WireLimits,
    /// Numbers and times of connections.
    pub connection: ConnectionLimits,
    /// Rates at which clients may cause work.
    pub rates: RateLimits,
    /// Numbers and times of searches, and of reads of history.
    pub reads: ReadLimits,
    /// Sizes and times of requests and upgrades.
    pub http: HttpLimits,
    /// Numbers and times of rooms, and the sizes of a room in memory.
    pub rooms: RoomLimits,
    /// Times between the nodes of a chat.
    pub nodes: NodeLimits,
}

/// Sizes of frames, messages and pages.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WireLimits {
    /// Bytes of one message on the wire, all fragments together. Default 16 KiB.
    pub max_frame_bytes: usize,
    /// Bytes of a standard body: its text, and the JSON beside it above 64 bytes. Default 4,096.
    pub max_body_bytes: usize,
    /// Bytes of a `ref`. Default 64.
    pub max_ref_bytes: usize,
    /// Bytes of an idempotency key. Default 64.
    pub max_key_bytes: usize,
    /// Bytes of a `query`. Default 256.
    pub max_query_bytes: usize,
    /// Messages in a `history` without `limit`, and after a resume with a gap. Default 50.
    pub default_page_messages: usize,
    /// Messages in one `history`. Default 200.
    pub max_page_messages: usize,
    /// Users in a `members` without `limit`. Default 100.
    pub default_page_members: usize,
    /// Users in one `members`. Default 1,000.
    pub max_page_members: usize,
    /// Messages in a `found` without `limit`. Default 20.
    pub default_search_messages: usize,
    /// Messages in one `found`. Default 100.
    pub max_search_messages: usize,
    /// Bytes of messages in one `history`, one `found` or one batch to a connection. A single message may be
    /// longer. Default 64 KiB.
    pub max_batch_bytes: usize,
}

impl WireLimits {
    /// Returns true if a text can be an idempotency key: it is not empty, not longer than
    /// [`max_key_bytes`](Self::max_key_bytes), and [printable](crate::is_printable).
    pub fn allows_key(&self, key: &str) -> bool {
        (1..=self.max_key_bytes).contains(&key.len()) && is_printable(key)
    }
}

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
    /// Rooms that one connection may be in at once. Default 100.
    pub max_rooms: usize,
    /// Commands of one connection that wait for the current one. Default 64.
    pub max_backlog_commands: usize,
    /// Errors within [`error_window`](Self::error_window) that close a connection. Default 10.
    pub max_errors: usize,
    /// The period in which [`max_errors`](Self::max_errors) counts. Default 10 s.
    pub error_window: Duration,
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

/// Rates at which clients may cause work. [`Rate::UNLIMITED`] lifts one.
///
/// A command costs tokens: `ping`, `typing`, `send` and an invalid command 1, `join` and `leave` 2, `history`,
/// `members` and `search` 5.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RateLimits {
    /// Tokens for the commands of one connection. Default 50 per second, 200 at once.
    pub connection: Rate,
    /// Tokens for the commands of all connections of one user. Default 100 per second, 400 at once.
    pub user: Rate,
    /// Time for which a connection may send commands earlier than `retry_after_ms` said, without a pause of a second.
    /// Default 10 s.
    pub close_after: Duration,
    /// Bytes that one connection may send, with 64 bytes more for each frame. A connection that sends faster is read
    /// more slowly. Default 256 KiB per second, 1 MiB at once.
    pub read_bytes: Rate,
    /// Bytes of replies and of replayed entries that one connection may ask for. Beyond it, its next command and its
    /// replay wait. Events of rooms do not count. Default 4 MiB per second, 16 MiB at once, which is 256 of the largest
    /// pages of history.
    pub reply_bytes: Rate,
}

/// Numbers and times of searches, and of reads of history. Each kind has its own queue, in which users take turns. A
/// user has one search in flight at a time, over all connections.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadLimits {
    /// Searches of all users in flight. At least 1. Default 4.
    pub max_searches: usize,
    /// Reads of `history` of one user in flight. At least 1. Default 4.
    pub max_history_per_user: usize,
    /// Searches of one user that wait, and reads of `history` of one user that wait. Default 20: a client that searches
    /// while its user types has fewer.
    pub max_waiting_per_user: usize,
    /// Searches of all users that wait, and reads of `history` of all users that wait. Default 1,000.
    pub max_waiting: usize,
    /// Time for which a search or a read of `history` waits for its turn. Default 5 s.
    pub wait_timeout: Duration,
    /// The advice in `retry_after_ms` if there is no place in a queue, or no turn in time. Default 1 s.
    pub retry_after: Duration,
}

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
    /// The advice in `Retry-After`, rounded down to seconds, at least 1. `reconnect_in_ms` is up to twice as long, so
    /// that clients do not return all at once. Default 2 s.
    pub retry_after: Duration,
}

/// Numbers and times of rooms, and the sizes of a room in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RoomLimits {
    /// Open rooms without members. Beyond it, the rooms that were used longest ago are closed. Rooms with members do
    /// not count. Default 10,000.
    pub max_idle: usize,
    /// Rooms without a message that one user may be in at once, over all connections. 0 is no limit. Default 200.
    pub max_blank_per_user: usize,
    /// First messages that one user may send into rooms without a message, per hour. All of an hour may be sent at
    /// once. 0 is no limit. Default 200.
    pub max_created_per_hour: u32,
    /// Time for one call of a store, or of the host's code that authorizes. Default 5 s.
    pub call_timeout: Duration,
    /// Time for which a read of the log that fails is repeated for a member that is behind, with growing pauses of at
    /// most 5 s. Then the session is closed with 1011. Default 30 s.
    pub catch_up_timeout: Duration,
    /// Time after which an empty room is closed, up to a tenth later. An empty room without a message is closed at
    /// once. Default 10 min.
    pub idle_timeout: Duration,
    /// Users up to which a room announces each of them by `presence` events. A room with more users sends `occupancy`
    /// events instead, at most one per second, and no `typing`. 0 lets every room count. Default 100.
    pub presence_threshold: usize,
    /// Events in the tail of an open room, which has at most [`log_bytes`](Self::log_bytes). Default 256.
    pub tail_events: usize,
    /// Bytes of all tails and of all rooms in memory together. Beyond it, the tails of the rooms that were used longest
    /// ago are dropped, then older messages of rooms in memory. If that is not enough, rooms in memory refuse messages
    /// with `unavailable`. A message in a tail and in a room in memory counts twice. 0 is no limit. Default 256 MiB, a
    /// quarter of a small server.
    pub memory_bytes: usize,
    /// Messages that a room in memory keeps. Default 1,000.
    pub log_messages: usize,
    /// Bytes of messages that a room in memory keeps. A single message may be longer. Default 1 MiB.
    pub log_bytes: usize,
    /// Idempotency keys of one user that a room in memory remembers. A key is never forgotten early: the user is
    /// refused further ones. At least 1. Default 10,000.
    pub log_keys: usize,
    /// Time for which an idempotency key is remembered. Default 24 h.
    pub key_window: Duration,
}

/// Times between the nodes of a chat. They have no effect on a chat without a bus.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeLimits {
    /// Time for which a room that opens waits for the users of other nodes. Later answers become `presence` events.
    /// Default 250 ms.
    pub roster_timeout: Duration,
    /// Time from the loss of a user's last connection, or of a node, until `left`. It lets a user move to another node
    /// without `left` and `joined`. A `leave` command takes effect at once. Default 10 s.
    pub leave_grace: Duration,
}

impl Limits {
    /// Returns these limits after `change`.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// Returns these limits with at least 1 for each count that cannot be 0. [`Limits`] of a chat are clamped.
    #[must_use]
    pub fn clamped(self) -> Self {
        self.with(|limits| {
            let counts = [
                &mut limits.wire.max_batch_bytes,
                &mut limits.wire.max_page_messages,
                &mut limits.wire.default_page_messages,
                &mut limits.wire.max_page_members,
                &mut limits.wire.default_page_members,
                &mut limits.wire.max_search_messages,
                &mut limits.wire.default_search_messages,
                &mut limits.connection.max_backlog_commands,
                &mut limits.connection.max_errors,
                &mut limits.reads.max_searches,
                &mut limits.reads.max_history_per_user,
                &mut limits.rooms.log_messages,
                &mut limits.rooms.log_keys,
                &mut limits.rooms.tail_events,
            ];
            for count in counts {
                *count = (*count).max(1);
            }
        })
    }
}

impl ConnectionLimits {
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
        Self { connection: none, user: none, read_bytes: none, reply_bytes: none, ..Self::default() }
    }
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

impl Default for WireLimits {
    fn default() -> Self {
        Self {
            max_frame_bytes: 16 * 1024,
            max_body_bytes: 4_096,
            max_ref_bytes: 64,
            max_key_bytes: 64,
            max_query_bytes: 256,
            default_page_messages: 50,
            max_page_messages: 200,
            default_page_members: 100,
            max_page_members: 1_000,
            default_search_messages: 20,
            max_search_messages: 100,
            max_batch_bytes: 64 * 1024,
        }
    }
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            max_connections: 100_000,
            max_per_user: 200,
            max_per_address: 100,
            max_rooms: 100,
            max_backlog_commands: 64,
            max_errors: 10,
            error_window: Duration::from_secs(10),
            ping_interval: Duration::from_secs(20),
            ping_timeout: Duration::from_secs(20),
            send_buffer_bytes: 128 * 1024,
            write_timeout: Duration::from_secs(15),
            close_timeout: Duration::from_secs(1),
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
        }
    }
}

impl Default for ReadLimits {
    fn default() -> Self {
        Self {
            max_searches: 4,
            max_history_per_user: 4,
            max_waiting_per_user: 20,
            max_waiting: 1_000,
            wait_timeout: Duration::from_secs(5),
            retry_after: Duration::from_secs(1),
        }
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
        }
    }
}

impl Default for NodeLimits {
    fn default() -> Self {
        Self { roster_timeout: Duration::from_millis(250), leave_grace: Duration::from_secs(10) }
    }
}

impl Default for RoomLimits {
    fn default() -> Self {
        Self {
            max_idle: 10_000,
            max_blank_per_user: 200,
            max_created_per_hour: 200,
            call_timeout: Duration::from_secs(5),
            catch_up_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(10 * 60),
            presence_threshold: 100,
            tail_events: 256,
            memory_bytes: 256 * 1024 * 1024,
            log_messages: 1_000,
            log_bytes: 1024 * 1024,
            log_keys: 10_000,
            key_window: Duration::from_secs(24 * 60 * 60),
        }
    }
}
