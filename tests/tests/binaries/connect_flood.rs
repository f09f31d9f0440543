use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Context, Result, bail, ensure};
use chat_tests::{BINARIES, Client, Daemon, check_levels, eventually, handshake};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// The minimum number of connections that the flood makes.
const CONNECTS: usize = 5_000;

/// The minimum number of messages that are delivered during the flood.
const MESSAGES: u64 = 50;

/// The number of tasks that make connections.
const TASKS: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_connects_delays_no_message_for_long_and_leaks_nothing() -> Result<()> {
    for binary in BINARIES {
        let daemon = Daemon::start(binary, &[])?;
        let mut writer = Client::member(daemon.address(), "writer").await?;
        let mut reader = Client::member(daemon.address(), "reader").await?;
        wait_for_two_sessions(&daemon).await?;
        let before = daemon.footprint()?.descriptors;

        let connects = Arc::new(AtomicUsize::new(0));
        let done = Arc::new(AtomicBool::new(false));
        let mut flood = JoinSet::new();
        for _ in 0..TASKS {
            flood.spawn(connect_repeatedly(daemon.address(), Arc::clone(&connects), Arc::clone(&done)));
        }
        let mut seq = 0;
        while seq < MESSAGES || connects.load(Ordering::Relaxed) < CONNECTS {
            seq += 1;
            let sent = writer.say("x").await?;
            ensure!(sent["seq"] == seq, "{binary:?}: {sent}");
            let message = reader.until("message").await?;
            ensure!(message["seq"] == seq, "{binary:?}: {message}");
            if let Some(ended) = flood.try_join_next() {
                bail!("{binary:?}: {ended:?}");
            }
        }
        done.store(true, Ordering::Relaxed);
        while let Some(ended) = flood.join_next().await {
            ended?.with_context(|| format!("{binary:?}"))?;
        }

        wait_for_two_sessions(&daemon).await?;
        // The connection that asked for the number of connections may still be open.
        eventually(|| async { Ok(daemon.footprint()?.descriptors <= before) })
            .await
            .with_context(|| format!("{binary:?}: {before} descriptors, then {:?}", daemon.footprint()))?;
        for client in [writer, reader, Client::member(daemon.address(), "newcomer").await?] {
            client.close(1000).await?;
        }
        check_levels(&daemon.stop()?).with_context(|| format!("{binary:?}"))?;
    }
    Ok(())
}

/// Waits until only the reader and the writer are connected.
async fn wait_for_two_sessions(daemon: &Daemon) -> Result<()> {
    eventually(|| async {
        let ready = daemon.ready().await?;
        Ok(ready["connections"] == 2 && ready["sessions"] == 2)
    })
    .await
}

/// Connects and disconnects in six ways in turn.
async fn connect_repeatedly(
    address: SocketAddr,
    connects: Arc<AtomicUsize>,
    done: Arc<AtomicBool>,
) -> Result<()> {
    while !done.load(Ordering::Relaxed) {
        match connects.fetch_add(1, Ordering::Relaxed) % 6 {
            0 => ensure!(Client::open(address, "guest").await?.close(1000).await? == Some(1000)),
            1 => Client::open(address, "guest").await?.reset()?,
            2 => TcpStream::connect(address).await?.write_all(handshake("").as_bytes()).await?,
            3 => TcpStream::connect(address).await?.write_all(b"GET /ws HT").await?,
            4 => drop(TcpStream::connect(address).await?),
            _ => TcpStream::connect(address).await?.set_zero_linger()?,
        }
    }
    Ok(())
}
