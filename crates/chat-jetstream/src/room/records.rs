use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use chat_core::Unavailable;
use tokio::time::Instant;

use crate::life::Life;
use crate::link::From;
use crate::record::{MAX_ENTRIES, Record, Unreadable};

use super::SharedRoom;
use super::read::{MAX_LAG, wait_for_replica};

/// The positions from one that is missing on whose copies are read together.
const MAX_AHEAD: u64 = 256;

/// The records of a room in their order. One that a copy of the stream lacks or has damaged comes from the leader. In
/// the place of a record with the text of a deleted message is the record that replaces it.
pub(super) struct Records<'a> {
    room: &'a SharedRoom,
    life: Arc<Life>,
    subject: String,
    pub(super) from: From,
    /// The position at which the next record begins, or after which it begins.
    pub(super) next: Option<u64>,
    copies: Copies,
}

/// Copies of records that were replaced.
#[derive(Debug, Default)]
struct Copies {
    records: Vec<Record>,
    /// A copy that is damaged. It may be that of any record without one.
    damaged: Option<Unreadable>,
}

impl Copies {
    /// Returns the copy with a position.
    fn of(&self, seq: u64) -> Option<&Record> {
        self.records.iter().find(|copy| (copy.first()..=copy.last()).contains(&seq))
    }
}

/// The next records. One that the leader lacks too, or has damaged, is an error.
pub(super) struct Found {
    pub(super) records: Vec<Result<Record, Unreadable>>,
    /// True if the copy that has answered has more.
    pub(super) more: bool,
}

impl<'a> Records<'a> {
    /// Begins to read. If the position of the next message is known, no record before it is left out.
    pub(super) fn new(room: &'a SharedRoom, life: &Arc<Life>, from: From, next: Option<u64>) -> Self {
        let (subject, copies) = (life.subject(&room.token), Copies::default());
        Self { room, life: Arc::clone(life), subject, from, next, copies }
    }

    pub(super) async fn read(&mut self, count: usize) -> Result<Found, Unavailable> {
        let batch = self.room.node.link.batch(&self.subject, self.from, count).await?;
        let mut records = Vec::with_capacity(batch.messages.len());
        for message in batch.messages {
            let place = message.place;
            let record = self.room.record(&self.subject, place, message.payload).await?;
            if let Ok(record) = &record
                && self.next.is_some_and(|next| record.first() > next)
            {
                self.fill(record, &mut records).await?;
            }
            self.next = record.as_ref().ok().map(|record| record.last() + 1);
            self.from = From::Place(place + 1);
            records.push(record);
        }
        Ok(Found { records, more: batch.more })
    }

    /// Asks the leader for the records that are missing before this one, and reads the copies of those that were
    /// replaced.
    async fn fill(
        &mut self,
        end: &Record,
        records: &mut Vec<Result<Record, Unreadable>>,
    ) -> Result<(), Unavailable> {
        let (From::Place(mut place), Some(mut next)) = (self.from, self.next) else { return Ok(()) };
        while next < end.first() {
            if let Some(copy) = self.copies.of(next) {
                (place, next) = (place.max(copy.place + 1), copy.last() + 1);
                records.push(Ok(copy.clone()));
                continue;
            }
            let found = self.room.node.link.next(&self.subject, place).await?;
            let found =
                found.filter(|(at, _)| *at < end.place).map(|(at, bytes)| (at, Record::decode(at, bytes)));
            // One that is damaged may have any of the positions.
            let begin = match &found {
                Some((_, Ok(record))) => record.first(),
                Some((_, Err(_))) => next,
                None => end.first(),
            };
            while next < begin {
                if self.copies.of(next).is_none() {
                    self.copies = self.room.copies(&self.life, next, MAX_AHEAD).await?;
                }
                match self.copies.of(next) {
                    Some(copy) => {
                        next = copy.last() + 1;
                        records.push(Ok(copy.clone()));
                    }
                    None => {
                        next = begin;
                        records.push(Err(self.copies.damaged.unwrap_or(Unreadable { place })));
                    }
                }
            }
            let Some((at, record)) = found else { return Ok(()) };
            place = at + 1;
            next = record.as_ref().map_or(end.first(), |record| record.last() + 1);
            records.push(record);
        }
        Ok(())
    }
}

impl SharedRoom {
    /// Reads a record that a copy of the stream has. If it is damaged there, asks the leader.
    pub(crate) async fn record(
        &self,
        subject: &str,
        place: u64,
        bytes: Bytes,
    ) -> Result<Result<Record, Unreadable>, Unavailable> {
        if let Ok(record) = Record::decode(place, bytes) {
            return Ok(Ok(record));
        }
        Ok(match self.node.link.next(subject, place).await? {
            Some((at, bytes)) if at == place => Record::decode(place, bytes),
            _ => Err(Unreadable { place }),
        })
    }

    /// Returns the copies of the records with a position and some later ones.
    async fn copies(&self, life: &Arc<Life>, seq: u64, count: u64) -> Result<Copies, Unavailable> {
        let Some(least) = self.least(life).await? else { return Ok(Copies::default()) };
        let firsts = seq.saturating_sub(MAX_ENTRIES as u64 - 1).max(1)..seq.saturating_add(count);
        let mut copies = Copies::default();
        for (_, copy) in self.copies_at(life, firsts, least).await? {
            match copy {
                Ok(record) => copies.records.push(record),
                Err(unreadable) => copies.damaged = Some(unreadable),
            }
        }
        Ok(copies)
    }

    /// Returns the place up to which a copy of the stream has the copies of all records that are removed now, or `None`
    /// without a stream. The leader has the copy of a record before it removes the record.
    pub(super) async fn least(&self, life: &Life) -> Result<Option<u64>, Unavailable> {
        // A server that is not the leader any more may have answered.
        let info = self.node.link.info().await?;
        Ok(info.map(|info| info.state.last_seq.max(life.highest())))
    }

    /// Returns the copies of the records that begin at some positions, oldest first, each with its position.
    pub(super) async fn copies_at(
        &self,
        life: &Arc<Life>,
        firsts: Range<u64>,
        least: u64,
    ) -> Result<Vec<(u64, Result<Record, Unreadable>)>, Unavailable> {
        let until = Instant::now() + MAX_LAG;
        let known = life.subject(&self.token);
        let subjects: Vec<_> = firsts.map(|first| life.copy_subject(&self.token, first)).collect();
        let messages = loop {
            match self.node.link.last_of(subjects.clone(), &known, least).await? {
                Some(messages) => break messages,
                None => wait_for_replica(until).await?,
            }
        };
        let mut copies = Vec::with_capacity(messages.len());
        for copy in messages {
            let first = copy.subject.rsplit('.').next().and_then(|first| first.parse().ok());
            let unreadable = Unreadable { place: copy.place };
            let record = match Record::decode(copy.place, copy.payload) {
                Ok(record) => Ok(record),
                // The leader may have it undamaged.
                Err(_) => match self.node.link.last(&copy.subject).await? {
                    Some((place, bytes)) => Record::decode(place, bytes).map_err(|_| unreadable),
                    None => continue,
                },
            };
            copies.extend(first.map(|first| (first, record)));
        }
        copies.sort_unstable_by_key(|(first, _)| *first);
        Ok(copies)
    }
}
