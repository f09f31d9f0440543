//! The records that a writer reads before it appends: those within the key window.

use std::ops::Range;
use std::sync::Arc;

use chat_core::Unavailable;
use futures_util::{StreamExt, stream};
use tokio::time::Instant;

use crate::life::Life;
use crate::link::{From, Stored};
use crate::record::{KeyUse, MAX_ENTRIES, Record};

use super::SharedRoom;
use super::read::{MAX_LAG, wait_for_replica};

/// The positions at which copies begin that one request reads, and the requests at the same time.
const COPIES: u64 = 256;
const MAX_ASKING: usize = 4;

/// The records that may have keys which are remembered.
pub(super) struct KeyRecords {
    /// Records that were replaced, newest first. `None` is one that cannot be read.
    pub(super) copies: Vec<Option<RecordKeys>>,
    /// The place and the position of the first record after them. It may be replaced before it is read again.
    pub(super) from: From,
    pub(super) next: Option<u64>,
}

/// The keys of a record.
pub(super) struct RecordKeys {
    /// The time of the last entry.
    pub(super) at: u64,
    /// The uses, each with the position and the time of its entry.
    pub(super) uses: Vec<(KeyUse, u64, u64)>,
}

impl RecordKeys {
    pub(super) fn of(record: &Record) -> Self {
        let uses = record.entries.iter().filter_map(|entry| Some((entry.key?, entry.seq, entry.at)));
        Self { at: record.at(), uses: uses.collect() }
    }
}

impl SharedRoom {
    /// Returns the first record that is not before a time, and the keys of the records right before it that were
    /// replaced, as far as they are not before the time either. `end` is the place of the last record, which is not.
    pub(super) async fn key_records(
        &self,
        life: &Arc<Life>,
        time: u64,
        end: u64,
    ) -> Result<KeyRecords, Unavailable> {
        let (place, first) = self.first_since(&life.subject(&self.token), time, end).await?;
        let (from, next) = (From::Place(place), first.as_ref().map(Record::first));
        let copies = match next {
            Some(first) => self.copies_before(life, first, time).await?,
            None => Vec::new(),
        };
        Ok(KeyRecords { copies, from, next })
    }

    /// Returns the place of the first record that the stream has and that is not before a time. The record is `None` if
    /// it cannot be read.
    async fn first_since(
        &self,
        subject: &str,
        time: u64,
        end: u64,
    ) -> Result<(u64, Option<Record>), Unavailable> {
        let is_before = |record: &Option<Record>| record.as_ref().is_some_and(|record| record.at() < time);
        let mut low = match self.first_in_copy(subject, From::Time(time)).await? {
            Some(found) if !is_before(&found.1) => return Ok(found),
            // An import has stored it.
            Some((place, _)) => place,
            // The clock of the stream's leader was far behind those of the nodes, or the copy is behind.
            None => 0,
        };
        // The records are in the order of the times of their entries.
        let (mut high, mut found) = (end, self.first_at(subject, end).await?);
        while low + 1 < high {
            let middle = low + (high - low) / 2;
            let next = self.first_at(subject, middle).await?;
            if is_before(&next.1) {
                low = next.0;
            } else {
                (high, found) = (middle, next);
            }
        }
        Ok(found)
    }

    /// Returns the first record that the stream has from a place on.
    async fn first_at(&self, subject: &str, place: u64) -> Result<(u64, Option<Record>), Unavailable> {
        let until = Instant::now() + MAX_LAG;
        loop {
            if let Some(first) = self.first_in_copy(subject, From::Place(place)).await? {
                return Ok(first);
            }
            wait_for_replica(until).await?;
        }
    }

    /// Returns the first record that some copy of the stream has from a place or a time on.
    async fn first_in_copy(
        &self,
        subject: &str,
        from: From,
    ) -> Result<Option<(u64, Option<Record>)>, Unavailable> {
        let batch = self.node.link.batch(subject, from, 1).await?;
        let Some(Stored { place, payload, .. }) = batch.messages.into_iter().next() else { return Ok(None) };
        Ok(Some((place, self.record(subject, place, payload).await?.ok())))
    }

    /// Returns the keys of the records right before a position that were replaced, newest first, up to one before a
    /// time. The time at which a copy was stored says nothing.
    async fn copies_before(
        &self,
        life: &Arc<Life>,
        mut begin: u64,
        time: u64,
    ) -> Result<Vec<Option<RecordKeys>>, Unavailable> {
        let mut copies = Vec::new();
        if begin <= 1 {
            return Ok(copies);
        }
        let Some(least) = self.least(life).await? else { return Ok(copies) };
        let (mut end, mut count) = (begin, 1);
        while begin > 1 && end > 1 {
            let firsts: Vec<_> = std::iter::from_fn(|| before(&mut end)).take(count).collect();
            let read = |firsts: Range<u64>| async move {
                Ok::<_, Unavailable>((firsts.start, self.copies_at(life, firsts, least).await?))
            };
            let mut found = stream::iter(firsts).map(read).buffered(MAX_ASKING);
            while let Some(found) = found.next().await {
                let (low, found) = found?;
                for (first, copy) in found.into_iter().rev() {
                    let copy = copy.map_err(|unreadable| drop(self.node.unreadable(unreadable))).ok();
                    if copy.as_ref().is_some_and(|copy| copy.last() + 1 < begin || copy.at() < time) {
                        return Ok(copies);
                    }
                    begin = first;
                    copies.push(copy.as_ref().map(RecordKeys::of));
                }
                // The record before it may begin further ahead.
                if begin >= low + MAX_ENTRIES as u64 {
                    return Ok(copies);
                }
            }
            count = MAX_ASKING;
        }
        Ok(copies)
    }
}

/// Returns the positions before one, as many as one request reads, and goes on before them.
fn before(end: &mut u64) -> Option<Range<u64>> {
    let begin = end.saturating_sub(COPIES).max(1);
    let firsts = begin..*end;
    *end = begin;
    (!firsts.is_empty()).then_some(firsts)
}
