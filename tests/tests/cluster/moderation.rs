//! Rules, roles and restrictions that are set on one node and hold on another one.

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use chat_tests::{Client, Daemon};
use ring::hmac;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::nodes::{ACTIX, AXUM, node_with, servers};

const SECRET: &str = "a secret of the tests, 32 bytes or more";

#[tokio::test(flavor = "multi_thread")]
async fn an_act_on_one_node_holds_on_the_other() -> Result<()> {
    let (servers, _client) = servers(1).await;
    let home = TempDir::new()?;
    let file = secret(home.path())?;
    let tokens = ["--token-secret", &file];
    let (a, b) = (node_with(AXUM, "a", &servers, &tokens)?, node_with(ACTIX, "b", &servers, &tokens)?);
    let (mut ann, mut bob, mut zoe) =
        (user(&a, "ann").await?, user(&b, "bob").await?, user(&b, "zoe").await?);

    // A private room: only a user who has become a member may join, on each node.
    done(&ann.ask(json!({"type": "create", "room": "staff", "join": "members"})).await?)?;
    let join = json!({"type": "join", "room": "staff"});
    ensure!(ann.ask(join.clone()).await?["role"] == "owner");
    for client in [&mut bob, &mut zoe] {
        let refused = client.ask(join.clone()).await?;
        ensure!(refused["code"] == "forbidden", "{refused}");
    }
    for id in ["bob", "zoe"] {
        done(&ann.ask(json!({"type": "role", "room": "staff", "user": id, "role": "member"})).await?)?;
    }
    for client in [&mut bob, &mut zoe] {
        let joined = client.ask(join.clone()).await?;
        ensure!(joined["type"] == "joined" && joined["role"] == "member", "{joined}");
    }
    let send = json!({"type": "send", "room": "staff", "body": {"text": "hi"}});
    ensure!(bob.ask(send.clone()).await?["type"] == "sent");

    // A mute, which every member hears of.
    restrict(&mut ann, "bob", "mute").await?;
    for client in [&mut bob, &mut zoe] {
        let role = client.until("role").await?;
        ensure!(role["user"]["id"] == "bob" && role["restricted"]["what"] == "mute", "{role}");
    }
    let refused = bob.ask(send.clone()).await?;
    ensure!(refused["code"] == "muted", "{refused}");
    restrict(&mut ann, "bob", "none").await?;
    ensure!(bob.ask(send.clone()).await?["type"] == "sent", "after the end of the mute");

    // A ban, which ends the membership.
    restrict(&mut ann, "bob", "ban").await?;
    let left = bob.until("left").await?;
    ensure!(left["room"] == "staff", "{left}");
    for (command, code) in [(&send, "not_joined"), (&join, "forbidden")] {
        let refused = bob.ask(command.clone()).await?;
        ensure!(refused["code"] == code, "{refused}");
    }
    // A user without a restriction goes on.
    ensure!(zoe.ask(send).await?["type"] == "sent");
    Ok(())
}

/// Restricts a user of the room `staff`.
pub(crate) async fn restrict(client: &mut Client, id: &str, what: &str) -> Result<()> {
    done(&client.ask(json!({"type": "restrict", "room": "staff", "user": id, "what": what})).await?)
}

/// Writes the secret of tokens into a directory. Returns the path of the file.
pub(crate) fn secret(dir: &Path) -> Result<String> {
    let file = dir.join("secret");
    fs::write(&file, SECRET)?;
    file.into_os_string().into_string().ok().context("a path in UTF-8")
}

pub(crate) fn done(reply: &Value) -> Result<()> {
    ensure!(reply["type"] == "done", "{reply}");
    Ok(())
}

/// Connects as a user with a token.
pub(crate) async fn user(node: &Daemon, id: &str) -> Result<Client> {
    user_with(node, json!({"sub": id})).await
}

/// Connects as a user with a token of these claims.
pub(crate) async fn user_with(node: &Daemon, mut claims: Value) -> Result<Client> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let header = json!({"alg": "HS256"});
    claims["exp"] = json!(now + 600);
    let signed = format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims.to_string()));
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let token = format!("{signed}.{}", BASE64.encode(hmac::sign(&key, signed.as_bytes())));
    let mut client = Client::with_token(node.address(), &token).await?;
    let welcome = client.event().await?;
    ensure!(welcome["user"]["id"] == claims["sub"], "{welcome}");
    Ok(client)
}
