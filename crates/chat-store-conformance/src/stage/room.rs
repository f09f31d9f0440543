#![expect(clippy::missing_errors_doc, reason = "each method fails if the room does something else")]

use std::future::poll_fn;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use chat_core::{
    AppendError, AppendReceipt, ChangeError, ChangeReceipt, LogBounds, Marked, MarkerError, NewAct,
    NewChange, NewMessage, Page, Range, Room, RoomRules, Search, SearchError, SearchPage, Standing,
    StoredMessage, ThreadError, Unread, User,
};
use chat_suite::FromStage;
use futures_util::future::maybe_done;
use serde_json::value::RawValue;
use tokio::task::yield_now;

use super::{Reports, Stage};
use crate::{Failure, Verdict};

/// A room that a case has open.
#[derive(Clone)]
pub struct OpenRoom {
    log: Arc<dyn Room>,
    /// The commits that its sink has heard of.
    pub reports: Reports,
}

impl OpenRoom {
    pub(super) fn new(log: Arc<dyn Room>, reports: Reports) -> Self {
        Self { log, reports }
    }

    /// Appends a message that is new: no duplicate.
    pub async fn append(&self, user: &User, key: Option<&str>, body: &str) -> Result<AppendReceipt, Failure> {
        let appended = self.try_append(user, key, body).await?;
        let appended = appended.map_err(|error| Failure::new("a message that is stored", error))?;
        if appended.duplicate {
            return Err(Failure::new("a new message", format!("{appended:?}, key {key:?}")));
        }
        Ok(appended)
    }

    /// Appends, and returns the answer of the room. Fails only if the room is not available.
    pub async fn try_append(
        &self,
        user: &User,
        key: Option<&str>,
        body: &str,
    ) -> Result<Result<AppendReceipt, AppendError>, Failure> {
        match self.append_or_refuse(user, key, body).await? {
            Err(AppendError::Unavailable(cause)) => Err(Failure::new("a room that is available", cause)),
            answer => Ok(answer),
        }
    }

    /// Appends, and returns the answer of the room.
    pub async fn append_or_refuse(
        &self,
        user: &User,
        key: Option<&str>,
        body: &str,
    ) -> Result<Result<AppendReceipt, AppendError>, Failure> {
        let key = key.map(ToOwned::to_owned);
        yield_now().await;
        Ok(self.log.append(NewMessage::new(user.clone(), raw(body)?).with_key(key)).await)
    }

    /// Appends a text of a guest on a connection.
    pub async fn append_from(&self, user: &User, connection: u64, text: &str) -> Verdict {
        yield_now().await;
        let message = NewMessage::new(user.clone(), raw(&body(text))?).with_connection(connection);
        let appended = self.log.append(message).await;
        appended.map(drop).map_err(|error| Failure::new("a message that is stored", error))
    }

    /// Appends a message, and returns the answer of the room.
    pub async fn append_message(&self, message: NewMessage) -> Result<AppendReceipt, AppendError> {
        yield_now().await;
        self.log.append(message).await
    }

    /// Reads part of a thread, and returns the answer of the room.
    pub async fn thread(&self, root: u64, range: Range) -> Result<Page, ThreadError> {
        yield_now().await;
        self.log.thread(root, range).await
    }

    /// Makes a change that the log accepts.
    pub async fn change(&self, change: NewChange) -> Result<ChangeReceipt, Failure> {
        let changed = self.try_change(change).await;
        changed.map_err(|error| Failure::new("a change that the log accepts", error))
    }

    /// Makes a change, and returns the answer of the room.
    pub async fn try_change(&self, change: NewChange) -> Result<ChangeReceipt, ChangeError> {
        yield_now().await;
        self.log.change(change).await
    }

    /// Appends a message, and returns the answer of the room.
    pub async fn try_send(&self, message: NewMessage) -> Result<AppendReceipt, AppendError> {
        yield_now().await;
        self.log.append(message).await
    }

    /// Carries out an act that the log accepts.
    pub async fn govern(&self, act: NewAct) -> Result<ChangeReceipt, Failure> {
        let governed = self.try_govern(act).await;
        governed.map_err(|error| Failure::new("an act that the log accepts", error))
    }

    /// Carries out an act, and returns the answer of the room.
    pub async fn try_govern(&self, act: NewAct) -> Result<ChangeReceipt, ChangeError> {
        yield_now().await;
        self.log.govern(act).await
    }

    /// Carries out a purge, and returns the answer of the room.
    pub async fn try_purge(&self, act: NewAct) -> Result<ChangeReceipt, ChangeError> {
        yield_now().await;
        self.log.purge(act).await
    }

    /// Returns the rules of the room, and the standing of a user.
    pub async fn standing(&self, user: &User) -> Result<(RoomRules, Standing), Failure> {
        yield_now().await;
        let standing = self.log.standing(&user.key()).await;
        standing.map_err(|unavailable| Failure::new("a room that can be read", unavailable))
    }

    /// Moves the marker of a user to a position that the log has.
    pub async fn mark(&self, user: &User, seq: u64) -> Result<Marked, Failure> {
        let marked = self.try_mark(user, seq).await;
        marked.map_err(|error| Failure::new("a marker that the log accepts", error))
    }

    /// Moves the marker of a user, and returns the answer of the room.
    pub async fn try_mark(&self, user: &User, seq: u64) -> Result<Marked, MarkerError> {
        yield_now().await;
        self.log.mark(&user.key(), seq).await
    }

    /// Counts the unread messages of a user in the whole log.
    pub async fn unread(&self, user: &User) -> Result<Unread, Failure> {
        let unread = self.try_unread(user, u64::MAX).await;
        unread.map_err(|error| Failure::new("a log that can be counted", error))
    }

    /// Counts the unread messages of a user up to a position, and returns the answer of the room.
    pub async fn try_unread(&self, user: &User, up_to: u64) -> Result<Unread, MarkerError> {
        yield_now().await;
        self.log.unread(&user.key(), up_to).await
    }

    /// Reads the messages at these positions.
    pub async fn messages(&self, seqs: &[u64], max_bytes: usize) -> Result<Page, Failure> {
        yield_now().await;
        let page = self.log.messages(seqs, max_bytes).await;
        page.map_err(|unavailable| Failure::new("a room that can be read", unavailable))
    }

    /// Appends this number of messages at once. Each time, the appends without an answer are polled in their order.
    pub async fn append_together(&self, user: &User, count: usize) -> Result<Vec<AppendReceipt>, Failure> {
        let bodies: Vec<String> = (0..count).map(|number| body(&number.to_string())).collect();
        let appends = bodies.iter().map(|body| maybe_done(Box::pin(self.append(user, None, body))));
        let mut appends: Vec<_> = appends.collect();
        poll_fn(|cx| {
            let states = appends.iter_mut().map(|append| Pin::new(append).poll(cx));
            let pending = states.filter(Poll::is_pending).count();
            if pending == 0 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        appends.iter_mut().filter_map(|append| Pin::new(append).take_output()).collect()
    }

    /// Appends a text of Ann.
    pub async fn say(&self, text: &str) -> Result<AppendReceipt, Failure> {
        self.append(&ann(), None, &body(text)).await
    }

    /// Appends this number of texts of Ann, each with its number.
    pub async fn say_all(&self, count: u64) -> Verdict {
        for number in 1..=count {
            self.say(&number.to_string()).await?;
        }
        Ok(())
    }

    /// Repeats an append that was made, and returns the answer.
    pub async fn repeat(&self, user: &User, key: &str, body: &str) -> Result<AppendReceipt, Failure> {
        let repeated = self.try_append(user, Some(key), body).await?;
        let repeated = repeated.map_err(|error| Failure::new("the answer of the first append", error))?;
        if !repeated.duplicate {
            return Err(Failure::new("a duplicate", format!("{repeated:?}, key {key:?}")));
        }
        Ok(repeated)
    }

    /// Reads a page.
    pub async fn read(&self, range: Range) -> Result<Page, Failure> {
        yield_now().await;
        let page = self.log.read(range).await;
        page.map_err(|unavailable| Failure::new("a room that can be read", unavailable))
    }

    /// Reads the messages after a position to the end, page by page.
    pub async fn read_after(&self, seq: u64) -> Result<Vec<StoredMessage>, Failure> {
        self.read_pages(seq, |after| Range::after(after, 100)).await
    }

    /// Reads the entries after a position to the end, page by page.
    pub async fn entries_after(&self, seq: u64) -> Result<Vec<StoredMessage>, Failure> {
        self.read_pages(seq, |after| Range::entries(after, 100)).await
    }

    async fn read_pages(
        &self,
        seq: u64,
        range: impl Fn(u64) -> Range,
    ) -> Result<Vec<StoredMessage>, Failure> {
        let mut messages: Vec<StoredMessage> = Vec::new();
        loop {
            let after = messages.last().map_or(seq, |last| last.seq);
            let page = self.read(range(after)).await?;
            let goes_on = !page.more || page.messages.last().is_some_and(|last| last.seq > after);
            if !goes_on {
                return Err(Failure::new(format!("entries after {after}"), format!("{page:?}")));
            }
            messages.extend(page.messages);
            if !page.more {
                return Ok(messages);
            }
        }
    }

    /// Returns the extent of the log.
    pub async fn bounds(&self) -> Result<LogBounds, Failure> {
        yield_now().await;
        let bounds = self.log.bounds().await;
        bounds.map_err(|unavailable| Failure::new("a room that can be read", unavailable))
    }

    /// Returns the extent of the log, if it is known without a call.
    pub fn known_bounds(&self) -> Option<LogBounds> {
        self.log.known_bounds()
    }

    /// Waits until the sink has heard of these entries, and returns all reported entries. Those of these entries that
    /// the sink has heard of by a new head only are read from the log.
    pub async fn reported(&self, seqs: RangeInclusive<u64>) -> Result<Vec<StoredMessage>, Failure> {
        self.reports.cover(seqs.clone()).await?;
        let mut entries = self.reports.entries();
        let missing = seqs.clone().filter(|seq| entries.iter().all(|stored| stored.seq != *seq));
        let missing: Vec<_> = missing.collect();
        if !missing.is_empty() {
            // They may be changes and acts too.
            let read = self.entries_after(seqs.start().saturating_sub(1)).await?;
            entries.extend(read.into_iter().filter(|stored| missing.contains(&stored.seq)));
            entries.sort_by_key(|stored| stored.seq);
        }
        Ok(entries)
    }

    /// Waits until the sink has heard of these entries, and checks that it has heard of none beyond them and that each
    /// reported entry is the one in the log.
    pub async fn check_reports(&self, seqs: RangeInclusive<u64>) -> Verdict {
        self.reports.cover(seqs.clone()).await?;
        let (end, head) = (*seqs.end(), self.reports.head());
        if head > end {
            return Err(Failure::new(format!("no report beyond {end}"), format!("one of {head}")));
        }
        let read = self.read_after(0).await?;
        let first = read.first().map_or(u64::MAX, |first| first.seq);
        for reported in self.reports.entries().into_iter().filter(|reported| reported.seq >= first) {
            let stored = read.iter().find(|stored| stored.seq == reported.seq);
            if stored != Some(&reported) {
                return Err(Failure::new(format!("a report of {stored:?}"), format!("{reported:?}")));
            }
        }
        Ok(())
    }

    /// Searches the whole log for at most 100 messages, and returns their `seq`s.
    pub async fn find(&self, query: &str) -> Result<Vec<u64>, Failure> {
        Ok(self.search(query, 100, None).await?.0)
    }

    /// Searches a store that supports it. Returns the `seq`s, and `more`.
    pub async fn search(
        &self,
        query: &str,
        limit: usize,
        before: impl Into<Option<u64>>,
    ) -> Result<(Vec<u64>, bool), Failure> {
        let found = self.try_search(query, limit, before).await;
        let found = found.map_err(|error| Failure::new("a page of matches", error))?;
        Ok((found.messages.iter().map(|stored| stored.seq).collect(), found.more))
    }

    /// Searches, and returns the answer of the room.
    pub async fn try_search(
        &self,
        query: &str,
        limit: usize,
        before: impl Into<Option<u64>>,
    ) -> Result<SearchPage, SearchError> {
        yield_now().await;
        self.log.search(Search::new(query, limit).before(before)).await
    }
}

/// The room `lobby`, open on node 0.
impl FromStage<Stage> for OpenRoom {
    async fn from_stage(stage: &Stage, _: &str) -> Result<Self, Failure> {
        stage.open("lobby").await
    }
}

impl std::fmt::Debug for OpenRoom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenRoom").field("reports", &self.reports).finish_non_exhaustive()
    }
}

/// The guest that most cases use.
pub(crate) fn ann() -> User {
    guest("Ann")
}

/// A guest with this name.
///
/// # Panics
///
/// If the name is not valid.
pub(crate) fn guest(name: &str) -> User {
    User::guest(name).expect("the names in the cases are valid")
}

/// The body of a text message.
pub(crate) fn body(text: &str) -> String {
    serde_json::json!({ "text": text }).to_string()
}

fn raw(body: &str) -> Result<Box<RawValue>, Failure> {
    RawValue::from_string(body.to_owned()).map_err(|error| Failure::new("a body that is JSON", error))
}
