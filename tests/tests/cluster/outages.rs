//! Two nodes on two adapters, on three servers of NATS, while nodes and servers fail.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use chat_proto::RoomName;
use chat_tests::{Client, Daemon, eventually};
use serde_json::json;
use tokio::task::block_in_place;

use crate::balancer::Balancer;
use crate::nodes::{ACTIX, AXUM, leader, node, servers, state};
use crate::participants::{Participants, Watcher};

/// The number of participants.
const PARTICIPANTS: usize = 4;

/// The messages that must be acknowledged before and after each failure.
const ENOUGH: usize = 60;

/// Longer than the time in which users of a node that has failed leave: 4 s until it counts as failed, then 10 s.
const LEAVE_TIME: Duration = Duration::from_secs(16);

#[tokio::test(flavor = "multi_thread")]
async fn nodes_and_a_leader_fail_and_no_message_is_lost() -> Result<()> {
    let (mut servers, client) = servers(3).await;
    // Both create the stream.
    let (a, b) = thread::scope(|scope| {
        let b = scope.spawn(|| node(ACTIX, "b", &servers));
        (node(AXUM, "a", &servers), b.join())
    });
    let (a, b) = (a?, b.map_err(|_| anyhow!("a panic"))??);
    talk(&a, &b).await?;

    let (room, url) = ("hall".parse::<RoomName>()?, Balancer::start(&[a.address(), b.address()]).await?);
    let names: BTreeSet<_> = (0..PARTICIPANTS).map(|number| format!("client-{number}")).collect();
    let mut participants = Participants::start(&url.url(), &room, 0..PARTICIPANTS).await?;
    participants.progress(ENOUGH).await?;
    let mut watcher = Watcher::start(b.address(), &room, "watcher").await?;

    // kill -9 of the node that has all participants.
    watcher.mark();
    block_in_place(|| a.crash())?;
    participants.reconnected(PARTICIPANTS).await?;
    participants.progress(ENOUGH).await?;
    // Its name is free at once.
    let a = node(AXUM, "a", &servers)?;

    // kill -9 of the server that leads the stream.
    let led = leader(&client).await?;
    servers.kill(led);
    participants.progress(ENOUGH).await?;
    servers.revive(led);
    participants.progress(ENOUGH).await?;
    let [present, moved] = watcher.finish(&room, LEAVE_TIME).await?;
    ensure!(moved.is_disjoint(&names) && present.is_superset(&names), "{present:?} {moved:?}");

    // A restart of the node that has all participants now.
    let watcher = Watcher::start(a.address(), &room, "watcher").await?;
    url.set(&[a.address()]);
    let log = block_in_place(|| b.stop())?;
    ensure!(log.iter().any(|line| line["message"] == "drain finished" && line["abandoned"] == 0), "{log:#?}");
    let b = node(ACTIX, "b", &servers)?;
    participants.reconnected(2 * PARTICIPANTS).await?;
    participants.progress(ENOUGH).await?;
    let [present, moved] = watcher.finish(&room, LEAVE_TIME).await?;
    ensure!(moved.is_disjoint(&names) && present.is_superset(&names), "{present:?} {moved:?}");

    let unavailable = participants.unavailable();
    let acknowledged = participants.finish().await?;
    ensure!(stored(&b, &room).await? == acknowledged, "{unavailable} sends were unavailable");
    Ok(())
}

/// Lets a user of each node talk to the other one.
async fn talk(a: &Daemon, b: &Daemon) -> Result<()> {
    for node in [a, b] {
        eventually(|| async { Ok(state(node).await?["nodes"] == 2) }).await?;
        let state = state(node).await?;
        ensure!(state["state"] == "ok" && state["replicas"] == 3 && state["stream"] == "chat", "{state}");
    }
    let mut ann = Client::member(a.address(), "ann").await?;
    let mut bob = Client::connect(b.address(), "bob").await?;
    let joined = bob.join(None).await?;
    ensure!(joined["members"] == 2, "{joined}");
    let presence = ann.until("presence").await?;
    ensure!(presence["user"]["id"] == "bob" && presence["state"] == "joined", "{presence}");
    let receipts = [ann.say("from a").await?, bob.say("from b").await?];
    for (seq, receipt) in (1..).zip(&receipts) {
        ensure!(receipt["type"] == "sent" && receipt["seq"] == seq, "{receipt}");
    }
    while ann.until("message").await?["body"]["text"] != "from b" {}
    ann.send(json!({"type": "typing", "room": "lobby", "active": true})).await?;
    let typing = bob.until("typing").await?;
    ensure!(typing["user"]["id"] == "ann", "{typing}");
    let left = ann.ask(json!({"type": "leave", "room": "lobby"})).await?;
    ensure!(left["type"] == "left", "{left}");
    let presence = bob.until("presence").await?;
    ensure!(presence["user"]["id"] == "ann" && presence["state"] == "left", "{presence}");
    Ok(())
}

/// Reads a room from its beginning. Each text must be there once, and no position may be missing.
pub(crate) async fn stored(node: &Daemon, room: &RoomName) -> Result<BTreeMap<String, u64>> {
    let mut reader = Client::connect(node.address(), "reader").await?;
    let joined = reader.ask(json!({"type": "join", "room": room.as_str()})).await?;
    let head = joined["seq"].as_u64().with_context(|| joined.to_string())?;
    let mut texts = BTreeMap::new();
    let mut read = 0;
    while read < head {
        let page = reader.ask(json!({"type": "history", "room": room.as_str(), "after": read})).await?;
        let messages = page["messages"].as_array().with_context(|| page.to_string())?;
        for message in messages {
            read += 1;
            ensure!(message["seq"] == read, "{message} in place of {read}");
            let text = message["body"]["text"].as_str().context("a text")?;
            ensure!(texts.insert(text.to_owned(), read).is_none(), "{text} is there twice");
        }
        ensure!(!messages.is_empty(), "{page}");
    }
    Ok(texts)
}
