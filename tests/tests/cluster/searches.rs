//! Searches of two nodes, of which one keeps an index.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use chat_tests::metrics::values;
use chat_tests::{Client, Daemon};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::block_in_place;
use tokio::time::sleep;

use crate::metrics::{admin, scrape, token};
use crate::nodes::{ACTIX, AXUM, node, node_with, servers};

const SCANS: &str = "chat_cluster_search_scans_total";

async fn search(client: &mut Client, query: &str) -> Result<Vec<Value>> {
    let found = client.ask(json!({"type": "search", "room": "lobby", "query": query})).await?;
    ensure!(found["type"] == "found", "{found}");
    found["messages"].as_array().cloned().with_context(|| found.to_string())
}

async fn metric(node: &Daemon, name: &str) -> Result<f64> {
    let text = scrape(node).await?;
    values(&text)?.get(name).copied().with_context(|| format!("no {name}: {text}"))
}

/// Waits until an index answers the searches of a node.
async fn is_indexed(client: &mut Client, node: &Daemon) -> Result<()> {
    for _ in 0..200 {
        let scans = metric(node, SCANS).await?;
        search(client, "apple").await?;
        if metric(node, SCANS).await? == scans {
            return Ok(());
        }
        sleep(Duration::from_millis(50)).await;
    }
    bail!("no index answers")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_index_of_one_node_answers_the_searches_of_all() -> Result<()> {
    let (servers, _client) = servers(1).await;
    let (token, home) = (token()?, TempDir::new()?);
    let dir = home.path().join("index");
    let index = ["--search-index", dir.to_str().context("a path in UTF-8")?];
    let arguments = [&index[..], &admin(&token)?].concat();
    let indexing = node_with(AXUM, "a", &servers, &arguments)?;
    let other = node_with(ACTIX, "b", &servers, &admin(&token)?)?;
    let mut ann = Client::member(other.address(), "ann").await?;
    let mut bob = Client::member(indexing.address(), "bob").await?;
    for text in ["a red apple", "a pear", "an apple tree"] {
        ensure!(ann.say(text).await?["type"] == "sent");
    }
    let seqs = |found: Vec<Value>| found.iter().map(|event| event["seq"].clone()).collect::<Vec<_>>();
    is_indexed(&mut ann, &other).await?;
    let scans = metric(&other, SCANS).await?;
    for client in [&mut ann, &mut bob] {
        ensure!(seqs(search(client, "APPL").await?) == [3, 1]);
    }
    let seq = ann.say("a late apple").await?["seq"].clone();
    ensure!(seqs(search(&mut ann, "late").await?) == [seq]);
    ensure!(ann.ask(json!({"type": "delete", "room": "lobby", "seq": 1})).await?["type"] == "done");
    ensure!(seqs(search(&mut ann, "apple").await?) == [4, 3]);
    ensure!(metric(&other, SCANS).await? == scans, "a search was a scan");
    block_in_place(|| indexing.stop())?;
    // Without the index, the node looks at the messages itself.
    ensure!(seqs(search(&mut ann, "apple").await?) == [4, 3]);
    ensure!(metric(&other, SCANS).await? == scans + 1.0);
    let again = node_with(AXUM, "a", &servers, &arguments)?;
    is_indexed(&mut ann, &other).await?;
    ensure!(metric(&again, "chat_cluster_search_index_waiting").await? == 0.0);
    ensure!(seqs(search(&mut ann, "apple").await?) == [4, 3]);
    for node in [again, other] {
        block_in_place(|| node.stop())?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_another_node_uses_is_refused() -> Result<()> {
    let (servers, _client) = servers(1).await;
    let home = TempDir::new()?;
    let index = ["--search-index", home.path().to_str().context("a path in UTF-8")?];
    let first = node_with(AXUM, "a", &servers, &index)?;
    let second = node_with(AXUM, "b", &servers, &index);
    ensure!(second.is_err(), "a second node has the directory");
    block_in_place(|| first.stop())?;
    block_in_place(|| node(AXUM, "b", &servers)?.stop())?;
    Ok(())
}
