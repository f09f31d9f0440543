use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chat_core::Unavailable;
use tokio::time::{Instant, sleep};

use crate::life::Life;
use crate::link::{AppendRefused, From};
use crate::record::{Content, Record};

use super::SharedRoom;
use super::read::{MAX_LAG, wait_for_replica};
use super::records::Records;

/// The tries to replace a record that other nodes replace at the same time.
const MAX_TRIES: usize = 32;

/// The messages of a subject in one request.
const BATCH: usize = 64;

/// The pause after an erasure that has failed. Each further one is longer, up to the second value.
pub(super) const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

impl SharedRoom {
    /// Continues to erase the text of deleted messages after a time, as long as that is not complete and the room is
    /// open.
    pub(crate) fn resume_erasure(self: &Arc<Self>, after: Duration) {
        if self.state.lock().erasing().is_empty() || self.is_resuming.swap(true, Ordering::SeqCst) {
            return;
        }
        let room = Arc::downgrade(self);
        tokio::spawn(async move {
            let mut pause = after;
            loop {
                sleep(pause).await;
                let Some(room) = room.upgrade() else { return };
                // Before the question: a deletion that is not in the answer starts another task.
                room.is_resuming.store(false, Ordering::SeqCst);
                let (life, targets) = {
                    let state = room.state.lock();
                    (Arc::clone(&state.life), state.erasing())
                };
                if targets.is_empty() || room.is_resuming.swap(true, Ordering::SeqCst) {
                    return;
                }
                let failed = room.erase(&life, &targets).await.into_iter().find_map(Result::err);
                pause = if failed.is_some() { (pause * 2).clamp(RETRY.0, RETRY.1) } else { RETRY.0 };
                if let Some(error) = failed {
                    tracing::warn!(%error, stream = %room.node.link.stream, "text of deleted messages not erased yet");
                }
            }
        });
    }

    /// Erases the text of messages that the log has as deleted, wherever the stream has it. It can be repeated. Returns
    /// a result for each message.
    pub(super) async fn erase(&self, life: &Arc<Life>, targets: &[u64]) -> Vec<Result<(), Unavailable>> {
        let (mut replaced, mut results) = (BTreeSet::new(), Vec::with_capacity(targets.len()));
        for target in targets {
            // A turn for each, so that many that fail do not keep a new one waiting.
            let _turn = self.erasing.lock().await;
            // Another task may have erased it meanwhile.
            let is_erased = self.state.lock().is_erased(life, *target);
            let result = if is_erased { Ok(()) } else { self.erase_one(life, *target, &mut replaced).await };
            results.push(result);
        }
        results
    }

    /// Erases the text of a message. `replaced` are the deleted messages whose records are replaced already.
    async fn erase_one(
        &self,
        life: &Arc<Life>,
        target: u64,
        replaced: &mut BTreeSet<u64>,
    ) -> Result<(), Unavailable> {
        if !replaced.contains(&target) {
            replaced.extend(self.replace(life, target).await?);
        }
        self.erase_states(life, target).await?;
        self.state.lock().note_erased(life, target);
        Ok(())
    }

    /// Stores the record with a message again, without the text of deleted messages, and removes the first form.
    /// Returns the deleted messages of the record.
    async fn replace(&self, life: &Arc<Life>, seq: u64) -> Result<Vec<u64>, Unavailable> {
        for _ in 0..MAX_TRIES {
            let Some(mut record) = self.record_with(life, seq).await? else { return Ok(Vec::new()) };
            let subject = life.copy_subject(&self.token, record.first());
            // A copy may be there although the record is not removed yet.
            if let Some((place, bytes)) = self.node.link.last(&subject).await? {
                record =
                    Record::decode(place, bytes).map_err(|unreadable| self.node.unreadable(unreadable))?;
            }
            let (original, mut copy) = (record.place, record.copy);
            let seqs: Vec<_> =
                record.entries.iter().filter(|entry| entry.is_message()).map(|e| e.seq).collect();
            let least = self.known().tail.place;
            let found = self.states(life, seqs, least).await?;
            let (mut deleted, mut is_altered) = (Vec::new(), false);
            for entry in &mut record.entries {
                let Some((_, state)) = found.states.get(&entry.seq) else { continue };
                let Some(state) = state.as_ref().filter(|state| state.is_deleted()) else { continue };
                deleted.push(entry.seq);
                if let Content::Message { frame, .. } = &mut entry.content {
                    let erased = state.stored(&self.name, entry.seq).frame;
                    is_altered |= *frame != erased;
                    *frame = erased;
                }
            }
            if !deleted.contains(&seq) && seq < self.known().tail.first() {
                // Retention is removing it: its state is removed first.
                return Ok(deleted);
            }
            if !deleted.contains(&seq) {
                return Err(Unavailable::new("the state of a deleted message cannot be read"));
            }
            if is_altered {
                record.copy = Some(0);
                let (last, highest) = (copy.unwrap_or_default(), life.highest());
                match self.node.link.append(&subject, last, record.encode(), &[]).await {
                    Ok(place) if place > highest => copy = Some(place),
                    // The stream has lost its end, and other messages may be at the places that are known.
                    Ok(_) => {
                        life.lose();
                        self.node.nudge();
                        return Err(Unavailable::new("the log has lost its end"));
                    }
                    Err(AppendRefused::Rejected(error)) => return Err(error.into()),
                    // Another node has replaced it, or the answer is lost.
                    Err(_) => {
                        wait_for_replica(Instant::now() + MAX_LAG).await?;
                        continue;
                    }
                }
            }
            self.node.link.erase(original).await?;
            // An earlier try may have ended before this.
            if let Some(copy) = copy {
                self.erase_before(&subject, copy).await?;
            }
            return Ok(deleted);
        }
        Err(Unavailable::new("a record could not be replaced"))
    }

    /// Returns the record with an entry, or `None` if the log does not have it any more.
    pub(super) async fn record_with(
        &self,
        life: &Arc<Life>,
        seq: u64,
    ) -> Result<Option<Record>, Unavailable> {
        let (place, until) = (self.find(life, seq).await?, Instant::now() + MAX_LAG);
        let mut records = Records::new(self, life, From::Place(place), Some(seq));
        loop {
            let found = records.read(8).await?;
            let is_empty = found.records.is_empty();
            for record in found.records {
                let record = match record {
                    // Retention has removed it.
                    Err(_) if seq < self.known().tail.first() => return Ok(None),
                    record => record.map_err(|unreadable| self.node.unreadable(unreadable))?,
                };
                if record.last() >= seq {
                    return Ok(Some(record).filter(|record| record.first() <= seq));
                }
            }
            if is_empty {
                wait_for_replica(until).await?;
            }
        }
    }

    /// Removes all states of a message but the last one.
    async fn erase_states(&self, life: &Arc<Life>, seq: u64) -> Result<(), Unavailable> {
        let subject = life.state_subject(&self.token, seq);
        let Some((last, _)) = self.node.link.last(&subject).await? else { return Ok(()) };
        self.erase_before(&subject, last).await
    }

    /// Removes all messages of a subject before the place of one that it has.
    async fn erase_before(&self, subject: &str, place: u64) -> Result<(), Unavailable> {
        let (mut from, until) = (0, Instant::now() + MAX_LAG);
        loop {
            let batch = self.node.link.batch(subject, From::Place(from), BATCH).await?;
            for message in &batch.messages {
                if message.place >= place {
                    return Ok(());
                }
                self.node.link.erase(message.place).await?;
                from = message.place + 1;
            }
            if batch.messages.is_empty() {
                wait_for_replica(until).await?;
            }
        }
    }
}
