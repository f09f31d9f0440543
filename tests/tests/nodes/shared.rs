use std::sync::Arc;

use anyhow::Error;
use chat_conformance::Shared;
use chat_core::{Bus, Limits};
use chat_jetstream::NatsBus;
use chat_tests::ChatNodes;

/// Opens the store and the bus of this number of nodes. `wrap` makes the bus that a chat uses.
pub(crate) async fn share<B: Bus>(
    nats: &str,
    count: usize,
    limits: &Limits,
    wrap: impl Fn(Arc<NatsBus>) -> B,
) -> Result<Shared, String> {
    let nodes = Arc::new(ChatNodes::open(nats, count, limits).await.map_err(text)?);
    let (known, renewed) = (Arc::clone(&nodes), Arc::clone(&nodes));
    Ok(Shared {
        builders: nodes.builders(wrap).map_err(text)?,
        ready: Box::pin(async move { known.know_each_other().await.map_err(text) }),
        on_renew: Box::new(move || {
            let nodes = Arc::clone(&renewed);
            // Without another life, the case fails.
            Box::pin(async move { drop(nodes.renew().await) })
        }),
        // The case is over, and the server of NATS ends with the test.
        close: Box::pin(async move { drop(nodes.close().await) }),
    })
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn text(error: Error) -> String {
    format!("{error:#}")
}
