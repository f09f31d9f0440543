//! A bus whose notices pass a task, which repeats and reorders them, and echoes them to their sender.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use chat_core::{Bus, BusSink, NodeId, Notice};
use chat_store_conformance::bus::Fixture;
use parking_lot::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// The number of the next kick of a relay that numbers them.
static KICKS: AtomicU64 = AtomicU64::new(1_000);

/// The fault of a relay that the suite must notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Defect {
    None,
    /// A lost node is not reported.
    KeepsLostNodes,
    /// A node that disconnects is not reported.
    KeepsDisconnectedNodes,
    /// A node that disconnects is reported before its last notices.
    EndsNodesEarly,
    /// A node that returns is not reported.
    ForgetsReturningNodes,
    /// One notice in 500 is lost.
    LosesNotices,
    /// Notices of more than 1 MiB are lost.
    LosesLargeNotices,
    /// Guests become users of the host service.
    ForgetsGuests,
    /// Kicks reach only one node.
    KicksOnOneNode,
    /// No node hears of a marker that has moved.
    LosesReads,
    /// No node hears of new entries.
    LosesActivity,
    /// Each delivery of a kick has another version.
    NumbersKicks,
    /// Notices have the name of the node that receives them.
    NamesTheReceiver,
    /// Notices seem to have been on their way for an hour.
    ExaggeratesDelays,
}

/// The bytes of a notice that is not large.
const LARGE: usize = 1024 * 1024;

/// The nodes, and the task between them.
#[derive(Clone)]
pub(crate) struct Relay {
    state: Arc<Mutex<State>>,
    /// The notices, and `None` for the end of a node.
    notices: UnboundedSender<(NodeId, Option<Vec<u8>>)>,
    defect: Defect,
}

#[derive(Default)]
struct State {
    sinks: BTreeMap<NodeId, BusSink>,
    lost: BTreeSet<NodeId>,
}

impl State {
    /// Returns the nodes that a node can reach, without itself.
    fn reachable(&self, node: &NodeId) -> Vec<(NodeId, BusSink)> {
        let is_reachable =
            |other: &NodeId| other != node && !self.lost.contains(other) && !self.lost.contains(node);
        let others = self.sinks.iter().filter(|(other, _)| is_reachable(other));
        others.map(|(other, sink)| (other.clone(), sink.clone())).collect()
    }

    /// Reports the end of a node to the others.
    fn end(&mut self, node: &NodeId) {
        let others = self.reachable(node);
        if self.sinks.remove(node).is_some() {
            others.iter().for_each(|(_, sink)| sink.node_left(node));
        }
    }
}

impl Relay {
    pub(crate) fn new(defect: Defect) -> Self {
        let (notices, receiver) = unbounded_channel();
        let relay = Self { state: Arc::default(), notices, defect };
        tokio::spawn(run(Arc::clone(&relay.state), receiver, defect));
        relay
    }

    fn report(&self, node: &NodeId, others: &[(NodeId, BusSink)], report: fn(&BusSink, &NodeId)) {
        let own = self.state.lock().sinks.get(node).cloned();
        for (other, sink) in others {
            report(sink, node);
            own.iter().for_each(|own| report(own, other));
        }
    }
}

#[async_trait]
impl Bus for Relay {
    fn connect(&self, node: &NodeId, sink: BusSink) {
        self.state.lock().sinks.insert(node.clone(), sink);
        let others = self.state.lock().reachable(node);
        self.report(node, &others, BusSink::node_joined);
    }

    fn publish(&self, node: &NodeId, notice: &Notice) {
        // After the end of the case, no task is left.
        let _ended = self.notices.send((node.clone(), Some(notice.encode())));
    }

    async fn disconnect(&self, node: &NodeId) {
        if self.defect == Defect::EndsNodesEarly {
            self.state.lock().end(node);
        } else if self.defect != Defect::KeepsDisconnectedNodes {
            let _ended = self.notices.send((node.clone(), None));
        }
    }
}

#[async_trait]
impl Fixture for Relay {
    async fn bus(&self) -> Arc<dyn Bus> {
        Arc::new(self.clone())
    }

    async fn lose(&self, node: &NodeId) {
        let others = self.state.lock().reachable(node);
        self.state.lock().lost.insert(node.clone());
        if self.defect != Defect::KeepsLostNodes {
            self.report(node, &others, BusSink::node_left);
        }
    }

    async fn restore(&self, node: &NodeId) {
        self.state.lock().lost.remove(node);
        let others = self.state.lock().reachable(node);
        if self.defect != Defect::ForgetsReturningNodes {
            self.report(node, &others, BusSink::node_joined);
        }
    }
}

/// Delivers the notices: the second of two first, and each twice.
async fn run(
    state: Arc<Mutex<State>>,
    mut notices: UnboundedReceiver<(NodeId, Option<Vec<u8>>)>,
    defect: Defect,
) {
    let mut number = 0;
    while let Some(first) = notices.recv().await {
        tokio::task::yield_now().await;
        let mut taken = vec![first];
        taken.extend(notices.try_recv().ok());
        // The end of a node comes last.
        if taken.iter().all(|(_, notice)| notice.is_some()) {
            taken.reverse();
        }
        for (from, notice) in taken {
            let Some(bytes) = notice else {
                state.lock().end(&from);
                continue;
            };
            number += 1;
            if defect != Defect::LosesNotices || number % 500 != 0 {
                deliver(&state, &from, &bytes, defect);
                deliver(&state, &from, &bytes, defect);
            }
        }
    }
}

fn deliver(state: &Mutex<State>, from: &NodeId, bytes: &[u8], defect: Defect) {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let text = if defect == Defect::ForgetsGuests { text.replace("true", "false") } else { text };
    let mut notice = Notice::decode(text.as_bytes()).expect("a notice");
    if let Notice::Kick { version, .. } = &mut notice
        && defect == Defect::NumbersKicks
    {
        *version = KICKS.fetch_add(1, Ordering::Relaxed);
    }
    let is_lost = match &notice {
        Notice::Read { .. } => defect == Defect::LosesReads,
        Notice::Activity { .. } => defect == Defect::LosesActivity,
        _ => defect == Defect::LosesLargeNotices && bytes.len() > LARGE,
    };
    if is_lost {
        return;
    }
    let is_kick = matches!(notice, Notice::Kick { .. });
    let mut receivers = state.lock().reachable(from);
    if is_kick && defect == Defect::KicksOnOneNode {
        receivers.truncate(1);
    }
    for (node, sink) in receivers {
        let hour = Duration::from_secs(60 * 60);
        let delay = if defect == Defect::ExaggeratesDelays { hour } else { Duration::ZERO };
        sink.receive_late(if defect == Defect::NamesTheReceiver { &node } else { from }, &notice, delay);
    }
    let own = state.lock().sinks.get(from).cloned();
    own.iter().for_each(|own| own.receive(from, &notice));
}
