//! A single connection, without reconnects and without replies that are matched to commands.
//!
//! It is for load tests with thousands of connections. Other programs use a [`Client`](crate::Client).
//!
//! # Examples
//!
//! ```no_run
//! use chat_client::socket::{Socket, Target};
//! use chat_client::{Command, JoinFrom, RawEvent};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let mut socket = Socket::connect(&Target::new("ws://127.0.0.1:8080/ws")).await?;
//! let welcome = socket.welcome().await?;
//! println!("connected as {}", welcome.user.name());
//! let join = Command::Join { room: "lobby".parse()?, from: JoinFrom::Now };
//! socket.send(join.encode(Some("1"))).await?;
//! let text = socket.receive().await?;
//! assert_eq!(RawEvent::parse(&text)?.kind, "joined");
//! # Ok(())
//! # }
//! ```

mod connect;
mod target;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use chat_proto::{CloseCode, ErrorCode, Event, ProtocolViolation};
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{self, Message, Utf8Bytes};

use crate::{ConnectError, Lost, Violation, Welcome};

pub use target::Target;

/// The time for the server to end its side after a close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// TCP, or TLS over it. The state of TLS is large, so it is in a box.
#[cfg(feature = "tls")]
type Stream = tokio_util::either::Either<TcpStream, Box<tokio_rustls::client::TlsStream<TcpStream>>>;

#[cfg(not(feature = "tls"))]
type Stream = TcpStream;

/// A WebSocket connection to a chat server.
#[derive(Debug)]
pub struct Socket {
    stream: WebSocketStream<Stream>,
    /// The time of the `closing` event that came instead of the welcome.
    reconnect_in: Option<Duration>,
}

impl Socket {
    /// Connects and upgrades. The caller sets a time limit.
    ///
    /// # Errors
    ///
    /// Every [`ConnectError`] except [`Timeout`](ConnectError::Timeout).
    pub async fn connect(target: &Target) -> Result<Self, ConnectError> {
        Ok(Self { stream: connect::connect(target).await?, reconnect_in: None })
    }

    /// Reads the first event, which must be the welcome.
    ///
    /// # Errors
    ///
    /// [`ConnectError::TokenRequired`] if the server refuses a command that was sent before, because the connection has
    /// no user. [`ConnectError::Protocol`] if the first event is another one, [`ConnectError::Ended`] if the connection
    /// ends.
    pub async fn welcome(&mut self) -> Result<Welcome, ConnectError> {
        loop {
            let received = self.receive().await;
            let text = received
                .map_err(|lost| ConnectError::Ended { lost, reconnect_in: self.reconnect_in.take() })?;
            return match Event::parse(&text) {
                Ok(Event::Welcome { connection, user, limits, .. }) => {
                    Ok(Welcome { connection, user, limits })
                }
                Ok(Event::Error { code: ErrorCode::HelloRequired, .. }) => Err(ConnectError::TokenRequired),
                // The close that follows is the reason.
                Ok(Event::Closing { reconnect_in_ms, .. }) => {
                    self.reconnect_in = reconnect_in_ms.map(Duration::from_millis);
                    continue;
                }
                _ => Err(ConnectError::Protocol),
            };
        }
    }

    /// Waits for the next text frame. Pings are answered meanwhile.
    ///
    /// # Errors
    ///
    /// [`Lost`] if the connection has ended.
    pub async fn receive(&mut self) -> Result<Utf8Bytes, Lost> {
        loop {
            if let Received::Text(text) = poll_fn(|cx| self.poll_receive(cx)).await? {
                return Ok(text);
            }
        }
    }

    /// Writes a text frame.
    ///
    /// # Errors
    ///
    /// [`Lost`] if the connection has ended.
    pub async fn send(&mut self, frame: impl Into<Utf8Bytes>) -> Result<(), Lost> {
        self.stream.send(Message::Text(frame.into())).await.map_err(lost)
    }

    /// Polls for the next frame. It must not be called after an error.
    ///
    /// # Errors
    ///
    /// [`Lost`] if the connection has ended.
    pub fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<Received, Lost>> {
        Poll::Ready(match ready!(self.stream.poll_next_unpin(cx)) {
            Some(Ok(Message::Text(text))) => Ok(Received::Text(text)),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(Received::Control),
            Some(Ok(Message::Close(frame))) => Err(closed(frame)),
            Some(Ok(Message::Binary(_) | Message::Frame(_))) => Err(Lost::Violation(Violation::BinaryFrame)),
            Some(Err(error)) => Err(lost(error)),
            None => Err(Lost::End),
        })
    }

    /// Writes the frames in `outbox` and, if `reads` is true, polls for the next frame. Neither waits for the other,
    /// so a server that does not read cannot stop this side from reading.
    ///
    /// # Errors
    ///
    /// [`Lost`] if the connection has ended.
    pub fn poll_exchange(
        &mut self,
        cx: &mut Context<'_>,
        outbox: &mut VecDeque<Utf8Bytes>,
        reads: bool,
    ) -> Poll<Result<Received, Lost>> {
        match self.write(cx, outbox) {
            Ok(()) if reads => self.poll_receive(cx),
            Ok(()) => Poll::Pending,
            // Writing fails after the server has closed. Its close frame says whether to reconnect.
            Err(error) => match self.poll_receive(cx) {
                Poll::Ready(Ok(received)) => Poll::Ready(Ok(received)),
                Poll::Ready(Err(closed @ Lost::Close { .. })) => Poll::Ready(Err(closed)),
                // The next read of a broken connection fails too.
                Poll::Pending if matches!(error, tungstenite::Error::Io(_)) => Poll::Pending,
                _ => Poll::Ready(Err(lost(error))),
            },
        }
    }

    fn write(
        &mut self,
        cx: &mut Context<'_>,
        outbox: &mut VecDeque<Utf8Bytes>,
    ) -> Result<(), tungstenite::Error> {
        while !outbox.is_empty() && self.stream.poll_ready_unpin(cx)?.is_ready() {
            if let Some(frame) = outbox.pop_front() {
                self.stream.start_send_unpin(Message::Text(frame))?;
            }
        }
        // The next call flushes the rest.
        let _flushed = self.stream.poll_flush_unpin(cx)?.is_ready();
        Ok(())
    }

    /// Sends a ping.
    ///
    /// # Errors
    ///
    /// [`Lost`] if the connection has ended.
    pub fn ping(&mut self) -> Result<(), Lost> {
        self.stream.start_send_unpin(Message::Ping(Default::default())).map_err(lost)
    }

    /// Closes with `code` and waits up to one second until the server has ended its side.
    pub async fn close(mut self, code: CloseCode) {
        let frame = CloseFrame { code: code.code().into(), reason: Default::default() };
        let handshake = async {
            if self.stream.send(Message::Close(Some(frame))).await.is_ok() {
                self.until_end().await;
            }
        };
        // After the timeout, the connection is dropped.
        let _ended = timeout(CLOSE_TIMEOUT, handshake).await.is_ok();
    }

    /// Answers the server's close and waits up to one second until the server has ended its side.
    pub async fn finish(mut self) {
        let _ended = timeout(CLOSE_TIMEOUT, self.until_end()).await.is_ok();
    }

    /// Returns the TCP connection. With TLS, its bytes are encrypted.
    pub fn tcp(&self) -> &TcpStream {
        let stream = self.stream.get_ref();
        #[cfg(feature = "tls")]
        let stream = match stream {
            Stream::Left(tcp) => tcp,
            Stream::Right(tls) => tls.get_ref().0,
        };
        stream
    }

    async fn until_end(&mut self) {
        while let Some(Ok(_)) = self.stream.next().await {}
    }
}

/// A frame of the server.
#[derive(Debug)]
pub enum Received {
    /// A text frame, which is an event.
    Text(Utf8Bytes),
    /// A ping or a pong.
    Control,
}

fn closed(frame: Option<CloseFrame>) -> Lost {
    match frame {
        Some(frame) => Lost::Close { code: u16::from(frame.code).into(), reason: frame.reason.to_string() },
        None => Lost::Close { code: CloseCode::from(1005), reason: String::new() },
    }
}

fn lost(error: tungstenite::Error) -> Lost {
    use tungstenite::Error;
    use tungstenite::error::ProtocolError;
    match error {
        Error::Io(error) => Lost::Io(error.kind()),
        Error::Capacity(_) => violation(ProtocolViolation::TooBig),
        Error::Utf8(_) => violation(ProtocolViolation::Utf8),
        Error::ConnectionClosed
        | Error::AlreadyClosed
        | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake | ProtocolError::SendAfterClosing) => {
            Lost::End
        }
        _ => violation(ProtocolViolation::Protocol),
    }
}

fn violation(violation: ProtocolViolation) -> Lost {
    Lost::Violation(Violation::WebSocket(violation))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_received_close_is_returned_although_writing_fails() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/ws", listener.local_addr().unwrap());
        let target = Target { offer: false, ..Target::new(url) };
        let server = async {
            let (stream, _) = listener.accept().await.unwrap();
            tokio_tungstenite::accept_async(stream).await.unwrap()
        };
        let (mut server, client) = tokio::join!(server, Socket::connect(&target));
        let mut client = client.unwrap();
        client.send("unread").await.unwrap();
        server.get_ref().readable().await.unwrap();
        server
            .send(Message::Close(Some(CloseFrame { code: 4503.into(), reason: "kicked".into() })))
            .await
            .unwrap();
        // The unread frame makes this a reset.
        drop(server);
        let mut outbox = VecDeque::from(["lost".into()]);
        let lost = poll_fn(|cx| client.poll_exchange(cx, &mut outbox, true)).await.unwrap_err();
        assert_eq!(lost, Lost::Close { code: CloseCode::Kicked, reason: "kicked".to_owned() });
    }
}
