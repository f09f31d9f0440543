use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::thread;

use anyhow::{Context, Result, ensure};
use chat_tests::{BINARIES, Client, Daemon, check_levels, eventually, exchange, request_upgrade, within};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// The connections that one address tries to hold. They are more than the descriptors of the server.
const ATTEMPTS: usize = 200;

/// The plain connections of one address that the server holds: those of its one session, and 32.
const HELD: usize = 33;

const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

#[tokio::test(flavor = "multi_thread")]
async fn plain_connections_of_one_address_do_not_prevent_another_address_from_joining() -> Result<()> {
    let limit = 128 + 3 * thread::available_parallelism()?.get();
    for binary in BINARIES {
        let mut command = Command::new("prlimit");
        command.arg(format!("--nofile={limit}")).arg(binary.command()?.get_program());
        let daemon = Daemon::spawn(command, binary, &["--max-per-address", "1"])?;
        let mut attempts = Vec::new();
        for _ in 0..ATTEMPTS {
            let mut stream = within(TcpStream::connect(daemon.address())).await??;
            // The server may have closed it already.
            let _closed = stream.write_all(b"GET /ws HTTP/1.1\r\nHost: ").await;
            attempts.push(stream);
        }
        let mut other =
            Client::open_from(OTHER, daemon.address(), "other").await.context("no other address")?;
        ensure!(other.join(None).await?["type"] == "joined", "{binary:?}");
        let closed = within(attempts[ATTEMPTS - 1].read_u8()).await?;
        ensure!(closed.is_err(), "{binary:?}: {closed:?}");
        let held = &mut attempts[0];
        held.write_all(b"localhost\r\n\r\n").await?;
        ensure!(
            within(held.read_u8()).await?.is_ok_and(|byte| byte == b'H'),
            "{binary:?}: the first is closed"
        );
        drop(attempts);

        // The server notices the ends of the connections one after the other.
        let probe = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        let is_served = |answer: Vec<u8>| answer.starts_with(b"HTTP/1.1 200");
        eventually(|| async { Ok(exchange(daemon.address(), probe).await.is_ok_and(is_served)) }).await?;
        let mut member = Client::member(daemon.address(), "member").await?;
        let (_refused, status) = request_upgrade(daemon.address(), "").await?;
        ensure!(status == 429, "{binary:?}: {status}");
        ensure!(member.ask(json!({"type": "ping"})).await?["type"] == "pong", "{binary:?}");
        drop((member, other));
        let log = daemon.stop()?;
        check_levels(&log)?;
        let lines = log.iter().filter(|line| line["message"] == "connection refused").count();
        let counted = log.iter().find(|line| line["message"] == "further connections refused");
        let counted = counted.with_context(|| format!("{binary:?}: {log:#?}"))?;
        let further = counted["connections"].as_u64().context("no number")?;
        ensure!(
            lines == 10 && further >= u64::try_from(ATTEMPTS - HELD - 10)?,
            "{binary:?}: {lines}, {counted}"
        );
        ensure!(counted["address"] == "127.0.0.1", "{binary:?}: {counted}");
    }
    Ok(())
}
