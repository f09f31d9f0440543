//! Threads whose messages come from two nodes.

use anyhow::{Context, Result, ensure};
use chat_tests::{Client, Daemon, eventually};
use serde_json::{Value, json};
use tokio::task::block_in_place;

use crate::nodes::{ACTIX, AXUM, node, servers, state};

/// The messages of the thread from each node.
const REPLIES: usize = 40;

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_has_the_messages_of_two_nodes_and_survives_them() -> Result<()> {
    let (servers, _client) = servers(3).await;
    let (a, b) = (node(AXUM, "a", &servers)?, node(ACTIX, "b", &servers)?);
    eventually(|| async { Ok(state(&a).await?["nodes"] == 2 && state(&b).await?["nodes"] == 2) }).await?;
    let mut ann = Client::member(a.address(), "ann").await?;
    let mut bob = Client::member(b.address(), "bob").await?;
    ensure!(ann.say("question").await?["seq"] == 1);
    let (from_ann, from_bob) = tokio::join!(answer(&mut ann), answer(&mut bob));
    let mut thread: Vec<_> = from_ann?.into_iter().chain(from_bob?).collect();
    thread.sort_unstable();
    // A message of a thread begins no other one, on either node.
    for client in [&mut ann, &mut bob] {
        let send = json!({"type": "send", "room": "lobby", "thread": 2, "body": {"text": "no"}});
        let refused = client.ask(send).await?;
        ensure!(refused["code"] == "no_message", "{refused}");
    }
    for node in [&a, &b] {
        ensure!(read(node).await? == thread);
    }
    block_in_place(|| a.crash())?;
    block_in_place(|| b.stop())?;
    let c = node(AXUM, "c", &servers)?;
    ensure!(read(&c).await? == thread);
    Ok(())
}

/// Sends messages in the thread that begins with the message 1. Returns their positions.
async fn answer(client: &mut Client) -> Result<Vec<u64>> {
    let mut seqs = Vec::new();
    for number in 0..REPLIES {
        let send =
            json!({"type": "send", "room": "lobby", "thread": 1, "body": {"text": format!("{number}")}});
        let sent = client.ask(send).await?;
        seqs.push(sent["seq"].as_u64().with_context(|| sent.to_string())?);
    }
    Ok(seqs)
}

/// Reads the thread that begins with the message 1, in pages, and compares it with its root.
async fn read(node: &Daemon) -> Result<Vec<u64>> {
    let mut reader = Client::member(node.address(), "reader").await?;
    let mut seqs: Vec<u64> = Vec::new();
    loop {
        let after = seqs.last().copied().unwrap_or_default();
        let ask = json!({"type": "history", "room": "lobby", "thread": 1, "after": after, "limit": 30});
        let page = reader.ask(ask).await?;
        let messages = page["messages"].as_array().with_context(|| page.to_string())?;
        ensure!(messages.iter().all(|message| message["thread"] == 1), "{page}");
        seqs.extend(messages.iter().filter_map(|message| message["seq"].as_u64()));
        if page["more"] != true {
            break;
        }
    }
    let page = reader.ask(json!({"type": "history", "room": "lobby", "seqs": [1]})).await?;
    let root: &Value = &page["messages"][0];
    ensure!(root["replies"] == json!({"count": seqs.len(), "last": seqs.last()}), "{root}");
    Ok(seqs)
}
