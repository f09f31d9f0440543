//! The suite on six stores: rooms in memory; rooms that a store holds through its lives; the same rooms if their sinks
//! hear of heads only; rooms that a task writes; a store that learns `seq` as it writes; and a store with two nodes
//! whose sinks hear by a subscription.

#[path = "support/assigns_on_write/mod.rs"]
mod assigns_on_write;
#[path = "support/base.rs"]
mod base;
#[path = "support/by_subscription.rs"]
mod by_subscription;
#[path = "support/held.rs"]
mod held;
#[path = "support/queued.rs"]
mod queued;

use std::process::ExitCode;
use std::sync::Arc;

use async_trait::async_trait;
use chat_core::{Commit, CommitSink, MemoryStore, Store};
use chat_store_conformance::{Backend, Capability, Fixture, certify};

use assigns_on_write::AssignsOnWrite;
use by_subscription::BySubscription;
use held::Held;
use queued::Queued;

/// The reason of the stores that answer `Unsupported`, which is the default.
const NO_CHANGES: &str = "the store keeps only messages";
const NO_MARKERS: &str = "the store keeps no markers";

/// The reason of the same stores.
const NO_RULES: &str = "the store keeps no rules of rooms";

fn main() -> ExitCode {
    certify([
        Backend::new("memory", |_| async { InMemory::default() })
            .without(Capability::Persistence, "each opening of a room in memory is a log of its own")
            .without(Capability::MultipleNodes, "the log is in one process")
            .without(Capability::Outage, "memory is always reachable")
            .without(Capability::Renewal, "a log in memory is not lost while it is open"),
        Backend::new("held", |_| async { Held::new() }),
        Backend::new("by_heads", |_| async { Held::with_sinks(by_heads) }),
        Backend::new("queued", |_| async { Queued::new() })
            .without(Capability::Changes, NO_CHANGES)
            .without(Capability::Rules, NO_RULES)
            .without(Capability::Purges, NO_CHANGES)
            .without(Capability::Threads, NO_CHANGES)
            .without(Capability::Markers, NO_MARKERS),
        Backend::new("assigns_on_write", |_| async { AssignsOnWrite::new() })
            .without(Capability::MultipleNodes, "one process has the files open")
            .without(Capability::Changes, NO_CHANGES)
            .without(Capability::Rules, NO_RULES)
            .without(Capability::Purges, NO_CHANGES)
            .without(Capability::Threads, NO_CHANGES)
            .without(Capability::Markers, NO_MARKERS),
        Backend::new("by_subscription", |_| async { BySubscription::new() })
            .without(Capability::Changes, NO_CHANGES)
            .without(Capability::Rules, NO_RULES)
            .without(Capability::Purges, NO_CHANGES)
            .without(Capability::Threads, NO_CHANGES)
            .without(Capability::Markers, NO_MARKERS),
    ])
}

/// Returns a sink that hears of each new head, but not of the entry: each reader of reports has to read the log.
fn by_heads(sink: CommitSink) -> CommitSink {
    CommitSink::new(move |commit| match commit {
        Commit::Entry { epoch, stored } => sink.advance(epoch, stored.seq),
        commit => sink.report(commit),
    })
}

#[derive(Default)]
struct InMemory(Arc<MemoryStore>);

#[async_trait]
impl Fixture for InMemory {
    fn store(&self, node: usize) -> Option<Arc<dyn Store>> {
        (node == 0).then(|| Arc::clone(&self.0) as Arc<dyn Store>)
    }

    async fn restart(&mut self) {}
}
