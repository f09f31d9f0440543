use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use chat_conformance::client::{Frame, Received};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::within;

/// Bytes that a narrow client's system takes before it is read. Into 4 KiB the loopback's segments never fit: now and then
/// TCP waits longer and longer before it tries again, a minute in all.
const NARROW: u32 = 16 * 1024;

/// A client at the level of frames: it sends what it is told to, right or wrong, and shows all that comes.
#[derive(Debug)]
pub struct RawClient {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// What a server says, or does to the stream.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    /// An event.
    Event(Value),
    /// A ping.
    Ping(Vec<u8>),
    /// A pong.
    Pong(Vec<u8>),
    /// A close frame.
    Close(Option<u16>),
    /// The end of the stream.
    End,
    /// A reset.
    Reset,
}

impl RawClient {
    /// Connects as the guest `name`; the welcome is the first that comes. With `narrow`, little fits on the way.
    ///
    /// # Errors
    ///
    /// If the upgrade is refused.
    pub async fn connect(address: SocketAddr, name: &str, narrow: bool) -> Result<Self> {
        let socket = TcpSocket::new_v4()?;
        if narrow {
            socket.set_recv_buffer_size(NARROW)?;
        }
        let stream = within(socket.connect(address)).await??;
        stream.set_nodelay(true)?;
        let mut client = Self { stream, buffer: Vec::new() };
        let request = format!(
            "GET /ws?name={name} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: chat.v1\r\n\r\n"
        );
        client.write(request.as_bytes()).await?;
        loop {
            if let Some(end) = client.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                let head: Vec<u8> = client.buffer.drain(..end + 4).collect();
                ensure!(head.starts_with(b"HTTP/1.1 101 "), "no upgrade: {}", head.escape_ascii());
                return Ok(client);
            }
            ensure!(client.fill().await?.is_none(), "no answer to the upgrade");
        }
    }

    /// Sends bytes.
    ///
    /// # Errors
    ///
    /// The transport's.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        within(self.stream.write_all(bytes)).await?.context("sending")
    }

    /// What comes next but pings, which are answered.
    ///
    /// # Errors
    ///
    /// If nothing comes, or it is not what a server of `chat.v1` may send.
    pub async fn next(&mut self) -> Result<Heard> {
        loop {
            match self.hear().await? {
                Heard::Ping(payload) => self.write(&Frame::pong(payload).encode()).await?,
                heard => return Ok(heard),
            }
        }
    }

    /// What comes next, pings too: whether they are answered is up to the caller.
    ///
    /// # Errors
    ///
    /// If nothing comes, or it is not what a server of `chat.v1` may send.
    pub async fn hear(&mut self) -> Result<Heard> {
        let (frame, length) = loop {
            if let Some(parsed) = Received::parse(&self.buffer).map_err(anyhow::Error::msg)? {
                break parsed;
            }
            if let Some(end) = self.fill().await? {
                return Ok(end);
            }
        };
        self.buffer.drain(..length);
        Ok(match (frame.opcode, &*frame.payload) {
            (1, text) if frame.is_final => Heard::Event(serde_json::from_slice(text)?),
            (8, []) => Heard::Close(None),
            (8, [high, low, ..]) => Heard::Close(Some(u16::from_be_bytes([*high, *low]))),
            (9, payload) => Heard::Ping(payload.to_owned()),
            (10, payload) => Heard::Pong(payload.to_owned()),
            _ => bail!("neither an event nor a control frame: {frame}"),
        })
    }

    /// Waits for the server to close, pings unanswered; the events until then are passed over. The code it closed with.
    ///
    /// # Errors
    ///
    /// If the stream ends without a close frame.
    pub async fn closed(&mut self) -> Result<Option<u16>> {
        loop {
            match self.hear().await? {
                Heard::Close(code) => return Ok(code),
                Heard::End | Heard::Reset => bail!("ended without a close frame"),
                Heard::Event(_) | Heard::Ping(_) | Heard::Pong(_) => {}
            }
        }
    }

    /// Ends its side, and reads on.
    ///
    /// # Errors
    ///
    /// The transport's.
    pub async fn half_close(&mut self) -> Result<()> {
        Ok(self.stream.shutdown().await?)
    }

    /// Goes with a reset, as when its machine has forgotten the connection.
    ///
    /// # Errors
    ///
    /// The transport's.
    pub fn reset(self) -> Result<()> {
        Ok(self.stream.set_zero_linger()?)
    }

    async fn fill(&mut self) -> Result<Option<Heard>> {
        Ok(match within(self.stream.read_buf(&mut self.buffer)).await? {
            Ok(1..) => None,
            Ok(0) => Some(Heard::End),
            Err(_) => Some(Heard::Reset),
        })
    }
}
