use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout_at};

use super::{Answer, Frame, Received, Request};
use crate::transcript::Direction;
use crate::{Failure, Transcript};

/// The default time limit of a wait that the protocol gives no time for. It is long, for a busy machine.
const PATIENCE: Duration = Duration::from_secs(8);

/// The size of a small receive buffer, in bytes. Segments of the loopback interface do not fit into 4 KiB: now and then TCP
/// then waits up to a minute before it tries again.
const SMALL_BUFFER: u32 = 16 * 1024;

/// One connection to the server.
#[derive(Debug)]
pub struct Client {
    pub(crate) name: String,
    pub(super) stream: TcpStream,
    buffer: Vec<u8>,
    /// The opcode and the fragments so far of the server's unfinished message.
    fragments: Option<(u8, Vec<u8>)>,
    /// Events that arrived while the client waited for something else.
    pub(super) buffered: VecDeque<Value>,
    answers_pings: bool,
    pub(super) references: u64,
    patience: Duration,
    transcript: Transcript,
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

    /// Reads into the buffer. Returns the end of the stream, or `Nothing`, if no bytes arrive.
    async fn fill(&mut self, deadline: Instant) -> Option<Message> {
        if self.buffer.capacity() - self.buffer.len() < 4_096 {
            self.buffer.reserve(16 * 1024);
        }
        match timeout_at(deadline, self.stream.read_buf(&mut self.buffer)).await {
            Ok(Ok(1..)) => None,
            Ok(Ok(0)) => {
                self.note("sees the end of the stream");
                Some(Message::End)
            }
            Ok(Err(_)) => {
                self.note("sees a reset");
                Some(Message::Reset)
            }
            Err(_) => Some(Message::Nothing(self.patience)),
        }
    }

    /// Returns true if the connection has no end and no reset for this time.
    pub async fn is_open_for(&mut self, time: Duration) -> bool {
        matches!(self.fill(Instant::now() + time).await, None | Some(Message::Nothing(_)))
    }

    /// Reads at most this number of bytes and drops them, like a slow reader. Returns the number that was read.
    pub async fn read_some(&mut self, bytes: usize) -> usize {
        let mut read = vec![0; bytes];
        match timeout_at(Instant::now() + self.patience, self.stream.read(&mut read)).await {
            Ok(Ok(read)) => read,
            _ => 0,
        }
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

    /// Returns the next frame, or the end of the stream.
    pub async fn frame(&mut self) -> Result<Result<Received, Message>, Failure> {
        let deadline = Instant::now() + self.patience;
        loop {
            let parsed = Received::parse(&self.buffer);
            match parsed
                .map_err(|rule| self.failure("a valid frame of a server (RFC 6455 section 5)", rule))?
            {
                Some((frame, length)) => {
                    self.transcript.record(
                        &self.name,
                        Direction::Received,
                        frame.to_string(),
                        &self.buffer[..length],
                    );
                    self.buffer.drain(..length);
                    return Ok(Ok(frame));
                }
                None => match self.fill(deadline).await {
                    Some(Message::End) if !self.buffer.is_empty() => {
                        return Err(self.failure(
                            "complete frames until the end of the stream",
                            "an end inside a frame",
                        ));
                    }
                    Some(end) => return Ok(Err(end)),
                    None => {}
                },
            }
        }
    }

    /// Returns what arrives next, with fragments joined. Answers pings.
    pub async fn message(&mut self) -> Result<Message, Failure> {
        loop {
            let frame = match self.frame().await? {
                Ok(frame) => frame,
                Err(end) => return Ok(end),
            };
            let (opcode, payload) = match (frame.opcode, self.fragments.take()) {
                (8, _) => return self.closed(&frame.payload),
                (9, fragments) => {
                    self.fragments = fragments;
                    if self.answers_pings {
                        self.send(Frame::pong(&frame.payload)).await?;
                    }
                    return Ok(Message::Ping(frame.payload));
                }
                (10, fragments) => {
                    self.fragments = fragments;
                    return Ok(Message::Pong(frame.payload));
                }
                (0, None) => {
                    return Err(
                        self.failure("the start of a message", "a continuation (RFC 6455 section 5.4)")
                    );
                }
                (0, Some((opcode, before))) => (opcode, [before, frame.payload].concat()),
                (_, Some(_)) => {
                    return Err(
                        self.failure("a continuation", "a new message inside another (RFC 6455 section 5.4)")
                    );
                }
                (opcode, None) => (opcode, frame.payload),
            };
            if !frame.is_final {
                self.fragments = Some((opcode, payload));
                continue;
            }
            let event = serde_json::from_slice::<Value>(&payload).ok();
            return match event.filter(|event| opcode == 1 && event["type"].is_string()) {
                Some(event) => Ok(Message::Event(event)),
                None => Err(self.failure(
                    "an event: one JSON object with a `type` in a text frame (PROTOCOL.md, sections 2 and 4)",
                    format!("a message of opcode {opcode}: {}", payload.escape_ascii()),
                )),
            };
        }
    }

    fn closed(&self, payload: &[u8]) -> Result<Message, Failure> {
        let ([high, low], reason) = match payload {
            [] => return Ok(Message::Close(None)),
            [high, low, reason @ ..] => ([*high, *low], reason),
            [_] => {
                return Err(self.failure("a close frame with a code of two bytes", "one with a single byte"));
            }
        };
        let code = u16::from_be_bytes([high, low]);
        if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
            return Err(self.failure("a close code that may be sent (RFC 6455 section 7.4)", code));
        }
        if std::str::from_utf8(reason).is_err() {
            return Err(
                self.failure("a close reason in UTF-8 (RFC 6455 section 5.5.1)", reason.escape_ascii())
            );
        }
        Ok(Message::Close(Some(code)))
    }

    /// Reads an HTTP answer with its body.
    pub async fn answer(&mut self) -> Result<Answer, Failure> {
        let deadline = Instant::now() + self.patience;
        let end = loop {
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            if let Some(end) = self.fill(deadline).await {
                let unread = self.buffer.escape_ascii().to_string();
                return Err(self.failure("an HTTP answer", format!("{end}, after \"{unread}\"")));
            }
        };
        let head: Vec<u8> = self.buffer.drain(..end).collect();
        let mut answer = Answer::parse(&head).map_err(|problem| self.failure("an HTTP answer", problem))?;
        if answer.status >= 200 && answer.status != 204 {
            let length = answer.content_length();
            while self.buffer.len() < length.unwrap_or(usize::MAX) {
                match self.fill(deadline).await {
                    Some(Message::End) if length.is_none() => break,
                    Some(end) => {
                        let actual = format!("{end}, after \"{}\"", answer.line);
                        return Err(self.failure("a complete body", actual));
                    }
                    None => {}
                }
            }
            answer.body = self.buffer.drain(..length.unwrap_or(self.buffer.len())).collect();
        }
        let text = String::from_utf8_lossy(&head).trim_end().to_owned();
        let all = [head, answer.body.clone()].concat();
        self.transcript.record(&self.name, Direction::Received, text, &all);
        Ok(answer)
    }
}
