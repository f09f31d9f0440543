use std::time::Duration;

use chat_core::Unavailable;
use chat_sqlite::{Candidates, IndexStep, LogIndex};
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use super::{Found, Question};

/// The time for which a search waits until the index has the end of its room.
const WAIT: Duration = Duration::from_secs(2);

/// The index that this node keeps.
#[derive(Debug)]
pub(crate) struct SearchIndex {
    log: LogIndex,
    progress: watch::Sender<Progress>,
    /// Wakes the task that follows the log, because a search waits.
    pub(super) wanted: Notify,
}

/// The part of the log that the index has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Progress {
    /// The log, as [`Life::source`](crate::life::Life::source) names it. `None` while the index is being built.
    source: Option<String>,
    place: u64,
}

impl SearchIndex {
    pub(crate) fn new(log: LogIndex) -> Self {
        Self { log, progress: watch::Sender::default(), wanted: Notify::new() }
    }

    /// Returns the place up to which the index has the log.
    pub(crate) fn place(&self) -> u64 {
        self.progress.borrow().place
    }

    /// Begins to follow a log. Until it [has its end](Self::note_current), the index answers no question.
    pub(super) async fn begin(&self, source: &str) -> Result<u64, Unavailable> {
        self.progress.send_replace(Progress::default());
        let place = self.log.begin(source).await?;
        self.progress.send_modify(|progress| progress.place = place);
        Ok(place)
    }

    /// Applies steps of the log up to a place. Returns false if the index must begin again.
    pub(super) async fn apply(&self, steps: Vec<(u64, IndexStep)>, up_to: u64) -> Result<bool, Unavailable> {
        let is_applied = self.log.apply(steps, up_to).await?;
        if is_applied {
            self.progress.send_modify(|progress| progress.place = up_to);
        }
        Ok(is_applied)
    }

    /// Erases the words of deleted messages, if it is time for it.
    pub(super) async fn erase_deleted(&self) -> Result<(), Unavailable> {
        self.log.erase_deleted().await
    }

    /// Records that the index has the log up to its end. Returns true if it had not.
    pub(super) fn note_current(&self, source: &str) -> bool {
        self.progress.send_if_modified(|progress| {
            let is_new = progress.source.is_none();
            progress.source.get_or_insert_with(|| source.to_owned());
            is_new
        })
    }

    /// Answers a question, once the index has the end of the room. Returns `None` if that takes too long, or if the
    /// index is of another log.
    pub(crate) async fn answer(&self, question: &Question) -> Option<Found> {
        let mut progress = self.progress.subscribe();
        let is_of = |progress: &Progress| progress.source.as_ref() == Some(&question.source);
        if !is_of(&progress.borrow()) {
            return None;
        }
        self.wanted.notify_one();
        let arrives = progress.wait_for(|progress| !is_of(progress) || progress.place >= question.place);
        timeout(WAIT, arrives).await.ok()?.ok()?;
        let Question { room, query, before, limit, .. } = question;
        let found = self.log.candidates(room, query, *before, *limit).await.ok()??;
        let Candidates { positions, down_to, .. } = found;
        // The index may have begun again meanwhile.
        is_of(&self.progress.borrow()).then_some(Found { positions, down_to })
    }

    /// Closes the files.
    pub(crate) async fn close(&self) {
        self.progress.send_replace(Progress::default());
        self.log.close().await;
    }
}
