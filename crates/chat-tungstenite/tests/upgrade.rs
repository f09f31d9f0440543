//! What can go wrong between an accepted upgrade and its session, where the types cannot forbid it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::convert::Infallible;
use std::future::pending;
use std::net::SocketAddr;
use std::time::Duration;

use chat_core::{BodyError, Chat, Endpoint, Limits, Message, Text};
use chat_tungstenite::{NotFound, Route, outermost, route, serve};
use futures_util::{SinkExt, StreamExt};
use http::{HeaderValue, Request, Response, StatusCode};
use hyper::body::{Body, Incoming};
use serde_json::value::RawValue;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite};
use tower::util::MapResponse;
use tower::{Service, ServiceExt};

const HANDSHAKE: &str = "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

#[tokio::test]
async fn a_layer_that_changes_the_101_to_a_200_gets_a_500_sent_and_no_session() {
    let chat = chat();
    let service = changed(&chat, |mut response| {
        *response.status_mut() = StatusCode::OK;
        response
    });
    let address = start(&chat, outermost(service)).await;
    let (mut stream, status) = ask(address, "").await;
    assert_eq!(status, "500");
    deserted(&chat).await;
    // A client that ends its side of a refused request gets no session for that either.
    stream.shutdown().await.unwrap();
    read_to_end(&mut stream).await;
    deserted(&chat).await;
}

#[tokio::test]
async fn a_layer_that_answers_something_else_altogether_leaves_no_session() {
    let chat = chat();
    let service = changed(&chat, |response| {
        drop(response);
        let mut redirect = Response::new("elsewhere".to_owned());
        *redirect.status_mut() = StatusCode::FOUND;
        redirect
    });
    let address = start(&chat, outermost(service)).await;
    assert_eq!(ask(address, "").await.1, "500");
    deserted(&chat).await;
}

#[tokio::test]
async fn a_layer_that_adds_a_header_to_the_101_is_welcome() {
    let chat = chat();
    let service = changed(&chat, |mut response| {
        response.headers_mut().insert("x-served-by", HeaderValue::from_static("shop"));
        response
    });
    let address = start(&chat, outermost(service)).await;
    let mut client = connect(address).await;
    assert!(client.next().await.unwrap().unwrap().to_text().unwrap().contains("welcome"));
}

#[tokio::test]
async fn a_client_that_is_gone_before_the_101_leaves_no_session() {
    let chat = chat();
    let (accepted, mut was_accepted) = mpsc::channel(1);
    let inner = service(&chat);
    let slow = tower::service_fn(move |request| {
        let (mut inner, accepted) = (inner.clone(), accepted.clone());
        async move {
            let response = inner.call(request).await;
            accepted.send(()).await.unwrap();
            // An authorisation, say, that takes longer than the client waits.
            pending::<()>().await;
            response
        }
    });
    let address = start(&chat, outermost(slow)).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("{HANDSHAKE}\r\n").as_bytes()).await.unwrap();
    in_time(was_accepted.recv()).await.unwrap();
    assert_eq!(chat.counts().connections, 1);
    drop(stream);
    deserted(&chat).await;
}

#[tokio::test]
async fn an_upgrade_that_is_never_answered_is_given_up() {
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
    let address = start(&chat, outermost(silent)).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("{HANDSHAKE}\r\n").as_bytes()).await.unwrap();
    in_time(async {
        while chat.counts().connections == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // The client is still there.
    deserted(&chat).await;
}

#[tokio::test]
async fn a_panic_after_accepting_leaves_no_session_and_the_server_lives() {
    let chat = chat();
    let inner = service(&chat);
    let broken = tower::service_fn(move |request: Request<Incoming>| {
        let mut inner = inner.clone();
        async move {
            let breaks = request.headers().contains_key("x-break");
            let response = inner.call(request).await;
            assert!(!breaks, "as the test wants it");
            response
        }
    });
    let address = start(&chat, outermost(broken)).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("{HANDSHAKE}x-break: 1\r\n\r\n").as_bytes()).await.unwrap();
    assert_eq!(read_to_end(&mut stream).await, "");
    deserted(&chat).await;
    connect(address).await;
}

#[tokio::test]
async fn a_refused_client_that_ends_its_side_gets_no_session() {
    let chat = chat();
    let address = start(&chat, outermost(service(&chat))).await;
    let (mut stream, status) = ask(address, "Origin: http://elsewhere\r\n").await;
    assert_eq!(status, "403");
    stream.shutdown().await.unwrap();
    read_to_end(&mut stream).await;
    deserted(&chat).await;
}

#[tokio::test]
async fn without_the_outermost_layer_every_upgrade_is_refused() {
    let chat = chat();
    let address = start(&chat, service(&chat)).await;
    assert_eq!(ask(address, "").await.1, "500");
    deserted(&chat).await;
}

#[tokio::test]
async fn a_request_ahead_of_the_upgrade_is_answered_first_and_frames_behind_it_are_served() {
    let chat = chat();
    let address = start(&chat, outermost(service(&chat))).await;
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
async fn a_panic_in_the_hosts_own_message_closes_that_session_with_1011_and_no_other() {
    struct Bomb;
    impl Message for Bomb {
        fn parse(body: &RawValue, _: &Limits) -> Result<Self, BodyError> {
            assert!(!body.get().contains("boom"), "as the test wants it");
            Ok(Self)
        }
        fn to_json(&self) -> String {
            "{}".to_owned()
        }
        fn kind(&self) -> &'static str {
            "bomb"
        }
    }
    let chat: Chat<Bomb> = Chat::builder().build();
    let service = chat_tungstenite::mount(Endpoint::new(chat.clone()), NotFound);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let limits = chat.limits().clone();
    tokio::spawn(async move { serve(listener, service, &limits, pending()).await });

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

fn service(chat: &Chat) -> Route<Text, NotFound> {
    route(Endpoint::new(chat.clone()), NotFound)
}

type Answered = <Route<Text, NotFound> as Service<Request<Incoming>>>::Response;

/// The chat inside a layer that changes its responses.
fn changed<B, F>(chat: &Chat, change: F) -> MapResponse<Route<Text, NotFound>, F>
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
    let limits = chat.limits().clone();
    tokio::spawn(async move { serve(listener, service, &limits, pending()).await });
    address
}

/// Asks for an upgrade; the connection, and the status of the answer.
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

/// Nothing tells when a connection is gone, so this looks again and again.
async fn deserted(chat: &Chat) {
    in_time(async {
        while chat.counts().connections > 0 || chat.counts().sessions > 0 {
            sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

async fn in_time<T>(what: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(30), what).await.unwrap()
}
