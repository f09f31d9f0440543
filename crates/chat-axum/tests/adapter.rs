//! Both modes in host services, beyond `tests/conformance.rs`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::future::pending;
use std::net::SocketAddr;

use axum::Router;
use axum::extract::{ConnectInfo, Request, WebSocketUpgrade};
use axum::middleware::{map_request, map_response};
use axum::response::Response;
use axum::routing::{any, get};
use chat_adapter_tests::{HEAD, Host, Peer, Server, add_account, in_time, quick_limits};
use chat_axum::{UpgradeLayer, routes};
use chat_conformance::client::Frame;
use chat_core::{Chat, Endpoint, RoomName, Text, UpgradeMode, User};
use futures_util::StreamExt;
use http::StatusCode;
use hyper::server::conn::http1::Builder;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{DuplexStream, duplex};
use tokio::net::TcpListener;

chat_adapter_tests::cases! {
    serve, Hijack in hijack, Framework in framework;
    [
        changed_101_starts_no_session
        change_between_two_layers_starts_no_session
        chat_without_the_layer_refuses_each_upgrade
        taken_connection_refuses_the_upgrade
        host_keeps_its_routes
        host_keeps_its_own_websockets
        nested_chat_is_below_its_prefix
        host_keeps_its_own_server
        host_layer_hands_its_user_over
        silent_handler_has_its_101_sent
    ]
}

async fn serve(host: Host, endpoint: Endpoint, listener: TcpListener) {
    let (chat, layer) = (endpoint.chat().clone(), UpgradeLayer::new());
    let echo = any(async |ws: WebSocketUpgrade| {
        ws.on_upgrade(async |socket| {
            let (sink, stream) = socket.split();
            stream.forward(sink).await.unwrap();
        })
    });
    let own = Router::new().route("/hello", get("hello")).route("/echo", echo);
    let app = match host {
        Host::Nested => own.nest("/api", routes(endpoint)),
        _ => own.merge(routes(endpoint)),
    };
    let app = match host {
        Host::NoLayer => app,
        Host::ChangedStatus => app.layer(map_response(change_status)).layer(layer),
        Host::LayerTwice => app.layer(layer.clone()).layer(map_response(change_status)).layer(layer),
        Host::Accounts => app.layer(map_request(async |request: Request| add_account(request))).layer(layer),
        Host::TakenConnection => app.layer(map_request(take_connection)).layer(layer),
        Host::Plain | Host::Nested | Host::OwnServer => app.layer(layer),
    };
    match host {
        Host::OwnServer => axum::serve(listener, app).await.unwrap(),
        _ => chat_axum::serve(listener, app, &chat, pending()).await.unwrap(),
    }
}

async fn change_status(mut response: Response) -> Response {
    *response.status_mut() = StatusCode::OK;
    response
}

async fn take_connection(mut request: Request) -> Request {
    request.extensions_mut().remove::<OnUpgrade>().unwrap();
    request
}

#[tokio::test]
async fn serve_keeps_connect_info() {
    let server = Server::start(quick_limits(), UpgradeMode::Hijack, |endpoint, listener| async move {
        let chat = endpoint.chat().clone();
        let peer = get(async |ConnectInfo(peer): ConnectInfo<SocketAddr>| peer.ip().to_string());
        let app = Router::new().route("/peer", peer).merge(routes(endpoint)).layer(UpgradeLayer::new());
        chat_axum::serve(listener, app, &chat, pending()).await.unwrap();
    });
    let server = server.await;
    assert_eq!(in_time(server.get("/peer").await.body(200)).await, b"127.0.0.1");
}

// The framework mode differs here. If this test fails, the difference no longer exists.

#[tokio::test(start_paused = true)]
async fn axum_shows_no_progress_before_all_bytes_are_taken() {
    for (mode, stays) in [(UpgradeMode::Hijack, true), (UpgradeMode::Framework, false)] {
        let chat = Chat::builder().limits(quick_limits()).build();
        let (lobby, clerk): (RoomName, _) = ("lobby".parse().unwrap(), User::guest("clerk").unwrap());
        let page = Text::new("x".repeat(4_096));
        for _ in 0..15 {
            chat.post(&lobby, &clerk, &page).await.unwrap();
        }
        let mut peer = Peer::on(start_in_memory(&chat, mode));
        let join = Frame::text(br#"{"type":"join","ref":"1","room":"lobby"}"#).encode();
        let history = Frame::text(br#"{"type":"history","ref":"2","room":"lobby"}"#).encode();
        peer.write(&[HEAD.as_bytes(), &join, &history].concat()).await;
        peer.assert_status(101).await;
        for expected in ["welcome", "joined"] {
            assert_eq!(peer.event().await["type"], expected);
        }
        assert_eq!(peer.read_slowly(15 * 4_096).await, stays, "{mode:?}");
    }
}

/// Serves one connection that holds a few bytes.
fn start_in_memory(chat: &Chat, mode: UpgradeMode) -> DuplexStream {
    let (ours, theirs) = duplex(4_096);
    let app = Router::new().merge(routes(Endpoint::new(chat.clone()).mode(mode))).layer(UpgradeLayer::new());
    tokio::spawn(
        Builder::new().serve_connection(TokioIo::new(ours), TowerToHyperService::new(app)).with_upgrades(),
    );
    theirs
}
