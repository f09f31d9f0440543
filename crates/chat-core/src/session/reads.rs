use std::sync::Arc;
use std::time::Duration;

use crate::fair_queue::{FairQueue, NoTurn, QueueLimits, Turn};
use crate::{ReadLimits, UserKey};

/// The queues of the reads that users ask for.
#[derive(Debug)]
pub(crate) struct ReadQueues {
    searches: Arc<FairQueue>,
    history: Arc<FairQueue>,
    counts: Arc<FairQueue>,
    retry_after: Duration,
}

impl ReadQueues {
    pub(crate) fn new(limits: &ReadLimits) -> Self {
        let searches = QueueLimits {
            running: limits.max_searches,
            running_per_user: 1,
            waiting: limits.max_waiting,
            waiting_per_user: limits.max_waiting_per_user,
            timeout: limits.wait_timeout,
        };
        // Pages are cheap, and a store has its own queue for them. The reads of one user must not fill it.
        let history =
            QueueLimits { running: usize::MAX, running_per_user: limits.max_history_per_user, ..searches };
        let counts = QueueLimits { running: limits.max_counts, ..searches };
        Self {
            searches: FairQueue::new(searches),
            history: FairQueue::new(history),
            counts: FairQueue::new(counts),
            retry_after: limits.retry_after,
        }
    }

    /// Returns the numbers of searches and of reads of history that wait.
    pub(crate) fn waiting(&self) -> (usize, usize) {
        (self.searches.waiting(), self.history.waiting())
    }

    /// Waits until a user may search.
    ///
    /// # Errors
    ///
    /// The time after which the user may try again.
    pub(super) async fn search(&self, user: UserKey) -> Result<Turn, Duration> {
        self.searches.turn(user).await.map_err(|NoTurn| self.retry_after)
    }

    /// Waits until the unread messages of a user may be counted.
    ///
    /// # Errors
    ///
    /// The time after which the user may try again.
    pub(super) async fn count(&self, user: UserKey) -> Result<Turn, Duration> {
        self.counts.turn(user).await.map_err(|NoTurn| self.retry_after)
    }

    /// Waits until a user may read a page of history.
    ///
    /// # Errors
    ///
    /// The time after which the user may try again.
    pub(super) async fn history(&self, user: UserKey) -> Result<Turn, Duration> {
        self.history.turn(user).await.map_err(|NoTurn| self.retry_after)
    }
}
