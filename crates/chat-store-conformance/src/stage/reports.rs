#![expect(clippy::missing_errors_doc, reason = "each method fails if the store does something else")]

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chat_core::{Commit, CommitSink, StoredMessage};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::{Failure, TIME_LIMIT, Verdict};

/// The commits that one sink has heard of, in the order of their `seq`.
#[derive(Clone, Debug, Default)]
pub struct Reports(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    entries: BTreeMap<u64, StoredMessage>,
    /// The present form of the entries that deletions have erased.
    erased: BTreeMap<u64, StoredMessage>,
    /// The highest head that [`CommitSink::advance`] has reported.
    head: u64,
    epochs: BTreeSet<String>,
    /// The epoch that the last renewal has started.
    renewed: Option<String>,
    renewals: usize,
    /// Two reports of one `seq` that differ.
    contradiction: Option<(StoredMessage, StoredMessage)>,
}

impl Reports {
    /// Returns a sink that records what it hears.
    pub fn sink(&self) -> CommitSink {
        let reports = self.clone();
        CommitSink::new(move |commit| reports.record(&commit))
    }

    /// Returns the reported entries, each once, in the order of their `seq`.
    pub fn entries(&self) -> Vec<StoredMessage> {
        self.lock().entries.values().cloned().collect()
    }

    /// Returns the present form of the entries that deletions have erased, in the order of their `seq`.
    pub fn erased(&self) -> Vec<StoredMessage> {
        self.lock().erased.values().cloned().collect()
    }

    /// Returns the highest `seq` that the sink has heard of, or 0.
    pub fn head(&self) -> u64 {
        let state = self.lock();
        state.entries.last_key_value().map_or(0, |(seq, _)| *seq).max(state.head)
    }

    /// Returns the epochs that the reports have named. Since a renewal, only reports of the new epoch count.
    pub fn epochs(&self) -> BTreeSet<String> {
        self.lock().epochs.clone()
    }

    /// Returns the number of times that the log has started a new epoch.
    pub fn renewals(&self) -> usize {
        self.lock().renewals
    }

    /// Waits until the sink has heard of each of these entries: by a report of it, or by a head that is not below it.
    pub async fn cover(&self, seqs: RangeInclusive<u64>) -> Verdict {
        let covered =
            |state: &State| seqs.clone().all(|seq| seq <= state.head || state.entries.contains_key(&seq));
        self.wait(&format!("reports of the entries {seqs:?}"), covered).await?;
        match &self.lock().contradiction {
            None => Ok(()),
            Some((first, other)) => {
                Err(Failure::new(format!("{first:?} in each report"), format!("{other:?}")))
            }
        }
    }

    /// Waits until the log has started a new epoch.
    pub(crate) async fn renewed(&self) -> Verdict {
        self.wait("a report of another life", |state| state.renewals > 0).await
    }

    async fn wait(&self, expected: &str, holds: impl Fn(&State) -> bool) -> Verdict {
        let waiting = async {
            loop {
                let changed = self.0.changed.notified();
                if holds(&self.lock()) {
                    return;
                }
                changed.await;
            }
        };
        timeout(TIME_LIMIT, waiting).await.map_err(|_| {
            let state = self.lock();
            let seqs: Vec<_> = state.entries.keys().collect();
            Failure::new(
                format!("{expected} within {TIME_LIMIT:?}"),
                format!("the entries {seqs:?} and the head {}", state.head),
            )
        })
    }

    fn record(&self, commit: &Commit<'_>) {
        let mut state = self.lock();
        match commit {
            // A late report of an epoch before the last renewal.
            Commit::Entry { epoch, .. } | Commit::Head { epoch, .. }
                if state.renewed.as_ref().is_some_and(|renewed| renewed != epoch) => {}
            Commit::Entry { epoch, stored } => {
                state.epochs.insert((*epoch).to_owned());
                let known = state.entries.entry(stored.seq).or_insert_with(|| (*stored).clone());
                if known != *stored {
                    let contradiction = (known.clone(), (*stored).clone());
                    state.contradiction.get_or_insert(contradiction);
                }
            }
            Commit::Erased { entries, .. } => {
                let erased = entries.iter().map(|stored| (stored.seq, stored.clone()));
                state.erased.extend(erased);
            }
            Commit::Head { epoch, head } => {
                state.epochs.insert((*epoch).to_owned());
                state.head = state.head.max(*head);
            }
            Commit::Renewed(bounds) => {
                state.epochs.clear();
                state.renewed = Some(bounds.epoch.clone());
                state.entries.clear();
                state.head = bounds.head;
                state.renewals += 1;
            }
            _ => {}
        }
        drop(state);
        self.0.changed.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
