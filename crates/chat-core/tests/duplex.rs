//! A chat session over a connection that is not a WebSocket: any byte stream, with one JSON object per line.
//!
//! A transport needs a [`Connection`], which is the first part of this file, and two calls: [`Chat::admit`] for a user,
//! and `Ticket::serve` for the connection. Everything here is public API.

use std::io;
use std::task::{Context, Poll, ready};

use chat_core::{Chat, CloseCode, Connection, Identity, Incoming, Outgoing, ProtocolViolation, User};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, duplex};
use tokio_util::codec::{Framed, LinesCodec, LinesCodecError};

/// A byte stream with one JSON object per line. An empty line is a ping, and its answer.
struct Lines<S> {
    lines: Framed<S, LinesCodec>,
    /// Bytes given to `lines`, which may not have written them all.
    given: u64,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Lines<S> {
    fn new(stream: S, max_line_bytes: usize) -> Self {
        Self { lines: Framed::new(stream, LinesCodec::new_with_max_length(max_line_bytes)), given: 0 }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection for Lines<S> {
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Incoming> {
        Poll::Ready(match ready!(self.lines.poll_next_unpin(cx)) {
            Some(Ok(line)) if line.is_empty() => Incoming::Pong,
            Some(Ok(line)) => Incoming::Text(line.into()),
            Some(Err(LinesCodecError::MaxLineLengthExceeded)) => {
                Incoming::Violation(ProtocolViolation::TooBig)
            }
            Some(Err(LinesCodecError::Io(error))) if error.kind() == io::ErrorKind::InvalidData => {
                Incoming::Violation(ProtocolViolation::Utf8)
            }
            Some(Err(LinesCodecError::Io(error))) => Incoming::Lost(error),
            None => Incoming::End,
        })
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        SinkExt::<&str>::poll_ready_unpin(&mut self.lines, cx).map_err(io::Error::other)
    }

    fn send(&mut self, frame: Outgoing) -> io::Result<()> {
        let line = match &frame {
            Outgoing::Text(text) => str::from_utf8(text).map_err(io::Error::other)?,
            _ => "",
        };
        self.given += line.len() as u64 + 1;
        self.lines.start_send_unpin(line).map_err(io::Error::other)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        SinkExt::<&str>::poll_flush_unpin(&mut self.lines, cx).map_err(io::Error::other)
    }

    /// Ends the stream. The line before it is the `closing` event, which names the code.
    fn poll_close(&mut self, cx: &mut Context<'_>, _code: Option<CloseCode>) -> Poll<()> {
        SinkExt::<&str>::poll_close_unpin(&mut self.lines, cx).map(drop)
    }

    fn progress(&self) -> u64 {
        self.given - self.lines.write_buffer().len() as u64
    }
}

// The server: a user, a ticket, a session.

/// Serves a session of `user` over a stream. Returns the other end of the stream.
fn connect(chat: &Chat, user: User) -> Client {
    let (client, server) = duplex(64 * 1024);
    let max_line_bytes = chat.limits().wire.max_frame_bytes;
    let ticket = chat.admit(Identity::from(user)).expect("the chat is neither full nor draining");
    tokio::spawn(ticket.serve(Lines::new(server, max_line_bytes)));
    Client(Framed::new(client, LinesCodec::new()))
}

// The client, which uses only lines and JSON.

struct Client(Framed<DuplexStream, LinesCodec>);

impl Client {
    async fn send(&mut self, command: Value) {
        self.0.send(command.to_string()).await.expect("the stream is open");
    }

    async fn event(&mut self) -> Value {
        let line = self.0.next().await.expect("the stream is open").expect("a line");
        serde_json::from_str(&line).expect("JSON")
    }

    /// Waits for an event of this type, and skips others.
    async fn event_of(&mut self, kind: &str) -> Value {
        loop {
            let event = self.event().await;
            if event["type"] == kind {
                return event;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn two_clients_chat_over_streams_of_lines() {
    let chat = Chat::default();
    let mut ann = connect(&chat, User::new("7", "Ann").expect("a name"));
    let mut bob = connect(&chat, User::new("8", "Bob").expect("a name"));
    assert_eq!(ann.event().await["user"], json!({"id": "7", "name": "Ann"}));
    for client in [&mut ann, &mut bob] {
        client.send(json!({"type": "join", "room": "lobby"})).await;
        client.event_of("joined").await;
    }
    ann.send(json!({"type": "send", "room": "lobby", "body": {"text": "hi"}})).await;
    for client in [&mut ann, &mut bob] {
        let message = client.event_of("message").await;
        assert_eq!((&message["seq"], &message["user"]["name"]), (&json!(1), &json!("Ann")));
    }
}

#[tokio::test(start_paused = true)]
async fn a_line_that_is_too_long_or_not_text_closes_with_its_code() {
    let chat = Chat::default();
    let mut long = connect(&chat, User::guest("ann").expect("a name"));
    long.0.send("x".repeat(chat.limits().wire.max_frame_bytes + 1)).await.expect("the stream is open");
    assert_eq!(long.event_of("closing").await["code"], 1009);
    assert!(long.0.next().await.is_none(), "the stream ends");
    let mut binary = connect(&chat, User::guest("ann").expect("a name"));
    tokio::io::AsyncWriteExt::write_all(binary.0.get_mut(), b"\xff\n").await.expect("the stream is open");
    assert_eq!(binary.event_of("closing").await["code"], 1007);
}

#[tokio::test(start_paused = true)]
async fn an_empty_line_is_a_ping_and_its_answer() {
    let chat = Chat::default();
    let mut ann = connect(&chat, User::guest("ann").expect("a name"));
    ann.event_of("welcome").await;
    for _ in 0..3 {
        assert_eq!(ann.0.next().await.expect("a line").expect("a line"), "");
        ann.0.send("").await.expect("the stream is open");
    }
    let closing = ann.0.next().await.expect("a line").expect("a line");
    assert_eq!(closing, "", "the next ping");
    assert_eq!(ann.event_of("closing").await["code"], 4001, "it was not answered");
}

#[tokio::test(start_paused = true)]
async fn the_example_has_fewer_than_80_lines() {
    let file = include_str!("duplex.rs");
    let lines = file.split("// The server:").next().expect("a part").lines();
    let code = lines.filter(|line| !line.trim().is_empty() && !line.starts_with("//")).count();
    assert!(code < 80, "{code} lines");
}
