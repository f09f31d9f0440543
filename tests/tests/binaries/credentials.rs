//! Credentials that are refused, expire, or do not allow a room: the peer learns no more than that.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use chat_tests::{Binary, Client, Daemon, exchange, handshake};
use ring::hmac;
use serde_json::{Value, json};
use tempfile::TempDir;

const SECRET: &str = "a secret of the tests, 32 bytes or more";

/// Returns a token of HS256 with this header and these claims.
fn sign(secret: &str, header: &Value, claims: &Value) -> String {
    let signed = format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims.to_string()));
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    format!("{signed}.{}", BASE64.encode(hmac::sign(&key, signed.as_bytes())))
}

fn token(claims: &Value) -> String {
    sign(SECRET, &json!({"alg": "HS256"}), claims)
}

/// Returns the claims of a user whose token is valid for this many seconds.
fn claims(seconds: i64) -> Result<Value> {
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?;
    Ok(json!({"sub": "ann", "aud": "chat", "exp": now + seconds}))
}

/// Starts a server that requires tokens.
fn start(binary: Binary, home: &TempDir) -> Result<Daemon> {
    let file = home.path().join("secret");
    fs::write(&file, SECRET)?;
    let secret = file.to_str().context("a path in UTF-8")?;
    Daemon::start(
        binary,
        &[
            "--token-secret",
            secret,
            "--token-audience",
            "chat",
            "--token-leeway",
            "0",
            "--command-rate",
            "1000",
        ],
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_tokens_look_alike_and_the_log_has_the_reasons_without_them() -> Result<()> {
    let (valid, late, mut early, mut other) = (claims(600)?, claims(-1)?, claims(600)?, claims(600)?);
    early["nbf"] = claims(300)?["exp"].clone();
    other["aud"] = json!("mail");
    let (good, none) = (token(&valid), json!({"alg": "none"}));
    let (head, signature) = good.rsplit_once('.').context("a token")?;
    let refused = [
        ("malformed", "garbage".to_owned()),
        ("signature", good[..good.len() - 3].to_owned()),
        ("signature", sign("another secret, also of 32 bytes or more", &json!({"alg": "HS256"}), &valid)),
        ("algorithm", format!("{}.{}.", BASE64.encode(none.to_string()), BASE64.encode(valid.to_string()))),
        (
            "algorithm",
            format!("{}.{}.{signature}", BASE64.encode(none.to_string()), BASE64.encode(valid.to_string())),
        ),
        ("too_long", format!("{head}{}.{signature}", "A".repeat(9_000))),
        ("expired", token(&late)),
        ("early", token(&early)),
        ("audience", token(&other)),
    ];
    for binary in Binary::one_per_adapter() {
        let home = TempDir::new()?;
        let daemon = start(binary, &home)?;
        let mut first: Option<(String, Vec<Value>)> = None;
        for (reason, token) in &refused {
            let request = handshake(&format!("Connection: close\r\nAuthorization: Bearer {token}\r\n"));
            let answer = String::from_utf8(exchange(daemon.address(), request.as_bytes()).await?)?;
            let lines = answer.lines().filter(|line| !line.to_ascii_lowercase().starts_with("date:"));
            let answer = lines.collect::<Vec<_>>().join("\n");
            let mut client = Client::open(daemon.address(), "ann").await?;
            client.send(json!({"type": "hello", "token": token})).await?;
            let closing = client.event().await?;
            ensure!(client.closed().await? == Some(4501), "{binary:?}: {reason}");
            let seen = (answer, vec![closing]);
            ensure!(seen.0.starts_with("HTTP/1.1 401 "), "{binary:?}: {reason}: {seen:?}");
            let expected = first.get_or_insert_with(|| seen.clone());
            ensure!(*expected == seen, "{binary:?}: {reason}: {seen:?} differs from {expected:?}");
        }
        daemon.sessions(0).await?;
        let log = serde_json::to_string(&daemon.stop()?)?;
        for (reason, token) in &refused {
            ensure!(log.contains(&format!("\"reason\":\"{reason}\"")), "{binary:?}: no {reason} in {log}");
            for part in token.split('.').filter(|part| part.len() > 6) {
                ensure!(!log.contains(part), "{binary:?}: {part} is in the log");
            }
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forbidden_room_looks_like_a_missing_one() -> Result<()> {
    let home = TempDir::new()?;
    let daemon = start(Binary::one_per_adapter().next().context("a binary")?, &home)?;
    let mut owner = claims(600)?;
    (owner["sub"], owner["admin"]) = (json!("owner"), json!(true));
    let mut owner = Client::with_token(daemon.address(), &token(&owner)).await?;
    let joined = owner.ask(json!({"type": "join", "room": "vault"})).await?;
    let send = json!({"type": "send", "room": "vault", "body": {"text": "hidden"}});
    ensure!(owner.ask(send).await?["type"] == "sent");
    let mut restricted = claims(600)?;
    restricted["rooms"] = json!({"lobby": "member"});
    let after = json!({"epoch": joined["epoch"], "seq": 0});
    for command in [
        json!({"type": "join"}),
        json!({"type": "join", "after": after}),
        json!({"type": "join", "last": 20}),
        json!({"type": "leave"}),
        json!({"type": "send", "key": "k", "body": {"text": "x"}}),
        json!({"type": "history"}),
        json!({"type": "search", "query": "hidden"}),
        json!({"type": "members"}),
        json!({"type": "typing"}),
    ] {
        // Ten refusals close a connection.
        let mut ann = Client::with_token(daemon.address(), &token(&restricted)).await?;
        let mut replies = Vec::new();
        for room in ["vault", "empty"] {
            let mut command = command.clone();
            command["room"] = json!(room);
            let mut reply = ann.ask(command).await?;
            ensure!(reply["room"] == room || reply["room"].is_null(), "{reply}");
            (reply["room"], reply["ref"]) = (Value::Null, Value::Null);
            replies.push(reply);
        }
        ensure!(replies[0] == replies[1], "{command}: {replies:?}");
        ensure!(replies[0]["type"] == "error", "{command}: {replies:?}");
    }
    // The owner sees none of it.
    ensure!(
        owner.ask(json!({"type": "history", "room": "vault"})).await?["messages"].as_array().map(Vec::len)
            == Some(1)
    );
    let members = owner.ask(json!({"type": "members", "room": "vault"})).await?;
    ensure!(!members.to_string().contains("ann"), "{members}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_with_its_token_unless_a_newer_one_comes() -> Result<()> {
    let home = TempDir::new()?;
    let daemon = start(Binary::one_per_adapter().next().context("a binary")?, &home)?;
    let brief = token(&claims(3)?);
    let mut ended = Client::with_token(daemon.address(), &brief).await?;
    let mut renewed = Client::with_token(daemon.address(), &brief).await?;
    renewed.until("expiring").await?;
    let welcome = renewed.ask(json!({"type": "hello", "token": token(&claims(600)?)})).await?;
    ensure!(welcome["type"] == "welcome", "{welcome}");
    ensure!(ended.until("closing").await?["code"] == 4005);
    ensure!(ended.closed().await? == Some(4005));
    ensure!(renewed.ask(json!({"type": "ping"})).await?["type"] == "pong");
    Ok(())
}
