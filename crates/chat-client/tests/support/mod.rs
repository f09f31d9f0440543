//! Servers, fake servers and a failing network for the tests of the client.

#![expect(dead_code, reason = "each test uses a part of this module")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

pub(crate) mod failing;

use std::future::pending;
use std::net::SocketAddr;
use std::time::Duration;

use chat_client::{ClientEvent, Events, ReceivedMessage, Reconnect, RoomName};
use chat_core::{Chat, Endpoint};
use chat_tungstenite::UpgradeLayer;
use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{self, http};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

/// The time limit of every wait. It is longer than any step takes on a busy machine.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(60);

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(TIMEOUT, future).await.expect("nothing happened for 60 s")
}

pub(crate) fn lobby() -> RoomName {
    "lobby".parse().unwrap()
}

/// Returns a policy that reconnects almost at once.
pub(crate) fn eager() -> Reconnect {
    Reconnect::default()
        .first(Duration::from_millis(20))
        .max(Duration::from_millis(100))
        .settled(Duration::ZERO)
}

/// A chat server on a runtime of its own. Its drop ends every connection at once, like the end of a process.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) chat: Chat,
    runtime: Option<Runtime>,
}

impl Server {
    pub(crate) fn start(chat: Chat) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), chat)
    }

    pub(crate) fn start_at(address: SocketAddr, chat: Chat) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = std::net::TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let service = UpgradeLayer::new().layer(chat_tungstenite::routes(Endpoint::new(chat.clone())));
        let served = chat.clone();
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            chat_tungstenite::serve(listener, service, &served, pending()).await.unwrap();
        });
        Self { address, chat, runtime: Some(runtime) }
    }

    pub(crate) fn url(&self) -> String {
        url(self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // A thread of a runtime must not block.
            let gone = std::thread::spawn(move || runtime.shutdown_timeout(TIMEOUT));
            gone.join().unwrap();
        }
    }
}

pub(crate) fn url(address: SocketAddr) -> String {
    format!("ws://{address}/ws")
}

/// Waits for the next message. Events of the connection are skipped, any other event fails the test.
pub(crate) async fn message(events: &mut Events) -> ReceivedMessage {
    loop {
        match next(events).await {
            ClientEvent::Message(message) => return message,
            ClientEvent::Presence { .. } | ClientEvent::Disconnected { .. } | ClientEvent::Reconnected => {}
            ClientEvent::Resumed { recovered: true, .. } => {}
            other => panic!("expected a message, got {other:?}"),
        }
    }
}

/// Waits for the next event that is not a presence event.
pub(crate) async fn next(events: &mut Events) -> ClientEvent {
    loop {
        match within(events.next()).await.expect("an event") {
            ClientEvent::Presence { .. } => {}
            event => return event,
        }
    }
}

/// A network between clients and a server. A test can cut it.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    cut: watch::Sender<u64>,
    open: watch::Sender<bool>,
}

impl Proxy {
    pub(crate) async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (cut, cuts) = watch::channel(0);
        let (open, is_open) = watch::channel(true);
        tokio::spawn(async move {
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                if !*is_open.borrow() {
                    continue;
                }
                let mut cuts = cuts.clone();
                cuts.mark_unchanged();
                tokio::spawn(async move {
                    let Ok(mut server) = TcpStream::connect(server).await else { return };
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                        _ = cuts.changed() => {
                            // The connections end with a reset.
                            for stream in [client, server] {
                                let _dead = stream.set_zero_linger();
                            }
                        }
                    }
                });
            }
        });
        Self { address, cut, open }
    }

    /// Allows or refuses new connections.
    pub(crate) fn open(&self, open: bool) {
        self.open.send_replace(open);
    }

    /// Cuts every connection, also in the middle of a frame.
    pub(crate) fn cut(&self) {
        self.cut.send_modify(|cuts| *cuts += 1);
    }
}

pub(crate) type Peer = WebSocketStream<TcpStream>;

/// Starts a fake server. The test gets each connection after its upgrade.
pub(crate) async fn fake() -> (SocketAddr, mpsc::Receiver<Peer>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (connected, peers) = mpsc::channel(8);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            #[expect(clippy::result_large_err, reason = "tungstenite's type")]
            let offer = |_: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
                let protocol = http::HeaderValue::from_static("chat.v1");
                response.headers_mut().insert("sec-websocket-protocol", protocol);
                Ok(response)
            };
            if let Ok(peer) = accept_hdr_async(stream, offer).await
                && connected.send(peer).await.is_err()
            {
                return;
            }
        }
    });
    (address, peers)
}

pub(crate) const WELCOME: &str = r#"{"type":"welcome","connection":"c1","user":{"id":"ann","name":"ann"},"limits":{"max_frame":16384,"max_rooms":100,"max_body":4096,"max_page":200},"ping_interval":20}"#;

/// Waits for the next connection and sends its welcome.
pub(crate) async fn welcomed(peers: &mut mpsc::Receiver<Peer>) -> Peer {
    let mut peer = within(peers.recv()).await.unwrap();
    tell(&mut peer, WELCOME).await;
    peer
}

pub(crate) async fn tell(peer: &mut Peer, text: &str) {
    within(peer.send(tungstenite::Message::text(text))).await.unwrap();
}

/// Waits for the next command.
pub(crate) async fn asked(peer: &mut Peer) -> serde_json::Value {
    loop {
        match within(peer.next()).await {
            Some(Ok(tungstenite::Message::Text(text))) => return serde_json::from_str(&text).unwrap(),
            Some(Ok(tungstenite::Message::Ping(_) | tungstenite::Message::Pong(_))) => {}
            other => panic!("expected a command, got {other:?}"),
        }
    }
}

pub(crate) async fn close(peer: &mut Peer, code: u16) {
    let frame = CloseFrame { code: code.into(), reason: "why".into() };
    within(peer.close(Some(frame))).await.unwrap();
}
