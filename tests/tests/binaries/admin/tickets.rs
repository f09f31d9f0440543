//! One-time tickets: a call issues them, and a client connects with them.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use chat_tests::{BINARIES, Binary, Client, eventually, exchange, handshake};
use serde_json::{Value, json};

use super::{Server, TOKEN};

/// A ticket of the right form that was never issued.
const UNKNOWN: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Issues a ticket. Returns it, and the time for which it is valid, in ms.
pub(super) async fn issue(server: &Server, grant: Value) -> Result<(String, u64)> {
    let reply = server.call("POST", "/v1/tickets", Some(grant)).await?;
    let ticket = reply.json()?;
    ensure!(reply.status == 200 && reply.head.contains("cache-control: no-store"), "{reply:?}");
    let text = ticket["ticket"].as_str().context("no ticket")?.to_owned();
    Ok((text, ticket["expires_in_ms"].as_u64().context("no time")?))
}

/// Asks for an upgrade with this query that must be refused. Returns the response without the head.
pub(super) async fn refused(address: SocketAddr, query: &str) -> Result<String> {
    let request = handshake("").replacen("/ws", &format!("/ws{query}"), 1);
    let response = String::from_utf8(exchange(address, request.as_bytes()).await?)?;
    let (head, body) = response.split_once("\r\n\r\n").context("no head")?;
    ensure!(head.starts_with("HTTP/1.1 401 "), "{query}: {response}");
    Ok(body.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_admits_its_user_once_and_is_not_logged() -> Result<()> {
    for binary in Binary::one_per_adapter() {
        let server = Server::start(binary, &["--tickets", "--log-level", "trace"]).await?;
        let address = server.daemon.address();
        let grant = json!({
            "sub": "7", "name": "Ann", "rooms": {"lobby": "member"},
            "limits": {"connections": 1, "rate": 1, "burst": 4},
        });
        let (ticket, _) = issue(&server, grant.clone()).await?;
        // A reload of the options keeps the tickets.
        server.daemon.signal("HUP")?;
        let has_reloaded = |line: &Value| line["message"] == "configuration reloaded";
        eventually(|| async { Ok(server.daemon.log_lines(0)?.iter().any(has_reloaded)) }).await?;
        let mut ann = Client::with_ticket(address, &ticket).await?;
        let welcome = ann.event().await?;
        ensure!(welcome["user"] == json!({"id": "7", "name": "Ann"}), "{binary:?}: {welcome}");
        let other = ann.ask(json!({"type": "join", "room": "other"})).await?;
        ensure!(other["code"] == "forbidden", "{binary:?}: {other}");
        ensure!(ann.join(None).await?["type"] == "joined", "{binary:?}");
        let mut codes = Vec::new();
        for _ in 0..20 {
            codes.push(ann.ask(json!({"type": "ping"})).await?["code"].clone());
        }
        ensure!(codes.contains(&json!("rate_limited")), "{binary:?}: the rate of the ticket has no effect");
        // A refused connection uses the ticket up, too.
        let (second, _) = issue(&server, grant).await?;
        let full = Client::with_ticket(address, &second).await.err().context("two connections")?;
        ensure!(full.to_string().contains(" 429 "), "{binary:?}: {full}");

        let mut bodies = Vec::new();
        for query in
            ["", &*format!("?ticket={ticket}"), &format!("?ticket={second}"), &format!("?ticket={UNKNOWN}")]
        {
            bodies.push(refused(address, query).await?);
        }
        ensure!(bodies.iter().all(|body| *body == bodies[0]), "a response has a reason: {bodies:?}");
        drop(ann);
        let log = serde_json::to_string(&server.daemon.stop()?)?;
        ensure!(log.contains("the ticket is unknown, used, or expired"), "{binary:?}: no reason in the log");
        for secret in [&*ticket, &second, TOKEN] {
            ensure!(!log.contains(secret), "{binary:?}: a secret is in the log");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_tickets_issues_none_and_a_bad_user_gets_none() -> Result<()> {
    let server = Server::start(BINARIES[0], &[]).await?;
    let off = server.call("POST", "/v1/tickets", Some(json!({"sub": "7"}))).await?;
    ensure!(off.status == 404 && off.json()?["error"]["code"] == "tickets_off", "{off:?}");

    let server = Server::start(BINARIES[0], &["--tickets"]).await?;
    for (grant, member) in [
        (json!({"name": "Ann"}), "missing field `sub`"),
        (json!({"sub": ""}), "`sub`"),
        (json!({"sub": "7", "rooms": {"A B": "member"}}), "`rooms`"),
        (json!({"sub": "7", "exp": 1}), "unknown field `exp`, expected one of `sub`, "),
    ] {
        let reply = server.call("POST", "/v1/tickets", Some(grant.clone())).await?;
        ensure!(reply.status == 400 && reply.body.contains(member), "{grant}: {reply:?}");
    }
    for _ in 0..16 {
        issue(&server, json!({"sub": "7"})).await?;
    }
    let reply = server.call("POST", "/v1/tickets", Some(json!({"sub": "7"}))).await?;
    ensure!(reply.status == 429 && reply.json()?["error"]["code"] == "too_many_tickets", "{reply:?}");
    Ok(())
}

#[test]
fn tickets_without_an_admin_listener_are_refused() -> Result<()> {
    for task in [&[][..], &["config", "check"]] {
        let output = BINARIES[0].run(&[&["--data", ":memory:", "--tickets"], task].concat())?;
        let error = String::from_utf8(output.stderr)?;
        ensure!(output.status.code() == Some(2) && error.contains("--admin"), "{task:?}: {error}");
    }
    Ok(())
}
