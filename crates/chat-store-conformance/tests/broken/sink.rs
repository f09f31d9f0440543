//! The defects of reports.

use std::sync::{Arc, OnceLock};

use chat_core::{Commit, CommitSink, RoomName, StoredMessage};
use parking_lot::Mutex;

use crate::defects::Defect::{self, *};
use crate::room::{earlier, renumbered, rewritten};

/// The entries that were stored and not reported yet.
pub(crate) type Pending = Arc<Mutex<Vec<StoredMessage>>>;

/// Returns the sink that a log reports to, which reports to `sink` with the defect.
pub(crate) fn spoil(
    defect: Defect,
    (node, room): (usize, &RoomName),
    sink: CommitSink,
    pending: &Pending,
) -> CommitSink {
    let (pending, room) = (Arc::clone(pending), room.clone());
    let first_epoch = OnceLock::new();
    CommitSink::new(move |commit| match commit {
        Commit::Entry { epoch, stored } => {
            let first = first_epoch.get_or_init(|| epoch.to_owned());
            let epoch = match defect {
                ReportsNoEpoch => "",
                ReportsFirstEpoch => first,
                EpochIsName => room.as_str(),
                _ => epoch,
            };
            report(defect, node, &|stored| sink.publish(epoch, stored), &pending, stored);
        }
        Commit::Erased { .. } if matches!(defect, ErasesUnreported | PurgesUnreported) => {}
        Commit::Renewed(_) if matches!(defect, RenewalUnreported) => {}
        commit => sink.report(commit),
    })
}

fn report(
    defect: Defect,
    node: usize,
    publish: &dyn Fn(&StoredMessage),
    pending: &Pending,
    stored: &StoredMessage,
) {
    match defect {
        LeavesHoles => publish(&renumbered(stored)),
        TimesDecrease => publish(&earlier(stored)),
        LosesReports if stored.seq % 10 == 7 => {}
        LastReportLost if node == 1 && stored.seq % 5 == 2 => {}
        SwapsReports => swap(publish, pending, stored),
        OtherNodeSwaps if node == 1 => swap(publish, pending, stored),
        ReportsOtherBytes => publish(&rewritten(stored)),
        ReportsLostWhenDropped => pending.lock().push(stored.clone()),
        _ => publish(stored),
    }
}

/// Reports each entry of a pair with the number of the other one.
fn swap(publish: &dyn Fn(&StoredMessage), pending: &Pending, stored: &StoredMessage) {
    if stored.seq % 10 == 7 {
        pending.lock().push(stored.clone());
        return;
    }
    match pending.lock().pop() {
        Some(held) => {
            publish(&StoredMessage::new(held.seq, stored.frame.clone()));
            publish(&StoredMessage::new(stored.seq, held.frame));
        }
        None => publish(stored),
    }
}
