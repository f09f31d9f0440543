use std::io::Write;

use anyhow::{Context, Result, ensure};
use chat_tests::metrics::{described, exported, values};
use chat_tests::{Client, Daemon, eventually, exchange};
use tempfile::{NamedTempFile, TempDir};
use tokio::task::block_in_place;

use crate::nodes::{AXUM, node_with, servers};

const TOKEN: &str = "0123456789-a-token-of-the-tests";

/// Writes the token of an admin listener.
pub(crate) fn token() -> Result<NamedTempFile> {
    let mut token = NamedTempFile::new()?;
    writeln!(token, "{TOKEN}")?;
    Ok(token)
}

/// Returns the arguments of a node with an admin listener.
pub(crate) fn admin(token: &NamedTempFile) -> Result<[&str; 4]> {
    let path = token.path().to_str().context("a path in UTF-8")?;
    Ok(["--admin", "127.0.0.1:0", "--admin-token", path])
}

/// Returns the metrics of a node with an admin listener.
pub(crate) async fn scrape(node: &Daemon) -> Result<String> {
    call(node, "GET /metrics", "").await
}

/// Makes a call of the admin listener of a node, such as `GET /metrics`. Returns the body of the answer.
pub(crate) async fn call(node: &Daemon, call: &str, body: &str) -> Result<String> {
    let is_listening = |line: &&serde_json::Value| line["message"] == "admin listening";
    eventually(|| async { Ok(node.log_lines(0)?.iter().any(|line| is_listening(&line))) }).await?;
    let log = node.log_lines(0)?;
    let address =
        log.iter().find(is_listening).and_then(|line| line["address"].as_str()).context("an address")?;
    let length = body.len();
    let request = format!(
        "{call} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\nContent-Length: {length}\r\n\
         Authorization: Bearer {TOKEN}\r\n\r\n{body}"
    );
    let answer = String::from_utf8(exchange(address.parse()?, request.as_bytes()).await?)?;
    let (_, text) = answer.split_once("\r\n\r\n").with_context(|| answer.clone())?;
    Ok(text.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_describes_each_metric_of_a_cluster() -> Result<()> {
    let (servers, _client) = servers(1).await;
    let (token, index) = (token()?, TempDir::new()?);
    let index = ["--search-index", index.path().to_str().context("a path in UTF-8")?];
    let node = node_with(AXUM, "a", &servers, &[&index[..], &admin(&token)?].concat())?;
    let mut ann = Client::member(node.address(), "ann").await?;
    ensure!(ann.say("hi").await?["seq"] == 1);
    let text = &scrape(&node).await?;
    let (exported, described) = (exported(text)?, described()?);
    let differ: Vec<_> = exported.iter().filter(|(name, kind)| described.get(*name) != Some(*kind)).collect();
    ensure!(differ.is_empty(), "not in the table, or other there: {differ:#?}");
    let of_cluster = described.keys().filter(|name| name.starts_with("chat_cluster_"));
    let missing: Vec<_> = of_cluster.filter(|name| !exported.contains_key(*name)).collect();
    ensure!(missing.is_empty(), "only in the table: {missing:#?}");
    let values = values(text)?;
    for (metric, expected) in [
        ("chat_cluster_nodes", 1.0),
        ("chat_cluster_new_epochs_total", 0.0),
        ("chat_cluster_stream_ready{stream=\"chat\"}", 1.0),
        ("chat_store_messages_total", 1.0),
        ("chat_store_commits_total", 1.0),
        ("chat_store_commit_seconds_count", 1.0),
        ("chat_store_health{state=\"ready\"}", 1.0),
    ] {
        ensure!(values.get(metric) == Some(&expected), "{metric} is {:?}: {text}", values.get(metric));
    }
    block_in_place(|| node.stop())?;
    Ok(())
}
