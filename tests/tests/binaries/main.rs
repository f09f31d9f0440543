//! The binaries as their users meet them: flags, signals, a drain, and an environment that fails them.

mod draining;
mod flood;
mod options;
mod pressure;
mod stopped;
mod users;

use std::io::Write;
use std::net::{SocketAddr, TcpStream};

use anyhow::Result;
use chat_tests::{BINARIES, Binary, within};
use tokio::io::AsyncReadExt;

/// A binary for each adapter.
fn programs() -> impl Iterator<Item = Binary> {
    BINARIES.into_iter().filter(|binary| binary.upgrade == "hijack")
}

/// A peer that upgrades and then neither reads nor answers.
async fn silent(address: SocketAddr) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(handshake("").as_bytes())?;
    let mut byte = [0];
    std::io::Read::read_exact(&mut stream, &mut byte)?;
    Ok(stream)
}

async fn status_of(address: SocketAddr, headers: &str) -> Result<String> {
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    tokio::io::AsyncWriteExt::write_all(&mut stream, handshake(headers).as_bytes()).await?;
    let mut answer = [0; 12];
    within(stream.read_exact(&mut answer)).await??;
    Ok(String::from_utf8_lossy(&answer[9..]).into_owned())
}

fn handshake(headers: &str) -> String {
    format!(
        "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    )
}
