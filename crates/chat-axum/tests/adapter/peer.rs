//! A client at the level of bytes, and the servers it speaks to.

use std::convert::Infallible;
use std::error::Error;
use std::future::pending;
use std::net::SocketAddr;
use std::time::Duration;

use chat_core::{Chat, Endpoint, Limits, Mechanism};
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1::Builder;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::sleep;
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
    tokio::spawn(async move { chat_axum::serve(listener, service, &limits, pending()).await });
    address
}

/// One connection that holds a few bytes, and no more.
pub(crate) fn start_chat_in_memory(chat: &Chat, mechanism: Mechanism) -> DuplexStream {
    let (ours, theirs) = duplex(4_096);
    let service = TowerToHyperService::new(mount(chat, mechanism));
    tokio::spawn(Builder::new().serve_connection(TokioIo::new(ours), service).with_upgrades());
    theirs
}

fn mount(chat: &Chat, mechanism: Mechanism) -> chat_axum::Outermost<axum::Router> {
    chat_axum::mount(Endpoint::new(chat.clone()), mechanism, chat_axum::not_found())
}

pub(crate) struct Peer<S> {
    stream: S,
}

impl Peer<TcpStream> {
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
}

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    pub(crate) fn on(stream: S) -> Self {
        Self { stream }
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

    /// Reads so many bytes, a few at a time; whether they came.
    pub(crate) async fn sips(&mut self, bytes: usize) -> bool {
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

    /// Whether the stream ends here, and not in a reset.
    pub(crate) async fn has_ended(&mut self) -> bool {
        matches!(self.stream.read(&mut [0]).await, Ok(0))
    }
}
