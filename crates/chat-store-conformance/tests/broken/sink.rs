//! The defects of reports.

use std::sync::Arc;

use chat_core::{Commit, CommitSink, StoredMessage};
use parking_lot::Mutex;

use crate::defects::Defect::{self, *};
use crate::room::{earlier, renumbered, rewritten};

/// The entries that were stored and not reported yet.
pub(crate) type Pending = Arc<Mutex<Vec<StoredMessage>>>;

/// Returns the sink that a log reports to, which reports to `sink` with the defect.
pub(crate) fn spoil(defect: Defect, node: usize, sink: CommitSink, pending: &Pending) -> CommitSink {
    let pending = Arc::clone(pending);
    CommitSink::new(move |commit| match commit {
        Commit::Entry(stored) => report(defect, node, &sink, &pending, stored),
        Commit::Head(head) => sink.advance(head),
        Commit::Renewed(_) if matches!(defect, RenewalUnreported) => {}
        Commit::Renewed(bounds) => sink.renewed(bounds),
        _ => {}
    })
}

fn report(defect: Defect, node: usize, sink: &CommitSink, pending: &Pending, stored: &StoredMessage) {
    match defect {
        LeavesHoles => sink.publish(&renumbered(stored)),
        TimesDecrease => sink.publish(&earlier(stored)),
        LosesReports if stored.seq % 10 == 7 => {}
        LastReportLost if node == 1 && stored.seq % 5 == 2 => {}
        SwapsReports => swap(sink, pending, stored),
        OtherNodeSwaps if node == 1 => swap(sink, pending, stored),
        ReportsOtherBytes => sink.publish(&rewritten(stored)),
        ReportsLostWhenDropped => pending.lock().push(stored.clone()),
        _ => sink.publish(stored),
    }
}

/// Reports each entry of a pair with the number of the other one.
fn swap(sink: &CommitSink, pending: &Pending, stored: &StoredMessage) {
    if stored.seq % 10 == 7 {
        pending.lock().push(stored.clone());
        return;
    }
    match pending.lock().pop() {
        Some(held) => {
            sink.publish(&StoredMessage::new(held.seq, stored.frame.clone()));
            sink.publish(&StoredMessage::new(stored.seq, held.frame));
        }
        None => sink.publish(stored),
    }
}
