use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// How long there is silence after a complaint.
const SILENCE: Duration = Duration::from_secs(60);

/// Tells the log that rooms cannot be used, now and then: it may be so for every command of everybody.
#[derive(Debug, Default)]
pub(crate) struct Complaints(Mutex<Told>);

#[derive(Debug, Default)]
struct Told {
    last: Option<Instant>,
    /// How often there was cause since.
    unsaid: u64,
}

impl Complaints {
    /// A command could not be carried out, for this cause.
    pub(crate) fn unavailable(&self, cause: &str) {
        let now = Instant::now();
        let mut told = self.0.lock();
        if told.last.is_some_and(|last| now - last < SILENCE) {
            told.unsaid += 1;
            return;
        }
        told.last = Some(now);
        let unsaid = std::mem::take(&mut told.unsaid);
        drop(told);
        tracing::warn!(cause, unsaid, "room unavailable");
    }
}
