//! Kicks that are late on their way to another node.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use chat_tests::{Client, Daemon, eventually, lifted};
use serde_json::{Value, json};
use tokio::task::block_in_place;
use tokio::time::sleep;

use crate::link::Link;
use crate::metrics::{admin, call, token};
use crate::nodes::{ACTIX, AXUM, node, servers, state};

/// The time from a kick to the newer connection.
const LATER: Duration = Duration::from_secs(1);

/// The time without messages of a node for which it has not left: 4 s, and up to 1 s of them before the silence. On a
/// machine that is too busy, the test is repeated.
const SHORT: Duration = Duration::from_millis(2_500);
const ATTEMPTS: usize = 10;

#[tokio::test(flavor = "multi_thread")]
async fn a_late_kick_closes_the_connections_that_it_concerns_and_no_newer_one() -> Result<()> {
    let (servers, _client) = servers(1).await;
    let (link, token) = (Link::start(servers.port(0)).await?, token()?);
    let address = format!("nats://{}", link.address());
    let cluster = ["--cluster", &address, "--node", "a", "--replicas", "1", "--durability", "process"];
    let arguments = [&lifted()[..], &cluster, &admin(&token)?].concat();
    let a = block_in_place(|| Daemon::start(AXUM, &arguments))?;
    let b = node(ACTIX, "b", &servers)?;
    for _ in 0..ATTEMPTS {
        eventually(|| async { Ok(state(&a).await?["nodes"] == 2 && state(&b).await?["nodes"] == 2) }).await?;
        let mut old = Client::connect(b.address(), "ann").await?;
        let begun = Instant::now();
        link.silence();
        let kicked = kick(&a).await?;
        ensure!(kicked["closed"] == 0, "{kicked}");
        sleep(LATER).await;
        let mut new = Client::connect(b.address(), "ann").await?;
        link.open();
        let is_short = begun.elapsed() < SHORT;
        ensure!(old.closed().await? == Some(4503));
        if is_short {
            let pong = new.ask(json!({"type": "ping"})).await?;
            ensure!(pong["type"] == "pong", "{pong}");
            // One that comes in time closes it.
            kick(&a).await?;
            ensure!(new.closed().await? == Some(4503));
            return Ok(());
        }
    }
    bail!("{ATTEMPTS} times, nothing passed for {SHORT:?} or more")
}

async fn kick(node: &Daemon) -> Result<Value> {
    let kicked = call(node, "POST /v1/kick", &json!({"id": "ann", "guest": true}).to_string()).await?;
    serde_json::from_str(&kicked).context(kicked)
}
