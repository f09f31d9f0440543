use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use chat_conformance::client::Frame;
use chat_tests::{BINARIES, Client, Daemon, Heard, RawClient, within};
use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{silent, status_of};

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_under_load_loses_nothing_that_was_acknowledged() -> Result<()> {
    for binary in BINARIES {
        let daemon = Daemon::start(binary, &["--drain-timeout", "8"])?;
        let mut witness = Client::connect(daemon.address(), "witness").await?;
        witness.ask(json!({"type": "join", "room": "lobby"}), "j").await?;
        let writers: Vec<_> =
            (0..10).map(|n| tokio::spawn(write_until_closed(daemon.address(), n))).collect();
        let mut stored = 0;
        while stored < 500 {
            stored = witness.until("message").await?["seq"].as_u64().context("no seq")?;
        }
        daemon.signal("TERM")?;
        let mut seqs = Vec::new();
        let mut closing = Value::Null;
        while let Ok(event) = witness.next().await {
            match event["type"].as_str() {
                Some("message") => seqs.extend(event["seq"].as_u64()),
                Some("closing") => closing = event,
                _ => {}
            }
        }
        ensure!(closing["code"] == 1012 && closing["reconnect_in_ms"].as_u64() > Some(0), "{closing}");
        ensure!(seqs.windows(2).all(|pair| pair[1] == pair[0] + 1), "{binary:?}: a hole in {seqs:?}");
        for writer in writers {
            let (acknowledged, code) = within(writer).await???;
            ensure!(code == Some(1012), "{binary:?} closed a writer with {code:?}");
            ensure!(acknowledged > 0, "nothing acknowledged");
        }
        let (status, log) = daemon.wait()?;
        ensure!(status.success(), "{binary:?}: {status}");
        let ended: Vec<_> = log.iter().filter(|line| line["message"] == "session ended").collect();
        ensure!(ended.len() == 11 && ended.iter().all(|line| line["close"] == 1012), "{ended:#?}");
        ensure!(log.iter().all(|line| line["level"] == "INFO"), "{log:#?}");
    }
    Ok(())
}

/// Sends one message after the other; the number of those acknowledged, and the code of the server's close.
async fn write_until_closed(address: SocketAddr, number: usize) -> Result<(u64, Option<u16>)> {
    let mut client = Client::connect(address, &format!("writer-{number}")).await?;
    client.ask(json!({"type": "join", "room": "lobby"}), "j").await?;
    let mut acknowledged = 0;
    loop {
        let command = json!({"type": "send", "room": "lobby", "ref": "s", "body": {"text": "x"}});
        if client.send(command).await.is_err() {
            break;
        }
        loop {
            let event = client.next().await?;
            if event["type"] == "closing" {
                return Ok((acknowledged, client.closed().await?));
            }
            if event["type"] == "sent" {
                acknowledged += 1;
                break;
            }
        }
    }
    Ok((acknowledged, client.closed().await?))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draining_server_refuses_upgrades_and_says_it_is_not_ready() -> Result<()> {
    for binary in BINARIES {
        let home = TempDir::new()?;
        let data = home.path().to_str().context("a path in UTF-8")?;
        let daemon = Daemon::start(binary, &["--drain-timeout", "3600", "--data", data])?;
        let mut busy = RawClient::connect(daemon.address(), "busy", false).await?;
        let database = Connection::open(home.path().join("chat.db"))?;
        database.execute_batch("BEGIN IMMEDIATE")?;
        // Each waits its time for the database, one after the other.
        let send = Frame::text(r#"{"type":"send","room":"lobby","body":{"text":"x"}}"#).encode();
        let join = Frame::text(r#"{"type":"join","room":"lobby"}"#).encode();
        busy.write(&[join, send.repeat(60), Frame::ping("").encode()].concat()).await?;
        loop {
            match busy.next().await? {
                // What is ahead of the ping has been read.
                Heard::Pong(_) => break,
                Heard::Event(_) => {}
                other => bail!("{other:?} instead of a pong"),
            }
        }
        daemon.signal("TERM")?;
        within(async {
            while daemon.ready().await?["ready"] != false {
                tokio::task::yield_now().await;
            }
            anyhow::Ok(())
        })
        .await??;
        ensure!(status_of(daemon.address(), "").await? == "503", "{binary:?}");
        database.execute_batch("ROLLBACK")?;
        drop(database);
        ensure!(busy.closed().await? == Some(1012), "{binary:?}");
        let (status, _) = daemon.wait()?;
        ensure!(status.success(), "{binary:?}: {status}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_at_once() -> Result<()> {
    for binary in BINARIES {
        let daemon = Daemon::start(binary, &["--drain-timeout", "3600"])?;
        let _silent = silent(daemon.address()).await?;
        daemon.signal("TERM")?;
        daemon.signal("INT")?;
        let (status, log) = daemon.wait()?;
        let draining = log.iter().any(|line| line["message"] == "draining");
        ensure!(status.code() == Some(1) || (status.success() && draining), "{binary:?}: {status}");
    }
    Ok(())
}
