use std::collections::BTreeSet;
use std::sync::Arc;

use chat_core::Unavailable;
use tokio::time::Instant;

use crate::life::Life;
use crate::link::{AppendRefused, From};
use crate::record::{Content, Record};

use super::SharedRoom;
use super::read::{MAX_LAG, wait_for_replica};
use super::records::Records;

/// The tries to replace a record that other nodes replace at the same time.
const MAX_TRIES: usize = 32;

/// The states of a message in one request.
const BATCH: usize = 64;

impl SharedRoom {
    /// Erases the text of messages that the log has as deleted, wherever the stream has it. It can be repeated.
    pub(super) async fn erase(&self, life: &Arc<Life>, targets: &[u64]) -> Result<(), Unavailable> {
        let _turn = self.erasing.lock().await;
        let mut replaced = BTreeSet::new();
        for target in targets {
            if !replaced.contains(target) {
                replaced.extend(self.replace(life, *target).await?);
            }
            self.erase_states(life, *target).await?;
            self.state.lock().note_erased(life, *target);
        }
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
            let (original, copy) = (record.place, record.copy);
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
            if !deleted.contains(&seq) {
                return Err(Unavailable::new("the state of a deleted message cannot be read"));
            }
            if is_altered {
                record.copy = Some(0);
                let (last, highest) = (copy.unwrap_or_default(), life.highest());
                match self.node.link.append(&subject, last, record.encode(), &[]).await {
                    Ok(place) if place > highest => {}
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
            if is_altered && let Some(copy) = copy {
                self.node.link.erase(copy).await?;
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
        let (mut from, until) = (0, Instant::now() + MAX_LAG);
        loop {
            let batch = self.node.link.batch(&subject, From::Place(from), BATCH).await?;
            for state in &batch.messages {
                if state.place >= last {
                    return Ok(());
                }
                self.node.link.erase(state.place).await?;
                from = state.place + 1;
            }
            if batch.messages.is_empty() {
                wait_for_replica(until).await?;
            }
        }
    }
}
