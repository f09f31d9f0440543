//! The cases.

use std::sync::mpsc;
use std::task::{Context, Poll};

use chat_core::{Connection, Denied, Endpoint, Handler, IdentifyRequest, Identity, Ticket, UpgradeMode};
use serde_json::json;
use tokio::net::TcpListener;

use crate::{Account, HEAD, Host, Server, TEXT, quick_limits};

const JOIN: &[u8] = br#"{"type":"join","ref":"1","room":"lobby"}"#;

/// A function of an adapter that serves each [`Host`].
pub trait Serve: FnOnce(Host, Endpoint, TcpListener) -> Self::Served {
    /// The future of the server.
    type Served: Future<Output = ()> + Send + 'static;
}

impl<S, F> Serve for S
where
    S: FnOnce(Host, Endpoint, TcpListener) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    type Served = F;
}

async fn start(serve: impl Serve, host: Host, mode: UpgradeMode) -> Server {
    Server::start(quick_limits(), mode, |endpoint, listener| serve(host, endpoint, listener)).await
}

/// A 101 whose status a layer of the host changes is replaced by a 500, and starts no session.
pub async fn changed_101_starts_no_session(serve: impl Serve, mode: UpgradeMode) {
    refused_upgrade_starts_no_session(&start(serve, Host::ChangedStatus, mode).await).await;
}

/// The outer of two layers of the adapter notices a change between the two.
pub async fn change_between_two_layers_starts_no_session(serve: impl Serve, mode: UpgradeMode) {
    refused_upgrade_starts_no_session(&start(serve, Host::LayerTwice, mode).await).await;
}

async fn refused_upgrade_starts_no_session(server: &Server) {
    let mut peer = server.send(HEAD).await;
    peer.assert_refused(500, "internal_error").await;
    // Checked while the client stays, and after it has gone.
    server.closed().await;
    peer.end_writing().await;
    assert!(peer.rest().await.is_empty());
    server.closed().await;
}

/// A host that forgets the adapter's layer keeps its own routes, and refuses each upgrade.
pub async fn chat_without_the_layer_refuses_each_upgrade(serve: impl Serve, mode: UpgradeMode) {
    let server = start(serve, Host::NoLayer, mode).await;
    assert_eq!(server.get("/hello").await.body(200).await, b"hello");
    server.send(HEAD).await.assert_refused(500, "internal_error").await;
    assert_eq!(server.chat.counts().connections, 0);
}

/// A request whose connection a layer of the host has taken is refused.
pub async fn taken_connection_refuses_the_upgrade(serve: impl Serve, mode: UpgradeMode) {
    let server = start(serve, Host::TakenConnection, mode).await;
    server.send(HEAD).await.assert_refused(500, "internal_error").await;
    server.closed().await;
}

/// The host's routes answer beside the chat, and so does its 404.
pub async fn host_keeps_its_routes(serve: impl Serve, mode: UpgradeMode) {
    let server = start(serve, Host::Plain, mode).await;
    assert_eq!(server.get("/hello").await.body(200).await, b"hello");
    server.get("/nothing").await.assert_status(404).await;
    server.connect().await;
}

/// The host's WebSockets work beside the chat.
pub async fn host_keeps_its_own_websockets(serve: impl Serve, mode: UpgradeMode) {
    let server = start(serve, Host::Plain, mode).await;
    let mut peer = server.send(HEAD.replace("/ws?", "/echo?")).await;
    peer.assert_status(101).await;
    peer.text("one").await;
    assert_eq!(peer.frame().await, (TEXT, b"one".to_vec()));
    server.connect().await;
}

/// The paths of the chat are relative to the place where its routes are mounted.
pub async fn nested_chat_is_below_its_prefix(serve: impl Serve, mode: UpgradeMode) {
    let server = start(serve, Host::Nested, mode).await;
    server.send(HEAD).await.assert_status(404).await;
    let mut peer = server.send(HEAD.replace("/ws?", "/api/ws?")).await;
    peer.assert_status(101).await;
    assert_eq!(peer.event().await["user"]["name"], "ann");
}

/// A handler that never reads and never writes gets its 101 sent.
pub async fn silent_handler_has_its_101_sent(serve: impl Serve, mode: UpgradeMode) {
    let server = Server::start(quick_limits(), mode, |endpoint, listener| {
        serve(Host::Plain, endpoint.handler(|ticket| Box::new(Silent(ticket))), listener)
    });
    server.await.send(HEAD).await.assert_status(101).await;
}

/// A handler that waits for the end of the chat.
struct Silent(Ticket);

impl Handler for Silent {
    fn poll(&mut self, cx: &mut Context<'_>, _: &mut dyn Connection) -> Poll<()> {
        self.0.poll_close(cx).map(drop)
    }
}

/// The chat works under another server than the adapter's.
pub async fn host_keeps_its_own_server(serve: impl Serve, mode: UpgradeMode) {
    let server = start(serve, Host::OwnServer, mode).await;
    let mut peer = server.connect().await;
    peer.text(JOIN).await;
    assert_eq!(peer.event().await["type"], "joined");
}

/// A layer of the host hands its user over, and the host's `Identify` reads it, the address of the peer, and the query.
pub async fn host_layer_hands_its_user_over<F>(
    serve: impl FnOnce(Host, Endpoint, TcpListener) -> F,
    mode: UpgradeMode,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let (seen, requests) = mpsc::channel();
    let server = Server::start(quick_limits(), mode, |endpoint, listener| {
        let endpoint = endpoint.identify(move |request: &IdentifyRequest<'_>| {
            seen.send((request.peer(), request.query("name"))).unwrap();
            let Account(user) = request.extension().ok_or(Denied::Unauthorized)?;
            Ok(Identity::from(user.clone()))
        });
        serve(Host::Accounts, endpoint, listener)
    });
    let server = server.await;
    let mut unknown = server.send(HEAD).await;
    unknown.assert_refused(401, "unauthorized").await;
    let mut ann = server.send(HEAD.replace("Host:", "X-Account: 7\r\nHost:")).await;
    ann.assert_status(101).await;
    assert_eq!(ann.event().await["user"], json!({"id": "7", "name": "Ann"}));
    for peer in [unknown, ann] {
        let expected = (Some(peer.local_address()), Some("ann".to_owned()));
        assert_eq!(requests.try_recv(), Ok(expected));
    }
}
