//! Old messages of a room, which are removed although nobody writes to it.

use std::sync::Arc;

use bytes::Bytes;
use chat_core::{RoomName, Unavailable};

use crate::life::Life;
use crate::link::AppendRefused;
use crate::record::{LogEnd, Record};

use super::state::{Tail, Unfinished};
use super::{SharedRoom, States, View};

/// The tries to move the oldest position while others write to the room.
const TRIES: u32 = 16;

/// A record whose entries are too old, and which may be followed by others of its room.
#[derive(Clone, Debug)]
pub(crate) struct Due {
    pub(crate) name: RoomName,
    pub(crate) place: u64,
    /// The position of its last entry.
    pub(crate) last: u64,
}

impl SharedRoom {
    /// Moves the oldest position behind the entries of a record, so that no node returns them any more. Returns the
    /// number of positions by which it moves.
    pub(crate) async fn hide(self: &Arc<Self>, life: &Arc<Life>, due: &Due) -> Result<usize, Unavailable> {
        for _ in 0..TRIES {
            let tail = self.end_in(life, due).await?;
            if tail.oldest > due.last {
                return Ok(0);
            }
            let oldest = due.last + 1;
            let unfinished = self.state.lock().unfinished();
            let mut trim = tail.trimmed(&self.name, oldest, unfinished);
            let (subject, highest) = (life.subject(&self.token), life.highest());
            match self.node.link.append(&subject, tail.place, trim.encode(), &[]).await {
                Ok(place) if place > highest => {
                    trim.place = place;
                    self.hear(life, &trim, &States::default());
                    return Ok(usize::try_from(oldest - tail.first()).unwrap_or(usize::MAX));
                }
                Ok(_) => {
                    // A place that was given out before: the stream has lost its end.
                    life.lose();
                    self.node.nudge();
                    return Err(lost());
                }
                Err(AppendRefused::WrongSequence) => {}
                Err(AppendRefused::Rejected(error)) => return Err(error.into()),
                Err(AppendRefused::NoLeader | AppendRefused::Unknown) => {
                    return Err(Unavailable::new("the stream did not store the oldest position"));
                }
            }
        }
        Err(Unavailable::new("the room is written to all the time"))
    }

    /// Removes a record and those before it, which cannot be read any more, from the stream. Copies that are not before
    /// a time stay, because they have keys. Returns the number of records.
    pub(crate) async fn forget(
        self: &Arc<Self>,
        life: &Arc<Life>,
        due: &Due,
        time: u64,
    ) -> Result<usize, Unavailable> {
        let places = self.node.places(life);
        let tail = self.end_in(life, due).await?;
        // The last record stays, whatever its age is: it is the end of the log.
        let cut = (due.place + 1).min(tail.place);
        if tail.oldest <= due.last || cut <= 1 {
            return Ok(0);
        }
        if tail.has_states() {
            self.remove_states(life, cut, time).await?;
        }
        // The stream may have lost its end meanwhile.
        self.end_in(life, due).await?;
        self.node.purge(&places, &life.subject(&self.token), cut).await
    }

    /// Asks the leader for the end of the log, which has a record in this life.
    async fn end_in(&self, life: &Arc<Life>, due: &Due) -> Result<Tail, Unavailable> {
        self.node.connection.wait().await?;
        if !self.node.compare().await {
            return Err(Unavailable::new("the stream was not compared since the connection was lost"));
        }
        let View { life: known, tail } = self.look().await?;
        if !Arc::ptr_eq(&known, life) || life.is_lost() || tail.place < due.place || tail.head < due.last {
            return Err(lost());
        }
        Ok(tail)
    }
}

impl Tail {
    /// Returns a record after this end that only moves the oldest position.
    fn trimmed(&self, room: &RoomName, oldest: u64, unfinished: Unfinished) -> Record {
        let Self { id, head, at, messages, has_threads, ruled, acted, .. } = *self;
        let Unfinished { erasing, purges } = unfinished;
        let (room, pins) = (Bytes::copy_from_slice(room.as_str().as_bytes()), self.pins.iter().copied());
        Record {
            id,
            previous: id,
            room,
            oldest,
            messages,
            has_threads,
            ruled,
            acted,
            pins: pins.filter(|seq| *seq >= oldest).collect(),
            erasing,
            purges,
            trim: Some(LogEnd { seq: head, at }),
            ..Record::default()
        }
    }
}

fn lost() -> Unavailable {
    Unavailable::new("the log has another end")
}
