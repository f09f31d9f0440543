use std::ops::Range;
use std::sync::Arc;

use chat_core::Unavailable;
use tokio::time::Instant;

use crate::life::{Life, Subject};
use crate::link::{From, Stored};
use crate::record::Record;

use super::SharedRoom;
use super::read::{MAX_LAG, wait_for_replica};

/// The positions whose states and copies are looked for in one request.
const BATCH: u64 = 512;

/// The positions before the oldest record whose copies are always looked for. Those before are looked for as long as
/// there are some.
const LEFT: u64 = if cfg!(test) { 64 } else { 8_192 };

impl SharedRoom {
    /// Removes the records from the stream that are below a position and older than a time.
    pub(super) async fn remove_before(
        &self,
        life: &Arc<Life>,
        oldest: u64,
        time: u64,
    ) -> Result<(), Unavailable> {
        let (subject, places) = (life.subject(&self.token), self.node.places(life));
        let place = self.find(life, oldest).await?;
        let recent = self.node.link.batch(&subject, From::Time(time), 1).await?;
        // Without an answer, the copy may be behind.
        let Some(first) = recent.messages.first() else { return Ok(()) };
        let cut = place.min(first.place);
        if self.known().tail.has_states() {
            self.remove_states(life, cut, time).await?;
        }
        self.node.purge(&places, &subject, cut).await?;
        Ok(())
    }

    /// Removes the states and the copies of the records before a place, which are removed then. The time at which a
    /// copy was stored says nothing, so those stay whose entries are not before the time.
    pub(super) async fn remove_states(
        &self,
        life: &Arc<Life>,
        cut: u64,
        time: u64,
    ) -> Result<(), Unavailable> {
        let (known, places) = (life.subject(&self.token), &self.node.places(life));
        let (Some(begin), Some(end)) =
            (self.first_from(&known, 0).await?, self.first_from(&known, cut).await?)
        else {
            return Ok(());
        };
        let (end, least) = (end.min(self.known().tail.first()), self.known().tail.place);
        let begin = self.first_copy(life, begin, least).await?;
        for seqs in parts(begin..end) {
            for stored in self.states_of(life, seqs, least).await? {
                if let Some(Subject::State { seq, .. }) = life.read(&stored.subject) {
                    self.remove_thread((life, places), seq, &stored).await?;
                }
                let copy = Record::decode(stored.place, stored.payload).ok();
                if copy.is_some_and(|copy| copy.last() >= end || copy.at() >= time) {
                    continue;
                }
                self.node.purge(places, &stored.subject, stored.place + 1).await?;
            }
        }
        Ok(())
    }

    /// Returns a position before which there are no copies and states. The oldest records may be copies: their
    /// positions end where those of the oldest record begin, and a record has fewer than one request looks for.
    async fn first_copy(&self, life: &Arc<Life>, oldest: u64, least: u64) -> Result<u64, Unavailable> {
        let mut begin = oldest.saturating_sub(LEFT).max(1);
        while begin > 1 {
            let before = begin.saturating_sub(BATCH).max(1);
            if self.states_of(life, before..begin, least).await?.is_empty() {
                break;
            }
            begin = before;
        }
        Ok(begin)
    }

    /// Returns the states and the copies at some positions, from a copy of the stream that has a place.
    async fn states_of(
        &self,
        life: &Arc<Life>,
        seqs: Range<u64>,
        least: u64,
    ) -> Result<Vec<Stored>, Unavailable> {
        let (known, until) = (life.subject(&self.token), Instant::now() + MAX_LAG);
        let subjects =
            seqs.flat_map(|seq| [life.state_subject(&self.token, seq), life.copy_subject(&self.token, seq)]);
        let subjects: Vec<_> = subjects.collect();
        loop {
            match self.node.link.last_of(subjects.clone(), &known, least).await? {
                Some(stored) => return Ok(stored),
                None => wait_for_replica(until).await?,
            }
        }
    }

    /// Returns the first position of the first record that is not before a place. One that is damaged has no known
    /// position, and is left out: it must not keep those before it in the stream.
    async fn first_from(&self, subject: &str, mut place: u64) -> Result<Option<u64>, Unavailable> {
        while let Some((found, bytes)) = self.node.link.next(subject, place).await? {
            match Record::decode(found, bytes) {
                Ok(record) => return Ok(Some(record.first())),
                Err(_) => place = found + 1,
            }
        }
        Ok(None)
    }
}

/// Divides positions into those of one request each. A list of all positions of a long log would need much memory.
fn parts(seqs: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let end = seqs.end;
    let mut next = seqs.start;
    std::iter::from_fn(move || {
        let part = next..end.min(next.saturating_add(BATCH));
        next = part.end;
        (!part.is_empty()).then_some(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_divided_without_a_list_of_all() {
        let ends = |seqs| parts(seqs).map(|part| (part.start, part.end)).collect::<Vec<_>>();
        assert_eq!(ends(7..7), []);
        assert_eq!(ends(7..9), [(7, 9)]);
        assert_eq!(ends(1..BATCH + 10), [(1, BATCH + 1), (BATCH + 1, BATCH + 10)]);
        assert_eq!(ends(1..2 * BATCH + 1), [(1, BATCH + 1), (BATCH + 1, 2 * BATCH + 1)]);
        assert_eq!(parts(1..u64::MAX).nth(1), Some(BATCH + 1..2 * BATCH + 1));
    }
}
