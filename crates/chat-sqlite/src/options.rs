use std::fmt;
use std::time::Duration;

/// The longest wait that timers and SQLite accept without overflow.
const MAX_WAIT: Duration = Duration::from_secs(20 * 24 * 60 * 60);

/// The failures that an acknowledged message survives.
///
/// ```
/// use chat_sqlite::{Durability, Options};
///
/// assert_eq!(Options::default().durability, Durability::Disk);
/// let fast = Options::default().with(|options| options.durability = Durability::Process);
/// assert_eq!(fast.durability, Durability::Process);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// A crash of the process and a power failure. Each transaction waits until the disk has synchronized it.
    #[default]
    Disk,
    /// A crash of the process. After a power failure or a kernel panic the newest messages may be lost, and a new
    /// epoch starts.
    Process,
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Disk => "disk",
            Self::Process => "process",
        })
    }
}

/// The configuration of a [`SqliteStore`](crate::SqliteStore).
///
/// ```
/// use std::time::Duration;
///
/// use chat_sqlite::Options;
///
/// let options = Options::default().with(|options| {
///     options.retain_age = Some(Duration::from_secs(30 * 24 * 60 * 60));
///     options.retain_messages = Some(100_000);
/// });
/// assert_eq!(options.max_batch_messages, 256);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Failures that an acknowledged message survives. Default [`Durability::Disk`].
    pub durability: Durability,
    /// Age at which a message is deleted. Default `None`: messages do not expire.
    pub retain_age: Option<Duration>,
    /// Newest messages that a room keeps, with their changes. Until the next sweep a room may have more. A room with
    /// more than four changes for each of these messages keeps fewer. Default `None`: all.
    pub retain_messages: Option<u64>,
    /// Time between two sweeps that delete expired messages and keys. Default 60 s.
    pub sweep_interval: Duration,
    /// Idempotency keys of one user that a room remembers, at least 1. Further messages of the user that have a key are
    /// refused until the oldest key expires. Default 100,000.
    pub max_keys_per_user: u64,
    /// Markers of users that a room remembers, at least 1. Beyond it, the marker of a guest makes place for another
    /// user. Without guests, further users get no marker. Default 100,000.
    pub max_markers: u64,
    /// Rooms that all guests together follow, at least 1. Beyond it, those of one guest make place for another one.
    /// Default 100,000.
    pub max_guest_follows: u64,
    /// Bytes of data above which messages are refused. Reading continues, and messages are stored again when retention
    /// has deleted others. Default `None`: no limit.
    pub max_disk_bytes: Option<u64>,
    /// Appends in the queue of the writer thread. Further appends wait for a permit. Default 1,024.
    pub max_queued_appends: usize,
    /// Messages in one transaction. Default 256.
    pub max_batch_messages: usize,
    /// Reads at the same time, at most 64. Their connections are opened at the start. Default 4.
    pub max_concurrent_reads: usize,
    /// CPU time of a search; on systems other than Linux, the elapsed time. A longer one fails. Default 2 s.
    pub search_time_limit: Duration,
    /// Time to wait for a program that has locked the database. Default 1 s.
    pub lock_wait: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            durability: Durability::Disk,
            retain_age: None,
            retain_messages: None,
            sweep_interval: Duration::from_secs(60),
            max_keys_per_user: 100_000,
            max_markers: 100_000,
            max_guest_follows: 100_000,
            max_disk_bytes: None,
            max_queued_appends: 1_024,
            max_batch_messages: 256,
            max_concurrent_reads: 4,
            search_time_limit: Duration::from_secs(2),
            lock_wait: Duration::from_secs(1),
        }
    }
}

impl Options {
    /// Returns these options after `change`.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// Returns these options with waits that timers accept.
    pub(crate) fn clamped(self) -> Self {
        Self {
            sweep_interval: self.sweep_interval.min(MAX_WAIT),
            lock_wait: self.lock_wait.min(MAX_WAIT),
            ..self
        }
    }
}
