//! A client at the level of bytes, and the servers it speaks to.

use std::convert::Infallible;
use std::error::Error;
use std::future::pending;
use std::net::SocketAddr;

use chat_core::Limits;
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tower_service::Service;

pub(crate) const TEXT: u8 = 0x81;

pub(crate) const HEAD: &str = "GET /ws?name=ann HTTP/1.1\r\nHost: chat.test\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Protocol: chat.v1\r\n\r\n";

pub(crate) async fn start<S, B>(service: S, limits: &Limits) -> SocketAddr
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let limits = limits.clone();
    tokio::spawn(async move { chat_warp::serve(listener, service, &limits, pending()).await });
    address
}

pub(crate) struct Peer {
    stream: TcpStream,
}

impl Peer {
    /// Sends `bytes`, a request and perhaps more, on a new connection.
    pub(crate) async fn send_first(address: SocketAddr, bytes: &[u8]) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4_096).unwrap();
        let mut stream = socket.connect(address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        Self { stream }
    }

    /// A connection that is upgraded and welcomed.
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let mut peer = Self::send_first(address, HEAD.as_bytes()).await;
        assert!(peer.head().await.starts_with("HTTP/1.1 101 "));
        assert_eq!(peer.event().await["type"], "welcome");
        peer
    }

    /// The head of the response.
    pub(crate) async fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.stream.read_u8().await.unwrap());
        }
        String::from_utf8(head).unwrap()
    }

    /// A response, without its date, and the code in its body.
    pub(crate) async fn refusal(&mut self) -> (String, String) {
        let head = self.head().await;
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.unwrap().parse().unwrap()];
        self.stream.read_exact(&mut body).await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        let lines: Vec<_> = head.lines().filter(|line| !line.starts_with("date: ")).collect();
        (lines.join("\n"), body["error"]["code"].as_str().unwrap().to_owned())
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    pub(crate) async fn end_writing(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// The next frame from the server: its first byte and its payload.
    pub(crate) async fn frame(&mut self) -> (u8, Vec<u8>) {
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

    pub(crate) async fn event(&mut self) -> Value {
        let (first, payload) = self.frame().await;
        assert_eq!(first, TEXT);
        serde_json::from_slice(&payload).unwrap()
    }

    /// Whether the stream ends here, and not in a reset.
    pub(crate) async fn has_ended(&mut self) -> bool {
        matches!(self.stream.read(&mut [0]).await, Ok(0))
    }
}
