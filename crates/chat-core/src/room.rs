use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::{AppendError, Appended, Draft, Found, Page, Range, Search, SearchError, Standing, Stored};

/// One room's ordered log of messages.
///
/// # Contract
///
/// `chat-room-conformance` shows whether a store keeps it.
///
/// - Messages get `seq` 1, 2, 3, ... without holes within one epoch; an epoch's positions are never given
///   out twice.
/// - [`append`](Self::append) commits at the level that the log promises, then tells the [`Outlet`], then
///   answers. The outlet hears of every message once, in order, those of other processes included.
/// - A key repeated by the same user id within the key window answers the first append, and stores nothing.
/// - A dropped `append` is stored and told, or neither.
/// - [`read`](Self::read) returns messages without holes, oldest first, of
///   [`Limits::max_batch`](crate::Limits::max_batch) bytes at most, or one that is longer. A message that the
///   log has lost is left out; a page is empty only if there is nothing more in that direction.
/// - [`search`](Self::search), where a log can, finds what [`Scan`](crate::Scan) finds, newest first, in as
///   many bytes. No query breaks it, and nothing in a query is an operator.
#[async_trait]
pub trait Room: Send + Sync {
    /// Adds a message.
    ///
    /// # Errors
    ///
    /// [`AppendError::KeyConflict`] stores nothing; after [`AppendError::Unavailable`] a retry with the same
    /// key is safe.
    async fn append(&self, draft: Draft) -> Result<Appended, AppendError>;

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
    async fn standing(&self) -> Result<Standing, Unavailable>;

    /// Searches the log.
    ///
    /// # Errors
    ///
    /// [`SearchError::Unsupported`], the default, if the log cannot search.
    async fn search(&self, _search: Search) -> Result<Found, SearchError> {
        Err(SearchError::Unsupported)
    }
}

/// A log that cannot be used now; the text is for the server's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unavailable(pub String);

/// Where a [`Room`] says what it has committed; from here it reaches the members.
#[derive(Clone)]
pub struct Outlet(Arc<dyn Fn(&Stored) + Send + Sync>);

impl Outlet {
    /// An outlet that does this with each message: for who uses a room without a [`Chat`](crate::Chat).
    pub fn new(told: impl Fn(&Stored) + Send + Sync + 'static) -> Self {
        Self(Arc::new(told))
    }

    /// A message is committed. To be called in the order of `seq`, before the append is answered.
    pub fn committed(&self, stored: &Stored) {
        (self.0)(stored);
    }
}

impl fmt::Debug for Outlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outlet").finish_non_exhaustive()
    }
}
