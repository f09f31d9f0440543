//! Kicks that are late on their way to another node.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chat_tests::{Client, Daemon, eventually, lifted};
use serde_json::{Value, json};
use tokio::task::block_in_place;
use tokio::time::sleep;

use crate::link::Link;
use crate::metrics::{admin, call, token};
use crate::nodes::{ACTIX, AXUM, node, servers, state};

/// The time from a kick to the newer connection. A node whose messages are missing for 4 s has left.
const LATER: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread")]
async fn a_late_kick_closes_the_connections_that_it_concerns_and_no_newer_one() -> Result<()> {
    let (servers, _client) = servers(1).await;
    let (link, token) = (Link::start(servers.port(0)).await?, token()?);
    let address = format!("nats://{}", link.address());
    let cluster = ["--cluster", &address, "--node", "a", "--replicas", "1", "--durability", "process"];
    let arguments = [&lifted()[..], &cluster, &admin(&token)?].concat();
    let a = block_in_place(|| Daemon::start(AXUM, &arguments))?;
    let b = node(ACTIX, "b", &servers)?;
    eventually(|| async { Ok(state(&a).await?["nodes"] == 2 && state(&b).await?["nodes"] == 2) }).await?;
    let mut old = Client::connect(b.address(), "ann").await?;
    link.silence();
    let kicked = call(&a, "POST /v1/kick", &json!({"id": "ann", "guest": true}).to_string()).await?;
    let kicked: Value = serde_json::from_str(&kicked).context(kicked)?;
    ensure!(kicked["closed"] == 0, "{kicked}");
    sleep(LATER).await;
    let mut new = Client::connect(b.address(), "ann").await?;
    link.open();
    ensure!(old.closed().await? == Some(4503));
    let pong = new.ask(json!({"type": "ping"})).await?;
    ensure!(pong["type"] == "pong", "{pong}");
    // One that comes in time closes it.
    call(&a, "POST /v1/kick", &json!({"id": "ann", "guest": true}).to_string()).await?;
    ensure!(new.closed().await? == Some(4503));
    Ok(())
}
