//! The clocks of one connection.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::future::FutureExt;
use tokio::time::error::Elapsed;
use tokio::time::{self, Instant, Sleep, sleep_until};

/// Tells when something has waited for too long for a peer that takes nothing.
#[derive(Debug, Default)]
pub(crate) struct Stall {
    /// The connection's progress when something began to wait, or last moved, and when that was.
    since: Option<(u64, Instant)>,
}

impl Stall {
    /// Takes note of whether something waits, and of the connection's progress.
    pub(crate) fn note(&mut self, waits: bool, progress: u64) {
        self.since = match self.since {
            _ if !waits => None,
            Some((before, since)) if before == progress => Some((before, since)),
            _ => Some((progress, Instant::now())),
        };
    }

    /// When the peer will have taken nothing for so long, if something waits for it.
    pub(crate) fn due(&self, limit: Duration) -> Option<Instant> {
        self.since.map(|(_, since)| since + limit)
    }
}

/// A moment that is noticed later than this says that the process did not run, stopped or starved. What was done meanwhile
/// has then yet to be noticed too: the runtime may look at its timers before it looks at sockets and other threads.
const ABSENCE: Duration = Duration::from_millis(500);

/// Waits for `what` as long as `limit`; once more as long, if the process was not there when that was over.
pub(crate) async fn timeout<T>(limit: Duration, what: impl Future<Output = T>) -> Result<T, Elapsed> {
    let started = Instant::now();
    let mut what = pin!(what);
    let waited = time::timeout(limit, &mut what).await;
    if waited.is_err() && started.elapsed().saturating_sub(limit) > ABSENCE {
        return time::timeout(limit, what).await;
    }
    waited
}

/// A timer for a moment that mostly moves away before it comes, which costs it nothing.
#[derive(Debug)]
pub(crate) struct Alarm {
    sleep: Pin<Box<Sleep>>,
    /// It does not go off before: by then, what was done in an absence has been noticed.
    not_before: Instant,
}

impl Alarm {
    pub(crate) fn new(at: Instant) -> Self {
        Self { sleep: Box::pin(sleep_until(at)), not_before: Instant::now() }
    }

    /// Ready with the present once `due` has come, and the process was there to see it come.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, due: Instant) -> Poll<Instant> {
        let mut due = due.max(self.not_before);
        if due < self.sleep.deadline() {
            self.sleep.as_mut().reset(due);
        }
        loop {
            ready!(self.sleep.poll_unpin(cx));
            let now = Instant::now();
            if now.saturating_duration_since(self.sleep.deadline()) > ABSENCE {
                self.not_before = now + ABSENCE;
                due = due.max(self.not_before);
            } else if due <= now {
                return Poll::Ready(now);
            }
            // It was set for an earlier moment.
            self.sleep.as_mut().reset(due);
        }
    }
}
