//! Servers, fake servers and a failing network for the tests of the client.

#![expect(dead_code, reason = "each test uses a part of this module")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::future::pending;
use std::net::SocketAddr;
use std::time::Duration;

use chat_client::{
    Builder, Client, ClientEvent, Events, JoinFrom, Joined, ReceivedMessage, Reconnect, RoomName,
};
use chat_core::{Chat, Endpoint, Identify, Limits};
use chat_testkit::{Mode, Store};
use chat_tungstenite::UpgradeLayer;
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
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

    /// Starts a server whose rooms are in memory, with this behaviour of appends.
    pub(crate) fn with_appends(mode: Mode) -> (Store, Self) {
        let (store, chat) = Store::with_chat(Limits::default());
        store.append(mode);
        (store, Self::start(chat))
    }

    pub(crate) fn start_at(address: SocketAddr, chat: Chat) -> Self {
        Self::serve_at(address, Endpoint::new(chat))
    }

    /// Starts a server that identifies its users.
    pub(crate) fn with_users(users: impl Identify) -> Self {
        Self::serve_at("127.0.0.1:0".parse().unwrap(), Endpoint::new(Chat::default()).identify(users))
    }

    fn serve_at(address: SocketAddr, endpoint: Endpoint) -> Self {
        let chat = endpoint.chat().clone();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = std::net::TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let service = UpgradeLayer::new().layer(chat_tungstenite::routes(endpoint));
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

    /// Connects a client that has joined the lobby.
    pub(crate) async fn member(&self) -> (Client, Events) {
        member(Client::builder(&self.url())).await
    }
}

/// Connects a client that has joined the lobby.
pub(crate) async fn member(builder: Builder) -> (Client, Events) {
    let (client, events) = builder.connect().await.unwrap();
    client.join(&lobby(), JoinFrom::Now).await.unwrap();
    (client, events)
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
            ClientEvent::Resumed(Joined { recovered: true, .. }) => {}
            other => panic!("expected a message, got {other:?}"),
        }
    }
}

/// Waits for the next event that is neither a presence event nor a failed attempt to reconnect.
pub(crate) async fn next(events: &mut Events) -> ClientEvent {
    loop {
        match within(events.next()).await.expect("an event") {
            ClientEvent::Presence { .. } | ClientEvent::ReconnectFailed { .. } => {}
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

/// A client, its events, and the server's side of it: this connection and the next ones.
pub(crate) type Connected = (Client, Events, Peer, mpsc::Receiver<Peer>);

/// Connects a client to a fake server.
pub(crate) async fn connected() -> Connected {
    let (address, mut peers) = fake().await;
    let builder = Client::builder(&url(address)).reconnect(eager());
    let connecting = tokio::spawn(builder.command_timeout(Duration::from_secs(5)).connect());
    let peer = welcomed(&mut peers).await;
    let (client, events) = connecting.await.unwrap().unwrap();
    (client, events, peer, peers)
}

/// Connects a client to a fake server. It has joined the lobby, in which `seq` is the newest entry.
pub(crate) async fn joined(seq: u64) -> Connected {
    let (client, events, mut peer, peers) = connected().await;
    let room = lobby();
    let (joined, _) = tokio::join!(client.join(&room, JoinFrom::Now), answer_join(&mut peer, "e", seq, true));
    joined.unwrap();
    (client, events, peer, peers)
}

/// Answers a join as a room whose newest entry is `seq`, and returns the command.
pub(crate) async fn answer_join(peer: &mut Peer, epoch: &str, seq: u64, recovered: bool) -> Value {
    let rest = format!(r#""epoch":"{epoch}","seq":{seq},"first":1,"recovered":{recovered},"members":1"#);
    let join = answer(peer, "joined", &rest).await;
    assert_eq!(join["type"], "join", "{join}");
    join
}

/// Answers the next command and returns it.
pub(crate) async fn answer(peer: &mut Peer, kind: &str, rest: &str) -> Value {
    let command = asked(peer).await;
    reply(peer, &command, kind, rest).await;
    command
}

pub(crate) async fn reply(peer: &mut Peer, command: &Value, kind: &str, rest: &str) {
    let reference = &command["ref"];
    tell(peer, &format!(r#"{{"type":"{kind}","ref":{reference},"room":"lobby",{rest}}}"#)).await;
}

pub(crate) async fn tell(peer: &mut Peer, text: &str) {
    within(peer.send(tungstenite::Message::text(text))).await.unwrap();
}

/// Waits for the next command.
pub(crate) async fn asked(peer: &mut Peer) -> Value {
    loop {
        match within(peer.next()).await {
            Some(Ok(tungstenite::Message::Text(text))) => {
                let command: Value = serde_json::from_str(&text).unwrap();
                // Without a `ref`: the question of a client that has waited long for its welcome.
                if command["type"] != "ping" || !command["ref"].is_null() {
                    return command;
                }
            }
            Some(Ok(tungstenite::Message::Ping(_) | tungstenite::Message::Pong(_))) => {}
            other => panic!("expected a command, got {other:?}"),
        }
    }
}

pub(crate) async fn close(peer: &mut Peer, code: u16) {
    let frame = CloseFrame { code: code.into(), reason: "why".into() };
    within(peer.close(Some(frame))).await.unwrap();
}
