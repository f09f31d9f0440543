//! Tests of the users of other nodes: their roles, their names, and direct rooms with them.

use anyhow::{Result, ensure};
use chat_tests::{Daemon, eventually};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::Mutex;

use crate::moderation::{done, secret, user_with};
use crate::nodes::{ACTIX, AXUM, node_with, servers, state};
use crate::servers::Servers;

#[tokio::test(flavor = "multi_thread")]
async fn a_role_of_a_token_protects_its_user_on_other_nodes_and_entries_have_the_name() -> Result<()> {
    let (servers, _client) = servers(1).await;
    let home = TempDir::new()?;
    let (a, b) = two_nodes(&servers, &secret(home.path())?).await?;
    let mut zoe = user_with(&b, json!({"sub": "zoe", "name": "Zoe", "admin": true})).await?;
    let mut bob = user_with(&b, json!({"sub": "bob", "name": "Bob"})).await?;
    for client in [&mut zoe, &mut bob] {
        client.join(None).await?;
    }
    // A purge of nothing has no entry.
    ensure!(bob.say("hi").await?["seq"] == 1);
    let mut ann = user_with(&a, json!({"sub": "ann", "name": "Ann", "admin": true})).await?;
    ann.join(None).await?;
    let ann = Mutex::new(ann);
    let members = json!({"type": "members", "room": "lobby"});
    eventually(|| async { Ok(ann.lock().await.ask(members.clone()).await?["total"] == 3) }).await?;
    let mut ann = ann.into_inner();
    for command in acts("zoe") {
        let refused = ann.ask(command).await?;
        ensure!(refused["code"] == "forbidden", "{refused}");
    }
    for command in acts("bob") {
        let kind = command["type"].clone();
        done(&ann.ask(command).await?)?;
        let entry = bob.until(if kind == "purge" { "purged" } else { "role" }).await?;
        ensure!(entry["user"] == json!({"id": "bob", "name": "Bob"}), "{entry}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_of_another_node_learns_of_a_direct_room_at_once() -> Result<()> {
    let (servers, _client) = servers(1).await;
    let home = TempDir::new()?;
    let (a, b) = two_nodes(&servers, &secret(home.path())?).await?;
    let mut bob = user_with(&b, json!({"sub": "bob", "name": "Bob"})).await?;
    let mut phone = user_with(&b, json!({"sub": "ann", "name": "Ann"})).await?;
    let mut ann = user_with(&a, json!({"sub": "ann", "name": "Ann"})).await?;
    let opened = ann.ask(json!({"type": "join", "with": "bob"})).await?;
    ensure!(opened["type"] == "joined", "{opened}");
    for (client, with) in [(&mut bob, "ann"), (&mut phone, "bob")] {
        let activity = client.until("activity").await?;
        ensure!(activity["room"] == opened["room"] && activity["with"]["id"] == with, "{activity}");
    }
    let sent = ann.ask(json!({"type": "send", "room": opened["room"], "body": {"text": "hi"}})).await?;
    ensure!(sent["seq"] == 2, "{sent}");
    loop {
        let activity = bob.until("activity").await?;
        if activity["seq"] == 2 {
            ensure!(activity["unread"] == 1, "{activity}");
            break;
        }
    }
    Ok(())
}

/// Starts two nodes that require tokens, and waits until they know each other.
async fn two_nodes(servers: &Servers, secret: &str) -> Result<(Daemon, Daemon)> {
    let tokens = ["--token-secret", secret];
    let (a, b) = (node_with(AXUM, "a", servers, &tokens)?, node_with(ACTIX, "b", servers, &tokens)?);
    eventually(|| async { Ok(state(&a).await?["nodes"] == 2 && state(&b).await?["nodes"] == 2) }).await?;
    Ok((a, b))
}

/// Returns the commands on a user.
fn acts(id: &str) -> [Value; 3] {
    [
        json!({"type": "restrict", "room": "lobby", "user": id, "what": "mute"}),
        json!({"type": "role", "room": "lobby", "user": id, "role": "member"}),
        json!({"type": "purge", "room": "lobby", "user": id}),
    ]
}
