//! The timers of one connection.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::future::FutureExt;
use tokio::time::error::Elapsed;
use tokio::time::{self, Instant, Sleep, sleep_until};

/// A detector of a peer that accepts no bytes while frames wait for it.
#[derive(Debug, Default)]
pub(crate) struct Stall {
    /// The last progress of the connection while frames wait, and its time.
    since: Option<(u64, Instant)>,
}

impl Stall {
    /// Records the connection's progress. `waits` is true if something waits for the peer.
    pub(crate) fn note(&mut self, waits: bool, progress: u64) {
        self.since = match self.since {
            _ if !waits => None,
            Some((before, since)) if before == progress => Some((before, since)),
            _ => Some((progress, Instant::now())),
        };
    }

    /// Returns the time at which the peer has accepted no bytes for `limit`. Returns `None` if no frame waits for it.
    pub(crate) fn due(&self, limit: Duration) -> Option<Instant> {
        self.since.map(|(_, since)| since + limit)
    }
}

/// The delay of a timer that shows that the process did not run. The runtime may then fire its timers before it has
/// looked at sockets and at other threads.
const SUSPENSION_DELAY: Duration = Duration::from_millis(500);

/// Waits for a future for `limit`. If the process was suspended at the end of that time, it waits for `limit` again.
pub(crate) async fn timeout<T>(limit: Duration, what: impl Future<Output = T>) -> Result<T, Elapsed> {
    let mut what = pin!(what);
    // An answer that is there at once needs no timer.
    if let Poll::Ready(answer) = poll_fn(|cx| Poll::Ready(what.as_mut().poll(cx))).await {
        return Ok(answer);
    }
    let started = Instant::now();
    let waited = time::timeout(limit, &mut what).await;
    if waited.is_err() && started.elapsed().saturating_sub(limit) > SUSPENSION_DELAY {
        return time::timeout(limit, what).await;
    }
    waited
}

/// A timer whose deadline is usually moved to a later time before it comes. Moving it costs nothing.
#[derive(Debug)]
pub(crate) struct Alarm {
    sleep: Pin<Box<Sleep>>,
    /// The end of the pause after a suspension of the process. The timer does not fire before.
    not_before: Instant,
}

impl Alarm {
    pub(crate) fn new(at: Instant) -> Self {
        Self { sleep: Box::pin(sleep_until(at)), not_before: Instant::now() }
    }

    /// Ready with the current time once `due` has come. If the process did not run at that time, it waits a little
    /// longer, so that what arrived meanwhile is noticed first. It does so once: on a busy machine, each timer can be
    /// late.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, due: Instant) -> Poll<Instant> {
        let mut due = due.max(self.not_before);
        if due < self.sleep.deadline() {
            self.sleep.as_mut().reset(due);
        }
        loop {
            ready!(self.sleep.poll_unpin(cx));
            let now = Instant::now();
            let deadline = self.sleep.deadline();
            let is_late = now.saturating_duration_since(deadline) > SUSPENSION_DELAY;
            if is_late && deadline != self.not_before {
                self.not_before = now + SUSPENSION_DELAY;
                due = due.max(self.not_before);
            } else if due <= now {
                return Poll::Ready(now);
            }
            // The timer was set for an earlier time.
            self.sleep.as_mut().reset(due);
        }
    }
}
