mod connection;
mod http;
mod nodes;
mod rates;
mod reads;
mod rooms;
mod wire;

pub use connection::ConnectionLimits;
pub use http::HttpLimits;
pub use nodes::NodeLimits;
pub use rates::RateLimits;
pub use reads::ReadLimits;
pub use rooms::RoomLimits;
pub use wire::WireLimits;

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
                &mut limits.wire.max_page_rooms,
                &mut limits.wire.default_page_rooms,
                &mut limits.wire.max_search_messages,
                &mut limits.wire.default_search_messages,
                &mut limits.connection.max_backlog_commands,
                &mut limits.connection.max_sends_in_flight,
                &mut limits.connection.max_errors,
                &mut limits.reads.max_searches,
                &mut limits.reads.max_counts,
                &mut limits.reads.max_history_per_user,
                &mut limits.rooms.max_openings,
                &mut limits.rooms.log_messages,
                &mut limits.rooms.log_keys,
                &mut limits.rooms.log_markers,
                &mut limits.rooms.tail_events,
            ];
            for count in counts {
                *count = (*count).max(1);
            }
        })
    }
}
