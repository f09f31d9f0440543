use std::net::SocketAddr;
use std::time::Duration;

use chat_conformance::client::Frame;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::sleep;

/// The first byte of a text message in one frame.
pub const TEXT: u8 = 0x81;

/// The head of a valid upgrade.
pub const HEAD: &str = "GET /ws?name=ann HTTP/1.1\r\nHost: chat.test\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Protocol: chat.v1\r\n\r\n";

/// A client at the level of bytes, with a small receive buffer.
#[derive(Debug)]
pub struct Peer<S> {
    stream: S,
}

impl Peer<TcpStream> {
    /// Sends `bytes`, a request and perhaps more, on a new connection.
    pub async fn send_first(address: SocketAddr, bytes: &[u8]) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4_096).unwrap();
        let mut stream = socket.connect(address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        Self { stream }
    }

    /// Returns the client's own address.
    pub fn local_address(&self) -> SocketAddr {
        self.stream.local_addr().unwrap()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    /// Returns a client on a stream.
    pub fn on(stream: S) -> Self {
        Self { stream }
    }

    /// Reads the head of the response.
    pub async fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.stream.read_u8().await.unwrap());
        }
        String::from_utf8(head).unwrap()
    }

    /// Reads the head of the response, which must have this status. Returns the head.
    pub async fn assert_status(&mut self, status: u16) -> String {
        let head = self.head().await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        head
    }

    /// Reads a response, which must have this status. Returns the body.
    pub async fn body(&mut self, status: u16) -> Vec<u8> {
        let head = self.assert_status(status).await;
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.unwrap_or("0").parse().unwrap()];
        self.stream.read_exact(&mut body).await.unwrap();
        body
    }

    /// Reads a response of the chat, which must have this status and this error code.
    pub async fn assert_refused(&mut self, status: u16, code: &str) {
        let body: Value = serde_json::from_slice(&self.body(status).await).unwrap();
        assert_eq!(body["error"]["code"], code);
    }

    /// Sends a text message.
    pub async fn text(&mut self, text: impl AsRef<[u8]>) {
        self.write(&Frame::text(text).encode()).await;
    }

    /// Sends bytes.
    pub async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Sends bytes.
    ///
    /// # Errors
    ///
    /// The error of the stream, which the peer has closed.
    pub async fn try_write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Ends the client's side of the stream.
    pub async fn end_writing(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// Reads the next frame: its first byte and its payload.
    pub async fn frame(&mut self) -> (u8, Vec<u8>) {
        let first = self.stream.read_u8().await.unwrap();
        let length = match self.stream.read_u8().await.unwrap() {
            127 => usize::try_from(self.stream.read_u64().await.unwrap()).unwrap(),
            126 => self.stream.read_u16().await.unwrap().into(),
            short => short.into(),
        };
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).await.unwrap();
        (first, payload)
    }

    /// Reads the next frame, which must be an event.
    pub async fn event(&mut self) -> Value {
        let (first, payload) = self.frame().await;
        assert_eq!(first, TEXT, "{}", String::from_utf8_lossy(&payload));
        serde_json::from_slice(&payload).unwrap()
    }

    /// Reads frames up to the close frame, and returns its code.
    pub async fn close_code(&mut self) -> u16 {
        loop {
            if let (0x88, payload) = self.frame().await {
                return u16::from_be_bytes([payload[0], payload[1]]);
            }
        }
    }

    /// Reads this many bytes slowly. Returns false if the stream ended before.
    pub async fn read_slowly(&mut self, bytes: usize) -> bool {
        let mut left = bytes;
        while left > 0 {
            match self.stream.read(&mut vec![0; left.min(1_024)]).await {
                Ok(read) if read > 0 => left -= read,
                _ => return false,
            }
            sleep(Duration::from_millis(20)).await;
        }
        true
    }

    /// Reads to the end of the stream, and fails the test after a reset.
    pub async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).await.unwrap();
        rest
    }
}
