//! When messages are due.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::Tempo;
use crate::clock;
use crate::load::Load;

/// Messages that are due and that a writer has not yet taken; a server that does not keep up fills it.
pub(super) const DUE: usize = 4_096;

/// How often the pacer looks whether it is to stop, in microseconds.
const GLANCE: u64 = 100_000;

/// A message that is due: its number in this run, and when.
pub(super) type Token = (u64, u64);

/// Says when a message is due, on a thread of its own, whatever the server does.
#[derive(Debug)]
pub(super) struct Pacer {
    pub(super) load: Arc<Load>,
    pub(super) start: u64,
    pub(super) writers: Vec<mpsc::Sender<Token>>,
    /// The number of the first message.
    pub(super) first: u64,
    pub(super) messages: u64,
    pub(super) tempo: Tempo,
}

impl Pacer {
    /// How many messages found no writer, and the writers, who end when they are dropped.
    pub(super) fn run(self) -> (u64, Vec<mpsc::Sender<Token>>) {
        let unsent = match self.tempo {
            Tempo::Paced(middle) => self.pace(middle),
            Tempo::Closed => self.set_off(),
        };
        (unsent, self.writers)
    }

    fn pace(&self, middle: f64) -> u64 {
        let limit = self.load.common.duration + self.load.common.patience;
        let limit = self.start + u64::try_from(limit.as_micros()).unwrap_or(u64::MAX / 2);
        let mut unsent = 0;
        for n in 0..self.messages {
            let due = self.start + due_at(n, self.load.common.rate, self.load.common.duration, middle);
            self.sleep_until(due);
            if self.load.is_stopped() {
                break;
            }
            if self.hand_over(self.first + n, due, limit) {
                self.load.sent.fetch_add(1, Ordering::Relaxed);
            } else {
                unsent += 1;
            }
        }
        unsent
    }

    /// Gives every writer its first message; from then on each has its own pace, until the time is over.
    fn set_off(&self) -> u64 {
        for writer in &self.writers {
            // A writer that is gone says so itself.
            let _gone = writer.try_send((self.load.next(), clock::now()));
        }
        let duration = u64::try_from(self.load.common.duration.as_micros()).unwrap_or(u64::MAX / 2);
        self.sleep_until(self.start + duration);
        0
    }

    fn sleep_until(&self, due: u64) {
        while clock::now() < due && !self.load.is_stopped() {
            clock::sleep_until(due.min(clock::now() + GLANCE));
        }
    }

    /// Whether a writer took it.
    fn hand_over(&self, number: u64, due: u64, limit: u64) -> bool {
        let writer = usize::try_from(number).unwrap_or(0) % self.writers.len();
        loop {
            match self.writers[writer].try_send((number, due)) {
                Ok(()) => return true,
                Err(TrySendError::Closed(_)) => return false,
                // Latency counts from when it was due, so nothing is hidden by waiting.
                Err(TrySendError::Full(_)) if clock::now() < limit && !self.load.is_stopped() => {
                    thread::sleep(Duration::from_millis(1));
                }
                Err(TrySendError::Full(_)) => return false,
            }
        }
    }
}

/// When message `number` is due, in microseconds from the start: at `rate`, but for the middle third of the time,
/// where it is `factor` times as much.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a run is shorter than an age")]
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
