//! axum's two mechanisms in services of other people: what `tests/conformance.rs` does not see.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod peer;

use std::time::Duration;

use axum::Router;
use axum::extract::{Request, WebSocketUpgrade};
use axum::middleware::{map_request, map_response};
use axum::response::Response;
use axum::routing::{any, get};
use chat_axum::{mount, not_found, outermost, routes};
use chat_conformance::client::Frame;
use chat_core::{Chat, Endpoint, Limits, Mechanism, RoomName, Text, User};
use futures_util::StreamExt;
use http::StatusCode;
use hyper::upgrade::OnUpgrade;
use peer::{HEAD, Peer, TEXT, start, start_chat_in_memory};
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

const JOIN: &[u8] = br#"{"type":"join","ref":"1","room":"lobby"}"#;

/// Makes each case a test of either mechanism.
macro_rules! cases {
    ($($case:ident)*) => {
        mod hijack {
            $(#[tokio::test]
            async fn $case() {
                super::in_time(super::$case(chat_core::Mechanism::Hijack)).await;
            })*
        }
        mod context {
            $(#[tokio::test]
            async fn $case() {
                super::in_time(super::$case(chat_core::Mechanism::Context)).await;
            })*
        }
    };
}

cases! {
    a_layer_that_answers_in_place_of_the_101_leaves_no_session
    without_the_outermost_layer_every_upgrade_is_refused
    where_a_layer_took_the_connection_the_upgrade_is_refused
    a_host_keeps_its_routes_and_its_own_websockets
    a_host_may_keep_its_own_server
}

async fn in_time(case: impl Future<Output = ()>) {
    timeout(Duration::from_secs(30), case).await.unwrap();
}

fn chat() -> Chat {
    Chat::builder()
        .limits(Limits::default().with(|limits| {
            limits.connection.close_timeout = Duration::from_millis(200);
            limits.connection.write_timeout = Duration::from_millis(300);
        }))
        .build()
}

/// Nothing tells when a connection is gone, so this looks again and again.
async fn deserted(chat: &Chat) {
    while chat.counts().connections > 0 || chat.counts().sessions > 0 {
        sleep(Duration::from_millis(1)).await;
    }
}

async fn a_layer_that_answers_in_place_of_the_101_leaves_no_session(mechanism: Mechanism) {
    let chat = chat();
    let rewriting = map_response(async |mut response: Response| {
        *response.status_mut() = StatusCode::OK;
        response
    });
    let service = routes(Endpoint::new(chat.clone()), mechanism, not_found()).layer(rewriting);
    let address = start(outermost(service), chat.limits()).await;
    let mut peer = Peer::send_first(address, HEAD.as_bytes()).await;
    let (head, code) = peer.refusal().await;
    assert!(head.starts_with("HTTP/1.1 500 "));
    assert_eq!(code, "internal_error");
    // While the client stays, and when it has gone.
    deserted(&chat).await;
    peer.end_writing().await;
    assert!(peer.has_ended().await);
    deserted(&chat).await;
}

async fn without_the_outermost_layer_every_upgrade_is_refused(mechanism: Mechanism) {
    let chat = chat();
    let service = routes(Endpoint::new(chat.clone()), mechanism, not_found());
    let address = start(service, chat.limits()).await;
    let mut peer = Peer::send_first(address, HEAD.as_bytes()).await;
    let (head, code) = peer.refusal().await;
    assert!(head.starts_with("HTTP/1.1 500 "));
    assert_eq!(code, "internal_error");
}

async fn where_a_layer_took_the_connection_the_upgrade_is_refused(mechanism: Mechanism) {
    let chat = chat();
    let taking = map_request(async |mut request: Request| {
        request.extensions_mut().remove::<OnUpgrade>().unwrap();
        request
    });
    let service = routes(Endpoint::new(chat.clone()), mechanism, not_found()).layer(taking);
    let address = start(outermost(service), chat.limits()).await;
    let mut peer = Peer::send_first(address, HEAD.as_bytes()).await;
    assert!(peer.refusal().await.0.starts_with("HTTP/1.1 500 "));
    deserted(&chat).await;
}

async fn a_host_keeps_its_routes_and_its_own_websockets(mechanism: Mechanism) {
    let chat = chat();
    let echo = any(async |ws: WebSocketUpgrade| {
        ws.on_upgrade(async |socket| {
            let (sink, stream) = socket.split();
            stream.forward(sink).await.unwrap();
        })
    });
    let host =
        Router::new().route("/hello", get("hello\n")).route("/echo", echo).route("/ws", get("hidden\n"));
    let service = mount(Endpoint::new(chat.clone()), mechanism, host);
    let address = start(service, chat.limits()).await;
    let mut peer = Peer::send_first(address, b"GET /hello HTTP/1.1\r\nHost: chat.test\r\n\r\n").await;
    assert!(peer.head().await.starts_with("HTTP/1.1 200 "));
    let mut peer = Peer::send_first(address, HEAD.replace("/ws?", "/echo?").as_bytes()).await;
    assert!(peer.head().await.starts_with("HTTP/1.1 101 "));
    peer.write(&Frame::text("one").encode()).await;
    assert_eq!(peer.frame().await, (TEXT, b"one".to_vec()));
    let mut peer = Peer::send_first(address, b"GET /nothing HTTP/1.1\r\nHost: chat.test\r\n\r\n").await;
    assert!(peer.head().await.starts_with("HTTP/1.1 404 "));
    Peer::connect(address).await;
}

async fn a_host_may_keep_its_own_server(mechanism: Mechanism) {
    let service = mount(Endpoint::new(chat()), mechanism, not_found());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async { axum::serve(listener, Router::new().fallback_service(service)).await });
    let mut peer = Peer::connect(address).await;
    peer.write(&Frame::text(JOIN).encode()).await;
    assert_eq!(peer.event().await["type"], "joined");
}

// Where the context mechanism differs. A test that fails here has found a difference that is no more.

#[tokio::test(start_paused = true)]
async fn axum_shows_no_progress_before_everything_is_taken() {
    for (mechanism, stays) in [(Mechanism::Hijack, true), (Mechanism::Context, false)] {
        let chat = chat();
        let (lobby, clerk): (RoomName, _) = ("lobby".parse().unwrap(), User::guest("clerk").unwrap());
        let page = Text::new("x".repeat(4_096));
        for _ in 0..15 {
            chat.post(&lobby, &clerk, &page, None).await.unwrap();
        }
        let mut peer = Peer::on(start_chat_in_memory(&chat, mechanism));
        let history = Frame::text(br#"{"type":"history","ref":"2","room":"lobby"}"#).encode();
        peer.write(&[HEAD.as_bytes(), &Frame::text(JOIN).encode(), &history].concat()).await;
        assert!(peer.head().await.starts_with("HTTP/1.1 101 "));
        for expected in ["welcome", "joined"] {
            assert_eq!(peer.event().await["type"], expected);
        }
        assert_eq!(peer.sips(15 * 4_096).await, stays, "{mechanism:?}");
    }
}
