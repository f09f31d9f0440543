use std::net::SocketAddr;
use std::process::Command;
use std::thread;

use anyhow::{Context, Result, ensure};
use chat_tests::{BINARIES, Binary, Client, Daemon, check_levels, request_upgrade};
use serde_json::Value;
use tokio::task::JoinSet;

/// The number of clients that connect at once.
const CLIENTS: usize = 90;

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_few_descriptors_serves_the_clients_that_it_admits() -> Result<()> {
    // The reserve has 3 descriptors for each CPU.
    let limit = 64 + 3 * thread::available_parallelism()?.get();
    for binary in BINARIES {
        // The option asks for more than the limit allows.
        let daemon = start(binary, &format!("{limit}:{limit}"), &["--max-connections", "80"])?;
        let (mut clients, refused) =
            connect_all(daemon.address()).await.with_context(|| format!("{binary:?}"))?;
        ensure!(!clients.is_empty() && refused > 0, "{binary:?}: {} admitted", clients.len());
        ensure!(daemon.ready().await?["sessions"] == clients.len(), "{binary:?}");
        for client in &mut clients {
            let sent = client.say("x").await?;
            ensure!(sent["type"] == "sent", "{binary:?}: {sent}");
        }
        let (_refused, status) = request_upgrade(daemon.address(), "").await?;
        ensure!(status == 503, "{binary:?}: {status}");

        let admitted = clients.len();
        for client in clients {
            client.close(1000).await?;
        }
        daemon.sessions(0).await?;
        let mut newcomer = Client::member(daemon.address(), "newcomer").await?;
        ensure!(newcomer.say("x").await?["type"] == "sent", "{binary:?}");
        drop(newcomer);
        let log = daemon.stop()?;
        let counted = line(&log, "file descriptors counted")?;
        ensure!(counted["limit"] == limit && counted["max_connections"] == admitted, "{binary:?}: {counted}");
        let warned = line(&log, "too few file descriptors for --max-connections")?;
        ensure!(warned["level"] == "WARN" && warned["wanted"] == 80, "{binary:?}: {warned}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_soft_limit_of_descriptors_is_raised_to_the_hard_one() -> Result<()> {
    for binary in BINARIES {
        let daemon = start(binary, "64:4096", &[])?;
        let (clients, refused) =
            connect_all(daemon.address()).await.with_context(|| format!("{binary:?}"))?;
        ensure!(clients.len() == CLIENTS && refused == 0, "{binary:?}: {refused} refused");
        drop(clients);
        let log = daemon.stop()?;
        check_levels(&log)?;
        let counted = line(&log, "file descriptors counted")?;
        let sum = counted["reserve"].as_u64().zip(counted["max_connections"].as_u64()).map(|(a, b)| a + b);
        ensure!(counted["limit"] == 4096 && sum == Some(4096), "{binary:?}: {counted}");
    }
    Ok(())
}

/// Starts a binary under a soft and a hard limit of descriptors.
fn start(binary: Binary, limits: &str, arguments: &[&str]) -> Result<Daemon> {
    let mut command = Command::new("prlimit");
    command.arg(format!("--nofile={limits}")).arg(binary.command()?.get_program());
    Daemon::spawn(command, binary, arguments)
}

/// Connects all clients at once. Returns those that joined the room, and the number of those that got 503.
async fn connect_all(address: SocketAddr) -> Result<(Vec<Client>, usize)> {
    let mut connects = JoinSet::new();
    for number in 0..CLIENTS {
        connects.spawn(async move { Client::member(address, &format!("user-{number}")).await });
    }
    let (mut clients, mut refused) = (Vec::new(), 0);
    while let Some(connected) = connects.join_next().await {
        match connected? {
            Ok(client) => clients.push(client),
            Err(error) if error.to_string().starts_with("no upgrade: HTTP/1.1 503 ") => refused += 1,
            Err(error) => return Err(error),
        }
    }
    Ok((clients, refused))
}

fn line<'a>(log: &'a [Value], message: &str) -> Result<&'a Value> {
    let begins = |line: &&Value| line["message"].as_str().is_some_and(|text| text.starts_with(message));
    log.iter().find(begins).with_context(|| format!("no line {message:?}: {log:#?}"))
}
