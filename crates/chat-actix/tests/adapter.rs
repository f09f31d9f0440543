//! Both modes in host services, and limits that actix itself lacks, beyond `tests/conformance.rs`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::future::pending;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::middleware::{Next, from_fn};
use actix_web::{App, Error, HttpMessage, HttpRequest, HttpResponse, HttpServer, rt, web};
use actix_ws::Message;
use chat_actix::{UpgradeLayer, routes, routes_with_extension};
use chat_adapter_tests::{Account, HEAD, Host, Peer, Server, in_time, quick_limits};
use chat_conformance::client::Frame;
use chat_core::{Endpoint, Limits, RoomName, Text, UpgradeMode, User};
use futures_util::StreamExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot};
use tokio::time::{sleep, timeout};

chat_adapter_tests::cases! {
    serve, Hijack in hijack, Framework in framework;
    [
        changed_101_starts_no_session
        change_between_two_layers_starts_no_session
        chat_without_the_layer_refuses_each_upgrade
        host_keeps_its_routes
        host_keeps_its_own_websockets
        nested_chat_is_below_its_prefix
        host_keeps_its_own_server
        host_layer_hands_its_user_over
        silent_handler_has_its_101_sent
    ]
}

/// Makes a test of each case for each mode.
macro_rules! in_both_modes {
    ($($name:ident)*) => {
        mod hijack_on_actix {
            $(#[tokio::test] async fn $name() { super::$name(super::UpgradeMode::Hijack).await; })*
        }
        mod framework_on_actix {
            $(#[tokio::test] async fn $name() { super::$name(super::UpgradeMode::Framework).await; })*
        }
    };
}

in_both_modes! {
    status_pages_are_beside_the_hosts_routes
    a_101_that_a_middleware_turns_into_an_error_starts_no_session
    the_end_of_a_connection_is_not_held_back
    a_peer_that_never_reads_is_dropped
    frames_behind_a_slow_upgrade_are_answered_in_order
}

async fn serve(host: Host, endpoint: Endpoint, listener: TcpListener) {
    let (chat, layer) = (endpoint.chat().clone(), UpgradeLayer::new());
    let app = move || {
        let endpoint = endpoint.clone();
        let own =
            App::new().route("/hello", web::get().to(async || "hello")).route("/echo", web::get().to(echo));
        own.configure(move |config| match host {
            Host::Nested => {
                config.service(web::scope("/api").configure(routes(endpoint)));
            }
            Host::Accounts => routes_with_extension::<Account>(endpoint)(config),
            _ => routes(endpoint)(config),
        })
    };
    match host {
        Host::NoLayer => chat_actix::serve(listener, app, &chat, pending()).await,
        Host::ChangedStatus => {
            let app = move || app().wrap(from_fn(change_status)).wrap(layer.clone());
            chat_actix::serve(listener, app, &chat, pending()).await
        }
        Host::LayerTwice => {
            let app = move || app().wrap(layer.clone()).wrap(from_fn(change_status)).wrap(layer.clone());
            chat_actix::serve(listener, app, &chat, pending()).await
        }
        Host::Accounts => {
            let app = move || app().wrap(from_fn(add_account)).wrap(layer.clone());
            chat_actix::serve(listener, app, &chat, pending()).await
        }
        Host::OwnServer => {
            let listener = listener.into_std().unwrap();
            HttpServer::new(move || app().wrap(layer.clone()))
                .workers(1)
                .listen(listener)
                .unwrap()
                .run()
                .await
        }
        _ => chat_actix::serve(listener, move || app().wrap(layer.clone()), &chat, pending()).await,
    }
    .unwrap();
}

async fn echo(request: HttpRequest, body: web::Payload) -> Result<HttpResponse, Error> {
    let (response, mut session, mut messages) = actix_ws::handle(&request, body)?;
    rt::spawn(async move {
        while let Some(Ok(Message::Text(text))) = messages.next().await {
            session.text(text).await.unwrap();
        }
    });
    Ok(response)
}

async fn change_status(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let mut response = next.call(request).await?;
    *response.response_mut().status_mut() = StatusCode::OK;
    Ok(response)
}

async fn add_account(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let account = request.headers().get("x-account").map(|id| Account::of_header(id.as_bytes()));
    if let Some(account) = account {
        request.extensions_mut().insert(account);
    }
    next.call(request).await
}

async fn fail(request: ServiceRequest, next: Next<impl MessageBody>) -> Result<ServiceResponse, Error> {
    next.call(request).await?;
    Err(actix_web::error::ErrorForbidden("no"))
}

async fn status_pages_are_beside_the_hosts_routes(mode: UpgradeMode) {
    let serve = |endpoint: Endpoint, listener| serve(Host::Plain, endpoint.with_status_pages(), listener);
    let server = Server::start(Limits::default(), mode, serve).await;
    assert_eq!(server.get("/hello").await.body(200).await, b"hello");
    assert_eq!(server.get("/healthz").await.body(200).await, b"ok\n");
    let head = server.get("/").await.assert_status(200).await;
    assert!(head.contains("content-type: text/html"), "{head}");
    let put = b"PUT /nothing/here HTTP/1.1\r\nHost: localhost\r\n\r\n";
    server.send(put).await.assert_status(404).await;
}

async fn a_101_that_a_middleware_turns_into_an_error_starts_no_session(mode: UpgradeMode) {
    let server = Server::start(quick_limits(), mode, |endpoint: Endpoint, listener| async move {
        let chat = endpoint.chat().clone();
        let app = move || {
            App::new().configure(routes(endpoint.clone())).wrap(from_fn(fail)).wrap(UpgradeLayer::new())
        };
        chat_actix::serve(listener, app, &chat, pending()).await.unwrap();
    });
    let server = server.await;
    server.send(HEAD).await.assert_refused(500, "internal_error").await;
    server.closed().await;
}

async fn frames_behind_a_slow_upgrade_are_answered_in_order(mode: UpgradeMode) {
    let (begun, released) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let pause = [Arc::clone(&begun), Arc::clone(&released)];
    let server = Server::start(Limits::default(), mode, |endpoint, listener| async move {
        let chat = endpoint.chat().clone();
        let app = move || {
            let [begun, released] = pause.clone();
            let slow = from_fn(move |request: ServiceRequest, next: Next<BoxBody>| {
                let (begun, released) = (Arc::clone(&begun), Arc::clone(&released));
                async move {
                    begun.notify_one();
                    released.notified().await;
                    next.call(request).await
                }
            });
            App::new().configure(routes(endpoint.clone())).wrap(slow).wrap(UpgradeLayer::new())
        };
        chat_actix::serve(listener, app, &chat, pending()).await.unwrap();
    });
    let server = server.await;
    let fill = "x".repeat(15_000);
    let ping = |n: usize| Frame::text(format!(r#"{{"type":"ping","ref":"{n}","fill":"{fill}"}}"#)).encode();
    let pings = |refs: Range<usize>| refs.flat_map(ping).collect::<Vec<u8>>();
    let mut client = server.send([HEAD.as_bytes(), &pings(0..8)].concat()).await;
    in_time(begun.notified()).await;
    // Meanwhile actix fills the payload and its own buffer.
    client.write(&pings(8..12)).await;
    released.notify_one();
    client.assert_status(101).await;
    assert_eq!(client.event().await["type"], "welcome");
    for n in 0..12 {
        assert_eq!(in_time(client.event()).await["ref"], n.to_string());
    }
}

async fn the_end_of_a_connection_is_not_held_back(mode: UpgradeMode) {
    let (stop, stopped) = oneshot::channel::<()>();
    let (ended, has_ended) = oneshot::channel();
    let server = Server::start(Limits::default(), mode, |endpoint, listener| async move {
        let chat = endpoint.chat().clone();
        let app = move || App::new().configure(routes(endpoint.clone())).wrap(UpgradeLayer::new());
        let stopped = async {
            let _dropped = stopped.await;
        };
        ended.send(chat_actix::serve(listener, app, &chat, stopped).await).unwrap();
    });
    let server = server.await;
    // actix by itself would wait for a second each time.
    let clients = async {
        for _ in 0..60 {
            let mut client = server.connect().await;
            client.write(&Frame::close(4321, "").encode()).await;
            client.rest().await;
        }
    };
    timeout(Duration::from_secs(45), clients).await.expect("each connection ends at once");
    drop(stop);
    in_time(has_ended).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_request_that_the_host_keeps_does_not_keep_the_socket() {
    let limits = Limits::default().with(|limits| limits.http.idle_timeout = Duration::from_secs(1));
    let server = Server::start(limits, UpgradeMode::Hijack, |endpoint, listener| async move {
        let chat = endpoint.chat().clone();
        let keep = async |request: HttpRequest| {
            rt::spawn(async move {
                let _kept = request;
                pending::<()>().await;
            });
            "kept"
        };
        let app = move || App::new().route("/keep", web::get().to(keep)).wrap(UpgradeLayer::new());
        chat_actix::serve(listener, app, &chat, pending()).await.unwrap();
    });
    let mut client = server.await.get("/keep").await;
    assert_eq!(client.body(200).await, b"kept");
    in_time(client.rest()).await;
}

async fn a_peer_that_never_reads_is_dropped(mode: UpgradeMode) {
    let limits = Limits::default().with(|limits| {
        limits.connection.write_timeout = Duration::from_secs(1);
        limits.connection.close_timeout = Duration::from_millis(100);
    });
    let server =
        Server::start(limits, mode, |endpoint, listener| serve(Host::Plain, endpoint, listener)).await;
    let join = Frame::text(r#"{"type":"join","room":"lobby"}"#).encode();
    let mut client: Peer<TcpStream> = server.send([HEAD.as_bytes(), &join].concat()).await;
    let lobby: RoomName = "lobby".parse().unwrap();
    while server.chat.members(&lobby).is_empty() {
        sleep(Duration::from_millis(1)).await;
    }

    let user = User::new("service:flood", "Flood").unwrap();
    let body = Text::new("x".repeat(4_000));
    let flood = async {
        while server.chat.counts().connections > 0 {
            server.chat.post(&lobby, &user, &body).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(30), flood).await.expect("the session ends");

    // actix would keep the socket as long as the peer sends.
    let sending = async { while client.try_write(&join).await.is_ok() {} };
    let gone = async {
        while is_established(server.address.port()) {
            sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        gone = timeout(Duration::from_secs(30), gone) => gone.expect("the connection is closed"),
        () = sending => {}
    }
}

/// Returns true if the kernel has a connection that was accepted at this port.
fn is_established(port: u16) -> bool {
    let local = format!(":{port:04X}");
    let connections = std::fs::read_to_string("/proc/net/tcp").unwrap();
    connections.lines().any(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        fields[1].ends_with(&local) && fields[3] == "01"
    })
}
