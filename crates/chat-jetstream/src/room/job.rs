use chat_core::{ChangeError, Unavailable};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{Receipt, Work};

/// A message or a change that waits for the writer.
pub(super) struct Job {
    pub(super) work: Work,
    /// The time until which it is tried to store it.
    pub(super) until: Instant,
    pub(super) answer: oneshot::Sender<Result<Receipt, ChangeError>>,
}

/// Removes the messages for which nobody waits, and answers those whose time is over.
pub(super) fn expire(batch: Vec<Job>) -> Vec<Job> {
    let now = Instant::now();
    let waits = |job: &Job| !job.answer.is_closed();
    let (waiting, expired): (Vec<_>, Vec<_>) =
        batch.into_iter().filter(waits).partition(|job| job.until > now);
    refuse(expired, &Unavailable::new("the stream did not store the message in time"));
    waiting
}

pub(super) fn refuse(batch: impl IntoIterator<Item = Job>, unavailable: &Unavailable) {
    for job in batch {
        let _gone = job.answer.send(Err(unavailable.clone().into()));
    }
}
