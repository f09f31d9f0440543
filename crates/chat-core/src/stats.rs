//! The counters of a chat.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use chat_proto::session::RateRefusals;
use parking_lot::Mutex;

use crate::{CloseCode, ErrorCode, Refusal, Refusals};

/// The number of parts of a [`Sharded`] counter.
const SHARDS: usize = 16;

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
    /// Requests that [`Endpoint::handle`](crate::Endpoint::handle) refused, by [`Refusal::code`].
    pub handshakes: BTreeMap<&'static str, u64>,
    /// Sessions of [`Ticket::serve`](crate::Ticket::serve) that the server closed, by the [close
    /// code](CloseCode::code).
    pub closes: BTreeMap<u16, u64>,
    /// Sessions of `Ticket::serve` that the peer closed, or whose connection was lost.
    pub gone: u64,
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

/// The live counters. Those of frames are atomic, because each delivery changes one.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) bytes_read: Sharded,
    pub(crate) bytes_sent: Sharded,
    pub(crate) over_quota: AtomicU64,
    rare: Mutex<Stats>,
}

/// A counter whose parts are changed by different threads without contention.
#[derive(Debug, Default)]
pub(crate) struct Sharded([Shard; SHARDS]);

/// A part of a counter, in a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Shard(AtomicU64);

impl Sharded {
    /// Adds to the part of a connection.
    pub(crate) fn add(&self, connection: u64, count: u64) {
        let shard = usize::try_from(connection % SHARDS as u64).unwrap_or_default();
        self.0[shard].0.fetch_add(count, Ordering::Relaxed);
    }

    fn sum(&self) -> u64 {
        self.0.iter().map(|shard| shard.0.load(Ordering::Relaxed)).sum()
    }
}

impl Counters {
    pub(crate) fn refuse_handshake(&self, refusal: Refusal) {
        *self.rare.lock().handshakes.entry(refusal.code()).or_default() += 1;
    }

    /// Counts the end of a session, which has the close code of the server, if it has one.
    pub(crate) fn end_session(&self, code: Option<CloseCode>) {
        let mut stats = self.rare.lock();
        match code {
            Some(code) => *stats.closes.entry(code.code()).or_default() += 1,
            None => stats.gone += 1,
        }
    }

    pub(crate) fn send_error(&self, code: ErrorCode) {
        let mut stats = self.rare.lock();
        match stats.errors.get_mut(code.as_str()) {
            Some(count) => *count += 1,
            None => drop(stats.errors.insert(code.as_str().to_owned(), 1)),
        }
    }

    pub(crate) fn refuse_for_rate(&self, refused: RateRefusals) {
        let limited = &mut self.rare.lock().rate_limited;
        limited.connection += refused.connection;
        limited.user += refused.user;
    }

    /// Counts a command that was refused with `rate_limited` for another reason than its tokens.
    pub(crate) fn refuse(&self, reason: impl FnOnce(&mut RateLimited) -> &mut u64) {
        *reason(&mut self.rare.lock().rate_limited) += 1;
    }

    pub(crate) fn stats(&self, refusals: Refusals) -> Stats {
        Stats {
            refusals,
            over_quota: self.over_quota.load(Ordering::Relaxed),
            bytes_read: self.bytes_read.sum(),
            bytes_sent: self.bytes_sent.sum(),
            ..self.rare.lock().clone()
        }
    }
}
