use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use chat_core::Unavailable;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::{Instant, sleep};

use crate::life::Life;
use crate::link::From;
use crate::node::ValidPlaces;
use crate::record::MessageState;

use super::SharedRoom;
use super::read::{MAX_LAG, wait_for_replica};

/// The messages whose texts are erased together.
const TOGETHER: usize = 32;

/// The removals from the stream that wait for their answers at the same time, for one room.
const MAX_REMOVING: usize = 4;

/// The messages of a subject in one request.
const BATCH: usize = 64;

/// The pause after an erasure that has failed. Each further one is longer, up to the second value.
pub(super) const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// A deleted message whose text is to be erased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Erasure {
    pub(super) seq: u64,
    /// The event of the message without its text. `None` if the node has not stored the deletion itself.
    pub(super) frame: Option<Bytes>,
    /// True if the stream may have earlier states of the message.
    pub(super) has_states: bool,
}

impl Erasure {
    /// Returns the erasure of a message of which only the position is known.
    fn unknown(seq: u64) -> Self {
        Self { seq, frame: None, has_states: true }
    }
}

/// The messages whose texts could not be erased, and the reasons.
pub(super) type Failed = BTreeMap<u64, Unavailable>;

impl SharedRoom {
    /// Continues to erase the text of deleted messages after a time, as long as that is not complete and the room is
    /// open.
    pub(crate) fn resume_erasure(self: &Arc<Self>, after: Duration) {
        if self.state.lock().erasing().is_empty() || self.is_resuming.swap(true, Ordering::SeqCst) {
            return;
        }
        let room = Arc::downgrade(self);
        tokio::spawn(async move {
            let (mut pause, mut looked) = (after, None);
            loop {
                sleep(pause).await;
                let Some(room) = room.upgrade() else { return };
                // Before the question: a deletion that is not in the answer starts another task.
                room.is_resuming.store(false, Ordering::SeqCst);
                let (life, id, targets) = {
                    let state = room.state.lock();
                    (Arc::clone(&state.life), state.tail.id, state.erasing())
                };
                if targets.is_empty() || room.is_resuming.swap(true, Ordering::SeqCst) {
                    return;
                }
                // Without an answer, there may be no mark.
                if looked.replace(id) != Some(id)
                    && room.look_for_mark(&life).await.is_ok()
                    && room.state.lock().is_all_erased()
                {
                    pause = Duration::ZERO;
                    continue;
                }
                let erasures: Vec<_> = targets.into_iter().map(Erasure::unknown).collect();
                let failed = room.erase(&life, &erasures).await.into_iter().find_map(Result::err);
                pause = if failed.is_some() { (pause * 2).clamp(RETRY.0, RETRY.1) } else { RETRY.0 };
                if failed.is_none() {
                    room.mark_erased(&life, id).await;
                }
                if let Some(error) = failed {
                    tracing::warn!(%error, stream = %room.node.link.stream, "text of deleted messages not erased yet");
                }
            }
        });
    }

    /// Erases the text of messages that the log has as deleted, wherever the stream has it. It can be repeated. Returns
    /// a result for each message.
    pub(super) async fn erase(&self, life: &Arc<Life>, erasures: &[Erasure]) -> Vec<Result<(), Unavailable>> {
        let mut results = Vec::with_capacity(erasures.len());
        for erasures in erasures.chunks(TOGETHER) {
            // A turn for some, so that many that fail do not keep a new one waiting.
            let _turn = self.erasing.lock().await;
            // Another task may have erased some meanwhile.
            let left: Vec<_> = {
                let state = self.state.lock();
                erasures.iter().filter(|erasure| !state.is_erased(life, erasure.seq)).collect()
            };
            let failed = self.erase_together(life, left).await;
            results.extend(erasures.iter().map(|Erasure { seq, .. }| match &failed {
                Ok(failed) => failed.get(seq).map_or(Ok(()), |error| Err(error.clone())),
                Err(error) => Err(error.clone()),
            }));
        }
        results
    }

    /// Erases the texts of some messages. Returns those that cannot be erased now, unless none can.
    async fn erase_together(
        &self,
        life: &Arc<Life>,
        mut erasures: Vec<&Erasure>,
    ) -> Result<Failed, Unavailable> {
        if erasures.is_empty() {
            return Ok(Failed::default());
        }
        erasures.sort_unstable_by_key(|erasure| erasure.seq);
        erasures.dedup_by_key(|erasure| erasure.seq);
        let places = &self.node.places(life);
        let (frames, mut failed) = self.erased_frames(life, &erasures).await?;
        failed.append(&mut self.replace(life, places, frames).await?);
        let has_states = |erasure: &&&Erasure| erasure.has_states && !failed.contains_key(&erasure.seq);
        let changed: Vec<_> = erasures.iter().filter(has_states).map(|erasure| erasure.seq).collect();
        let erasing: Vec<_> = changed.into_iter().map(|seq| self.erase_states(life, places, seq)).collect();
        let mut erasing = stream::iter(erasing).buffer_unordered(MAX_REMOVING);
        while erasing.try_next().await?.is_some() {}
        let mut state = self.state.lock();
        for Erasure { seq, .. } in erasures {
            if !failed.contains_key(seq) {
                state.note_erased(life, *seq);
            }
        }
        Ok(failed)
    }

    /// Returns the events of deleted messages without their texts. One that retention removes has none.
    async fn erased_frames(
        &self,
        life: &Arc<Life>,
        erasures: &[&Erasure],
    ) -> Result<(BTreeMap<u64, Bytes>, Failed), Unavailable> {
        let known = erasures.iter().filter_map(|erasure| Some((erasure.seq, erasure.frame.clone()?)));
        let (mut frames, mut failed): (BTreeMap<_, _>, _) = (known.collect(), Failed::default());
        let unknown: Vec<_> =
            erasures.iter().map(|erasure| erasure.seq).filter(|seq| !frames.contains_key(seq)).collect();
        if unknown.is_empty() {
            return Ok((frames, failed));
        }
        let least = self.known().tail.place;
        let mut states = self.states(life, unknown.iter().copied(), least).await?.states;
        for seq in unknown {
            let state = states.remove(&seq).and_then(|(_, state)| state);
            match state.filter(MessageState::is_deleted) {
                Some(state) => drop(frames.insert(seq, state.stored(&self.name, seq).frame)),
                // Retention is removing it: its state is removed first.
                None if seq < self.known().tail.first() => {}
                None => {
                    let error = Unavailable::new("the state of a deleted message cannot be read");
                    failed.insert(seq, error);
                }
            }
        }
        Ok((frames, failed))
    }

    /// Removes messages from the stream, and overwrites their bytes.
    pub(super) async fn remove(&self, places: &ValidPlaces, removed: Vec<u64>) -> Result<(), Unavailable> {
        let removing: Vec<_> = removed.into_iter().map(|place| self.node.remove(places, place)).collect();
        let mut removing = stream::iter(removing).buffer_unordered(MAX_REMOVING);
        while removing.try_next().await?.is_some() {}
        Ok(())
    }

    /// Removes all states of a deleted message but the last one.
    async fn erase_states(
        &self,
        life: &Arc<Life>,
        places: &ValidPlaces,
        seq: u64,
    ) -> Result<(), Unavailable> {
        let subject = &*life.state_subject(&self.token, seq);
        let is_deleted = |bytes| MessageState::decode(bytes).is_none_or(|state| state.is_deleted());
        let mut batch = self.node.link.batch(subject, From::Place(0), BATCH).await?;
        // The states after the deletion have no text.
        if !batch.more
            && let Some(last) = batch.messages.pop()
            && is_deleted(last.payload)
        {
            let replaced = batch.messages.iter().map(|message| message.place).collect();
            return self.remove(places, replaced).await;
        }
        let until = Instant::now() + MAX_LAG;
        loop {
            // The copy that has answered is behind, or retention has removed the states.
            match self.node.link.last(subject).await? {
                Some((place, bytes)) if is_deleted(bytes.clone()) => {
                    return self.erase_before(places, subject, place).await;
                }
                None => return Ok(()),
                // A server that is not the leader any more has answered.
                Some(_) => wait_for_replica(until).await?,
            }
        }
    }

    /// Removes all messages of a subject before the place of one that it has.
    pub(super) async fn erase_before(
        &self,
        places: &ValidPlaces,
        subject: &str,
        place: u64,
    ) -> Result<(), Unavailable> {
        let (mut from, until) = (0, Instant::now() + MAX_LAG);
        loop {
            let batch = self.node.link.batch(subject, From::Place(from), BATCH).await?;
            let found: Vec<_> = batch.messages.iter().map(|message| message.place).collect();
            self.remove(places, found.iter().copied().filter(|at| *at < place).collect()).await?;
            match found.last() {
                Some(last) if *last >= place => return Ok(()),
                Some(last) => from = last + 1,
                None => wait_for_replica(until).await?,
            }
        }
    }
}
