//! The search index of a log that another store keeps.

mod apply;
mod files;
mod query;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chat_core::{StoredMessage, Unavailable};
use rusqlite::Connection;

use self::query::Query;
use self::writer::Inner;
use crate::OpenError;
use crate::search::{match_expression, room_prefix};

/// The time for which one call looks for matches. A caller continues in another call.
const SLICE: Duration = Duration::from_millis(100);

/// The search index of a log that another store keeps: for each message of each room, the parts of its words. It does
/// not have the texts. A clone is another handle to the same index.
///
/// The log has places, and the index takes what is stored there in their order. It finds the positions of messages that
/// may match a query. The caller reads them from the log, and examines them with a [`Scan`](chat_core::Scan).
///
/// The index is exact although it may not have been given all entries of a room: a position without an entry is a
/// candidate of each search.
///
/// ```
/// use chat_core::StoredMessage;
/// use chat_sqlite::{IndexStep, LogIndex};
///
/// # let dir = tempfile::tempdir()?;
/// # let dir = dir.path();
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
/// # runtime.block_on(async {
/// let index = LogIndex::open(dir, "chat")?;
/// assert_eq!(index.begin("the first log").await?, 0);
/// let frame = r#"{"type":"message","body":{"text":"a red apple"}}"#;
/// let record = IndexStep::Record {
///     room: "lobby".to_owned(),
///     id: 1,
///     previous: 0,
///     oldest: 1,
///     entries: vec![StoredMessage::new(1, frame)],
///     is_copy: false,
/// };
/// assert!(index.apply(vec![(7, record)], 7).await?);
/// let found = index.candidates("lobby", "apple", 2, 10).await?.expect("a room that is known");
/// assert_eq!((found.positions, found.down_to), (vec![(1, 7)], 1));
/// index.close().await;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct LogIndex(Arc<Inner>);

/// A part of a log, as an index takes it.
#[derive(Clone, Debug)]
pub enum IndexStep {
    /// Consecutive entries of a room, which are stored at one place.
    Record {
        /// The room, by any name that is not too long for a row.
        room: String,
        /// A number that no other record of the room has.
        id: u64,
        /// The `id` of the record before this one; 0 for the first.
        previous: u64,
        /// The oldest position of the room that can be read.
        oldest: u64,
        /// The entries. The frame of one that is no message may be empty. A record without entries only moves `oldest`.
        entries: Vec<StoredMessage>,
        /// True if it stands for a record of an earlier place, without the texts that were deleted.
        is_copy: bool,
    },
    /// The present form of a message that was edited or deleted.
    Form {
        /// The room.
        room: String,
        /// The message.
        stored: StoredMessage,
        /// True if it was deleted.
        is_deleted: bool,
    },
}

/// Positions of messages that may match a query.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Candidates {
    /// The positions, newest first, each with the place of its record, or with an earlier one.
    pub positions: Vec<(u64, u64)>,
    /// The position down to which the room was examined.
    pub down_to: u64,
}

impl LogIndex {
    /// Opens the index of this name in a directory, which is created if it does not exist. The parent directory must
    /// exist. [`begin`](Self::begin) comes next.
    ///
    /// # Errors
    ///
    /// Returns an [`OpenError`] whose text is one line that says what to do.
    pub fn open(dir: &Path, name: &str) -> Result<Self, OpenError> {
        Ok(Self(Arc::new(Inner::open(dir, name)?)))
    }

    /// Begins, or begins again, to follow the log with the name `source`. Returns the place up to which the index has
    /// it. An index that is damaged, or of another log, is removed, and begins at 0.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] if the files cannot be used, or the index is closed.
    pub async fn begin(&self, source: &str) -> Result<u64, Unavailable> {
        let source = source.to_owned();
        self.run(move |index| index.begin(&source).map_err(Unavailable::from_source)).await
    }

    /// Applies the steps of the log up to a place, each with its place. Returns false if they contradict the index: the
    /// log is another one than it was. Then nothing is applied, and the next [`begin`](Self::begin) begins at 0.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] if the index is closed or damaged, or cannot be written. A [`begin`](Self::begin) may help.
    pub async fn apply(&self, steps: Vec<(u64, IndexStep)>, up_to: u64) -> Result<bool, Unavailable> {
        self.run(move |index| index.apply(&steps, up_to)).await
    }

    /// Erases the words of deleted messages from the files, if there are any. It writes the whole index, and therefore
    /// does nothing for some time after an erasure.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] if the index cannot be written. It is tried again the next time.
    pub async fn erase_deleted(&self) -> Result<(), Unavailable> {
        self.run(Inner::erase_deleted).await
    }

    /// Returns the newest positions of a room before `before` that may match a query, at most `limit`, but at least 1.
    /// Returns `None` if the index does not know the room, or the query has no words or too many.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] if the index is closed or damaged, or does not answer in time.
    pub async fn candidates(
        &self,
        room: &str,
        query: &str,
        before: u64,
        limit: usize,
    ) -> Result<Option<Candidates>, Unavailable> {
        let Some(expression) = match_expression(&room_prefix(room), query) else { return Ok(None) };
        let query = Query { room: room.to_owned(), expression, before, limit: limit.max(1) };
        let readers = self.0.readers()?;
        let index = Arc::clone(&self.0);
        let read = move |connection: &Connection| {
            let found = query.run(connection, Instant::now() + SLICE);
            found.inspect_err(|error| index.note(error))
        };
        // The slice, and the wait for a turn.
        readers.read(SLICE * 10, read).await
    }

    /// Closes the files. An erasure that is in progress is not waited for: the next one begins again.
    pub async fn close(&self) {
        self.0.begin_close();
        // It fails if the runtime ends, and nothing uses the files then.
        let _ended = self.run(Inner::close).await;
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, Unavailable> + Send + 'static,
    ) -> Result<T, Unavailable> {
        let index = Arc::clone(&self.0);
        // A caller may be gone before its job has run.
        let permit = Arc::clone(&self.0.permit).acquire_owned().await.map_err(Unavailable::from_source)?;
        // Searches wait for it, so it has the usual priority.
        let job = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work(&index)
        });
        job.await.map_err(Unavailable::from_source)?
    }
}
