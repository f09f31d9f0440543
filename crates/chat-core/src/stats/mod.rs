//! The counters of a chat.

mod counters;

use std::collections::BTreeMap;

use crate::Refusals;

pub(crate) use counters::{Counters, count};

/// Counters of a chat since its start. They only grow, and fit the counters of a metrics library.
///
/// A map has no entry for a code that has not occurred. The counters are not read at one moment: a sum of two may not
/// yet include an event that a third one includes.
///
/// ```
/// use chat_core::Chat;
///
/// let stats = Chat::default().stats();
/// assert_eq!((stats.closes.get(&4500), stats.bytes_read), (None, 0));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Connections that were not admitted.
    pub refusals: Refusals,
    /// Upgrade requests that were refused, by [`Refusal::code`](crate::Refusal::code).
    pub handshakes: BTreeMap<&'static str, u64>,
    /// Upgrades after which a session has started.
    pub upgrades: u64,
    /// Upgrades that the chat has accepted, but that led to no connection.
    pub abandoned_upgrades: u64,
    /// Sessions of [`Ticket::serve`](crate::Ticket::serve) that the server closed, by the [close
    /// code](CloseCode::code).
    pub closes: BTreeMap<u16, u64>,
    /// Sessions of `Ticket::serve` that the peer closed, or whose connection was lost.
    pub gone: u64,
    /// All ended sessions of `Ticket::serve`, by cause and close code.
    pub ends: BTreeMap<SessionEnd, u64>,
    /// Joins of rooms, resumes included.
    pub joins: u64,
    /// Joins from a position, by result.
    pub resumes: Resumes,
    /// Messages that were stored through this chat. A repeated key counts in `duplicates`.
    pub appends: u64,
    /// Changes of messages that were stored through this chat. A change that changes nothing is not stored, and a
    /// repeated one counts in `duplicates`.
    pub changes: Changes,
    /// Messages and edits whose key was used before, and repeated deletions: they were not stored again.
    pub duplicates: u64,
    /// Events of rooms that were given to connections, by way.
    pub deliveries: Deliveries,
    /// `gap` events that were made for one connection.
    pub gaps: u64,
    /// Pages of a log that were read for connections behind the tail of their room.
    pub catch_up_pages: u64,
    /// Connections that read such a page now. Unlike the other numbers, it becomes smaller again.
    pub lagging: usize,
    /// Calls of the store that failed.
    pub store_failures: u64,
    /// Calls of the store without an answer within [`RoomLimits::call_timeout`](crate::RoomLimits::call_timeout).
    pub store_timeouts: u64,
    /// Calls for rooms that were not opened, because too many waited or the wait was too long: see
    /// [`RoomLimits::max_waiting_openings`](crate::RoomLimits::max_waiting_openings). Each call for a room counts.
    pub openings_refused: u64,
    /// `error` events, by [`ErrorCode::as_str`].
    pub errors: BTreeMap<String, u64>,
    /// Commands that were refused with `rate_limited`, by reason.
    pub rate_limited: RateLimited,
    /// Messages that a store refused because of a quota. Their `error` events have the code `unavailable`.
    pub over_quota: u64,
    /// Bytes of the messages that `Ticket::serve` read. Control frames do not count.
    pub bytes_read: u64,
    /// Bytes of the messages that `Ticket::serve` sent. Control frames do not count.
    pub bytes_sent: u64,
}

/// The numbers of commands that were refused with `rate_limited`, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RateLimited {
    /// Commands beyond [`RateLimits::connection`](crate::RateLimits::connection).
    pub connection: u64,
    /// Commands beyond [`RateLimits::user`](crate::RateLimits::user).
    pub user: u64,
    /// First messages of rooms, beyond
    /// [`RoomLimits::max_created_per_hour`](crate::RoomLimits::max_created_per_hour).
    pub created: u64,
    /// Searches without a place in their queue, or without a turn in time: see [`ReadLimits`](crate::ReadLimits).
    pub searches: u64,
    /// Reads of history without a place in their queue, or without a turn in time.
    pub history: u64,
}

/// The cause of a session's end, and its close code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct SessionEnd {
    /// `server`, `panic`, `peer_closed`, `peer_gone` or `connection_lost`.
    pub cause: &'static str,
    /// The close code. `None` without one, and for a code of the peer other than 1000 and 1001: a peer can choose any.
    pub code: Option<u16>,
}

/// The numbers of joins from a position, by result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resumes {
    /// The client has missed nothing, and goes on with the tail of the room.
    pub from_tail: u64,
    /// The client gets everything that it has missed from the log.
    pub from_log: u64,
    /// The log no longer has everything that the client has missed.
    pub not_recovered: u64,
}

/// The numbers of stored changes of messages, by kind. Several reactions to one message may be one entry of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Changes {
    /// Edits.
    pub edited: u64,
    /// Deletions.
    pub deleted: u64,
    /// Reactions that were placed or removed.
    pub reactions: u64,
    /// Messages that were pinned or unpinned.
    pub pinned: u64,
}

/// The numbers of events of rooms that were given to connections. An event counts once for each connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Deliveries {
    /// Events that a room has written straight to a connection.
    pub direct: u64,
    /// Events that the session of a connection has taken.
    pub by_session: u64,
}
