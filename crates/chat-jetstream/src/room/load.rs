use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chat_core::{ChangeEntry, Unavailable};

use crate::life::Life;
use crate::record::{Entry, MessageState};

use super::read::Wanted;
use super::rules::{NotLoaded, StoredRules};
use super::{SharedRoom, Tail};

/// The messages that some changes name, as they are at the end of the log.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub(super) targets: BTreeMap<u64, Loading>,
    /// The places of the states in the stream.
    pub(super) places: BTreeMap<u64, u64>,
    /// The newest changes of the room, which its members may have in memory, if a message may be deleted.
    pub(super) recent: Vec<ChangeEntry>,
    /// The rules of the room. `None` if it has had no act.
    pub(super) rules: Option<Arc<StoredRules>>,
}

/// A message that a change names.
#[derive(Debug)]
pub(super) enum Loading {
    Known(Box<MessageState>),
    /// The log has no message at the position.
    Missing,
    Damaged,
}

impl SharedRoom {
    /// Reads messages that are to be changed, as they are at the end of the log. `messages` are some of them, as they
    /// were sent.
    pub(super) async fn load(
        &self,
        life: &Arc<Life>,
        tail: &Tail,
        (mut targets, messages): (BTreeSet<u64>, Vec<&Entry>),
        has_deletion: bool,
    ) -> Result<Loaded, NotLoaded> {
        let mut loaded = Loaded { rules: self.rules(life, tail).await?, ..Loaded::default() };
        targets.retain(|seq| (tail.first()..=tail.head).contains(seq));
        if targets.is_empty() {
            return Ok(loaded);
        }
        if tail.has_states() {
            let found = self.states(life, targets.iter().copied(), tail.place).await?;
            for (seq, (place, state)) in found.states {
                loaded.places.insert(seq, place);
                let loading = state.map_or(Loading::Damaged, |state| Loading::Known(Box::new(state)));
                loaded.targets.insert(seq, loading);
            }
            // A message without a state was not changed.
            if has_deletion && !loaded.places.is_empty() {
                let recent = self.recent_entries(life, tail).await?;
                loaded.recent = recent.iter().filter_map(|entry| entry.change().cloned()).collect();
            }
        }
        for entry in messages {
            if let Some(state) = MessageState::of(entry) {
                loaded.targets.entry(entry.seq).or_insert_with(|| Loading::Known(Box::new(state)));
            }
        }
        targets.retain(|seq| !loaded.targets.contains_key(seq));
        for seq in targets {
            loaded.targets.insert(seq, self.load_unchanged(life, seq).await?);
        }
        Ok(loaded)
    }

    /// Reads a message that was not changed yet.
    async fn load_unchanged(&self, life: &Arc<Life>, seq: u64) -> Result<Loading, Unavailable> {
        let entries = self.collect(life, &Wanted::all(seq, seq + 1)).await?.entries;
        Ok(match entries.front() {
            None => Loading::Damaged,
            Some(entry) if !entry.is_message() => Loading::Missing,
            Some(entry) => {
                MessageState::of(entry).map_or(Loading::Damaged, |state| Loading::Known(Box::new(state)))
            }
        })
    }

    /// Returns the newest entries, which the members of the room may have in memory.
    pub(super) async fn recent_entries(
        &self,
        life: &Arc<Life>,
        tail: &Tail,
    ) -> Result<Vec<Entry>, Unavailable> {
        let held = self.limits.rooms.tail_events as u64;
        let from = (tail.head + 1).saturating_sub(held).max(tail.first());
        Ok(self.collect(life, &Wanted::all(from, tail.head + 1)).await?.entries.into())
    }
}
