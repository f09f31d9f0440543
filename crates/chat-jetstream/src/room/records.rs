use bytes::Bytes;
use chat_core::Unavailable;

use crate::link::From;
use crate::record::{Record, Unreadable};

use super::SharedRoom;

/// The records of a room in their order. One that a copy of the stream lacks or has damaged comes from the leader.
pub(super) struct Records<'a> {
    room: &'a SharedRoom,
    subject: String,
    pub(super) from: From,
    /// The position at which the next record begins, or after which it begins.
    next: Option<u64>,
}

/// The next records. One that the leader lacks too, or has damaged, is an error.
pub(super) struct Found {
    pub(super) records: Vec<Result<Record, Unreadable>>,
    /// True if the copy that has answered has more.
    pub(super) more: bool,
}

impl<'a> Records<'a> {
    /// Begins to read. If the position of the next message is known, no record before it is left out.
    pub(super) fn new(room: &'a SharedRoom, subject: String, from: From, next: Option<u64>) -> Self {
        Self { room, subject, from, next }
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

    /// Asks the leader for the records that are missing before this one.
    async fn fill(
        &self,
        end: &Record,
        records: &mut Vec<Result<Record, Unreadable>>,
    ) -> Result<(), Unavailable> {
        let (From::Place(mut place), Some(mut next)) = (self.from, self.next) else { return Ok(()) };
        while let Some((at, bytes)) = self.room.node.link.next(&self.subject, place).await?
            && at < end.place
        {
            let record = Record::decode(at, bytes);
            next = record.as_ref().map_or(end.first(), |record| record.last() + 1);
            records.push(record);
            place = at + 1;
        }
        if next < end.first() {
            records.push(Err(Unreadable { place }));
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
}
