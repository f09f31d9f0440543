use std::sync::{Arc, Weak};

use chat_core::{Commit, CommitSink};
use parking_lot::Mutex;

/// The sinks of all openings of a room on this node. A sink gets reports until its opening is dropped.
#[derive(Debug, Default)]
pub(super) struct Sinks(Mutex<Vec<Weak<CommitSink>>>);

impl Sinks {
    /// Adds a sink, which gets reports while the returned value is held.
    pub(super) fn add(&self, sink: CommitSink) -> Arc<CommitSink> {
        let sink = Arc::new(sink);
        self.0.lock().push(Arc::downgrade(&sink));
        sink
    }

    pub(super) fn report(&self, commit: Commit<'_>) {
        let mut open = Vec::new();
        self.0.lock().retain(|sink| sink.upgrade().map(|sink| open.push(sink)).is_some());
        // Without the lock: a report wakes members.
        for sink in open {
            sink.report(commit);
        }
    }
}
