use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use chat_conformance::client::Frame;
use chat_tests::{Binary, Client, Daemon, Incoming, check_levels, eventually, request_upgrade};
use serde_json::json;
use tokio::task::JoinSet;

/// The time for which a process is stopped. It exceeds the time limit for a pong.
const STOP: Duration = Duration::from_secs(21);

/// The number of clients that have an unanswered ping when the process is stopped.
const PINGED: usize = 20;

/// The number of clients that send messages when the process is stopped.
const WRITERS: usize = 4;

/// The binaries run at the same time, because they mostly wait.
#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_process_closes_only_clients_that_stay_silent_after_it_continues() -> Result<()> {
    let mut binaries = JoinSet::new();
    for binary in chat_tests::BINARIES {
        binaries.spawn(async move { stop_and_continue(binary).await.with_context(|| format!("{binary:?}")) });
    }
    while let Some(result) = binaries.join_next().await {
        result??;
    }
    Ok(())
}

async fn stop_and_continue(binary: Binary) -> Result<()> {
    let daemon = Daemon::start(binary, &[])?;
    let address = daemon.address();
    let mut pinged = Vec::new();
    for number in 0..PINGED {
        pinged.push(Client::open(address, &format!("pinged-{number}")).await?);
    }
    let mut dead = Client::open(address, "dead").await?;
    let mut payloads = Vec::new();
    for client in &mut pinged {
        payloads.push(receive_ping(client).await?);
    }
    receive_ping(&mut dead).await?;
    let mut sender = Client::member(address, "sender").await?;
    say(&mut sender, "before").await?;
    let done = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    for number in 0..WRITERS {
        writers.spawn(write(address, number, Arc::clone(&done)));
    }
    sender.until("message").await?;

    daemon.signal("STOP")?;
    eventually(|| async {
        let stat = fs::read_to_string(format!("/proc/{}/stat", daemon.id()))?;
        Ok(stat.rsplit_once(')').context("no fields")?.1.starts_with(" T"))
    })
    .await?;
    for (client, payload) in pinged.iter_mut().zip(payloads) {
        client.write(&Frame::pong(payload).encode()).await?;
    }
    sender.send(json!({"type": "send", "room": "lobby", "ref": "m", "body": {"text": "meanwhile"}})).await?;
    let newcomer = tokio::spawn(request_upgrade(address, ""));
    // No event marks the end of the stop: its length is the point.
    tokio::time::sleep(STOP).await;
    daemon.signal("CONT")?;

    let (_, status) = newcomer.await?.context("a connection made during the stop")?;
    // The clock of actix may still show the start of the stop: then the request counts as too slow.
    let may_be_late = binary.adapter() == "actix" && status == 408;
    ensure!(status == 101 || may_be_late, "a connection made during the stop gets {status}");
    let sent = sender.until("sent").await.context("a command sent during the stop")?;
    ensure!(sent["ref"] == "m", "{sent}");
    done.store(true, Ordering::Relaxed);
    let mut written = 2;
    while let Some(count) = writers.join_next().await {
        written += count?.context("a command in flight")?;
    }
    for client in &mut pinged {
        let pings = pings_before_reply(client).await.context("a client that answered its ping")?;
        ensure!(pings <= 1, "{pings} pings in a burst");
    }
    ensure!(dead.closed().await? == Some(4001), "the silent client gets another close code");
    for client in &mut pinged {
        pings_before_reply(client).await.context("a client that answered its ping, later")?;
    }
    let (_, status) = request_upgrade(address, "").await?;
    ensure!(status == 101, "a new connection gets {status}");
    let joined = sender.join(None).await?;
    ensure!(joined["seq"] == written, "{written} messages were acknowledged: {joined}");
    drop((pinged, sender, dead));
    daemon.sessions(0).await?;
    check_levels(&daemon.stop()?)
}

async fn say(client: &mut Client, text: &str) -> Result<()> {
    let sent = client.say(text).await?;
    ensure!(sent["type"] == "sent", "{sent}");
    Ok(())
}

/// Sends messages, one at a time, until `done`. Returns the number of acknowledged messages.
async fn write(address: SocketAddr, number: usize, done: Arc<AtomicBool>) -> Result<u64> {
    let mut client = Client::member(address, &format!("writer-{number}")).await?;
    let mut acknowledged = 0;
    while !done.load(Ordering::Relaxed) {
        say(&mut client, "x").await?;
        acknowledged += 1;
    }
    client.close(1000).await?;
    Ok(acknowledged)
}

/// Waits for a ping, does not answer it, and returns its payload.
async fn receive_ping(client: &mut Client) -> Result<Vec<u8>> {
    loop {
        match client.receive_unanswered().await? {
            Incoming::Ping(payload) => return Ok(payload),
            Incoming::Event(_) => {}
            other => bail!("{other:?} instead of a ping"),
        }
    }
}

/// Checks that a session answers a command. Returns the number of pings that come before the reply.
async fn pings_before_reply(client: &mut Client) -> Result<usize> {
    client.send(json!({"type": "ping", "ref": "p"})).await?;
    let mut pings = 0;
    loop {
        match client.receive_unanswered().await? {
            Incoming::Ping(_) => pings += 1,
            Incoming::Event(event) if event["ref"] == "p" => return Ok(pings),
            Incoming::Event(event) => ensure!(event["type"] != "closing", "{event}"),
            other => bail!("{other:?} instead of a reply"),
        }
    }
}
