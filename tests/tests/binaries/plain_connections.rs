use std::net::Ipv4Addr;

use anyhow::{Context, Result, ensure};
use chat_tests::{BINARIES, Client, Daemon, check_levels, eventually, exchange, request_upgrade, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The connections that one address tries to hold.
const ATTEMPTS: usize = 200;

/// The plain connections of one address that a server holds: those of its one session, and 32.
const MAX_PLAIN: usize = 33;

const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

#[tokio::test(flavor = "multi_thread")]
async fn plain_connections_of_one_address_do_not_prevent_another_address_from_joining() -> Result<()> {
    for binary in BINARIES {
        let daemon = Daemon::start(binary, &["--max-per-address", "1"])?;
        let held = hold_all(&daemon, "").await?;
        ensure!(held.len() == MAX_PLAIN, "{binary:?}: {}", held.len());
        let mut other = Client::open_from(OTHER, daemon.address(), "other").await?;
        ensure!(other.join(None).await?["type"] == "joined", "{binary:?}");
        drop(held);

        // The server notices the ends of the connections one after the other.
        let probe = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        let is_served = |answer: Vec<u8>| answer.starts_with(b"HTTP/1.1 200");
        eventually(|| async { Ok(exchange(daemon.address(), probe).await.is_ok_and(is_served)) }).await?;
        let member = Client::member(daemon.address(), "member").await?;
        // Sessions do not count as plain connections, and their limit has its own answer.
        let (_refused, status) = request_upgrade(daemon.address(), "").await?;
        ensure!(status == 429, "{binary:?}: {status}");
        drop((member, other));
        let log = daemon.stop()?;
        check_levels(&log)?;
        let refused = log.iter().find(|line| line["message"] == "connection refused");
        let refused = refused.with_context(|| format!("{binary:?}: {log:#?}"))?;
        ensure!(refused["max"] == MAX_PLAIN, "{binary:?}: {refused}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_connections_behind_a_proxy_count_for_the_address_in_its_header() -> Result<()> {
    let arguments = ["--proxy-protocol", "--trust-proxy", "127.0.0.1", "--max-per-address", "1"];
    for binary in BINARIES {
        let daemon = Daemon::start(binary, &arguments)?;
        let mut held = Vec::new();
        for (header, expected) in [
            ("PROXY TCP4 203.0.113.9 10.0.0.1 4711 80\r\n", MAX_PLAIN),
            ("PROXY TCP4 203.0.113.10 10.0.0.1 4711 80\r\n", MAX_PLAIN),
            ("PROXY UNKNOWN\r\n", ATTEMPTS),
        ] {
            let of_client = hold_all(&daemon, header).await?;
            ensure!(of_client.len() == expected, "{binary:?}: {header:?}: {}", of_client.len());
            held.extend(of_client);
        }
    }
    Ok(())
}

/// Opens plain connections that begin with a header, and have one request answered, until one is closed.
async fn hold_all(daemon: &Daemon, header: &str) -> Result<Vec<TcpStream>> {
    let request = format!("{header}GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let mut held = Vec::new();
    while held.len() < ATTEMPTS {
        let mut stream = within(TcpStream::connect(daemon.address())).await??;
        // The server may have closed it already.
        let _closed = stream.write_all(request.as_bytes()).await;
        if within(stream.read_u8()).await?.is_err() {
            break;
        }
        held.push(stream);
    }
    Ok(held)
}
