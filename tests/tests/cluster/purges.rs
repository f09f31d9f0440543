//! A purge whose node is killed.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use chat_tests::{Client, eventually};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::block_in_place;
use tokio::time::sleep;

use crate::moderation::{done, secret, user};
use crate::nodes::{ACTIX, AXUM, node_with, servers, state};

/// The messages of the user who is purged: many times what one entry of a purge deletes.
const MESSAGES: u64 = 800;

/// Part of each of their texts, and a shorter part, as a search index has it.
const TEXT: &str = "qzxjv";
const PART: &str = "qzxj";

/// The time after which another node has completed the purge: it waits for signs of life for 7 s.
const TIME_LIMIT: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_is_completed_by_another_node_if_its_node_is_killed() -> Result<()> {
    let (servers, _client) = servers(1).await;
    let home = TempDir::new()?;
    let path = |name: &str| home.path().join(name).into_os_string().into_string().ok().context("UTF-8");
    let (tokens, indexes) = (secret(home.path())?, [path("a")?, path("b")?]);
    let start = |binary, name, index| {
        node_with(binary, name, &servers, &["--token-secret", &tokens, "--search-index", index])
    };
    let (a, b) = (start(AXUM, "a", &indexes[0])?, start(ACTIX, "b", &indexes[1])?);
    let mut ann = user(&a, "ann").await?;
    done(&ann.ask(json!({"type": "create", "room": "staff"})).await?)?;
    let mut bob = user(&b, "bob").await?;
    for client in [&mut ann, &mut bob] {
        join(client).await?;
    }
    for node in [&a, &b] {
        eventually(|| async { Ok(state(node).await?["nodes"] == 2) }).await?;
    }
    ensure!(say(&mut ann, "kept").await?["type"] == "sent");
    // The node that is asked for the room carries the purge out.
    let is_b = state(&a).await?["routed"].as_u64().context("a number")? > 0;
    let (killed, other, index) = if is_b { (b, a, &indexes[0]) } else { (a, b, &indexes[1]) };

    let (mut ann, mut eve) = (user(&killed, "ann").await?, user(&killed, "eve").await?);
    let mut watcher = user(&other, "bob").await?;
    for client in [&mut ann, &mut eve, &mut watcher] {
        join(client).await?;
    }
    for number in 0..MESSAGES {
        ensure!(say(&mut eve, &format!("{TEXT} {number}")).await?["type"] == "sent");
    }
    ensure!(texts(&mut watcher).await? == MESSAGES);
    ensure!(search(&mut watcher).await? > 0 && finds(servers.home(0), TEXT)?);
    ann.send(json!({"type": "purge", "room": "staff", "user": "eve"})).await?;
    watcher.until("purged").await?;
    block_in_place(|| killed.crash())?;
    let left = texts(&mut watcher).await?;
    ensure!(left > 0 && left < MESSAGES, "{left}: the node was not killed in the middle");

    let until = Instant::now() + TIME_LIMIT;
    while texts(&mut watcher).await? > 0 || finds(servers.home(0), TEXT)? {
        ensure!(Instant::now() < until, "the purge is not complete");
        sleep(Duration::from_millis(200)).await;
    }
    ensure!(search(&mut watcher).await? == 0);
    while finds(Path::new(index), PART)? {
        ensure!(Instant::now() < until, "the index has a text");
        sleep(Duration::from_millis(200)).await;
    }
    let mut ann = user(&other, "ann").await?;
    join(&mut ann).await?;
    let repeated = ann.ask(json!({"type": "purge", "room": "staff", "user": "eve"})).await?;
    ensure!(repeated["type"] == "done" && repeated["seq"].is_null(), "{repeated}");
    Ok(())
}

async fn join(client: &mut Client) -> Result<()> {
    let joined = client.ask(json!({"type": "join", "room": "staff"})).await?;
    ensure!(joined["type"] == "joined", "{joined}");
    Ok(())
}

async fn say(client: &mut Client, text: &str) -> Result<Value> {
    client.ask(json!({"type": "send", "room": "staff", "body": {"text": text}})).await
}

/// Returns the number of messages of the user that have a text.
async fn texts(client: &mut Client) -> Result<u64> {
    let (mut texts, mut after) = (0, 0);
    loop {
        let page = client.ask(json!({"type": "history", "room": "staff", "after": after})).await?;
        let messages = page["messages"].as_array().with_context(|| page.to_string())?;
        for message in messages.iter().filter(|message| message["user"]["id"] == "eve") {
            texts += u64::from(!message["body"].is_null());
        }
        match messages.last() {
            Some(last) if page["more"] == true => after = last["seq"].as_u64().context("a position")?,
            _ => return Ok(texts),
        }
    }
}

/// Returns the number of messages that a search for the text finds.
async fn search(client: &mut Client) -> Result<usize> {
    let found = client.ask(json!({"type": "search", "room": "staff", "query": TEXT})).await?;
    Ok(found["messages"].as_array().with_context(|| found.to_string())?.len())
}

/// Returns true if a file in a directory has a text.
fn finds(dir: &Path, text: &str) -> Result<bool> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        // One that is removed meanwhile has none.
        let is_found = if path.is_dir() {
            finds(&path, text).unwrap_or_default()
        } else {
            fs::read(&path).is_ok_and(|bytes| bytes.windows(text.len()).any(|part| part == text.as_bytes()))
        };
        if is_found {
            return Ok(true);
        }
    }
    Ok(false)
}
