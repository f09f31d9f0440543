use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Context, Result, bail, ensure};
use chat_conformance::client::Frame;
use chat_tests::{BINARIES, Client, Daemon, RawClient, within};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::handshake;

/// Connections that are made and left, as fast as the machine does it.
const CONNECTS: usize = 5_000;

/// Messages that are delivered meanwhile.
const MESSAGES: u64 = 50;

/// How many make connections at once.
const TASKS: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_connects_delays_nobody_for_long_and_leaves_nothing_behind() -> Result<()> {
    for binary in BINARIES {
        let daemon = Daemon::start(binary, &[])?;
        let mut writer = member(&daemon, "writer").await?;
        let mut reader = member(&daemon, "reader").await?;
        deserted(&daemon).await?;
        let before = daemon.footprint()?.descriptors;

        let connects = Arc::new(AtomicUsize::new(0));
        let enough = Arc::new(AtomicBool::new(false));
        let mut flood = JoinSet::new();
        for _ in 0..TASKS {
            flood.spawn(connect(daemon.address(), Arc::clone(&connects), Arc::clone(&enough)));
        }
        let mut seq = 0;
        while seq < MESSAGES || connects.load(Ordering::Relaxed) < CONNECTS {
            seq += 1;
            let send = json!({"type": "send", "room": "lobby", "body": {"text": "x"}});
            let sent = writer.ask(send, "s").await?;
            ensure!(sent["seq"] == seq, "{binary:?}: {sent}");
            let message = reader.until("message").await?;
            ensure!(message["seq"] == seq, "{binary:?}: {message}");
            if let Some(over) = flood.try_join_next() {
                bail!("{binary:?}: {over:?}");
            }
        }
        enough.store(true, Ordering::Relaxed);
        while let Some(over) = flood.join_next().await {
            over?.with_context(|| format!("{binary:?}"))?;
        }

        deserted(&daemon).await?;
        within(async {
            // The connection that was asked about the others may have been one of them.
            while daemon.footprint()?.descriptors > before {
                tokio::task::yield_now().await;
            }
            anyhow::Ok(())
        })
        .await
        .with_context(|| format!("{binary:?}: {before} descriptors, then {:?}", daemon.footprint()))??;
        for client in [writer, reader, member(&daemon, "newcomer").await?] {
            client.close(1000).await?;
        }
        let log = daemon.stop()?;
        ensure!(log.iter().all(|line| line["level"] == "INFO"), "{binary:?}: {log:#?}");
    }
    Ok(())
}

async fn member(daemon: &Daemon, name: &str) -> Result<Client> {
    let mut client = Client::connect(daemon.address(), name).await?;
    client.ask(json!({"type": "join", "room": "lobby"}), "j").await?;
    Ok(client)
}

/// Waits until the reader and the writer are alone.
async fn deserted(daemon: &Daemon) -> Result<()> {
    within(async {
        loop {
            let ready = daemon.ready().await?;
            if ready["connections"] == 2 && ready["sessions"] == 2 {
                return Ok(());
            }
        }
    })
    .await?
}

/// Connects and leaves in every way, again and again until that is enough.
async fn connect(address: SocketAddr, connects: Arc<AtomicUsize>, enough: Arc<AtomicBool>) -> Result<()> {
    while !enough.load(Ordering::Relaxed) {
        let number = connects.fetch_add(1, Ordering::Relaxed);
        match number % 6 {
            0 => {
                let mut guest = RawClient::connect(address, "guest", false).await?;
                guest.write(&Frame::close(1000, "").encode()).await?;
                ensure!(guest.closed().await? == Some(1000));
            }
            1 => RawClient::connect(address, "guest", false).await?.reset()?,
            2 => {
                let mut unheard = TcpStream::connect(address).await?;
                unheard.write_all(handshake("").as_bytes()).await?;
            }
            3 => TcpStream::connect(address).await?.write_all(b"GET /ws HT").await?,
            4 => drop(TcpStream::connect(address).await?),
            _ => TcpStream::connect(address).await?.set_zero_linger()?,
        }
    }
    Ok(())
}
