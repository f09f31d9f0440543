use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use chat_core::{Bus, BusSink, NodeId, Notice};
use parking_lot::Mutex;

/// A bus between chats of one process. It delivers each notice at once, on the thread of its sender.
///
/// Each notice is encoded and decoded on its way, as on a bus between processes.
#[derive(Clone, Debug, Default)]
pub struct InProcessBus(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    sinks: BTreeMap<NodeId, BusSink>,
    /// The nodes that cannot be reached.
    lost: BTreeSet<NodeId>,
}

impl State {
    fn others(&self, node: &NodeId) -> Vec<(NodeId, BusSink)> {
        let is_reachable = |node: &NodeId| self.sinks.contains_key(node) && !self.lost.contains(node);
        let is_other = |other: &NodeId| other != node && is_reachable(node) && is_reachable(other);
        let others = self.sinks.iter().filter(|(other, _)| is_other(other));
        others.map(|(other, sink)| (other.clone(), sink.clone())).collect()
    }
}

impl InProcessBus {
    /// Separates a node from the others, which notice the loss. The node itself notices that it has lost all others.
    pub fn lose(&self, node: &NodeId) {
        self.change(node, |state| state.others(node), BusSink::node_left);
        self.0.lock().lost.insert(node.clone());
    }

    /// Connects a node again that was lost.
    pub fn restore(&self, node: &NodeId) {
        let restored = |state: &mut State| {
            state.lost.remove(node);
            state.others(node)
        };
        self.change(node, restored, BusSink::node_joined);
    }

    fn change(
        &self,
        node: &NodeId,
        others: impl FnOnce(&mut State) -> Vec<(NodeId, BusSink)>,
        notify: fn(&BusSink, &NodeId),
    ) {
        let (others, sink) = {
            let mut state = self.0.lock();
            (others(&mut state), state.sinks.get(node).cloned())
        };
        for (other, other_sink) in others {
            notify(&other_sink, node);
            if let Some(sink) = &sink {
                notify(sink, &other);
            }
        }
    }
}

#[async_trait]
impl Bus for InProcessBus {
    fn connect(&self, node: &NodeId, sink: BusSink) {
        let entered = |state: &mut State| {
            state.sinks.insert(node.clone(), sink);
            state.others(node)
        };
        self.change(node, entered, BusSink::node_joined);
    }

    fn publish(&self, node: &NodeId, notice: &Notice) {
        let others = self.0.lock().others(node);
        let bytes = notice.encode();
        for (other, sink) in others {
            if notice.recipient().is_none_or(|recipient| *recipient == other)
                && let Ok(notice) = Notice::decode(&bytes)
            {
                sink.receive(node, &notice);
            }
        }
    }

    async fn disconnect(&self, node: &NodeId) {
        let left = |state: &mut State| {
            let others = state.others(node);
            state.sinks.remove(node);
            others
        };
        self.change(node, left, BusSink::node_left);
    }
}
