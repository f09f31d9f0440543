use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout_at};

use super::{Frame, Request};
use crate::transcript::Direction;
use crate::{Failure, Transcript};

/// The default time limit of a wait for which the protocol sets no time. It is long, for busy machines.
const PATIENCE: Duration = Duration::from_secs(8);

/// The size of a small receive buffer, in bytes. Segments of the loopback interface do not fit into 4 KiB, and TCP
/// would then sometimes wait up to a minute before it tries again.
const SMALL_BUFFER: u32 = 16 * 1024;

/// One connection to the server.
#[derive(Debug)]
pub struct Client {
    pub(crate) name: String,
    pub(super) stream: TcpStream,
    pub(super) buffer: Vec<u8>,
    /// The opcode and the fragments so far of the server's unfinished message.
    pub(super) fragments: Option<(u8, Vec<u8>)>,
    /// Events that arrived while the client waited for something else.
    pub(super) buffered: VecDeque<Value>,
    pub(super) answers_pings: bool,
    pub(super) references: u64,
    pub(super) patience: Duration,
    pub(super) transcript: Transcript,
}

/// One thing that arrives from the server.
#[derive(Debug)]
pub enum Message {
    /// A text message with an event.
    Event(Value),
    /// A ping. The client has answered it, unless [`Client::ignore_pings`] was called.
    Ping(Vec<u8>),
    /// A pong.
    Pong(Vec<u8>),
    /// A close frame, with its code.
    Close(Option<u16>),
    /// The end of the stream.
    End,
    /// A reset of the connection.
    Reset,
    /// Nothing, for this time.
    Nothing(Duration),
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event(event) => {
                let text = event.to_string();
                let shown: String = text.chars().take(300).collect();
                write!(f, "the event {shown}")
            }
            Self::Ping(payload) => write!(f, "a ping with \"{}\"", payload.escape_ascii()),
            Self::Pong(payload) => write!(f, "a pong with \"{}\"", payload.escape_ascii()),
            Self::Close(Some(code)) => write!(f, "a close frame with code {code}"),
            Self::Close(None) => f.write_str("a close frame without a code"),
            Self::End => f.write_str("the end of the stream (FIN)"),
            Self::Reset => f.write_str("a reset of the connection (RST)"),
            Self::Nothing(patience) => write!(f, "nothing for {patience:?}"),
        }
    }
}

impl Client {
    /// Connects to the server, and sends nothing.
    pub async fn connect(address: SocketAddr) -> Result<Self, Failure> {
        Self::connect_as(address, "client", Transcript::default(), false).await
    }

    /// Connects with a receive buffer of 16 KiB, so that the server cannot write much before the client reads.
    pub async fn connect_with_small_buffer(address: SocketAddr) -> Result<Self, Failure> {
        Self::connect_as(address, "client", Transcript::default(), true).await
    }

    /// Connects as a guest of this name at the path `/ws`, up to and including the `welcome`.
    pub async fn guest(address: SocketAddr, name: &str) -> Result<Self, Failure> {
        let mut client = Self::connect(address).await?;
        client.upgrade(&Request::handshake(&address.to_string(), &format!("/ws?name={name}"))).await?;
        Ok(client)
    }

    pub(crate) async fn connect_as(
        address: SocketAddr,
        name: &str,
        transcript: Transcript,
        has_small_buffer: bool,
    ) -> Result<Self, Failure> {
        let connected = async {
            let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
            if has_small_buffer {
                socket.set_recv_buffer_size(SMALL_BUFFER)?;
            }
            let stream = socket.connect(address).await?;
            stream.set_nodelay(true)?;
            io::Result::Ok(stream)
        };
        let stream = timeout_at(Instant::now() + PATIENCE, connected).await.map_err(io::Error::from);
        let refused = |error| Failure::new("a server that accepts connections", error);
        let stream = stream.flatten().map_err(refused)?;
        let name = transcript.connection(name);
        transcript.record(&name, Direction::Noted, "connects", &[]);
        Ok(Self {
            name,
            stream,
            buffer: Vec::new(),
            fragments: None,
            buffered: VecDeque::new(),
            answers_pings: true,
            references: 0,
            patience: PATIENCE,
            transcript,
        })
    }

    /// Sets the time limit of each wait.
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Leaves pings unanswered from now on.
    pub fn ignore_pings(&mut self) {
        self.answers_pings = false;
    }

    /// A failure that this client saw.
    pub fn failure(&self, expected: impl fmt::Display, actual: impl fmt::Display) -> Failure {
        Failure { client: Some(self.name.clone()), ..Failure::new(expected, actual) }
    }

    pub(super) fn note(&self, what: &str) {
        self.transcript.record(&self.name, Direction::Noted, what, &[]);
    }

    /// Sends these bytes.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let what = if bytes.len() <= 1_000 && bytes.is_ascii() && !bytes.is_empty() && bytes[0] >= b' ' {
            String::from_utf8_lossy(bytes).trim_end().to_owned()
        } else {
            format!("{} bytes", bytes.len())
        };
        self.write_as(what, bytes).await
    }

    pub(crate) async fn write_as(&mut self, what: String, bytes: &[u8]) -> Result<(), Failure> {
        self.transcript.record(&self.name, Direction::Sent, what, bytes);
        match timeout_at(Instant::now() + self.patience, self.stream.write_all(bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.failure("a server that reads", error)),
            Err(_) => Err(self.failure("a server that reads", format!("no read for {:?}", self.patience))),
        }
    }

    /// Sends a frame.
    pub async fn send(&mut self, frame: Frame) -> Result<(), Failure> {
        self.write_as(frame.to_string(), &frame.encode()).await
    }

    /// Sends frames in one write.
    pub async fn send_all(&mut self, frames: &[Frame]) -> Result<(), Failure> {
        let bytes: Vec<u8> = frames.iter().flat_map(Frame::encode).collect();
        let what = match frames {
            [first, .., last] if frames.len() > 8 => format!("{} frames: {first} ... {last}", frames.len()),
            frames => frames.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | "),
        };
        self.write_as(what, &bytes).await
    }

    /// Sends bytes and reads at the same time, so that neither side waits for the other.
    pub async fn write_while_reading(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.transcript.record(
            &self.name,
            Direction::Sent,
            format!("{} bytes, while reading", bytes.len()),
            bytes,
        );
        let deadline = Instant::now() + self.patience * 2;
        let (mut reader, mut writer) = self.stream.split();
        let buffer = &mut self.buffer;
        let written = timeout_at(deadline, async {
            let mut writing = std::pin::pin!(writer.write_all(bytes));
            loop {
                tokio::select! {
                    // A server that refuses the rest closes. The caller reads its answer next.
                    _ = &mut writing => return,
                    read = reader.read_buf(buffer) => if !matches!(read, Ok(1..)) { return },
                }
            }
        });
        match written.await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.failure("a server that reads", "no read in time")),
        }
    }

    /// Sends frames and reads at the same time, as [`write_while_reading`](Self::write_while_reading) does.
    pub async fn send_all_while_reading(&mut self, frames: &[Frame]) -> Result<(), Failure> {
        let bytes: Vec<u8> = frames.iter().flat_map(Frame::encode).collect();
        self.write_while_reading(&bytes).await
    }

    /// Sends bytes one by one, each in its own packet as far as TCP allows.
    pub async fn write_byte_by_byte(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.transcript.record(
            &self.name,
            Direction::Sent,
            format!("{} bytes, one at a time", bytes.len()),
            bytes,
        );
        for byte in bytes {
            let written = self.stream.write_all(&[*byte]).await;
            written.map_err(|error| self.failure("a server that reads", error))?;
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Ends the writing side. The client can still read.
    pub async fn half_close(&mut self) -> Result<(), Failure> {
        self.note("ends its side (FIN)");
        self.stream.shutdown().await.map_err(|error| self.failure("a connection", error))
    }

    /// Disconnects with a reset and without a close frame.
    pub fn reset(self) {
        self.note("resets the connection (RST)");
        // Without a linger time, the drop sends a reset. A FIN is good enough if the option cannot be set.
        let _closed = self.stream.set_zero_linger();
    }

    /// Sends `bytes` again and again, and reads nothing, until the server ends the connection. Fails after `limit`.
    pub async fn write_until_disconnect(&mut self, bytes: &[u8], limit: Duration) -> Result<(), Failure> {
        self.note("sends without end and reads nothing");
        let writing = async { while self.stream.write_all(bytes).await.is_ok() {} };
        if timeout_at(Instant::now() + limit, writing).await.is_ok() {
            return Ok(());
        }
        Err(self.failure("the end of the connection", format!("none for {limit:?}")))
    }
}
