//! The pacer, which hands messages to writers when they are due.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::Schedule;
use crate::clock;
use crate::load::Load;

/// The capacity of the queue of due messages of a writer. A server that is too slow fills it.
pub(super) const DUE_QUEUE: usize = 4_096;

/// The interval at which the pacer checks for a stop, in microseconds.
const STOP_CHECK_US: u64 = 100_000;

/// Messages that are due at the same time, from one writer.
#[derive(Clone, Copy, Debug)]
pub(super) struct DueMessages {
    /// The number of the first message in this run.
    pub(super) first: u64,
    pub(super) count: u64,
    /// The time, in microseconds.
    pub(super) due: u64,
}

/// Hands messages to the writers when they are due. It runs on a thread of its own, so the server cannot delay it.
#[derive(Debug)]
pub(super) struct Pacer {
    pub(super) load: Arc<Load>,
    pub(super) start: u64,
    pub(super) writers: Vec<mpsc::Sender<DueMessages>>,
    /// The number of the first message.
    pub(super) first: u64,
    pub(super) messages: u64,
    /// The number of messages that are due at the same time.
    pub(super) burst: u64,
    pub(super) schedule: Schedule,
}

impl Pacer {
    /// Returns the number of messages that no writer accepted, and the writers, which end when they are dropped.
    pub(super) fn run(self) -> (u64, Vec<mpsc::Sender<DueMessages>>) {
        let unsent = match self.schedule {
            Schedule::Paced(middle) => self.pace(middle),
            Schedule::Closed => self.start_closed_loop(),
        };
        (unsent, self.writers)
    }

    fn pace(&self, middle: f64) -> u64 {
        let limit = self.load.common.duration + self.load.common.patience;
        let limit = self.start + u64::try_from(limit.as_micros()).unwrap_or(u64::MAX / 2);
        let mut unsent = 0;
        for n in (0..self.messages).step_by(usize::try_from(self.burst).unwrap_or(1)) {
            let count = self.burst.min(self.messages - n);
            let due = self.start + due_at(n, self.load.common.rate, self.load.common.duration, middle);
            self.sleep_until(due);
            if self.load.is_stopped() {
                break;
            }
            if self.hand_to_writer(DueMessages { first: self.first + n, count, due }, limit) {
                self.load.sent.fetch_add(count, Ordering::Relaxed);
            } else {
                unsent += count;
            }
        }
        unsent
    }

    /// Gives every writer its first messages and waits until the time is over.
    fn start_closed_loop(&self) -> u64 {
        for writer in &self.writers {
            // A writer whose connection has ended reports that itself.
            let first = self.load.next_messages(self.burst);
            let _ended = writer.try_send(DueMessages { first, count: self.burst, due: clock::now() });
        }
        let duration = u64::try_from(self.load.common.duration.as_micros()).unwrap_or(u64::MAX / 2);
        self.sleep_until(self.start + duration);
        0
    }

    fn sleep_until(&self, due: u64) {
        while clock::now() < due && !self.load.is_stopped() {
            clock::sleep_until(due.min(clock::now() + STOP_CHECK_US));
        }
    }

    /// Hands messages to their writer. Returns false if the writer has ended, or its queue is full at the time limit.
    fn hand_to_writer(&self, messages: DueMessages, limit: u64) -> bool {
        let writer = usize::try_from(messages.first / self.burst).unwrap_or(0) % self.writers.len();
        loop {
            match self.writers[writer].try_send(messages) {
                Ok(()) => return true,
                Err(TrySendError::Closed(_)) => return false,
                // Latencies count from the due time, so this wait hides nothing.
                Err(TrySendError::Full(_)) if clock::now() < limit && !self.load.is_stopped() => {
                    thread::sleep(Duration::from_millis(1));
                }
                Err(TrySendError::Full(_)) => return false,
            }
        }
    }
}

/// Returns the due time of a message in microseconds from the start. The rate is multiplied by `factor` in the middle
/// third of the duration.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a run is short")]
fn due_at(number: u64, rate: f64, duration: Duration, factor: f64) -> u64 {
    let third = duration.as_secs_f64() / 3.0;
    let number = number as f64;
    let (calm, busy) = (rate * third, rate * third * factor);
    let seconds = if number < calm {
        number / rate
    } else if number < calm + busy {
        third + (number - calm) / (rate * factor)
    } else {
        2.0 * third + (number - calm - busy) / rate
    };
    (seconds * 1e6) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spike_is_in_the_middle_third() {
        let due = |n| due_at(n, 10.0, Duration::from_secs(3), 10.0);
        let seconds = [0, 9, 10, 20, 109, 110, 119].map(|n| due(n) as f64 / 1e6);
        assert_eq!(seconds, [0.0, 0.9, 1.0, 1.1, 1.99, 2.0, 2.9]);
        assert_eq!(due_at(25, 10.0, Duration::from_secs(3), 1.0), 2_500_000);
    }
}
