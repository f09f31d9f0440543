use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use chat_core::{ChangeKind, Commit, StoredMessage, Unavailable};
use tokio::time::Instant;

use crate::life::{Life, Subject};
use crate::record::{Content, Entry, MessageState, Record, Unreadable};

use super::read::{MAX_LAG, wait_for_replica};
use super::{SharedRoom, Tail, View};

/// The states that are read in one request.
const BATCH: usize = 128;

/// The states of messages by their positions. A message that was not changed has none.
pub(crate) type States = BTreeMap<u64, MessageState>;

/// The states of some messages as the stream has them.
#[derive(Debug, Default)]
pub(super) struct FoundStates {
    /// Each state, and its place in the stream. `None` is one that is damaged.
    pub(super) states: BTreeMap<u64, (u64, Option<MessageState>)>,
}

impl SharedRoom {
    /// Reads the states of these messages from a copy of the stream that has all records up to the place `least`.
    pub(super) async fn states(
        &self,
        life: &Arc<Life>,
        seqs: impl IntoIterator<Item = u64>,
        least: u64,
    ) -> Result<FoundStates, Unavailable> {
        let (known, until) = (life.subject(&self.token), Instant::now() + MAX_LAG);
        let subjects: Vec<_> = seqs.into_iter().map(|seq| life.state_subject(&self.token, seq)).collect();
        let mut found = FoundStates::default();
        let mut chunks = subjects.chunks(BATCH).peekable();
        while let Some(subjects) = chunks.peek() {
            let Some(messages) = self.node.link.last_of(subjects.to_vec(), &known, least).await? else {
                wait_for_replica(until).await?;
                continue;
            };
            let _read = chunks.next();
            for message in messages {
                let Some(Subject::State { seq, .. }) = life.read(&message.subject) else { continue };
                let mut state = MessageState::decode(message.payload);
                if state.is_none() {
                    let last = self.node.link.last(&message.subject).await?;
                    state = last.and_then(|(_, bytes)| MessageState::decode(bytes));
                }
                if state.is_none() {
                    let _counted = self.node.unreadable(Unreadable { place: message.place });
                }
                found.states.insert(seq, (message.place, state));
            }
        }
        Ok(found)
    }

    /// Returns the events of entries, with the present state of their messages. A message whose state is damaged is
    /// left out.
    pub(super) async fn fold(
        &self,
        life: &Arc<Life>,
        tail: &Tail,
        entries: Vec<Entry>,
    ) -> Result<Vec<StoredMessage>, Unavailable> {
        if !tail.has_states() {
            return Ok(entries.iter().map(|entry| entry.without_state(&self.name)).collect());
        }
        let mut targets: Vec<_> = entries.iter().filter_map(Entry::subject).collect();
        targets.sort_unstable();
        targets.dedup();
        // What was said about a message is removed together with it.
        targets.retain(|seq| *seq >= tail.first());
        let found = self.states(life, targets, tail.place).await?;
        let fold = |entry: &Entry| match (&entry.content, found.states.get(&entry.seq)) {
            (Content::Message { .. }, None) => Some(entry.without_state(&self.name)),
            (Content::Message { .. }, Some((_, state))) => {
                Some(state.as_ref()?.stored(&self.name, entry.seq))
            }
            (Content::Change(change), _) => match found.states.get(&change.target) {
                Some((_, Some(state))) => Some(state.encode_change(&self.name, change)),
                _ => Some(entry.without_state(&self.name)),
            },
            (Content::Act { .. }, _) => Some(entry.without_state(&self.name)),
        };
        Ok(entries.iter().filter_map(fold).collect())
    }

    /// Reports the entries of a record, with the states of the messages that they change.
    pub(super) fn report_entries(&self, life: &Life, record: &Record, states: &States) {
        let epoch = life.epoch(&self.name);
        for seq in record.targets() {
            if let Some(state) = states.get(&seq).filter(|state| state.is_deleted()) {
                let entries = state.erased(&self.name, seq);
                self.sinks.report(Commit::Erased { epoch: &epoch, entries: &entries });
            }
        }
        for entry in &record.entries {
            let state = entry.change().and_then(|change| Some((change, states.get(&change.target)?)));
            let stored = match state {
                Some((change, state)) => state.encode_change(&self.name, change),
                None => entry.without_state(&self.name),
            };
            self.sinks.report(Commit::Entry { epoch: &epoch, stored: &stored });
        }
    }

    /// Asks the leader for the end of the log, and reports the newest erasures, of which this node may not have heard.
    async fn look_again(&self) -> Result<(), Unavailable> {
        let View { life, tail } = self.look().await?;
        if !tail.has_changes() {
            return Ok(());
        }
        let entries = self.recent_entries(&life, &tail).await?;
        let deletes = |entry: &&Entry| entry.change().is_none_or(|change| change.kind == ChangeKind::Deleted);
        let deleted = entries.iter().filter(deletes).flat_map(Entry::targets).copied();
        self.report_erased(&life, deleted, tail.place).await
    }

    /// Records that the node may not have heard of a record or of a deletion.
    pub(crate) fn miss(&self) {
        self.has_missed.store(true, Ordering::SeqCst);
    }

    /// Returns true if the room looks again soon.
    pub(crate) fn has_missed(&self) -> bool {
        self.has_missed.load(Ordering::SeqCst)
    }

    /// Looks again, if the node may have missed something. A member may have the text of a deleted message.
    pub(crate) async fn look_if_missed(&self) -> Result<(), Unavailable> {
        if !self.has_missed.swap(false, Ordering::SeqCst) {
            return Ok(());
        }
        self.look_again().await.inspect_err(|_| self.miss())
    }

    /// Reports the erasure of those of these messages that are deleted, as a copy of the stream has them that has all
    /// records up to the place `least`.
    pub(crate) async fn report_erased(
        &self,
        life: &Arc<Life>,
        seqs: impl IntoIterator<Item = u64>,
        least: u64,
    ) -> Result<(), Unavailable> {
        for (seq, (_, state)) in self.states(life, seqs, least).await?.states {
            if let Some(state) = state.filter(MessageState::is_deleted) {
                let entries = state.erased(&self.name, seq);
                self.sinks.report(Commit::Erased { epoch: &life.epoch(&self.name), entries: &entries });
            }
        }
        Ok(())
    }

    /// Reports the entries of a record whose states this node has not heard of.
    pub(super) async fn report_later(self: Arc<Self>, life: Arc<Life>, record: Record) {
        let found = self.states(&life, record.targets(), record.place).await;
        // Without an answer, the head that was reported lets the chat read the entries.
        let Ok(found) = found else {
            self.miss();
            return;
        };
        let states = found.states.into_iter().filter_map(|(seq, (_, state))| Some((seq, state?)));
        self.report_entries(&life, &record, &states.collect());
    }
}
