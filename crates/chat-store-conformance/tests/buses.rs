//! The suite on two buses: one delivers at once on the thread of the sender, and one delays, repeats and reorders.

#[path = "support/relay.rs"]
mod relay;

use std::process::ExitCode;
use std::sync::Arc;

use async_trait::async_trait;
use chat_core::{Bus, NodeId};
use chat_store_conformance::bus::{Backend, Fixture, certify};
use chat_testkit::InProcessBus;

use relay::{Defect, Relay};

fn main() -> ExitCode {
    certify([
        Backend::new("in_process", || async { InProcess(InProcessBus::default()) }),
        Backend::new("relay", || async { Relay::new(Defect::None) }),
    ])
}

struct InProcess(InProcessBus);

#[async_trait]
impl Fixture for InProcess {
    async fn bus(&self) -> Arc<dyn Bus> {
        Arc::new(self.0.clone())
    }

    async fn lose(&self, node: &NodeId) {
        self.0.lose(node);
    }

    async fn restore(&self, node: &NodeId) {
        self.0.restore(node);
    }
}
