//! Measures the memory of an idle connection and the CPU time of a delivery, for each binary and upgrade mode.
//!
//! Run it with `cargo bench -p chat-tests`. It needs 5,100 file descriptors (`ulimit -n`). Compare only figures of the
//! same run: its rounds are interleaved, because machines are noisy.

#![expect(clippy::print_stdout, reason = "the program prints a table")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use chat_tests::{BINARIES, Binary, Client, Daemon, handshake};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The number of idle connections.
const IDLE: usize = 5_000;
/// The number of idle connections before the first measurement.
const WARM_UP: usize = 100;
const RECEIVERS: usize = 200;
const MESSAGES: usize = 2_000;
/// The limit of unacknowledged messages.
const WINDOW: usize = 50;
const ROUNDS: usize = 3;

#[tokio::main]
async fn main() -> Result<()> {
    println!("| binary | KiB per idle connection | us of CPU per delivery | deliveries per second |");
    println!("|---|---|---|---|");
    let mut rows = Vec::new();
    for binary in BINARIES {
        let daemon = Daemon::start(binary, &["--data", ":memory:"])?;
        let warm_up = idle(daemon.address(), WARM_UP).await?;
        let before = resident(&daemon)?;
        let connections = idle(daemon.address(), IDLE).await?;
        let after = resident(&daemon)?;
        drop((warm_up, connections));
        rows.push(Row { binary, kib: (after - before) / IDLE as f64, cpu: Vec::new(), rate: Vec::new() });
    }
    for _ in 0..ROUNDS {
        for row in &mut rows {
            let daemon = Daemon::start(row.binary, &["--data", ":memory:"])?;
            let elapsed = fan_out(&daemon).await?;
            let deliveries = (RECEIVERS * MESSAGES) as f64;
            row.cpu.push(elapsed.cpu_seconds * 1e6 / deliveries);
            row.rate.push(deliveries / elapsed.seconds);
        }
    }
    for Row { binary, kib, mut cpu, mut rate } in rows {
        let (cpu, rate) = (median(&mut cpu), median(&mut rate));
        println!("| {} {} | {kib:.1} | {cpu:.2} | {rate:.0} |", binary.name, binary.upgrade);
    }
    Ok(())
}

/// The figures of one binary.
struct Row {
    binary: Binary,
    /// Memory of an idle connection, in KiB.
    kib: f64,
    /// CPU time of a delivery in each round, in microseconds.
    cpu: Vec<f64>,
    /// Deliveries per second in each round.
    rate: Vec<f64>,
}

/// The duration of a fan-out.
struct Elapsed {
    /// CPU time of the server.
    cpu_seconds: f64,
    seconds: f64,
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Opens connections that receive their welcome and then send nothing.
async fn idle(address: SocketAddr, count: usize) -> Result<Vec<TcpStream>> {
    let request = handshake("");
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

/// Sends messages to many receivers, with a window of unacknowledged messages.
async fn fan_out(daemon: &Daemon) -> Result<Elapsed> {
    let mut receivers = Vec::new();
    for n in 0..RECEIVERS {
        receivers.push(Client::member(daemon.address(), &format!("receiver-{n}")).await?);
    }
    let mut sender = Client::member(daemon.address(), "sender").await?;
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
    let mut unacknowledged = 0;
    for _ in 0..MESSAGES {
        let body = json!({"text": "a message of a usual length, as people write them"});
        sender.send(json!({"type": "send", "ref": "s", "room": "lobby", "body": body})).await?;
        unacknowledged += 1;
        while unacknowledged >= WINDOW {
            sender.until("sent").await?;
            unacknowledged -= 1;
        }
    }
    for task in tasks {
        task.await??;
    }
    let cpu_seconds = daemon.footprint()?.cpu_seconds - cpu;
    Ok(Elapsed { cpu_seconds, seconds: start.elapsed().as_secs_f64() })
}

/// Returns the resident memory of the server, in KiB.
fn resident(daemon: &Daemon) -> Result<f64> {
    // The allocator and the kernel need a moment to settle.
    std::thread::sleep(Duration::from_millis(500));
    Ok(daemon.footprint()?.kib as f64)
}
