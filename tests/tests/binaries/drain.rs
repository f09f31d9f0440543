use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use chat_conformance::client::Frame;
use chat_tests::{
    BINARIES, Binary, Client, Daemon, Incoming, check_levels, eventually, request_upgrade, within,
};
use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_under_load_keeps_every_acknowledged_message() -> Result<()> {
    for binary in BINARIES {
        let daemon = Daemon::start(binary, &["--drain-timeout", "8"])?;
        let mut witness = Client::member(daemon.address(), "witness").await?;
        let writers: Vec<_> =
            (0..10).map(|n| tokio::spawn(write_until_closed(daemon.address(), n))).collect();
        let mut stored = 0;
        while stored < 500 {
            stored = witness.until("message").await?["seq"].as_u64().context("no seq")?;
        }
        daemon.signal("TERM")?;
        let mut seqs = Vec::new();
        let mut closing = Value::Null;
        while let Ok(event) = witness.event().await {
            match event["type"].as_str() {
                Some("message") => seqs.extend(event["seq"].as_u64()),
                Some("closing") => closing = event,
                _ => {}
            }
        }
        drop(witness);
        ensure!(closing["code"] == 1012 && closing["reconnect_in_ms"].as_u64() > Some(0), "{closing}");
        ensure!(seqs.windows(2).all(|pair| pair[1] == pair[0] + 1), "{binary:?}: a hole in {seqs:?}");
        for writer in writers {
            let written = within(writer).await???;
            ensure!(written.close_code == Some(1012), "{binary:?}: {written:?}");
            ensure!(written.acknowledged > 0, "{binary:?}: {written:?}");
        }
        let (status, log) = daemon.wait()?;
        ensure!(status.success(), "{binary:?}: {status}");
        let ended: Vec<_> = log.iter().filter(|line| line["message"] == "session ended").collect();
        ensure!(ended.len() == 11 && ended.iter().all(|line| line["close"] == 1012), "{ended:#?}");
        check_levels(&log)?;
    }
    Ok(())
}

/// The result of a writer.
#[derive(Debug)]
struct Written {
    acknowledged: u64,
    close_code: Option<u16>,
}

/// Sends messages, one at a time, until the server closes.
async fn write_until_closed(address: SocketAddr, number: usize) -> Result<Written> {
    let mut client = Client::member(address, &format!("writer-{number}")).await?;
    let mut acknowledged = 0;
    'messages: loop {
        let command = json!({"type": "send", "room": "lobby", "ref": "s", "body": {"text": "x"}});
        if client.send(command).await.is_err() {
            break;
        }
        loop {
            let event = client.event().await?;
            if event["type"] == "closing" {
                break 'messages;
            }
            match event["type"].as_str() {
                Some("sent") => acknowledged += 1,
                // The disk of a busy machine may stop for longer than a send may wait.
                Some("error") if event["code"] == "unavailable" => {}
                Some("error") => bail!("{event}"),
                _ => continue,
            }
            break;
        }
    }
    Ok(Written { acknowledged, close_code: client.closed().await? })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draining_server_refuses_upgrades_and_is_not_ready() -> Result<()> {
    for binary in BINARIES {
        let home = TempDir::new()?;
        let daemon = Daemon::start_in(home.path(), binary, &["--drain-timeout", "3600"])?;
        let mut busy = Client::open(daemon.address(), "busy").await?;
        let database = Connection::open(home.path().join("chat.db"))?;
        database.execute_batch("BEGIN IMMEDIATE")?;
        // Each send waits for the locked database until its time limit, one after another.
        let send = Frame::text(r#"{"type":"send","room":"lobby","body":{"text":"x"}}"#).encode();
        let join = Frame::text(r#"{"type":"join","room":"lobby"}"#).encode();
        busy.write(&[join, send.repeat(60), Frame::ping("").encode()].concat()).await?;
        // The pong shows that the server has read everything before the ping.
        loop {
            match busy.receive().await? {
                Incoming::Pong(_) => break,
                incoming => ensure!(matches!(incoming, Incoming::Event(_)), "{incoming:?}"),
            }
        }
        daemon.signal("TERM")?;
        eventually(|| async { Ok(daemon.ready().await?["ready"] == false) }).await?;
        let (_, status) = request_upgrade(daemon.address(), "").await?;
        ensure!(status == 503, "{binary:?}: {status}");
        database.execute_batch("ROLLBACK")?;
        drop(database);
        ensure!(busy.closed().await? == Some(1012), "{binary:?}");
        let (status, _) = daemon.wait()?;
        ensure!(status.success(), "{binary:?}: {status}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_the_server_at_once() -> Result<()> {
    for binary in BINARIES {
        let daemon = Daemon::start(binary, &["--drain-timeout", "3600"])?;
        // A client that neither reads nor answers.
        let _silent = request_upgrade(daemon.address(), "").await?;
        daemon.signal("TERM")?;
        daemon.signal("INT")?;
        let (status, log) = daemon.wait()?;
        let is_draining = log.iter().any(|line| line["message"] == "drain started");
        ensure!(status.code() == Some(1) || (status.success() && is_draining), "{binary:?}: {status}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hangup_does_not_cut_a_drain() -> Result<()> {
    for binary in Binary::one_per_adapter() {
        let daemon = Daemon::start(binary, &["--drain-timeout", "2"])?;
        // A client that neither reads nor answers, so that the drain lasts.
        let _silent = request_upgrade(daemon.address(), "").await?;
        daemon.signal("TERM")?;
        eventually(|| async { Ok(daemon.ready().await?["ready"] == false) }).await?;
        daemon.signal("HUP")?;
        let (_, log) = daemon.wait()?;
        ensure!(log.iter().any(|line| line["message"] == "drain finished"), "{binary:?}: {log:#?}");
        ensure!(!log.iter().any(|line| line["message"] == "drain aborted"), "{binary:?}: {log:#?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_under_nohup_survives_a_hangup() -> Result<()> {
    for binary in Binary::one_per_adapter() {
        let plain = binary.command()?;
        let mut command = Command::new("nohup");
        command.arg(plain.get_program());
        let daemon = Daemon::spawn(command, binary, &[])?;
        daemon.signal("HUP")?;
        let mut client = Client::member(daemon.address(), "ann").await?;
        client.send(json!({"type": "ping"})).await?;
        client.until("pong").await?;
        daemon.stop()?;
    }
    Ok(())
}
