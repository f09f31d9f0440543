use std::io::Write;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use chat_tests::{BINARIES, Daemon, check_levels, handshake, within};
use serde_json::Value;
use tempfile::NamedTempFile;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// The arguments of a server behind a proxy on this machine, with one connection for each address.
const ARGUMENTS: [&str; 5] = ["--proxy-protocol", "--trust-proxy", "127.0.0.1", "--max-per-address", "1"];

/// The first bytes of a header of version 2, with the command PROXY and with the command LOCAL.
const PROXY: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c";
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";

#[tokio::test(flavor = "multi_thread")]
async fn the_proxy_header_decides_the_address_of_a_client() -> Result<()> {
    let version_2 = [PROXY, &[203, 0, 113, 9, 10, 0, 0, 1, 0x12, 0x67, 0, 80]].concat();
    for binary in BINARIES {
        let daemon = Daemon::start(binary, &ARGUMENTS)?;
        let mut held = Vec::new();
        for (header, expected) in [
            (&b"PROXY TCP4 203.0.113.9 10.0.0.1 4711 80\r\n"[..], Some(101)),
            (&version_2, Some(429)),
            (b"PROXY TCP6 2001:db8::9 ::1 4711 80\r\n", Some(101)),
            (LOCAL, Some(101)),
            (b"PROXY UNKNOWN\r\n", Some(429)),
            (b"PROXY TCP4 203.0.113.10\r\n", None),
            (b"", None),
        ] {
            // A client that is no proxy cannot choose its address.
            let names_client = header.starts_with(b"PROXY TCP") || header.starts_with(PROXY);
            let forwarded = if names_client { "X-Forwarded-For: 198.51.100.1\r\n" } else { "" };
            let request = handshake(forwarded);
            let stream = TcpStream::connect(daemon.address()).await?;
            let (stream, status) = upgrade(stream, &[header, request.as_bytes()]).await?;
            ensure!(status == expected, "{binary:?}: {}: {status:?}", header.escape_ascii());
            held.push(stream);
        }
        drop(held);
        let log = daemon.stop()?;
        check_levels(&log)?;
        let is_of = |line: &&Value, message: &str| line["message"] == message;
        let refused = log.iter().find(|line| is_of(line, "upgrade refused")).context("no refusal")?;
        ensure!(refused["peer"] == "203.0.113.9:4711", "{binary:?}: {refused}");
        let closed: Vec<_> = log.iter().filter(|line| is_of(line, "connection of a proxy refused")).collect();
        ensure!(closed.len() == 1, "{binary:?}: {closed:#?}");
        ensure!(closed[0]["cause"] == "the PROXY header is malformed", "{binary:?}: {closed:#?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_behind_haproxy_count_for_the_address_of_the_client() -> Result<()> {
    for binary in BINARIES {
        let daemon = Daemon::start(binary, &ARGUMENTS)?;
        let mut held = Vec::new();
        for (header, client, other) in
            [("send-proxy", "127.0.0.2", "127.0.0.3"), ("send-proxy-v2", "127.0.0.4", "127.0.0.5")]
        {
            let proxy = Haproxy::start(daemon.address(), header)?;
            for (client, expected) in [(client, 101), (client, 429), (other, 101)] {
                let socket = TcpSocket::new_v4()?;
                socket.bind(SocketAddr::new(client.parse()?, 0))?;
                let stream = within(socket.connect(proxy.address)).await??;
                let (stream, status) = upgrade(stream, &[handshake("").as_bytes()]).await?;
                ensure!(status == Some(expected), "{binary:?}: {header}, {client}: {status:?}");
                held.push(stream);
            }
        }
        drop(held);
        check_levels(&daemon.stop()?)?;
    }
    Ok(())
}

/// Sends parts of a request. Returns the status of the response, or `None` if the server closes without one.
async fn upgrade(mut stream: TcpStream, parts: &[&[u8]]) -> Result<(TcpStream, Option<u16>)> {
    stream.set_nodelay(true)?;
    for part in parts {
        // The server may have closed already.
        let _closed = stream.write_all(part).await;
    }
    let mut start = [0; 12];
    match within(stream.read_exact(&mut start)).await? {
        Ok(_) => Ok((stream, Some(std::str::from_utf8(&start[9..])?.parse()?))),
        Err(_) => Ok((stream, None)),
    }
}

/// A running HAProxy. It is killed when it is dropped.
struct Haproxy {
    child: Child,
    address: SocketAddr,
    _configuration: NamedTempFile,
}

impl Haproxy {
    /// Starts a proxy that sends headers to a server, and checks its health.
    fn start(server: SocketAddr, header: &str) -> Result<Self> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let mut configuration = NamedTempFile::new()?;
        // The listener is the standard input.
        write!(
            configuration,
            "defaults\n mode tcp\n timeout connect 10s\n timeout client 60s\n timeout server 60s\n\
             listen chat\n bind fd@0\n server chat {server} {header} check\n"
        )?;
        let mut command = Command::new("haproxy");
        command.arg("-db").arg("-f").arg(configuration.path());
        let child = command.stdin(Stdio::from(std::os::fd::OwnedFd::from(listener))).spawn();
        let child = child.context("haproxy is not installed: see tests/run")?;
        Ok(Self { child, address, _configuration: configuration })
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.child.kill().and_then(|()| self.child.wait());
    }
}
