//! A node that is stopped in order.

use anyhow::{Context, Result, ensure};
use chat_tests::eventually;
use futures_util::StreamExt;
use serde_json::Value;
use tokio::task::block_in_place;

use crate::nodes::{ACTIX, AXUM, node, servers, state};

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_stopped_has_left_for_the_others_when_its_process_ends() -> Result<()> {
    let (servers, client) = servers(1).await;
    let (a, b) = (node(AXUM, "a", &servers)?, node(ACTIX, "b", &servers)?);
    let mut messages = client.subscribe("chat.b").await?;
    eventually(|| async { Ok(state(&a).await?["nodes"] == 2 && state(&b).await?["nodes"] == 2) }).await?;
    // The servers have the subscription.
    messages.next().await.context("no sign of life")?;
    block_in_place(|| a.stop())?;
    client.publish("chat.b", "end".into()).await?;
    let mut last = None;
    while let Some(message) = messages.next().await
        && message.payload != "end"
    {
        let message: Value = serde_json::from_slice(&message.payload)?;
        last = if message["from"] == "a" { Some(message) } else { last };
    }
    let last = last.context("no message of the node")?;
    ensure!(last["content"] == "leaves", "{last}");
    eventually(|| async { Ok(state(&b).await?["nodes"] == 1) }).await
}
