//! When messages are due.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

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
    pub(super) writers: Vec<mpsc::Sender<Token>>,
    pub(super) messages: u64,
    pub(super) factor: f64,
}

impl Pacer {
    /// How many messages found no writer, and the writers, who end when they are dropped.
    pub(super) fn run(self) -> (u64, Vec<mpsc::Sender<Token>>) {
        let start = clock::now();
        let limit = self.load.common.duration + self.load.common.patience;
        let limit = start + u64::try_from(limit.as_micros()).unwrap_or(u64::MAX / 2);
        let mut unsent = 0;
        for number in 0..self.messages {
            let due = start + due_at(number, self.load.common.rate, self.load.common.duration, self.factor);
            while clock::now() < due && !self.load.is_stopped() {
                clock::sleep_until(due.min(clock::now() + GLANCE));
            }
            if self.load.is_stopped() {
                break;
            }
            if self.hand_over(number, due, limit) {
                self.load.sent.fetch_add(1, Ordering::Relaxed);
            } else {
                unsent += 1;
            }
        }
        (unsent, self.writers)
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
