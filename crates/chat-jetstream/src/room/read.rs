use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use chat_core::{Page, Range, Scan, Search, SearchError, SearchPage, StoredMessage, Unavailable};
use tokio::time::{Instant, sleep};

use crate::life::Life;
use crate::link::From;
use crate::record::{Entry, Record};

use super::places::Step;
use super::records::{Found, Records};
use super::state::Noted;
use super::{SharedRoom, View};

/// Records in one request.
const BATCH: usize = 64;

/// The largest number of messages in a page, whatever its limit is.
pub(super) const MAX_PAGE: usize = 1_024;

/// Positions that a page backwards reads at a time. Among many changes, it reads more and more, up to the second value.
const CHUNKS: (u64, u64) = (128, 4_096);

/// Messages that a search examines at most.
pub(super) const MAX_SEARCHED: usize = 20_000;

/// The time for which a server may be behind the leader.
pub(super) const MAX_LAG: Duration = Duration::from_secs(2);

/// The pause before a server that is behind is asked again.
const LAG_PAUSE: Duration = Duration::from_millis(3);

/// The part of a log that is read.
pub(super) struct Wanted {
    from: u64,
    /// The first position that is not wanted.
    to: u64,
    /// True if only messages are wanted.
    only_messages: bool,
    limit: usize,
    max_bytes: usize,
    /// True if the newest entries are wanted, and not the oldest ones, when the limits leave some out.
    newest: bool,
}

impl Wanted {
    /// Returns the part between two positions, without the second one.
    pub(super) fn all(from: u64, to: u64) -> Self {
        Self { from, to, only_messages: false, limit: usize::MAX, max_bytes: usize::MAX, newest: false }
    }

    /// Returns the messages between two positions, without the second one.
    pub(super) fn messages(from: u64, to: u64) -> Self {
        Self { only_messages: true, ..Self::all(from, to) }
    }
}

/// Some entries of a log.
#[derive(Debug, Default)]
pub(super) struct Collected {
    pub(super) entries: VecDeque<Entry>,
    bytes: usize,
    /// True if the log has more that are wanted.
    more: bool,
}

impl Collected {
    /// Adds the next entry. Returns false if no later one is wanted.
    fn push(&mut self, entry: Entry, wanted: &Wanted) -> bool {
        self.bytes += entry.text_bytes();
        self.entries.push_back(entry);
        while self.entries.len() > wanted.limit || (self.bytes > wanted.max_bytes && self.entries.len() > 1) {
            let left_out = if wanted.newest { self.entries.pop_front() } else { self.entries.pop_back() };
            self.bytes -= left_out.map_or(0, |entry| entry.text_bytes());
            self.more = true;
        }
        wanted.newest || !self.more
    }
}

impl SharedRoom {
    /// Reads part of the log.
    pub(crate) async fn page(&self, range: Range) -> Result<Page, Unavailable> {
        match range {
            Range::Newest { limit } => self.page_before(u64::MAX, limit).await,
            Range::Before { seq, limit } => self.page_before(seq, limit).await,
            Range::After { seq, limit } => self.page_after(seq, limit, true).await,
            Range::Entries { after, limit } => self.page_after(after, limit, false).await,
            Range::Acts { after, limit } => self.page_acts(after, limit).await,
            _ => Err(Unavailable::new("this store does not know the range")),
        }
    }

    async fn page_after(&self, after: u64, limit: usize, only_messages: bool) -> Result<Page, Unavailable> {
        let limit = limit.clamp(1, MAX_PAGE);
        let mut view = self.known();
        if view.tail.has_states() || after.saturating_add(limit as u64) >= view.tail.head {
            // The page reaches the end of the log, which only the leader knows.
            view = self.look().await?;
        }
        let View { life, tail } = view;
        let from = after.saturating_add(1).max(tail.first());
        if from > tail.head {
            return Ok(Page::new(life.epoch(&self.name), Vec::new()));
        }
        let max_bytes = self.limits.wire.max_batch_bytes;
        let wanted = Wanted { only_messages, limit, max_bytes, ..Wanted::all(from, tail.head + 1) };
        let Collected { entries, more, .. } = self.collect(&life, &wanted).await?;
        let mut messages = self.fold(&life, &tail, entries.into()).await?;
        let is_cut = cut(&mut messages, max_bytes);
        Ok(Page::new(life.epoch(&self.name), messages).with_more(more || is_cut))
    }

    async fn page_before(&self, before: u64, limit: usize) -> Result<Page, Unavailable> {
        let (limit, max_bytes) = (limit.clamp(1, MAX_PAGE), self.limits.wire.max_batch_bytes);
        let mut view = self.known();
        if view.tail.has_states() || before > view.tail.head {
            view = self.look().await?;
        }
        let View { life, tail } = view;
        let (oldest, mut end) = (tail.first(), before.min(tail.head + 1));
        let (mut messages, mut more): (Vec<StoredMessage>, _) = (Vec::new(), false);
        let mut chunk = CHUNKS.0;
        while end > oldest && !more {
            // One more than the page has, so that it knows if there are more.
            let count =
                if tail.has_changes() { chunk } else { chunk.min((limit + 1 - messages.len()) as u64) };
            let begin = end.saturating_sub(count).max(oldest);
            let space = limit - messages.len();
            let wanted = Wanted { limit: space, max_bytes, newest: true, ..Wanted::messages(begin, end) };
            let Collected { entries, more: is_cut, .. } = self.collect(&life, &wanted).await?;
            chunk = if entries.is_empty() { (chunk * 2).min(CHUNKS.1) } else { CHUNKS.0 };
            end = entries.front().filter(|_| is_cut).map_or(begin, |oldest| oldest.seq);
            messages.extend(self.fold(&life, &tail, entries.into()).await?.into_iter().rev());
            // An empty page has no position before which a reader goes on: all its messages are damaged.
            more = cut(&mut messages, max_bytes) || (is_cut && !messages.is_empty());
        }
        messages.reverse();
        Ok(Page::new(life.epoch(&self.name), messages).with_more(more))
    }

    /// Searches the log, message by message.
    pub(super) async fn scan_messages(&self, search: &Search) -> Result<SearchPage, SearchError> {
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

    /// Reads entries as they were stored, oldest first. Those that the log has lost are left out.
    pub(super) async fn collect(&self, life: &Arc<Life>, wanted: &Wanted) -> Result<Collected, Unavailable> {
        let Wanted { from, to, only_messages, .. } = *wanted;
        let place = self.find(life, from).await?;
        let until = Instant::now() + MAX_LAG;
        let mut records = Records::new(self, life, From::Place(place), Some(from));
        let (mut collected, mut next) = (Collected::default(), from);
        loop {
            let count = usize::try_from(to - next).unwrap_or(BATCH).min(BATCH);
            let Found { records: found, more } = records.read(count).await?;
            for record in found {
                let record = match record {
                    Ok(record) => record,
                    Err(unreadable) => {
                        // Retention may have removed it meanwhile.
                        if next >= self.known().tail.first() {
                            let _counted = self.node.unreadable(unreadable);
                        }
                        continue;
                    }
                };
                if !matches!(self.learn(life, &record), Noted::Known { .. }) {
                    // The stream has lost its end, and another node has stored this in the new epoch.
                    return Err(Unavailable::new("the log is starting a new epoch"));
                }
                for entry in record.entries.into_iter().filter(|entry| entry.seq >= from) {
                    if entry.seq >= to {
                        return Ok(collected);
                    }
                    next = entry.seq + 1;
                    if (entry.is_message() || !only_messages) && !collected.push(entry, wanted) {
                        return Ok(collected);
                    }
                }
            }
            if next >= to {
                return Ok(collected);
            }
            if !more {
                wait_for_replica(until).await?;
            }
        }
    }

    /// Returns a place from which reading on meets the message at a position, if the log has it, and few before it.
    pub(super) async fn find(&self, life: &Arc<Life>, seq: u64) -> Result<u64, Unavailable> {
        let (subject, until) = (life.subject(&self.token), Instant::now() + MAX_LAG);
        let (mut guesses, mut limit) = (0, u64::MAX);
        loop {
            let step = self.state.lock().places.step(seq, guesses, limit);
            let (from, high) = match step {
                Step::Read(place) => return Ok(place),
                Step::LookAtOldest => (1, u64::MAX),
                Step::Look(from, high) => (from, high),
            };
            let found = self.first_readable(&subject, from, high, until).await?;
            if let Some(record) = &found {
                self.state.lock().places.found(record.first(), record.place);
                if step == Step::LookAtOldest && record.first() > seq {
                    // The copy may lack older ones, or have them damaged.
                    return Ok(1);
                }
            }
            if found.is_none_or(|record| record.first() > seq) {
                limit = from;
            }
            guesses += 1;
        }
    }

    /// Returns the first record from a place on that is not damaged, or `None` if there is none before the place
    /// `high`. One that is damaged tells no position. Reading on meets it, and asks the leader for it.
    async fn first_readable(
        &self,
        subject: &str,
        mut from: u64,
        high: u64,
        until: Instant,
    ) -> Result<Option<Record>, Unavailable> {
        let mut count = 1;
        while from < high {
            let batch = self.node.link.batch(subject, From::Place(from), count).await?;
            if batch.messages.is_empty() {
                wait_for_replica(until).await?;
            }
            for message in batch.messages {
                if message.place >= high {
                    return Ok(None);
                }
                if let Ok(record) = Record::decode(message.place, message.payload) {
                    return Ok(Some(record));
                }
                (from, count) = (message.place + 1, BATCH);
            }
        }
        Ok(None)
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
        let mut until = Instant::now() + MAX_LAG;
        let mut records = Records::new(self, life, from, next);
        // A scan that has not met the last record is not complete.
        while !matches!(records.from, From::Place(place) if place > to) {
            let Found { records: found, more } = records.read(256).await?;
            if !found.is_empty() {
                until = Instant::now() + MAX_LAG;
            }
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
}

/// Cuts a page to this number of bytes, but not below one entry. Returns true if it was longer.
pub(super) fn cut(messages: &mut Vec<StoredMessage>, max_bytes: usize) -> bool {
    let mut bytes = 0;
    let fits = |stored: &&StoredMessage| {
        bytes += stored.frame.len();
        bytes <= max_bytes
    };
    let fitting = messages.iter().take_while(fits).count().max(1);
    let is_cut = fitting < messages.len();
    messages.truncate(fitting);
    is_cut
}

/// Waits a little for a server that has not the end of the log yet.
pub(super) async fn wait_for_replica(until: Instant) -> Result<(), Unavailable> {
    if Instant::now() > until {
        return Err(Unavailable::new("the servers that answer are behind the leader of the stream"));
    }
    sleep(LAG_PAUSE).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::record::Content;

    /// Returns the positions that are left of 100 messages of this many bytes, if a page takes up to 7 or 1,000 bytes.
    fn page(bytes: usize, newest: bool) -> Vec<u64> {
        let wanted = Wanted { limit: 7, max_bytes: 1_000, newest, ..Wanted::messages(1, 101) };
        let mut collected = Collected::default();
        for seq in 1..=100 {
            let frame = Bytes::from(vec![b'x'; bytes]);
            let content = Content::Message { frame, is_guest: false, connection: None };
            let goes_on = collected.push(Entry { seq, at: 0, key: None, content }, &wanted);
            let (length, sum) = (collected.entries.len(), collected.entries.len() * bytes);
            assert!(length <= 7 && (sum <= 1_000 || length == 1), "{length} messages in memory");
            if !goes_on {
                break;
            }
        }
        assert!(collected.more);
        collected.entries.iter().map(|entry| entry.seq).collect()
    }

    #[test]
    fn a_page_has_the_oldest_or_the_newest_messages_within_its_limits() {
        for (bytes, count) in [(10, 7), (300, 3), (500, 2), (501, 1), (5_000, 1)] {
            assert_eq!(page(bytes, false), (1..=count).collect::<Vec<_>>());
            assert_eq!(page(bytes, true), (101 - count..=100).collect::<Vec<_>>());
        }
    }
}
