//! The clocks of one connection.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::future::FutureExt;
use tokio::time::{Instant, Sleep, sleep_until};

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

/// A timer for a moment that mostly moves away before it comes, which costs it nothing.
#[derive(Debug)]
pub(crate) struct Alarm(Pin<Box<Sleep>>);

impl Alarm {
    pub(crate) fn new(at: Instant) -> Self {
        Self(Box::pin(sleep_until(at)))
    }

    /// Ready with the present once `due` has come.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, due: Instant) -> Poll<Instant> {
        if due < self.0.deadline() {
            self.0.as_mut().reset(due);
        }
        loop {
            ready!(self.0.poll_unpin(cx));
            let now = Instant::now();
            if due <= now {
                return Poll::Ready(now);
            }
            // It was set for an earlier moment.
            self.0.as_mut().reset(due);
        }
    }
}
