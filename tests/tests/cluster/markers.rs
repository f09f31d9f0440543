//! Markers and followed rooms of a user who moves between two nodes.

use anyhow::{Result, ensure};
use chat_tests::{Client, Daemon, eventually};
use serde_json::{Value, json};
use tokio::task::block_in_place;

use crate::nodes::{ACTIX, AXUM, node, servers, state};

#[tokio::test(flavor = "multi_thread")]
async fn markers_and_followed_rooms_are_the_same_on_all_nodes_and_survive_them() -> Result<()> {
    let (servers, _client) = servers(3).await;
    let (a, b) = (node(AXUM, "a", &servers)?, node(ACTIX, "b", &servers)?);
    eventually(|| async { Ok(state(&a).await?["nodes"] == 2 && state(&b).await?["nodes"] == 2) }).await?;
    let mut ann = Client::member(a.address(), "ann").await?;
    for number in 1..=5 {
        ensure!(ann.say(&number.to_string()).await?["seq"] == number);
    }
    let mut bob = Client::connect(b.address(), "bob").await?;
    let joined = bob.join(None).await?;
    ensure!(joined["read"] == 0 && joined["unread"] == 5, "{joined}");
    let read = bob.ask(json!({"type": "read", "room": "lobby", "seq": 3})).await?;
    ensure!(read["type"] == "read" && read["seq"] == 3, "{read}");
    for room in ["lobby", "hall"] {
        let followed = bob.ask(json!({"type": "follow", "room": room, "on": true})).await?;
        ensure!(followed["type"] == "done", "{followed}");
    }
    let left = bob.ask(json!({"type": "leave", "room": "lobby"})).await?;
    ensure!(left["type"] == "left", "{left}");
    // A message of the other node is news in a room that the user follows.
    ensure!(ann.say("six").await?["seq"] == 6);
    loop {
        let activity = bob.until("activity").await?;
        ensure!(activity["room"] == "lobby", "{activity}");
        if activity["seq"] == 6 {
            ensure!(activity["unread"] == 3, "{activity}");
            break;
        }
    }
    bob.close(1000).await?;
    let expected = json!([["hall", 0, 0, 0], ["lobby", 6, 3, 3]]);
    ensure!(rooms(&a).await? == expected);
    block_in_place(|| a.crash())?;
    block_in_place(|| b.stop())?;
    let c = node(AXUM, "c", &servers)?;
    ensure!(rooms(&c).await? == expected);
    Ok(())
}

/// Returns the name, the head, the marker and the number of unread messages of each room that a user follows.
async fn rooms(node: &Daemon) -> Result<Value> {
    let mut bob = Client::connect(node.address(), "bob").await?;
    let list = bob.ask(json!({"type": "rooms"})).await?;
    ensure!(list["type"] == "rooms" && list["more"] == false, "{list}");
    let fields = |room: &Value| ["room", "seq", "read", "unread"].map(|field| room[field].clone());
    let rooms = list["rooms"].as_array().map(|rooms| rooms.iter().map(fields).collect::<Vec<_>>());
    bob.close(1000).await?;
    Ok(json!(rooms))
}
