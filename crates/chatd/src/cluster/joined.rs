use std::sync::Arc;

use chat_core::{Builder, Health, NodeId, Store};
use chat_jetstream::{JetStreamStore, NatsBus};
use serde_json::{Value, json};

use crate::metrics_recorder::Metrics;

/// A cluster that this server has joined. A clone is another handle to it.
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    pub(super) store: JetStreamStore,
    pub(super) bus: Arc<NatsBus>,
    pub(super) node: NodeId,
    pub(super) stream: String,
}

impl Cluster {
    pub(crate) fn attach(&self, chat: Builder) -> Builder {
        chat.node(self.node.clone()).store(self.store.clone()).bus(Arc::clone(&self.bus))
    }

    pub(crate) fn publish(self, metrics: &mut Metrics) {
        chat_jetstream::describe_metrics();
        metrics.source(move || {
            self.store.publish_metrics();
            self.bus.publish_metrics();
        });
    }

    /// Returns the state of the cluster for `/readyz`.
    pub(crate) fn state(&self) -> Value {
        let state = match self.store.health() {
            Health::Ready if self.bus.other_nodes() == 0 => "alone",
            Health::Ready => "ok",
            Health::Degraded(_) => "degraded",
            _ => "unreachable",
        };
        let stats = self.store.stats();
        json!({
            "state": state,
            "node": self.node,
            "nodes": self.bus.other_nodes() + 1,
            "stream": self.stream,
            "replicas": self.store.replicas(),
            "messages": stats.messages,
            "records": stats.records,
            "conflicts": stats.conflicts,
            "routed": stats.routed,
            "missed": stats.missed,
            "new_epochs": stats.new_epochs,
            "unreadable": stats.unreadable,
        })
    }
}
