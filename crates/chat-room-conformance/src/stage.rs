#![expect(clippy::missing_errors_doc, reason = "each fails if the room does something else")]

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chat_core::{
    AppendError, AppendReceipt, CommitSink, Limits, LogBounds, NewMessage, Page, Range, Room, RoomName,
    Search, SearchError, StoredMessage, User,
};
use serde_json::value::RawValue;
use tokio::task::yield_now;

use crate::shown::Shown;
use crate::{Failure, Store};

/// What a case plays on: a store of its own.
pub struct Stage {
    store: Box<dyn Store>,
    limits: Arc<Limits>,
}

impl Stage {
    /// A stage with a store, and the limits of its rooms.
    pub fn new(store: Box<dyn Store>, limits: Arc<Limits>) -> Self {
        Self { store, limits }
    }

    /// The limits of the rooms.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Opens a room, with an outlet that remembers what it is told.
    pub fn open(&self, name: &str) -> Result<Opened, Failure> {
        let told = Told::default();
        let hears = told.clone();
        self.open_with(name, told, CommitSink::new(move |stored| hears.lock().push(stored.clone())))
    }

    /// Opens a room with this outlet.
    pub fn open_with(&self, name: &str, told: Told, outlet: CommitSink) -> Result<Opened, Failure> {
        let name: RoomName = name.parse().map_err(|error| Failure::new("the name of a room", error))?;
        Ok(Opened { log: self.store.room(name, Arc::clone(&self.limits), outlet), told })
    }

    /// Ends this life of the store and begins the next. Nobody may hold a room of it.
    pub async fn restart(self) -> Self {
        Self { store: self.store.reopen().await, limits: self.limits }
    }
}

impl std::fmt::Debug for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stage").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// What an outlet has been told, in its order.
#[derive(Clone, Debug, Default)]
pub struct Told(Arc<Mutex<Vec<StoredMessage>>>);

impl Told {
    /// All of it.
    pub fn all(&self) -> Vec<StoredMessage> {
        self.lock().clone()
    }

    /// The `seq`s of all of it.
    pub fn seqs(&self) -> Vec<u64> {
        self.lock().iter().map(|stored| stored.seq).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<StoredMessage>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A room that a case has open.
#[derive(Clone)]
pub struct Opened {
    log: Arc<dyn Room>,
    /// What its outlet has been told.
    pub told: Told,
}

impl Opened {
    /// Appends a message that is new: no duplicate.
    pub async fn append(&self, user: &User, key: Option<&str>, body: &str) -> Result<AppendReceipt, Failure> {
        let appended = self.try_append(user, key, body).await?;
        let appended = appended.map_err(|error| Failure::new("a message that is stored", error))?;
        if appended.duplicate {
            return Err(Failure::new("a new message", format!("{}, key {key:?}", appended.shown())));
        }
        Ok(appended)
    }

    /// Appends, and answers what the room does. Fails only if the room is not available.
    pub async fn try_append(
        &self,
        user: &User,
        key: Option<&str>,
        body: &str,
    ) -> Result<Result<AppendReceipt, AppendError>, Failure> {
        let key = key.map(ToOwned::to_owned);
        turn().await;
        match self.log.append(NewMessage { user: user.clone(), key, body: raw(body)? }).await {
            Err(AppendError::Unavailable(cause)) => Err(Failure::new("a room that is available", cause)),
            appended => Ok(appended),
        }
    }

    /// Ann writes a text.
    pub async fn say(&self, text: &str) -> Result<AppendReceipt, Failure> {
        self.append(&ann(), None, &body(text)).await
    }

    /// Ann writes so many texts, each with its number.
    pub async fn say_all(&self, count: u64) -> Result<(), Failure> {
        for number in 1..=count {
            self.say(&number.to_string()).await?;
        }
        Ok(())
    }

    /// Repeats an append that has been made; its answer.
    pub async fn repeat(&self, user: &User, key: &str, body: &str) -> Result<AppendReceipt, Failure> {
        let repeated = self.try_append(user, Some(key), body).await?;
        let repeated = repeated.map_err(|error| Failure::new("the first message again", error))?;
        if !repeated.duplicate {
            return Err(Failure::new("a duplicate", format!("{}, key {key:?}", repeated.shown())));
        }
        Ok(repeated)
    }

    /// Reads a page.
    pub async fn read(&self, range: Range) -> Result<Page, Failure> {
        turn().await;
        let page = self.log.read(range).await;
        page.map_err(|unavailable| Failure::new("a room that can be read", unavailable.0))
    }

    /// Reads on from a position to the end, page by page.
    pub async fn read_after(&self, seq: u64) -> Result<Vec<StoredMessage>, Failure> {
        let mut messages: Vec<StoredMessage> = Vec::new();
        loop {
            let after = messages.last().map_or(seq, |last| last.seq);
            let page = self.read(Range::After { seq: after, limit: 100 }).await?;
            let goes_on = !page.more || page.messages.last().is_some_and(|last| last.seq > after);
            if !goes_on {
                let came = page.messages.iter().map(|stored| stored.seq).collect::<Vec<_>>();
                return Err(Failure::new(
                    format!("messages after {after}"),
                    crate::shown::Part(came, true).shown(),
                ));
            }
            messages.extend(page.messages);
            if !page.more {
                return Ok(messages);
            }
        }
    }

    /// How far the log reaches.
    pub async fn bounds(&self) -> Result<LogBounds, Failure> {
        turn().await;
        let bounds = self.log.bounds().await;
        bounds.map_err(|unavailable| Failure::new("a room that can be read", unavailable.0))
    }

    /// Searches all of the log for at most 100 messages: their `seq`s.
    pub async fn find(&self, query: &str) -> Result<Vec<u64>, Failure> {
        Ok(self.search(query, 100, u64::MAX).await?.0)
    }

    /// Searches, in a store that can: the `seq`s, and whether there is more.
    pub async fn search(&self, query: &str, limit: usize, before: u64) -> Result<(Vec<u64>, bool), Failure> {
        let found = self.try_search(query, limit, before).await;
        let found = found.map_err(|error| Failure::new("what was searched for", error))?;
        Ok((found.messages.iter().map(|stored| stored.seq).collect(), found.more))
    }

    /// Searches, and answers what the room does.
    pub async fn try_search(
        &self,
        query: &str,
        limit: usize,
        before: u64,
    ) -> Result<chat_core::SearchPage, SearchError> {
        turn().await;
        self.log.search(Search { query: query.to_owned(), limit, before }).await
    }
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opened").field("told", &self.told).finish_non_exhaustive()
    }
}

/// A guest whom every case may be.
pub(crate) fn ann() -> User {
    guest("Ann")
}

/// A guest of this name.
///
/// # Panics
///
/// If that is no name: the cases know theirs.
pub(crate) fn guest(name: &str) -> User {
    User::guest(name).expect("a case names its users well")
}

/// The body of a text message.
pub(crate) fn body(text: &str) -> String {
    serde_json::json!({ "text": text }).to_string()
}

/// Lets others have their turn, the clock of the case among them, before a room is asked that may answer at once.
async fn turn() {
    yield_now().await;
}

fn raw(body: &str) -> Result<Box<RawValue>, Failure> {
    RawValue::from_string(body.to_owned()).map_err(|error| Failure::new("a body that is JSON", error))
}
