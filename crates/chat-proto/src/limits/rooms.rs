use std::time::Duration;

use crate::Rate;

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
    /// Rooms that users let a store open per second. Default 2,000, of which a second's worth may be opened at once.
    pub opening_rate: Rate,
    /// Rooms that users let a store open at once. A store that is slow gets no more. At least 1. Default 128.
    pub max_openings: usize,
    /// Rooms that wait to be opened, in a queue in which users take turns. One user has a quarter of it. A join beyond
    /// it is refused with `unavailable`, and the time after which to return. Default 8,000, which is 4 s at the default
    /// [`opening_rate`](Self::opening_rate).
    pub max_waiting_openings: usize,
    /// Time for which a room waits to be opened. It ends only if the store is slower than
    /// [`opening_rate`](Self::opening_rate). [`call_timeout`](Self::call_timeout) begins after it. Default 8 s. A
    /// connection opens one room at a time, so a client that joins many must time each of them from the reply before.
    pub opening_wait: Duration,
    /// Time for which a purge may take before its reply is `unavailable`. The purge goes on after it. Default 60 s.
    pub purge_timeout: Duration,
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
    /// Messages that a room in memory keeps, and the changes of them: see [`max_entries`](Self::max_entries). Default
    /// 1,000.
    pub log_messages: usize,
    /// Bytes of messages that a room in memory keeps. A single message may be longer. Default 1 MiB.
    pub log_bytes: usize,
    /// Idempotency keys of one user that a room in memory remembers. A key is never forgotten early: the user is
    /// refused further ones. At least 1. Default 10,000.
    pub log_keys: usize,
    /// Markers of users that a room in memory keeps. The marker of a guest makes place for another one. At least 1.
    /// Default 10,000.
    pub log_markers: usize,
    /// Rooms that one user may follow, and the direct rooms besides them. Default 200.
    pub max_followed_per_user: usize,
    /// Time for which an idempotency key is remembered. Default 24 h.
    pub key_window: Duration,
    /// Time after which a message can no longer be edited. `None`, the default, is no limit.
    pub edit_window: Option<Duration>,
    /// Different reactions to one message. Default 32.
    pub max_reaction_kinds: usize,
    /// Reactions of all users to one message. Default 10,000.
    pub max_reactions: usize,
    /// Users of one room who have a role in its log, or a restriction. Default 10,000.
    pub max_standings: usize,
    /// Pinned messages of a room. Default 50.
    pub max_pins: usize,
}

impl RoomLimits {
    /// Returns the number of entries that a log keeps which keeps `messages` messages: 4 changes for each of them. More
    /// changes remove the oldest messages, so that reactions cannot make a log grow without limit.
    ///
    /// ```
    /// assert_eq!(chat_proto::RoomLimits::max_entries(1_000), 5_000);
    /// ```
    pub const fn max_entries(messages: u64) -> u64 {
        messages.saturating_mul(5)
    }
}

impl Default for RoomLimits {
    fn default() -> Self {
        Self {
            max_idle: 10_000,
            max_blank_per_user: 200,
            max_created_per_hour: 200,
            call_timeout: Duration::from_secs(5),
            opening_rate: Rate::new(2_000, 2_000),
            max_openings: 128,
            max_waiting_openings: 8_000,
            opening_wait: Duration::from_secs(8),
            purge_timeout: Duration::from_secs(60),
            catch_up_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(10 * 60),
            presence_threshold: 100,
            tail_events: 256,
            memory_bytes: 256 * 1024 * 1024,
            log_messages: 1_000,
            log_bytes: 1024 * 1024,
            log_keys: 10_000,
            log_markers: 10_000,
            max_followed_per_user: 200,
            key_window: Duration::from_secs(24 * 60 * 60),
            edit_window: None,
            max_reaction_kinds: 32,
            max_reactions: 10_000,
            max_standings: 10_000,
            max_pins: 50,
        }
    }
}
