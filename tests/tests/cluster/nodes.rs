//! The nodes of a cluster, and the servers of NATS below them.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use chat_tests::{Binary, Daemon, lifted};
use serde_json::{Value, json};
use tokio::task::block_in_place;

use crate::servers::{Servers, request};

pub(crate) const AXUM: Binary = Binary { name: "chatd-axum", upgrade: "hijack" };
pub(crate) const ACTIX: Binary = Binary { name: "chatd-actix", upgrade: "framework" };

/// Starts servers of NATS, and waits until they can create a stream. Three of them sync each message.
pub(crate) async fn servers(count: usize) -> (Servers, async_nats::Client) {
    let servers = block_in_place(|| match count {
        1 => Servers::start(1),
        _ => Servers::start_with(count, |config| config["jetstream"]["sync_interval"] = json!("always")),
    });
    let client = servers.ready().await;
    (servers, client)
}

/// Starts a node of a cluster whose stream has a copy on each server.
pub(crate) fn node(binary: Binary, name: &str, servers: &Servers) -> Result<Daemon> {
    node_with(binary, name, servers, &[])
}

/// Starts a node with further arguments.
pub(crate) fn node_with(binary: Binary, name: &str, servers: &Servers, arguments: &[&str]) -> Result<Daemon> {
    node_of(binary.command()?, binary, name, servers, arguments)
}

/// Starts a node with a command that runs its program.
pub(crate) fn node_of(
    command: Command,
    binary: Binary,
    name: &str,
    servers: &Servers,
    arguments: &[&str],
) -> Result<Daemon> {
    let addresses = servers.addresses();
    let (copies, durability) = match addresses.split(',').count() {
        1 => ("1", "process"),
        _ => ("3", "disk"),
    };
    let cluster = ["--cluster", &addresses, "--node", name, "--replicas", copies, "--durability", durability];
    block_in_place(|| Daemon::spawn(command, binary, &[&lifted()[..], &cluster, arguments].concat()))
}

/// Runs a binary that must refuse to start. Returns the line of its error.
pub(crate) fn refusal(binary: Binary, arguments: &[&str]) -> Result<String> {
    // One that serves would never end.
    let mut command = Command::new("timeout");
    command
        .arg("30")
        .arg(binary.command()?.get_program())
        .env("CHATD_DATA", "")
        .current_dir(Path::new("/"))
        .args(["--listen", "127.0.0.1:0"])
        .args(arguments);
    let output = block_in_place(|| command.output())?;
    let log = String::from_utf8(output.stderr)?;
    ensure!(output.status.code() == Some(2) && output.stdout.is_empty(), "{}: {log}", output.status);
    let error = log.lines().find_map(|line| line.strip_prefix("error: ")).with_context(|| log.clone())?;
    Ok(error.to_owned())
}

/// Returns the number of the server that leads the stream.
pub(crate) async fn leader(client: &async_nats::Client) -> Result<usize> {
    let info = request(client, "STREAM.INFO.chat", &json!({})).await.context("no answer")?;
    let leader = info["cluster"]["leader"].as_str().with_context(|| info.to_string())?;
    Ok(leader.trim_start_matches('n').parse()?)
}

/// Returns the part of `/readyz` about the cluster.
pub(crate) async fn state(node: &Daemon) -> Result<Value> {
    Ok(node.ready().await?["cluster"].clone())
}
