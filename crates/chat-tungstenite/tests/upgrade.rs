//! Failures between an accepted upgrade and its session, beyond `tests/conformance.rs`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::convert::Infallible;
use std::future::pending;
use std::net::SocketAddr;
use std::time::Duration;

use chat_adapter_tests::{Host, in_time, serve_tower};
use chat_core::{BodyError, Chat, Endpoint, Limits, Message};
use chat_tungstenite::{NotFound, Routes, UpgradeLayer, routes, serve};
use futures_util::{SinkExt, StreamExt};
use http::{HeaderValue, Request, Response, StatusCode};
use hyper::body::{Body, Incoming};
use serde_json::value::RawValue;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite};
use tower::util::MapResponse;
use tower::{Service, ServiceExt};

const HANDSHAKE: &str = "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

chat_adapter_tests::cases! {
    serve_host, Hijack in hijack;
    [
        changed_101_starts_no_session
        change_between_two_layers_starts_no_session
        chat_without_the_layer_refuses_each_upgrade
        taken_connection_refuses_the_upgrade
        host_keeps_its_routes
        host_keeps_its_own_server
        host_layer_hands_its_user_over
    ]
}

async fn serve_host(host: Host, endpoint: Endpoint, listener: TcpListener) {
    let chat = endpoint.chat().clone();
    let own = tower::service_fn(async |request: Request<Incoming>| {
        let is_hello = request.uri().path() == "/hello";
        let (status, body) = if is_hello { (StatusCode::OK, "hello") } else { (StatusCode::NOT_FOUND, "") };
        let mut response = Response::new(body.to_owned());
        *response.status_mut() = status;
        Ok::<_, Infallible>(response)
    });
    serve_tower(host, routes(endpoint).fallback(own), &chat, listener).await;
}

#[tokio::test]
async fn a_101_that_a_layer_replaces_starts_no_session() {
    let chat = chat();
    let service = changed(&chat, |response| {
        drop(response);
        let mut redirect = Response::new("elsewhere".to_owned());
        *redirect.status_mut() = StatusCode::FOUND;
        redirect
    });
    let address = start(&chat, UpgradeLayer::new().layer(service)).await;
    assert_eq!(ask(address, "").await.1, "500");
    closed(&chat).await;
}

#[tokio::test]
async fn a_layer_may_add_a_header_to_the_101() {
    let chat = chat();
    let service = changed(&chat, |mut response| {
        response.headers_mut().insert("x-served-by", HeaderValue::from_static("shop"));
        response
    });
    let address = start(&chat, UpgradeLayer::new().layer(service)).await;
    let mut client = connect(address).await;
    assert!(client.next().await.unwrap().unwrap().to_text().unwrap().contains("welcome"));
}

#[tokio::test]
async fn a_client_that_leaves_before_the_101_starts_no_session() {
    let chat = chat();
    let (accepted, mut was_accepted) = mpsc::channel(1);
    let inner = service(&chat);
    let slow = tower::service_fn(move |request| {
        let (mut inner, accepted) = (inner.clone(), accepted.clone());
        async move {
            let response = inner.call(request).await;
            accepted.send(()).await.unwrap();
            // For example a check of rights that takes longer than the client waits.
            pending::<()>().await;
            response
        }
    });
    let address = start(&chat, UpgradeLayer::new().layer(slow)).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("{HANDSHAKE}\r\n").as_bytes()).await.unwrap();
    in_time(was_accepted.recv()).await.unwrap();
    assert_eq!(chat.counts().connections, 1);
    drop(stream);
    closed(&chat).await;
}

#[tokio::test]
async fn an_upgrade_without_an_answer_times_out() {
    let chat = chat();
    let inner = service(&chat);
    let silent = tower::service_fn(move |request| {
        let mut inner = inner.clone();
        async move {
            let response = inner.call(request).await;
            pending::<()>().await;
            response
        }
    });
    let address = start(&chat, UpgradeLayer::new().layer(silent)).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("{HANDSHAKE}\r\n").as_bytes()).await.unwrap();
    in_time(async {
        while chat.counts().connections == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // The client is still there.
    closed(&chat).await;
}

#[tokio::test]
async fn a_panic_after_accepting_starts_no_session_and_the_server_continues() {
    let chat = chat();
    let inner = service(&chat);
    let broken = tower::service_fn(move |request: Request<Incoming>| {
        let mut inner = inner.clone();
        async move {
            let breaks = request.headers().contains_key("x-break");
            let response = inner.call(request).await;
            assert!(!breaks, "the panic of this test");
            response
        }
    });
    let address = start(&chat, UpgradeLayer::new().layer(broken)).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("{HANDSHAKE}x-break: 1\r\n\r\n").as_bytes()).await.unwrap();
    assert_eq!(read_to_end(&mut stream).await, "");
    closed(&chat).await;
    connect(address).await;
}

#[tokio::test]
async fn a_refused_client_that_ends_its_side_starts_no_session() {
    let chat = chat();
    let address = start(&chat, UpgradeLayer::new().layer(service(&chat))).await;
    let (mut stream, status) = ask(address, "Origin: http://elsewhere\r\n").await;
    assert_eq!(status, "403");
    stream.shutdown().await.unwrap();
    read_to_end(&mut stream).await;
    closed(&chat).await;
}

#[tokio::test]
async fn a_request_before_the_upgrade_is_answered_first_and_frames_behind_it_are_served() {
    let chat = chat();
    let address = start(&chat, UpgradeLayer::new().layer(service(&chat))).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let ping = [&[0x89, 0x85, 0, 0, 0, 0][..], b"early"].concat();
    let bytes = [b"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n", HANDSHAKE.as_bytes(), b"\r\n", &ping].concat();
    stream.write_all(&bytes).await.unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"\x8a\x05early") {
        assert_ne!(
            in_time(stream.read_buf(&mut seen)).await.unwrap(),
            0,
            "{}",
            String::from_utf8_lossy(&seen)
        );
    }
    let seen = String::from_utf8_lossy(&seen);
    let (not_found, upgrade) = (seen.find("HTTP/1.1 404"), seen.find("HTTP/1.1 101"));
    assert!(not_found == Some(0) && upgrade > not_found, "{seen}");
}

#[tokio::test]
async fn a_panic_in_the_hosts_message_closes_only_that_session_with_1011() {
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Bomb {}
    impl Message for Bomb {
        fn parse(body: &RawValue, _: &Limits) -> Result<Self, BodyError> {
            assert!(!body.get().contains("boom"), "the panic of this test");
            Ok(Self {})
        }
    }
    let chat = Chat::builder().messages::<Bomb>().build();
    let service = UpgradeLayer::new().layer(service(&chat));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let served = chat.clone();
    tokio::spawn(async move { serve(listener, service, &served, pending()).await });

    let mut other = connect(address).await;
    let mut victim = connect(address).await;
    for text in [r#"{"type":"join","room":"lobby"}"#, r#"{"type":"send","room":"lobby","body":{"boom":1}}"#] {
        victim.send(tungstenite::Message::text(text)).await.unwrap();
    }
    let code = loop {
        if let tungstenite::Message::Close(frame) = in_time(victim.next()).await.unwrap().unwrap() {
            break u16::from(frame.unwrap().code);
        }
    };
    assert_eq!(code, 1011);
    assert!(chat.members(&"lobby".parse().unwrap()).is_empty());
    other.send(tungstenite::Message::text(r#"{"type":"join","ref":"1","room":"lobby"}"#)).await.unwrap();
    in_time(other.next()).await.unwrap().unwrap();
    assert!(in_time(other.next()).await.unwrap().unwrap().to_text().unwrap().contains("joined"));
}

fn chat() -> Chat {
    Chat::builder()
        .limits(Limits::default().with(|limits| {
            limits.http.upgrade_timeout = Duration::from_millis(200);
        }))
        .build()
}

fn service(chat: &Chat) -> Routes<NotFound> {
    routes(Endpoint::new(chat.clone()))
}

type Answered = <Routes<NotFound> as Service<Request<Incoming>>>::Response;

/// The chat inside a layer that changes its responses.
fn changed<B, F>(chat: &Chat, change: F) -> MapResponse<Routes<NotFound>, F>
where
    F: Fn(Answered) -> Response<B> + Clone + Send + 'static,
{
    ServiceExt::<Request<Incoming>>::map_response(service(chat), change)
}

async fn start<S, B>(chat: &Chat, service: S) -> SocketAddr
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let chat = chat.clone();
    tokio::spawn(async move { serve(listener, service, &chat, pending()).await });
    address
}

/// Asks for an upgrade. Returns the connection and the status of the answer.
async fn ask(address: SocketAddr, headers: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("{HANDSHAKE}{headers}\r\n").as_bytes()).await.unwrap();
    let mut status = [0; 12];
    in_time(stream.read_exact(&mut status)).await.unwrap();
    (stream, String::from_utf8_lossy(&status[9..]).into_owned())
}

async fn connect(address: SocketAddr) -> WebSocketStream<TcpStream> {
    let stream = TcpStream::connect(address).await.unwrap();
    in_time(client_async(format!("ws://{address}/ws"), stream)).await.unwrap().0
}

async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut rest = Vec::new();
    in_time(stream.read_to_end(&mut rest)).await.unwrap();
    String::from_utf8_lossy(&rest).into_owned()
}

/// Waits until the chat has no connection and no session. It polls, because the chat does not report their end.
async fn closed(chat: &Chat) {
    in_time(async {
        while chat.counts().connections > 0 || chat.counts().sessions > 0 {
            sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}
