use std::sync::Arc;
use std::time::Duration;

use chat_core::{Page, Range, Scan, Search, SearchError, SearchPage, StoredMessage, Unavailable};
use tokio::time::{Instant, sleep};

use crate::life::Life;
use crate::link::From;
use crate::record::Record;

use super::places::Step;
use super::records::{Found, Records};
use super::{SharedRoom, View};

/// Records in one request.
const BATCH: u64 = 64;

/// The largest number of messages in a page, whatever its limit is.
const MAX_PAGE: usize = 1_024;

/// Messages that a page backwards reads at a time.
const CHUNK: u64 = 128;

/// Messages that a search examines at most.
const MAX_SEARCHED: usize = 20_000;

/// The time for which a server may be behind the leader.
const MAX_LAG: Duration = Duration::from_secs(2);

/// The pause before a server that is behind is asked again.
const LAG_PAUSE: Duration = Duration::from_millis(3);

/// The part of a log that a page takes.
struct Wanted {
    from: u64,
    /// The first position that is not wanted.
    to: u64,
    limit: usize,
    max_bytes: usize,
}

impl SharedRoom {
    /// Reads part of the log.
    pub(crate) async fn page(&self, range: Range) -> Result<Page, Unavailable> {
        match range {
            Range::Newest { limit } => self.page_before(u64::MAX, limit).await,
            Range::Before { seq, limit } => self.page_before(seq, limit).await,
            Range::After { seq, limit } | Range::Entries { after: seq, limit } => {
                self.page_after(seq, limit).await
            }
            Range::Acts { .. } => Ok(Page::new(self.known().life.epoch(&self.name), Vec::new())),
            _ => Err(Unavailable::new("this store does not know the range")),
        }
    }

    async fn page_after(&self, after: u64, limit: usize) -> Result<Page, Unavailable> {
        let limit = limit.clamp(1, MAX_PAGE);
        let mut view = self.known();
        if after.saturating_add(limit as u64) >= view.tail.head {
            // The page reaches the end of the log, which only the leader knows.
            view = self.look().await?;
        }
        let View { life, tail } = view;
        let from = after.saturating_add(1).max(tail.first());
        if from > tail.head {
            return Ok(Page::new(life.epoch(&self.name), Vec::new()));
        }
        let max_bytes = self.limits.wire.max_batch_bytes;
        let wanted = Wanted { from, to: tail.head + 1, limit, max_bytes };
        let messages = self.collect(&life, &wanted).await?;
        let reached = messages.last().map_or(tail.head, |last| last.seq);
        Ok(Page::new(life.epoch(&self.name), messages).with_more(reached < tail.head))
    }

    async fn page_before(&self, before: u64, limit: usize) -> Result<Page, Unavailable> {
        let (limit, max_bytes) = (limit.clamp(1, MAX_PAGE), self.limits.wire.max_batch_bytes);
        let mut view = self.known();
        if before > view.tail.head {
            view = self.look().await?;
        }
        let View { life, tail } = view;
        let (oldest, mut end) = (tail.first(), before.min(tail.head + 1));
        let (mut messages, mut bytes): (Vec<StoredMessage>, _) = (Vec::new(), 0);
        'page: while end > oldest && messages.len() < limit {
            let begin = end.saturating_sub(CHUNK.min((limit - messages.len()) as u64)).max(oldest);
            let wanted = Wanted { from: begin, to: end, limit: usize::MAX, max_bytes: usize::MAX };
            for stored in self.collect(&life, &wanted).await?.into_iter().rev() {
                bytes += stored.frame.len();
                if bytes > max_bytes && !messages.is_empty() {
                    break 'page;
                }
                messages.push(stored);
            }
            end = begin;
        }
        messages.reverse();
        let more = messages.first().is_some_and(|first| first.seq > oldest);
        Ok(Page::new(life.epoch(&self.name), messages).with_more(more))
    }

    /// Searches the log, message by message.
    pub(crate) async fn find_messages(&self, search: &Search) -> Result<SearchPage, SearchError> {
        let mut scan = Scan::new(search, &self.limits);
        let (mut before, mut searched) = (search.before.unwrap_or(u64::MAX), 0);
        loop {
            let page = self.page_before(before, MAX_PAGE).await?;
            for stored in page.messages.iter().rev() {
                before = stored.seq;
                if !scan.look(stored) {
                    return Ok(scan.finish());
                }
            }
            searched += page.messages.len();
            if !page.more {
                return Ok(scan.finish());
            }
            if searched >= MAX_SEARCHED {
                return Err(SearchError::TooExpensive);
            }
        }
    }

    /// Reads messages, oldest first. Those that the log has lost are left out.
    async fn collect(&self, life: &Arc<Life>, wanted: &Wanted) -> Result<Vec<StoredMessage>, Unavailable> {
        let Wanted { from, to, limit, max_bytes } = *wanted;
        let place = self.find(life, from).await?;
        let until = Instant::now() + MAX_LAG;
        let mut records = Records::new(self, life.subject(&self.token), From::Place(place), Some(from));
        let (mut messages, mut bytes, mut next): (Vec<StoredMessage>, _, _) = (Vec::new(), 0, from);
        loop {
            let count = usize::try_from((to - next).min(BATCH)).unwrap_or(1);
            let Found { records: found, more } = records.read(count).await?;
            for record in found {
                let record = match record {
                    Ok(record) => record,
                    Err(unreadable) => {
                        let _counted = self.node.unreadable(unreadable);
                        continue;
                    }
                };
                self.learn(life, &record);
                for entry in record.entries {
                    let stored = entry.stored;
                    if stored.seq < next {
                        continue;
                    }
                    bytes += stored.frame.len();
                    let is_full = messages.len() >= limit || (bytes > max_bytes && !messages.is_empty());
                    if stored.seq >= to || is_full {
                        return Ok(messages);
                    }
                    next = stored.seq + 1;
                    messages.push(stored);
                }
            }
            if next >= to {
                return Ok(messages);
            }
            if !more {
                wait_for_replica(until).await?;
            }
        }
    }

    /// Returns a place from which reading on meets the message at a position, if the log has it, and few before it.
    async fn find(&self, life: &Arc<Life>, seq: u64) -> Result<u64, Unavailable> {
        let (subject, until) = (life.subject(&self.token), Instant::now() + MAX_LAG);
        let (mut guesses, mut limit) = (0, u64::MAX);
        loop {
            let step = self.state.lock().places.step(seq, guesses, limit);
            let (from, high) = match step {
                Step::Read(place) => return Ok(place),
                Step::LookAtOldest => (1, u64::MAX),
                Step::Look(from, high) => (from, high),
            };
            let batch = self.node.link.batch(&subject, From::Place(from), 1).await?;
            let Some(message) = batch.messages.into_iter().next() else {
                wait_for_replica(until).await?;
                continue;
            };
            if message.place >= high {
                limit = from;
            } else {
                let record = self.record(&subject, message.place, message.payload).await?;
                let record = record.map_err(|unreadable| self.node.unreadable(unreadable))?;
                self.state.lock().places.found(record.first(), record.place);
                if step == Step::LookAtOldest && record.first() > seq {
                    // The copy may lack older ones.
                    return Ok(1);
                }
            }
            guesses += 1;
        }
    }

    /// Calls a function for each record of the room up to the one at the place `to`, which the log has. One that cannot
    /// be read is `None`. `next` is the position of the first one, if it is known.
    pub(super) async fn each_record(
        &self,
        life: &Arc<Life>,
        from: From,
        next: Option<u64>,
        to: u64,
        mut apply: impl FnMut(Option<&Record>),
    ) -> Result<(), Unavailable> {
        let until = Instant::now() + MAX_LAG;
        let mut records = Records::new(self, life.subject(&self.token), from, next);
        // A scan that has not met the last record is not complete.
        while !matches!(records.from, From::Place(place) if place > to) {
            let Found { records: found, more } = records.read(256).await?;
            for record in found {
                match record {
                    Ok(record) if record.place > to => return Ok(()),
                    Ok(record) => apply(Some(&record)),
                    Err(unreadable) => {
                        apply(None);
                        drop(self.node.unreadable(unreadable));
                    }
                }
            }
            if !more && !matches!(records.from, From::Place(place) if place > to) {
                wait_for_replica(until).await?;
            }
        }
        Ok(())
    }

    /// Removes the records from the stream that are below a position and older than a time.
    pub(super) async fn remove_before(
        &self,
        life: &Arc<Life>,
        oldest: u64,
        time: u64,
    ) -> Result<(), Unavailable> {
        let subject = life.subject(&self.token);
        let place = self.find(life, oldest).await?;
        let recent = self.node.link.batch(&subject, From::Time(time), 1).await?;
        // Without an answer, the copy may be behind.
        let Some(first) = recent.messages.first() else { return Ok(()) };
        Ok(self.node.link.purge(&subject, place.min(first.place)).await?)
    }
}

/// Waits a little for a server that has not the end of the log yet.
async fn wait_for_replica(until: Instant) -> Result<(), Unavailable> {
    if Instant::now() > until {
        return Err(Unavailable::new("the servers that answer are behind the leader of the stream"));
    }
    sleep(LAG_PAUSE).await;
    Ok(())
}
