//! Failures between an accepted upgrade and its session, beyond `tests/conformance.rs`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use chat_adapter_tests::{HEAD, Host, Server, in_time, serve_tower};
use chat_conformance::client::Frame;
use chat_core::{BodyError, Chat, Endpoint, Limits, Message};
use chat_tungstenite::{NotFound, Routes, UpgradeLayer, routes, serve};
use http::{HeaderValue, Request, Response, StatusCode};
use hyper::body::{Body, Bytes, Incoming};
use serde_json::value::RawValue;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tower::util::MapResponse;
use tower::{Service, ServiceExt};

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
        silent_handler_has_its_101_sent
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
    let server = start(chat, service).await;
    in_time(server.send(HEAD).await.assert_status(500)).await;
    server.closed().await;
}

#[tokio::test]
async fn a_layer_may_add_a_header_to_the_101() {
    let chat = chat();
    let service = changed(&chat, |mut response| {
        response.headers_mut().insert("x-served-by", HeaderValue::from_static("shop"));
        response
    });
    let server = start(chat, service).await;
    in_time(server.connect()).await;
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
    let server = start(chat, slow).await;
    let client = server.send(HEAD).await;
    in_time(was_accepted.recv()).await.unwrap();
    assert_eq!(server.chat.counts().connections, 1);
    drop(client);
    server.closed().await;
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
    let server = start(chat, silent).await;
    let _client = server.send(HEAD).await;
    in_time(async {
        while server.chat.counts().connections == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // The client is still there.
    server.closed().await;
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
    let server = start(chat, broken).await;
    let mut client = server.send(HEAD.replace("Host:", "X-Break: 1\r\nHost:")).await;
    assert_eq!(in_time(client.rest()).await, b"");
    server.closed().await;
    in_time(server.connect()).await;
}

#[tokio::test]
async fn a_refused_client_that_ends_its_side_starts_no_session() {
    let chat = chat();
    let inner = service(&chat);
    let server = start(chat, inner).await;
    let mut client = server.send(HEAD.replace("Host:", "Origin: http://elsewhere\r\nHost:")).await;
    in_time(client.assert_status(403)).await;
    client.end_writing().await;
    in_time(client.rest()).await;
    server.closed().await;
}

#[tokio::test]
async fn a_request_before_the_upgrade_is_answered_first_and_frames_behind_it_are_served() {
    let chat = chat();
    let inner = service(&chat);
    let server = start(chat, inner).await;
    let nothing = b"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut client = server.send([nothing, HEAD.as_bytes(), &Frame::ping("early").encode()].concat()).await;
    in_time(async {
        client.body(404).await;
        client.assert_status(101).await;
        while client.frame().await != (0x8a, b"early".to_vec()) {}
    })
    .await;
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
    let inner = service(&chat);
    let server = start(chat, inner).await;
    let (mut other, mut victim) = (server.connect().await, server.connect().await);
    victim.text(r#"{"type":"join","room":"lobby"}"#).await;
    victim.text(r#"{"type":"send","room":"lobby","body":{"boom":1}}"#).await;
    assert_eq!(in_time(victim.close_code()).await, 1011);
    assert!(server.chat.members(&"lobby".parse().unwrap()).is_empty());
    other.text(r#"{"type":"join","ref":"1","room":"lobby"}"#).await;
    assert_eq!(in_time(other.event()).await["type"], "joined");
}

fn chat() -> Chat {
    Chat::builder()
        .limits(Limits::default().with(|limits| limits.http.upgrade_timeout = Duration::from_millis(200)))
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

/// Serves this service inside the adapter's layer.
async fn start<S, B>(chat: Chat, service: S) -> Server
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let service = UpgradeLayer::new().layer(service);
    Server::start_chat(chat, |chat, listener| async move {
        serve(listener, service, &chat, pending()).await.unwrap();
    })
    .await
}
