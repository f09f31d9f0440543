//! A chat that moves from a directory into a cluster, and back, by the tasks of the binaries.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use chat_tests::{Binary, Client, Daemon, lifted, without_ages};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::block_in_place;

use crate::nodes::{ACTIX, AXUM, node, servers};
use crate::servers::Servers;

/// The messages of a thread: more than one block.
const REPLIES: u64 = 40;

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_moves_into_a_cluster_and_back_with_everything_in_it() -> Result<()> {
    let (servers, _client) = servers(3).await;
    let home = TempDir::new()?;
    let (old, new, file) = (home.path().join("old"), home.path().join("new"), home.path().join("chat.jsonl"));
    let daemon = block_in_place(|| Daemon::start_in(&old, AXUM, &lifted()))?;
    let (epoch, head) = fill(&daemon).await?;
    block_in_place(|| daemon.stop())?;

    let directory = run(AXUM, &["export", "--data", path(&old)?])?;
    fs::write(&file, &directory)?;
    let summary = task(ACTIX, &["import", path(&file)?], &servers)?;
    ensure!(summary.contains("stream chat: imported; rooms 2, messages 45, lost 0,"), "{summary}");
    ensure!(
        without_ages(task(AXUM, &["export"], &servers)?.as_bytes())? == without_ages(directory.as_bytes())?
    );
    ensure!(task(AXUM, &["rooms"], &servers)? == "hall\nlobby\n");
    ensure!(
        task(AXUM, &["export", "hall"], &servers)? == run(AXUM, &["export", "hall", "--data", path(&old)?])?
    );
    let sound = "stream chat: sound; rooms 2, messages 45, unreadable 0, missing 0\n";
    ensure!(task(AXUM, &["check"], &servers)? == sound);
    for (arguments, error) in [
        (&["import", path(&file)?][..], "cannot import: the stream chat has rooms; choose another name,"),
        (&["export", "nowhere"], "cannot export: no message was ever written to the room nowhere"),
        (&["compact"], "--cluster: compact is for the directory of --data"),
        (&["check", "--cluster-name", "other"], "the stream other does not exist"),
    ] {
        let refused = refused(AXUM, arguments, &servers)?;
        ensure!(refused.starts_with(&format!("error: {error}")), "{refused}");
    }

    let (a, b) = (node(AXUM, "a", &servers)?, node(ACTIX, "b", &servers)?);
    check_members(&b, &epoch, head).await?;
    let served = task(AXUM, &["export"], &servers)?;
    block_in_place(|| a.stop())?;
    block_in_place(|| b.stop())?;
    let cluster = task(ACTIX, &["export"], &servers)?;
    ensure!(
        without_ages(served.as_bytes())? == without_ages(cluster.as_bytes())?,
        "served nodes are exported in another way"
    );
    fs::write(&file, &cluster)?;
    run(AXUM, &["import", path(&file)?, "--data", path(&new)?])?;
    ensure!(run(AXUM, &["export", "--data", path(&new)?])? == cluster);
    ensure!(run(AXUM, &["check", "--data", path(&new)?])?.contains(": sound;"));
    Ok(())
}

/// Fills two rooms. Returns the epoch and the last position of the first one.
async fn fill(daemon: &Daemon) -> Result<(String, u64)> {
    let mut ann = Client::connect(daemon.address(), "ann").await?;
    let epoch = ann.join(None).await?["epoch"].as_str().context("no epoch")?.to_owned();
    for n in 1..=3 {
        let body = json!({ "text": format!("message {n}") });
        sent(
            &ann.ask(json!({"type": "send", "room": "lobby", "key": format!("k{n}"), "body": body})).await?,
        )?;
    }
    for n in 1..=REPLIES {
        let body = json!({ "text": format!("reply {n}") });
        sent(&ann.ask(json!({"type": "send", "room": "lobby", "thread": 1, "body": body})).await?)?;
    }
    let mut bob = Client::connect(daemon.address(), "bob").await?;
    bob.join(None).await?;
    for command in [
        json!({"type": "edit", "room": "lobby", "seq": 1, "key": "e1", "body": {"text": "edited"}}),
        json!({"type": "react", "room": "lobby", "seq": 1, "reaction": "+1", "on": true}),
        json!({"type": "delete", "room": "lobby", "seq": 2}),
    ] {
        let done = ann.ask(command).await?;
        ensure!(done["type"] == "done", "{done}");
    }
    let reacted =
        bob.ask(json!({"type": "react", "room": "lobby", "seq": 1, "reaction": "+1", "on": true})).await?;
    let head = reacted["seq"].as_u64().with_context(|| reacted.to_string())?;
    bob.ask(json!({"type": "read", "room": "lobby", "seq": 10})).await?;
    let followed = bob.ask(json!({"type": "follow", "room": "lobby", "on": true})).await?;
    ensure!(followed["type"] == "done", "{followed}");
    let joined = ann.ask(json!({"type": "join", "room": "hall"})).await?;
    ensure!(joined["type"] == "joined", "{joined}");
    for text in ["in the hall", "in the hall, again"] {
        sent(&ann.ask(json!({"type": "send", "room": "hall", "body": {"text": text}})).await?)?;
    }
    Ok((epoch, head))
}

/// Returns to the first room on a node, as a client that had it before the move.
async fn check_members(node: &Daemon, before: &str, head: u64) -> Result<()> {
    let mut bob = Client::connect(node.address(), "bob").await?;
    let joined = bob.join(Some((before, head))).await?;
    ensure!(joined["epoch"] != before && joined["recovered"] == false && joined["seq"] == head, "{joined}");
    ensure!(joined["read"] == 10 && joined["unread"] == REPLIES - 7, "{joined}");
    let rooms = bob.ask(json!({"type": "rooms"})).await?;
    ensure!(rooms["rooms"].as_array().is_some_and(|rooms| rooms.len() == 1), "{rooms}");
    let mut ann = Client::member(node.address(), "ann").await?;
    // A repeat of before counts once, and one with another content is refused.
    let repeat = |text: &str| json!({"type": "send", "room": "lobby", "key": "k3", "body": {"text": text}});
    let sent = ann.ask(repeat("message 3")).await?;
    ensure!(sent["seq"] == 3 && sent["duplicate"] == true, "{sent}");
    let refused = ann.ask(repeat("another")).await?;
    ensure!(refused["code"] == "key_conflict", "{refused}");
    // The messages of the thread, of which the first ones are in a block.
    let page = json!({"type": "history", "room": "lobby", "thread": 1, "after": 0, "limit": 50});
    let page = ann.ask(page).await?;
    let replies = page["messages"].as_array().with_context(|| page.to_string())?;
    ensure!(replies.len() as u64 == REPLIES && replies[0]["body"]["text"] == "reply 1", "{page}");
    let root = ann.ask(json!({"type": "history", "room": "lobby", "seqs": [1, 2]})).await?;
    let root = &root["messages"];
    ensure!(root[0]["body"]["text"] == "edited" && root[0]["reactions"][0]["count"] == 2, "{root}");
    ensure!(root[1]["deleted"].is_object() && root[1]["body"].is_null(), "{root}");
    // The state goes on from there.
    let undone =
        bob.ask(json!({"type": "react", "room": "lobby", "seq": 1, "reaction": "+1", "on": false})).await?;
    ensure!(undone["seq"] == head + 1, "{undone}");
    let body = json!({ "text": "one more" });
    let more = ann.ask(json!({"type": "send", "room": "lobby", "thread": 1, "body": body})).await?;
    ensure!(more["seq"] == head + 2, "{more}");
    Ok(())
}

fn sent(event: &Value) -> Result<()> {
    ensure!(event["type"] == "sent", "{event}");
    Ok(())
}

/// Runs a task on the cluster. Returns its standard output.
fn task(binary: Binary, arguments: &[&str], servers: &Servers) -> Result<String> {
    run(binary, &[arguments, &["--cluster", &servers.addresses()]].concat())
}

/// Runs a task. Returns its standard output.
fn run(binary: Binary, arguments: &[&str]) -> Result<String> {
    let mut command = binary.command()?;
    let output = block_in_place(|| command.env("CHATD_DATA", "").args(arguments).output())?;
    ensure!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// Runs a task on the cluster that is refused. Returns its standard error.
fn refused(binary: Binary, arguments: &[&str], servers: &Servers) -> Result<String> {
    let mut command = binary.command()?;
    command.env("CHATD_DATA", "").args(arguments).args(["--cluster", &servers.addresses()]);
    let output = block_in_place(|| command.output())?;
    ensure!(output.status.code() == Some(2), "{output:?}");
    Ok(String::from_utf8(output.stderr)?)
}

fn path(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is not UTF-8")
}
