//! Nodes with different limits of what they keep.

use std::time::Duration;

use anyhow::{Result, ensure};
use chat_tests::{Client, Daemon, eventually};
use tokio::task::block_in_place;
use tokio::time::sleep;

use crate::nodes::{ACTIX, AXUM, node_with, servers};

/// The time of several signs of life.
const SIGNS: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn each_node_names_once_those_with_other_limits() -> Result<()> {
    let (servers, _client) = servers(1).await;
    let month = ["--retain", "30d"];
    let a = node_with(AXUM, "a", &servers, &month)?;
    let b = node_with(ACTIX, "b", &servers, &["--retain", "12h", "--retain", "1000msgs"])?;
    let c = node_with(AXUM, "c", &servers, &month)?;
    // A node takes part when it has opened a room.
    for node in [&a, &b, &c] {
        Client::member(node.address(), "ann").await?;
    }
    let expected_on_b = [("a", "12h,1000msgs", "30d"), ("c", "12h,1000msgs", "30d")];
    eventually(|| async { Ok(reports(&b)?.len() == 2 && reports(&c)?.len() == 1) }).await?;
    sleep(SIGNS).await;
    for node in [&a, &c] {
        ensure!(reports(node)? == [report(&("b", "30d", "12h,1000msgs"))], "{:?}", reports(node)?);
    }
    let mut on_b = reports(&b)?;
    on_b.sort();
    ensure!(on_b == expected_on_b.each_ref().map(report), "{on_b:?}");

    // The same limits again.
    block_in_place(|| b.stop())?;
    let b = node_with(ACTIX, "b", &servers, &month)?;
    Client::member(b.address(), "ann").await?;
    sleep(SIGNS).await;
    ensure!(reports(&b)?.is_empty() && reports(&a)?.len() == 1, "{:?} {:?}", reports(&a)?, reports(&b)?);
    Ok(())
}

fn report((node, own, other): &(&str, &str, &str)) -> [String; 3] {
    [node, own, other].map(|text| (*text).to_owned())
}

/// Returns the other nodes, the own limits and theirs, in the order of the log.
fn reports(node: &Daemon) -> Result<Vec<[String; 3]>> {
    let lines = node.log_lines(0)?.into_iter();
    let lines = lines.filter(|line| line["message"] == "another node has other limits of retention");
    let field =
        |line: &serde_json::Value, name: &str| line[name].as_str().map(ToOwned::to_owned).unwrap_or_default();
    Ok(lines.map(|line| ["node", "own", "other"].map(|name| field(&line, name))).collect())
}
