use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use chat_proto::session::RateRefusals;
use parking_lot::Mutex;

use super::{Changes, Deliveries, RateLimited, Resumes, SessionEnd, Stats};
use crate::{ChangeKind, ErrorCode, Refusal, Refusals};

/// The number of parts of a [`Sharded`] counter.
const SHARDS: usize = 16;

/// The live counters. Those of frames are atomic, because each delivery changes one.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) bytes_read: Sharded,
    pub(crate) bytes_sent: Sharded,
    pub(crate) delivered_directly: Sharded,
    pub(crate) delivered_by_session: Sharded,
    pub(crate) over_quota: AtomicU64,
    pub(crate) appends: AtomicU64,
    pub(crate) edits: AtomicU64,
    pub(crate) deletions: AtomicU64,
    pub(crate) reactions: AtomicU64,
    pub(crate) pins: AtomicU64,
    pub(crate) duplicates: AtomicU64,
    pub(crate) upgrades: AtomicU64,
    pub(crate) abandoned_upgrades: AtomicU64,
    pub(crate) gaps: AtomicU64,
    pub(crate) catch_up_pages: AtomicU64,
    pub(crate) store_failures: AtomicU64,
    pub(crate) store_timeouts: AtomicU64,
    pub(crate) openings_refused: AtomicU64,
    lagging: Arc<AtomicUsize>,
    rare: Mutex<Rare>,
}

/// The counters that change rarely.
#[derive(Debug, Default)]
struct Rare {
    handshakes: BTreeMap<&'static str, u64>,
    ends: BTreeMap<SessionEnd, u64>,
    errors: BTreeMap<String, u64>,
    rate_limited: RateLimited,
    joins: u64,
    resumes: Resumes,
}

/// A counter whose parts are changed by different threads without contention.
#[derive(Debug, Default)]
pub(crate) struct Sharded([Shard; SHARDS]);

/// A part of a counter, in a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Shard(AtomicU64);

/// A connection that reads a page of a log. It counts until it is dropped.
#[derive(Debug)]
pub(crate) struct Lagging(Arc<AtomicUsize>);

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

/// Adds one to a counter.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Counters {
    pub(crate) fn refuse_handshake(&self, refusal: Refusal) {
        *self.rare.lock().handshakes.entry(refusal.code()).or_default() += 1;
    }

    pub(crate) fn end_session(&self, end: SessionEnd) {
        *self.rare.lock().ends.entry(end).or_default() += 1;
    }

    /// Counts a change that was stored.
    pub(crate) fn change(&self, kind: ChangeKind) {
        match kind {
            ChangeKind::Edited => count(&self.edits),
            ChangeKind::Deleted => count(&self.deletions),
            ChangeKind::Reactions => count(&self.reactions),
            ChangeKind::Pinned => count(&self.pins),
            // A store has refused it.
            _ => {}
        }
    }

    pub(crate) fn join(&self) {
        self.rare.lock().joins += 1;
    }

    /// Counts a join from a position by its result.
    pub(crate) fn resume(&self, result: impl FnOnce(&mut Resumes) -> &mut u64) {
        *result(&mut self.rare.lock().resumes) += 1;
    }

    pub(crate) fn send_error(&self, code: ErrorCode) {
        let errors = &mut self.rare.lock().errors;
        match errors.get_mut(code.as_str()) {
            Some(count) => *count += 1,
            None => drop(errors.insert(code.as_str().to_owned(), 1)),
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

    /// Counts a connection that is behind the tail of its room, and reads the log.
    pub(crate) fn lag(&self) -> Lagging {
        self.lagging.fetch_add(1, Ordering::Relaxed);
        Lagging(Arc::clone(&self.lagging))
    }

    pub(crate) fn stats(&self, refusals: Refusals) -> Stats {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let rare = self.rare.lock();
        let mut stats = Stats {
            refusals,
            handshakes: rare.handshakes.clone(),
            upgrades: load(&self.upgrades),
            abandoned_upgrades: load(&self.abandoned_upgrades),
            ends: rare.ends.clone(),
            errors: rare.errors.clone(),
            rate_limited: rare.rate_limited,
            joins: rare.joins,
            resumes: rare.resumes,
            appends: load(&self.appends),
            changes: Changes {
                edited: load(&self.edits),
                deleted: load(&self.deletions),
                reactions: load(&self.reactions),
                pinned: load(&self.pins),
            },
            duplicates: load(&self.duplicates),
            deliveries: Deliveries {
                direct: self.delivered_directly.sum(),
                by_session: self.delivered_by_session.sum(),
            },
            gaps: load(&self.gaps),
            catch_up_pages: load(&self.catch_up_pages),
            lagging: self.lagging.load(Ordering::Relaxed),
            store_failures: load(&self.store_failures),
            store_timeouts: load(&self.store_timeouts),
            openings_refused: load(&self.openings_refused),
            over_quota: load(&self.over_quota),
            bytes_read: self.bytes_read.sum(),
            bytes_sent: self.bytes_sent.sum(),
            ..Stats::default()
        };
        for (end, count) in &stats.ends {
            match end.code.filter(|_| matches!(end.cause, "server" | "panic")) {
                Some(code) => *stats.closes.entry(code).or_default() += count,
                None => stats.gone += count,
            }
        }
        stats
    }
}

impl Drop for Lagging {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
