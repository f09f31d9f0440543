//! Records that are stored again without the texts of deleted messages.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use chat_core::Unavailable;
use tokio::time::Instant;

use crate::life::Life;
use crate::link::{AppendRefused, From, Part};
use crate::node::ValidPlaces;
use crate::record::{Content, Record, Unreadable};

use super::SharedRoom;
use super::erase::Failed;
use super::read::{MAX_LAG, wait_for_replica};
use super::records::Records;

/// The tries to replace a record that other nodes replace at the same time.
const MAX_TRIES: usize = 32;

/// The copies that are stored together, and their bytes, at most. One copy may have more.
const TOGETHER: (usize, usize) = (16, 256 * 1024);

/// The positions within which reading on costs less than to look for a record.
const NEAR: u64 = 128;

/// The records in one request, if further ones that are needed are near, and if not.
const BATCH: (usize, usize) = (64, 8);

/// A record whose texts of deleted messages are to be removed from the stream.
struct Replacement {
    /// The record without the texts: as it was stored first, or as its newest copy.
    record: Record,
    /// True if that copy has to be stored.
    is_new: bool,
    /// True if the stream may have copies before the newest one.
    has_copies: bool,
}

impl Replacement {
    /// Removes the texts of some messages from a record.
    fn new(mut record: Record, frames: &BTreeMap<u64, Bytes>) -> Self {
        let mut is_new = false;
        for entry in &mut record.entries {
            if let (Content::Message { frame, .. }, Some(erased)) =
                (&mut entry.content, frames.get(&entry.seq))
            {
                is_new |= frame != erased;
                frame.clone_from(erased);
            }
        }
        let has_copies = record.copy.is_some();
        Self { record, is_new, has_copies }
    }

    /// Returns the copy as a message of the stream. It is stored only if no other node has stored one meanwhile.
    fn part(&self, room: &SharedRoom, life: &Life) -> Part {
        let subject = life.copy_subject(&room.token, self.record.first());
        let copy = Record { copy: Some(0), ..self.record.clone() };
        Part { subject, last: Some(self.record.copy.unwrap_or_default()), payload: copy.encode() }
    }
}

/// A reader of records that are needed one after the other.
struct Reading<'a> {
    records: Records<'a>,
    ahead: VecDeque<Result<Record, Unreadable>>,
}

impl SharedRoom {
    /// Stores the records of deleted messages again with these events in the places of those with texts, and removes
    /// their first forms. Returns the messages whose records cannot be read.
    pub(super) async fn replace(
        &self,
        life: &Arc<Life>,
        places: &ValidPlaces,
        frames: BTreeMap<u64, Bytes>,
    ) -> Result<Failed, Unavailable> {
        let (records, mut failed) = self.records_with(life, &frames).await?;
        let replacements: Vec<_> =
            records.into_iter().map(|record| Replacement::new(record, &frames)).collect();
        let (new, mut replaced): (Vec<_>, Vec<_>) =
            replacements.into_iter().partition(|replacement| replacement.is_new);
        let mut left = VecDeque::from(new);
        while !left.is_empty() {
            let (mut together, mut parts, mut bytes) = (Vec::new(), Vec::new(), 0);
            while let Some(next) = left.pop_front() {
                let part = next.part(self, life);
                bytes += part.payload.len();
                if !parts.is_empty() && (parts.len() >= TOGETHER.0 || bytes > TOGETHER.1) {
                    left.push_front(next);
                    break;
                }
                together.push(next);
                parts.push(part);
            }
            replaced.extend(self.store_copies(life, together, &parts, (&frames, &mut failed)).await?);
        }
        // All copies are there, so that a reader who meets a hole finds the one that replaces it.
        let first_forms = replaced.iter().map(|replacement| replacement.record.place).collect();
        self.remove(places, first_forms).await?;
        for Replacement { record, has_copies, .. } in &replaced {
            if let (true, Some(copy)) = (has_copies, record.copy) {
                let subject = life.copy_subject(&self.token, record.first());
                self.erase_before(places, &subject, copy).await?;
            }
        }
        Ok(failed)
    }

    /// Stores copies, together if nobody else replaces one of the records. Returns them with their places.
    async fn store_copies(
        &self,
        life: &Arc<Life>,
        mut copies: Vec<Replacement>,
        parts: &[Part],
        (frames, failed): (&BTreeMap<u64, Bytes>, &mut Failed),
    ) -> Result<Vec<Replacement>, Unavailable> {
        let highest = life.highest();
        if let Ok(last) = self.node.link.append_each(parts).await {
            let first = (last + 1).saturating_sub(parts.len() as u64);
            if first <= highest {
                return Err(self.lose(life));
            }
            for (place, replacement) in (first..).zip(&mut copies) {
                replacement.record.copy = Some(place);
            }
            return Ok(copies);
        }
        let mut stored = Vec::with_capacity(copies.len());
        for Replacement { record, .. } in copies {
            let seqs = record.first()..=record.last();
            match self.store_copy(life, record, frames).await? {
                Ok(replacement) => stored.push(replacement),
                Err(unreadable) => {
                    let error = self.node.unreadable(unreadable);
                    failed.extend(frames.range(seqs).map(|(seq, _)| (*seq, error.clone())));
                }
            }
        }
        Ok(stored)
    }

    /// Stores the copy of a record, whatever other nodes store meanwhile. If the newest copy is damaged, nothing is
    /// stored.
    async fn store_copy(
        &self,
        life: &Arc<Life>,
        record: Record,
        frames: &BTreeMap<u64, Bytes>,
    ) -> Result<Result<Replacement, Unreadable>, Unavailable> {
        let subject = life.copy_subject(&self.token, record.first());
        for _ in 0..MAX_TRIES {
            let newest = match self.node.link.last(&subject).await? {
                Some((place, bytes)) => match Record::decode(place, bytes) {
                    Ok(copy) => copy,
                    Err(unreadable) => return Ok(Err(unreadable)),
                },
                None => Record { copy: None, ..record.clone() },
            };
            let mut replacement = Replacement::new(newest, frames);
            if !replacement.is_new && replacement.has_copies {
                return Ok(Ok(replacement));
            }
            let highest = life.highest();
            match self.node.link.append_each(&[replacement.part(self, life)]).await {
                Ok(place) if place > highest => {
                    replacement.record.copy = Some(place);
                    return Ok(Ok(replacement));
                }
                Ok(_) => return Err(self.lose(life)),
                Err(AppendRefused::Rejected(error)) => return Err(error.into()),
                // Another node has replaced it, or the answer is lost.
                Err(_) => wait_for_replica(Instant::now() + MAX_LAG).await?,
            }
        }
        Err(Unavailable::new("a record could not be replaced"))
    }

    /// Notes that the stream has lost its end. Other messages may be at the places that are known.
    pub(super) fn lose(&self, life: &Life) -> Unavailable {
        life.lose();
        self.node.nudge();
        Unavailable::new("the log has lost its end")
    }

    /// Reads the records with these messages. Those that retention has removed are left out. Returns the messages whose
    /// records cannot be read, too.
    async fn records_with(
        &self,
        life: &Arc<Life>,
        frames: &BTreeMap<u64, Bytes>,
    ) -> Result<(Vec<Record>, Failed), Unavailable> {
        let (mut records, mut failed): (Vec<Record>, _) = (Vec::new(), Failed::default());
        let mut reading = None;
        let mut seqs = frames.keys().copied().peekable();
        while let Some(seq) = seqs.next() {
            if records.last().is_some_and(|record| record.last() >= seq) {
                continue;
            }
            let is_near = seqs.peek().is_some_and(|next| next - seq <= NEAR);
            let count = if is_near { BATCH.0 } else { BATCH.1 };
            match self.record_with(life, seq, &mut reading, count).await? {
                Ok(record) => records.push(record),
                // Retention has removed it.
                Err(_) if seq < self.known().tail.first() => {}
                Err(unreadable) => drop(failed.insert(seq, self.node.unreadable(unreadable))),
            }
        }
        Ok((records, failed))
    }

    /// Reads on to the record with an entry, or looks for it.
    async fn record_with<'a>(
        &'a self,
        life: &Arc<Life>,
        seq: u64,
        reading: &mut Option<Reading<'a>>,
        count: usize,
    ) -> Result<Result<Record, Unreadable>, Unavailable> {
        let until = Instant::now() + MAX_LAG;
        let is_near = |reading: &Reading<'_>| {
            let next = reading.ahead.iter().flatten().next().map(Record::first);
            next.or(reading.records.next).is_some_and(|next| next <= seq && seq - next <= NEAR)
        };
        let reading = match reading.take().filter(is_near) {
            Some(near) => reading.insert(near),
            None => {
                let from = From::Place(self.find(life, seq).await?);
                let records = Records::new(self, life, from, Some(seq));
                reading.insert(Reading { records, ahead: VecDeque::new() })
            }
        };
        let mut unreadable = None;
        loop {
            while let Some(record) = reading.ahead.pop_front() {
                match record {
                    Err(damaged) => unreadable = Some(damaged),
                    Ok(record) if record.last() < seq => unreadable = None,
                    Ok(record) if record.first() <= seq => return Ok(Ok(record)),
                    Ok(record) => {
                        let place = record.place;
                        reading.ahead.push_front(Ok(record));
                        return Ok(Err(unreadable.unwrap_or(Unreadable { place })));
                    }
                }
            }
            let found = reading.records.read(count).await?;
            if found.records.is_empty() {
                wait_for_replica(until).await?;
            }
            reading.ahead.extend(found.records);
        }
    }
}
