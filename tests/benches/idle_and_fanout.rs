//! What an idle connection costs in memory, and a delivery in time, for each binary and mechanism.
//!
//! `cargo bench -p chat-tests`; needs 5,100 descriptors (`ulimit -n`). Compare figures of one run only: the
//! rounds are interleaved, since machines are noisy.

#![expect(clippy::print_stdout, reason = "a table is what it is run for")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use chat_tests::{BINARIES, Client, Daemon};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const IDLE: usize = 5_000;
const WARM: usize = 100;
const RECEIVERS: usize = 200;
const MESSAGES: usize = 2_000;
const WINDOW: usize = 50;
const ROUNDS: usize = 3;

#[tokio::main]
async fn main() -> Result<()> {
    println!("| binary | KiB per idle connection | us of CPU per delivery | deliveries per second |");
    println!("|---|---|---|---|");
    let mut rows = Vec::new();
    for binary in BINARIES {
        let daemon = Daemon::start(binary, &["--data", ":memory:"])?;
        let warm = idle(daemon.address(), WARM).await?;
        let before = resident(&daemon)?;
        let connections = idle(daemon.address(), IDLE).await?;
        let after = resident(&daemon)?;
        drop((warm, connections));
        rows.push((binary, (after - before) / IDLE as f64, Vec::new(), Vec::new()));
    }
    for _ in 0..ROUNDS {
        for (binary, _, cpu, rate) in &mut rows {
            let daemon = Daemon::start(*binary, &["--data", ":memory:"])?;
            let (cpu_seconds, seconds) = fan_out(&daemon).await?;
            let deliveries = (RECEIVERS * MESSAGES) as f64;
            cpu.push(cpu_seconds * 1e6 / deliveries);
            rate.push(deliveries / seconds);
        }
    }
    for (binary, kib, mut cpu, mut rate) in rows {
        let (cpu, rate) = (median(&mut cpu), median(&mut rate));
        println!("| {} {} | {kib:.1} | {cpu:.2} | {rate:.0} |", binary.name, binary.upgrade);
    }
    Ok(())
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Connections that have had their welcome, and then say nothing.
async fn idle(address: SocketAddr, count: usize) -> Result<Vec<TcpStream>> {
    let request = format!(
        "GET /ws HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    let mut connections = Vec::with_capacity(count);
    for _ in 0..count {
        let mut stream = TcpStream::connect(address).await.context("see ulimit -n")?;
        stream.write_all(request.as_bytes()).await?;
        let mut seen = Vec::new();
        while !seen.windows(13).any(|part| part == b"ping_interval") {
            stream.read_buf(&mut seen).await?;
        }
        connections.push(stream);
    }
    Ok(connections)
}

/// One sender, with a window of unacknowledged messages, and many receivers: CPU seconds of the server, and
/// seconds.
async fn fan_out(daemon: &Daemon) -> Result<(f64, f64)> {
    let mut receivers = Vec::new();
    for n in 0..RECEIVERS {
        let mut receiver = Client::connect(daemon.address(), &format!("receiver-{n}")).await?;
        receiver.ask(json!({"type": "join", "room": "lobby"}), "j").await?;
        receivers.push(receiver);
    }
    let mut sender = Client::connect(daemon.address(), "sender").await?;
    sender.ask(json!({"type": "join", "room": "lobby"}), "j").await?;
    let cpu = daemon.footprint()?.cpu_seconds;
    let start = Instant::now();
    let tasks: Vec<_> = receivers
        .into_iter()
        .map(|mut receiver| {
            tokio::spawn(async move {
                for _ in 0..MESSAGES {
                    receiver.until("message").await?;
                }
                anyhow::Ok(receiver)
            })
        })
        .collect();
    let mut open = 0;
    for _ in 0..MESSAGES {
        let body = json!({"text": "a message of a usual length, as people write them"});
        sender.send(json!({"type": "send", "ref": "s", "room": "lobby", "body": body})).await?;
        open += 1;
        while open >= WINDOW {
            sender.until("sent").await?;
            open -= 1;
        }
    }
    for task in tasks {
        task.await??;
    }
    Ok((daemon.footprint()?.cpu_seconds - cpu, start.elapsed().as_secs_f64()))
}

/// KiB that the server has in memory.
fn resident(daemon: &Daemon) -> Result<f64> {
    // The allocator and the kernel settle.
    std::thread::sleep(Duration::from_millis(500));
    Ok(daemon.footprint()?.kib as f64)
}
