use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::BytesMut;
use chat_conformance::client::{Frame, Received};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};

/// The time limit of every wait. No step of a test takes this long, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// The receive buffer of a narrow client, in bytes. A segment of the loopback does not fit into 4 KiB: TCP then backs
/// off and may stall for a minute.
const NARROW: u32 = 16 * 1024;

/// A client that sends commands or any bytes, and receives whatever the server sends.
///
/// Its frames are those of the conformance suite's client.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    buffer: BytesMut,
    references: u64,
}

/// A message of the server, or the end of the connection.
#[derive(Clone, Debug, PartialEq)]
pub enum Incoming {
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

impl Client {
    /// Connects as the guest `name` and receives the welcome.
    pub async fn connect(address: SocketAddr, name: &str) -> Result<Self> {
        let mut client = Self::open(address, name).await?;
        let welcome = client.event().await?;
        ensure!(welcome["type"] == "welcome" && welcome["user"]["id"] == name, "for {name}: {welcome}");
        Ok(client)
    }

    /// Connects as the guest `name` and joins the room `lobby`.
    pub async fn member(address: SocketAddr, name: &str) -> Result<Self> {
        let mut client = Self::connect(address, name).await?;
        client.join(None).await?;
        Ok(client)
    }

    /// Connects as the guest `name`. The welcome is the first event to receive.
    pub async fn open(address: SocketAddr, name: &str) -> Result<Self> {
        Self::upgrade(TcpSocket::new_v4()?, address, name).await
    }

    /// Connects like [`open`](Self::open), from another address of this machine.
    pub async fn open_from(source: Ipv4Addr, address: SocketAddr, name: &str) -> Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(source.into(), 0))?;
        Self::upgrade(socket, address, name).await
    }

    /// Connects like [`open`](Self::open), with a small receive buffer.
    pub async fn open_narrow(address: SocketAddr, name: &str) -> Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(NARROW)?;
        Self::upgrade(socket, address, name).await
    }

    /// Connects with a token. The welcome is the first event to receive.
    pub async fn with_token(address: SocketAddr, token: &str) -> Result<Self> {
        let headers = format!("Sec-WebSocket-Protocol: chat.v1\r\nAuthorization: Bearer {token}\r\n");
        Self::request(TcpSocket::new_v4()?, address, &handshake(&headers)).await
    }

    /// Connects with a one-time ticket. The welcome is the first event to receive.
    pub async fn with_ticket(address: SocketAddr, ticket: &str) -> Result<Self> {
        let request = handshake("Sec-WebSocket-Protocol: chat.v1\r\n");
        let request = request.replacen("/ws", &format!("/ws?ticket={ticket}"), 1);
        Self::request(TcpSocket::new_v4()?, address, &request).await
    }

    async fn upgrade(socket: TcpSocket, address: SocketAddr, name: &str) -> Result<Self> {
        let request = handshake("Sec-WebSocket-Protocol: chat.v1\r\n");
        Self::request(socket, address, &request.replacen("/ws", &format!("/ws?name={name}"), 1)).await
    }

    async fn request(socket: TcpSocket, address: SocketAddr, request: &str) -> Result<Self> {
        let stream = within(socket.connect(address)).await??;
        stream.set_nodelay(true)?;
        let mut client = Self { stream, buffer: BytesMut::new(), references: 0 };
        client.write(request.as_bytes()).await?;
        loop {
            if let Some(end) = client.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = client.buffer.split_to(end + 4);
                ensure!(head.starts_with(b"HTTP/1.1 101 "), "no upgrade: {}", head.escape_ascii());
                return Ok(client);
            }
            ensure!(client.fill().await?.is_none(), "no response to the upgrade");
        }
    }

    /// Sends bytes.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        within(self.stream.write_all(bytes)).await?.context("sending")
    }

    /// Sends a command.
    pub async fn send(&mut self, command: Value) -> Result<()> {
        self.write(&Frame::text(command.to_string()).encode()).await
    }

    /// Sends a command with a `ref` of its own and returns the reply. Other events are dropped.
    pub async fn ask(&mut self, mut command: Value) -> Result<Value> {
        self.references += 1;
        let reference = format!("r{}", self.references);
        command["ref"] = json!(reference);
        self.send(command).await?;
        loop {
            let event = self.event().await?;
            if event["ref"] == reference.as_str() {
                return Ok(event);
            }
        }
    }

    /// Joins the room `lobby`, after a position (epoch and `seq`) if one is given, and returns the reply.
    pub async fn join(&mut self, after: Option<(&str, u64)>) -> Result<Value> {
        let mut join = json!({"type": "join", "room": "lobby"});
        if let Some((epoch, seq)) = after {
            join["after"] = json!({"epoch": epoch, "seq": seq});
        }
        let joined = self.ask(join).await?;
        ensure!(joined["type"] == "joined", "{joined}");
        Ok(joined)
    }

    /// Sends a text to the room `lobby` and returns the reply, which may be an error.
    pub async fn say(&mut self, text: &str) -> Result<Value> {
        self.ask(json!({"type": "send", "room": "lobby", "body": {"text": text}})).await
    }

    /// Receives the next message. Pings are answered and not returned.
    pub async fn receive(&mut self) -> Result<Incoming> {
        loop {
            match self.receive_unanswered().await? {
                Incoming::Ping(payload) => self.write(&Frame::pong(payload).encode()).await?,
                incoming => return Ok(incoming),
            }
        }
    }

    /// Receives the next message. Pings are returned and not answered.
    pub async fn receive_unanswered(&mut self) -> Result<Incoming> {
        let (frame, length) = loop {
            if let Some(parsed) = Received::parse(&self.buffer).map_err(anyhow::Error::msg)? {
                break parsed;
            }
            if let Some(end) = self.fill().await? {
                return Ok(end);
            }
        };
        drop(self.buffer.split_to(length));
        Ok(match (frame.opcode, &*frame.payload) {
            (1, text) if frame.is_final => Incoming::Event(serde_json::from_slice(text)?),
            (8, []) => Incoming::Close(None),
            (8, [high, low, ..]) => Incoming::Close(Some(u16::from_be_bytes([*high, *low]))),
            (9, payload) => Incoming::Ping(payload.to_owned()),
            (10, payload) => Incoming::Pong(payload.to_owned()),
            _ => bail!("neither an event nor a control frame: {frame}"),
        })
    }

    /// Receives the next event.
    pub async fn event(&mut self) -> Result<Value> {
        loop {
            match self.receive().await? {
                Incoming::Event(event) => return Ok(event),
                Incoming::Ping(_) | Incoming::Pong(_) => {}
                other => bail!("{other:?} instead of an event"),
            }
        }
    }

    /// Receives the next event of a type. Other events are dropped.
    pub async fn until(&mut self, kind: &str) -> Result<Value> {
        loop {
            let event = self.event().await?;
            if event["type"] == kind {
                return Ok(event);
            }
        }
    }

    /// Closes with a code, waits for the end, and returns the code of the server's close frame.
    pub async fn close(mut self, code: u16) -> Result<Option<u16>> {
        self.write(&Frame::close(code, "").encode()).await?;
        let echo = self.close_frame().await?;
        self.end().await?;
        Ok(echo)
    }

    /// Waits until the server closes, answers its close frame, and returns its code. Pings are not answered.
    pub async fn closed(&mut self) -> Result<Option<u16>> {
        let code = self.close_frame().await?;
        // The server may have ended the connection already.
        let _answered = self.write(&Frame::close(code.unwrap_or(1000), "").encode()).await;
        self.end().await?;
        Ok(code)
    }

    async fn close_frame(&mut self) -> Result<Option<u16>> {
        loop {
            match self.receive_unanswered().await? {
                Incoming::Close(code) => return Ok(code),
                end @ (Incoming::End | Incoming::Reset) => bail!("{end:?} without a close frame"),
                Incoming::Event(_) | Incoming::Ping(_) | Incoming::Pong(_) => {}
            }
        }
    }

    async fn end(&mut self) -> Result<()> {
        self.buffer.clear();
        while self.fill().await?.is_none() {
            self.buffer.clear();
        }
        Ok(())
    }

    /// Ends the sending side of the connection.
    pub async fn half_close(&mut self) -> Result<()> {
        Ok(self.stream.shutdown().await?)
    }

    /// Resets the connection.
    pub fn reset(self) -> Result<()> {
        Ok(self.stream.set_zero_linger()?)
    }

    async fn fill(&mut self) -> Result<Option<Incoming>> {
        self.buffer.reserve(4 * 1024);
        Ok(match within(self.stream.read_buf(&mut self.buffer)).await? {
            Ok(1..) => None,
            Ok(0) => Some(Incoming::End),
            Err(_) => Some(Incoming::Reset),
        })
    }
}

/// Waits for a future, for at most 30 s.
pub async fn within<T>(future: impl Future<Output = T>) -> Result<T> {
    timeout(PATIENCE, future).await.context("nothing happened for 30 s")
}

/// Polls a condition that nothing announces, until it holds.
pub async fn eventually<F: Future<Output = Result<bool>>>(holds: impl Fn() -> F) -> Result<()> {
    within(async {
        while !holds().await? {
            sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    })
    .await?
}

/// Returns a valid upgrade request with further header lines, each with its line end.
pub fn handshake(headers: &str) -> String {
    format!(
        "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    )
}

/// Sends an upgrade request with further header lines. Returns the connection and the status of the response.
pub async fn request_upgrade(address: SocketAddr, headers: &str) -> Result<(TcpStream, u16)> {
    let mut stream = within(TcpStream::connect(address)).await??;
    stream.write_all(handshake(headers).as_bytes()).await?;
    let mut start = [0; 12];
    within(stream.read_exact(&mut start)).await??;
    Ok((stream, std::str::from_utf8(&start[9..])?.parse()?))
}

/// Sends bytes and returns everything that the server sends until it ends the stream.
pub async fn exchange(address: SocketAddr, bytes: &[u8]) -> Result<Vec<u8>> {
    let mut stream = within(TcpStream::connect(address)).await??;
    stream.write_all(bytes).await?;
    let mut response = Vec::new();
    within(stream.read_to_end(&mut response)).await??;
    Ok(response)
}
