use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::{
    AppendError, AppendReceipt, LogBounds, NewMessage, Page, Range, Search, SearchError, SearchPage,
    StoredMessage,
};

/// One room's ordered log of messages.
///
/// # Contract
///
/// `chat-room-conformance` shows whether a store keeps it.
///
/// - **Numbers.** Messages get `seq` 1, 2, 3, ... without holes within one epoch; an epoch's positions are never
///   given out twice. No two rooms have the same epoch, nor two lives of a log that did not last.
/// - **Telling.** [`append`](Self::append) commits at the level that the log promises, then tells the [`CommitSink`],
///   then answers. The outlet hears of every message once, in order, those of other processes included. A dropped
///   `append` is stored and told, or neither.
/// - **Openings.** A room may be opened several times at once, and again later: it is one log, and the outlet of each
///   opening hears all that is appended from then on, whoever appends it and whoever closes.
/// - **Keys.** A key repeated by the same [`User::identity`](crate::User::identity) within the key window answers the
///   first append, and stores nothing. With another body it is a conflict: bodies are compared byte by byte.
/// - **Bodies.** A body is delivered byte for byte as it was sent: [`NewMessage::into_stored`] makes the frame, which is
///   sent as the log returns it and not read again.
/// - **Pages.** [`read`](Self::read) returns messages without holes, oldest first, of
///   [`WireLimits::max_batch_bytes`](crate::WireLimits::max_batch_bytes) bytes at most, or one that is longer. A message that the
///   log has lost is left out; a page is empty only if there is nothing more in that direction.
/// - **Retention.** Old messages may go, the oldest first. The newest
///   [`RoomLimits::log_messages`](crate::RoomLimits::log_messages), while those have fewer than
///   [`RoomLimits::log_bytes`](crate::RoomLimits::log_bytes), stay, unless whoever runs the log has said otherwise. Then
///   `first` moves; `head`, and the keys, stay.
/// - **Lives.** After a restart a room is the same log: messages, keys, epoch. Or it is empty, with another epoch.
/// - **Search.** [`search`](Self::search), where a log can, finds what [`Scan`](crate::Scan) finds, newest first, in
///   as many bytes. No query breaks it, and nothing in a query is an operator.
#[async_trait]
pub trait Room: Send + Sync {
    /// Adds a message.
    ///
    /// # Errors
    ///
    /// [`AppendError::KeyConflict`] stores nothing; after [`AppendError::Unavailable`] a retry with the same
    /// key is safe.
    async fn append(&self, draft: NewMessage) -> Result<AppendReceipt, AppendError>;

    /// Reads part of the log.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] if the log cannot be read now.
    async fn read(&self, range: Range) -> Result<Page, Unavailable>;

    /// How far the log reaches.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] if the log cannot be read now.
    async fn bounds(&self) -> Result<LogBounds, Unavailable>;

    /// Searches the log.
    ///
    /// # Errors
    ///
    /// [`SearchError::Unsupported`], the default, if the log cannot search.
    async fn search(&self, _search: Search) -> Result<SearchPage, SearchError> {
        Err(SearchError::Unsupported)
    }
}

/// A log that cannot be used now; the text is for the server's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unavailable(pub String);

/// Where a [`Room`] says what it has committed; from here it reaches the members.
#[derive(Clone)]
pub struct CommitSink(Arc<dyn Fn(&StoredMessage) + Send + Sync>);

impl CommitSink {
    /// An outlet that does this with each message: for who uses a room without a [`Chat`](crate::Chat).
    pub fn new(told: impl Fn(&StoredMessage) + Send + Sync + 'static) -> Self {
        Self(Arc::new(told))
    }

    /// A message is committed. To be called in the order of `seq`, before the append is answered.
    pub fn committed(&self, stored: &StoredMessage) {
        (self.0)(stored);
    }
}

impl fmt::Debug for CommitSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommitSink").finish_non_exhaustive()
    }
}
