use std::future::poll_fn;
use std::pin::pin;

use tokio::sync::Notify;

use crate::sync::Mutex;

/// The appends to a room that its log has not answered yet. A flush that is about to begin waits for them.
///
/// Each append is waited for once: appends that hang do not delay a second flush, and appends that come while a flush
/// waits do not extend its wait.
#[derive(Debug, Default)]
pub(super) struct PendingAppends {
    // May be locked while the state of the room is, and not the other way round.
    counts: Mutex<Counts>,
    /// Notified when a wait is over.
    answered: Notify,
}

#[derive(Debug, Default)]
struct Counts {
    /// The number of waits that have begun.
    waits: u64,
    /// The appends since the last wait began.
    new: usize,
    /// The appends of the last wait that are not answered.
    awaited: usize,
}

/// An append that its log has not answered. It is dropped with the answer, or when nobody waits for the answer.
#[derive(Debug)]
struct PendingAppend<'a> {
    appends: &'a PendingAppends,
    /// The number of waits that began before it.
    waits: u64,
}

impl PendingAppends {
    /// Waits for the answer to an append. An answer that is there at once costs nothing.
    pub(super) async fn count<T>(&self, answer: impl Future<Output = T>) -> T {
        let (mut answer, mut pending) = (pin!(answer), None);
        poll_fn(|cx| {
            let polled = answer.as_mut().poll(cx);
            if polled.is_pending() {
                pending.get_or_insert_with(|| self.begin());
            }
            polled
        })
        .await
    }

    fn begin(&self) -> PendingAppend<'_> {
        let mut counts = self.counts.lock();
        counts.new += 1;
        PendingAppend { appends: self, waits: counts.waits }
    }

    /// Begins to wait for the appends that no flush has waited for. Returns false if there are none.
    pub(super) fn begin_wait(&self) -> bool {
        let mut counts = self.counts.lock();
        if counts.new == 0 {
            return false;
        }
        counts.waits += 1;
        counts.awaited = std::mem::take(&mut counts.new);
        true
    }

    /// Waits until the appends of the last wait are answered. One task at a time waits.
    pub(super) async fn answered(&self) {
        // An earlier wait, which was given up, may have left its notification.
        while self.counts.lock().awaited > 0 {
            self.answered.notified().await;
        }
    }
}

impl Drop for PendingAppend<'_> {
    fn drop(&mut self) {
        let mut counts = self.appends.counts.lock();
        if self.waits == counts.waits {
            counts.new -= 1;
        } else if self.waits + 1 == counts.waits {
            counts.awaited -= 1;
            if counts.awaited == 0 {
                drop(counts);
                self.appends.answered.notify_one();
            }
        }
    }
}
