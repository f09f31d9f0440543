use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use chat_conformance::client::Frame;
use chat_tests::{BINARIES, Binary, Client, Daemon, Heard, RawClient, within};
use serde_json::json;
use tokio::task::JoinSet;

use crate::status_of;

/// Longer than a peer has to answer a ping.
const STOP: Duration = Duration::from_secs(21);

/// Sessions that have been pinged when the process is stopped.
const PINGED: usize = 20;

/// Who is in the middle of something then.
const WRITERS: usize = 4;

/// All at once: they do little but wait.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_was_stopped_does_not_take_its_own_absence_for_silence() -> Result<()> {
    let mut stopped = JoinSet::new();
    for binary in BINARIES {
        stopped.spawn(async move { stop(binary).await.with_context(|| format!("{binary:?}")) });
    }
    while let Some(result) = stopped.join_next().await {
        result??;
    }
    Ok(())
}

async fn stop(binary: Binary) -> Result<()> {
    let daemon = Daemon::start(binary, &[])?;
    let mut pinged = Vec::new();
    for number in 0..PINGED {
        pinged.push(RawClient::connect(daemon.address(), &format!("pinged-{number}"), false).await?);
    }
    let mut dead = RawClient::connect(daemon.address(), "dead", false).await?;
    let mut payloads = Vec::new();
    for client in &mut pinged {
        payloads.push(ping(client).await?);
    }
    ping(&mut dead).await?;
    let mut talker = Client::connect(daemon.address(), "talker").await?;
    talker.ask(json!({"type": "join", "room": "lobby"}), "j").await?;
    say(&mut talker, "before").await?;
    let done = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    for number in 0..WRITERS {
        writers.spawn(write(daemon.address(), number, Arc::clone(&done)));
    }
    talker.until("message").await?;

    daemon.signal("STOP")?;
    is_stopped(&daemon).await?;
    for (client, payload) in pinged.iter_mut().zip(payloads) {
        client.write(&Frame::pong(payload).encode()).await?;
    }
    talker.send(json!({"type": "send", "room": "lobby", "ref": "m", "body": {"text": "meanwhile"}})).await?;
    let newcomer = tokio::spawn(status_of(daemon.address(), ""));
    // Nobody tells how long it has been stopped.
    tokio::time::sleep(STOP).await;
    daemon.signal("CONT")?;

    let status = newcomer.await?.context("a connection that came meanwhile")?;
    // actix's clock may still stand at the stop: then it takes the request for one that took too long.
    let may_be_late = binary.adapter() == "actix" && status == "408";
    ensure!(status == "101" || may_be_late, "a connection that came meanwhile gets {status}");
    let sent = talker.until("sent").await.context("a command that came meanwhile")?;
    ensure!(sent["ref"] == "m", "{sent}");
    done.store(true, Ordering::Relaxed);
    let mut written = 2;
    while let Some(count) = writers.join_next().await {
        written += count?.context("a command in hand")?;
    }
    for client in &mut pinged {
        let pings = answers(client).await.context("who was pinged")?;
        ensure!(pings <= 1, "{pings} pings in a burst");
    }
    ensure!(dead.closed().await.context("who never answers")? == Some(4001), "who never answers is given up");
    for client in &mut pinged {
        answers(client).await.context("who was pinged, once more")?;
    }
    let status = status_of(daemon.address(), "").await?;
    ensure!(status == "101", "a new connection gets {status}");
    let joined = talker.ask(json!({"type": "join", "room": "lobby"}), "j").await?;
    ensure!(joined["seq"] == written, "{written} were acknowledged: {joined}");
    drop((pinged, talker));
    daemon.sessions(0).await?;
    let log = daemon.stop()?;
    ensure!(log.iter().all(|line| line["level"] == "INFO"), "{log:#?}");
    Ok(())
}

/// Waits until the process does not run any more: the signal takes its time.
async fn is_stopped(daemon: &Daemon) -> Result<()> {
    within(async {
        loop {
            let stat = fs::read_to_string(format!("/proc/{}/stat", daemon.id()))?;
            let (_, fields) = stat.rsplit_once(')').context("no fields")?;
            if fields.starts_with(" T") {
                return Ok(());
            }
            tokio::task::yield_now().await;
        }
    })
    .await?
}

async fn say(client: &mut Client, text: &str) -> Result<()> {
    let body = json!({"text": text});
    let sent = client.ask(json!({"type": "send", "room": "lobby", "body": body}), "s").await?;
    ensure!(sent["type"] == "sent", "{sent}");
    Ok(())
}

/// Sends one message after the other; how many, each of them acknowledged.
async fn write(address: SocketAddr, number: usize, done: Arc<AtomicBool>) -> Result<u64> {
    let mut client = Client::connect(address, &format!("writer-{number}")).await?;
    client.ask(json!({"type": "join", "room": "lobby"}), "j").await?;
    let mut acknowledged = 0;
    while !done.load(Ordering::Relaxed) {
        say(&mut client, "x").await?;
        acknowledged += 1;
    }
    client.close(1000).await?;
    Ok(acknowledged)
}

/// Waits for a ping, which is left unanswered: its payload.
async fn ping(client: &mut RawClient) -> Result<Vec<u8>> {
    loop {
        match client.hear().await? {
            Heard::Ping(payload) => return Ok(payload),
            Heard::Event(_) => {}
            other => bail!("{other:?} instead of a ping"),
        }
    }
}

/// Sees that a session answers; how many pings came before it did.
async fn answers(client: &mut RawClient) -> Result<usize> {
    client.write(&Frame::text(r#"{"type":"ping","ref":"p"}"#).encode()).await?;
    let mut pings = 0;
    loop {
        match client.hear().await? {
            Heard::Ping(_) => pings += 1,
            Heard::Event(event) if event["ref"] == "p" => return Ok(pings),
            Heard::Event(event) => ensure!(event["type"] != "closing", "{event}"),
            other => bail!("{other:?} instead of an answer"),
        }
    }
}
