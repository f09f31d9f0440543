//! A search through the index of a node, if there is one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chat_core::{Scan, Search, SearchError, SearchPage, StoredMessage, Unavailable};
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::Instant;

use crate::life::Life;
use crate::link::From;
use crate::record::Entry;
use crate::search::Question;
use crate::stats::count;

use super::read::{MAX_LAG, MAX_SEARCHED, wait_for_replica};
use super::records::{Found, Records};
use super::state::{Noted, Tail};
use super::{SharedRoom, View};

/// The candidates in one answer of an index.
const CANDIDATES: usize = 256;

/// The candidates that are read together, newest first.
const CHUNK: usize = 32;

/// The records that are read at the same time.
const MAX_READS: usize = 16;

impl SharedRoom {
    /// Searches the log: the messages that an index names, or without an index one message after the other.
    pub(crate) async fn find_messages(&self, search: &Search) -> Result<SearchPage, SearchError> {
        if let Some(page) = self.find_indexed(search).await? {
            return Ok(page);
        }
        count(&self.node.counters.scans, 1);
        self.scan_messages(search).await
    }

    /// Searches through an index. Returns `None` if none answers.
    async fn find_indexed(&self, search: &Search) -> Result<Option<SearchPage>, SearchError> {
        // Each message that was acknowledged before is before this end.
        let View { life, tail } = self.look().await?;
        let mut scan = Scan::new(search, &self.limits);
        let (mut before, mut examined) = (search.before.unwrap_or(u64::MAX).min(tail.head + 1), 0);
        while before > tail.first() {
            let question = Question {
                source: life.source(),
                room: self.token.clone(),
                query: search.query.clone(),
                before,
                limit: CANDIDATES,
                place: tail.place,
            };
            let found = self.node.candidates(&question).await.filter(|found| found.down_to < before);
            let Some(found) = found else { return Ok(None) };
            let mut positions = found.positions;
            positions.retain(|(seq, _)| (tail.first()..before).contains(seq));
            for chunk in positions.chunks(CHUNK) {
                for stored in self.messages_at(&life, &tail, chunk).await? {
                    if !scan.look(&stored) {
                        return Ok(Some(scan.finish()));
                    }
                }
                examined += chunk.len();
                if examined >= MAX_SEARCHED {
                    return Err(SearchError::TooExpensive);
                }
            }
            before = found.down_to;
        }
        Ok(Some(scan.finish()))
    }

    /// Reads the messages at some positions in their present form, newest first. A position without a message is left
    /// out. With each position comes the place of its record, or an earlier one.
    async fn messages_at(
        &self,
        life: &Arc<Life>,
        tail: &Tail,
        positions: &[(u64, u64)],
    ) -> Result<Vec<StoredMessage>, Unavailable> {
        let mut records: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
        for (seq, place) in positions {
            records.entry(*place).or_default().insert(*seq);
        }
        let reads = stream::iter(records).map(|(place, seqs)| self.entries_at(life, place, seqs));
        let read: Vec<_> = reads.buffer_unordered(MAX_READS).try_collect().await?;
        let mut entries: Vec<Entry> = read.into_iter().flatten().collect();
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.seq));
        self.fold(life, tail, entries).await
    }

    /// Reads the messages at some positions, of which none is before the record at a place.
    async fn entries_at(
        &self,
        life: &Arc<Life>,
        place: u64,
        mut seqs: BTreeSet<u64>,
    ) -> Result<Vec<Entry>, Unavailable> {
        let until = Instant::now() + MAX_LAG;
        let mut records = Records::new(self, life, From::Place(place), seqs.first().copied());
        let (mut entries, mut count) = (Vec::new(), 1);
        while !seqs.is_empty() {
            let Found { records: found, .. } = records.read(count).await?;
            if found.is_empty() {
                wait_for_replica(until).await?;
            }
            for record in found {
                let record = match record {
                    Ok(record) => record,
                    Err(unreadable) => {
                        // Retention may have removed it.
                        if seqs.first().is_some_and(|seq| *seq >= self.known().tail.first()) {
                            let _counted = self.node.unreadable(unreadable);
                        }
                        continue;
                    }
                };
                if !matches!(self.learn(life, &record), Noted::Known { .. }) {
                    return Err(Unavailable::new("the log is starting a new epoch"));
                }
                let last = record.last();
                let wanted = record.entries.into_iter().filter(|entry| seqs.contains(&entry.seq));
                entries.extend(wanted.filter(Entry::is_message));
                seqs.retain(|seq| *seq > last);
            }
            // Positions without an entry in the index may be far from the place.
            count = (count * 4).min(64);
        }
        Ok(entries)
    }
}
