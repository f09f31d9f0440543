//! actix's two mechanisms in services of other people, and what actix itself would not do: what `tests/conformance.rs`
//! does not see.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::middleware::{Next, from_fn};
use actix_web::{App, Error, web};
use chat_actix::{mount, outermost, routes, serve};
use chat_conformance::client::Frame;
use chat_core::{Chat, Endpoint, Limits, Mechanism, RoomName, Text, User};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

macro_rules! with_both {
    ($($name:ident)*) => {
        mod hijack {
            $(#[tokio::test] async fn $name() { super::$name(super::Mechanism::Hijack).await; })*
        }
        mod context {
            $(#[tokio::test] async fn $name() { super::$name(super::Mechanism::Context).await; })*
        }
    };
}

with_both! {
    the_hosts_own_routes_answer_beside_the_site
    a_101_that_was_rewritten_starts_no_session
    a_101_that_became_an_error_starts_no_session
    routes_without_the_outermost_layer_refuse
    the_end_of_a_connection_is_not_held_back
    a_peer_that_never_reads_is_dropped
}

struct Server {
    address: SocketAddr,
    chat: Chat,
    stop: oneshot::Sender<()>,
    served: JoinHandle<io::Result<()>>,
}

/// The app of most cases: the chat and a route of the host's.
macro_rules! host {
    ($endpoint:ident, $mechanism:ident) => {
        move || {
            let own = App::new().route("/own", web::get().to(async || "own"));
            mount(own, $endpoint.clone(), $mechanism)
        }
    };
}

/// Serves the app that `$app` makes of an endpoint, until the server is dropped.
macro_rules! start {
    ($limits:expr, |$endpoint:ident| $app:expr) => {{
        let chat = Chat::builder().limits($limits).build();
        let limits = chat.limits().clone();
        let $endpoint = Endpoint::new(chat.clone()).with_site();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let listener = listener.into_std().unwrap();
        let (stop, stopped) = oneshot::channel();
        let app = $app;
        let served = tokio::spawn(async move {
            let stopped = async {
                let _dropped = stopped.await;
            };
            serve(listener, app, &limits, stopped).await
        });
        Server { address, chat, stop, served }
    }};
}

async fn server(mechanism: Mechanism) -> Server {
    start!(Limits::default(), |endpoint| host!(endpoint, mechanism))
}

impl Server {
    /// Upgrades.
    async fn connect(&self) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(&handshake()).await.unwrap();
        assert!(head(&mut stream).await.starts_with("HTTP/1.1 101 "));
        stream
    }

    async fn http(&self, request: &[u8]) -> (String, Vec<u8>) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request).await.unwrap();
        let head = head(&mut stream).await;
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.unwrap_or("0").parse().unwrap()];
        stream.read_exact(&mut body).await.unwrap();
        (head, body)
    }

    async fn refused(&self, request: &[u8], status: &str, code: &str) {
        let (head, body) = self.http(request).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        assert!(head.contains("content-type: application/json\r\n"), "{head}");
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["error"]["code"], code);
    }

    async fn deserted(&self) {
        let deserted = async {
            while self.chat.counts().connections > 0 {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(Duration::from_secs(30), deserted).await.expect("a connection is left");
        assert_eq!(self.chat.counts().sessions, 0);
    }
}

fn handshake() -> Vec<u8> {
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
      Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        .to_vec()
}

async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

async fn the_hosts_own_routes_answer_beside_the_site(mechanism: Mechanism) {
    let server = server(mechanism).await;
    let (head, body) = server.http(b"GET /own HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200 ") && body == b"own", "{head}");
    let (head, body) = server.http(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200 ") && body == b"ok\n", "{head}");
    let (head, _) = server.http(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert!(head.contains("content-type: text/html"), "{head}");
    server.refused(b"PUT /nothing/here HTTP/1.1\r\nHost: localhost\r\n\r\n", "404", "not_found").await;
}

async fn rewrite(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let mut response = next.call(request).await?;
    *response.response_mut().status_mut() = StatusCode::OK;
    Ok(response)
}

async fn a_101_that_was_rewritten_starts_no_session(mechanism: Mechanism) {
    let server = start!(Limits::default(), |endpoint| move || {
        let chat = App::new().service(routes(endpoint.clone(), mechanism));
        chat.wrap(from_fn(rewrite)).wrap(outermost())
    });
    server.refused(&handshake(), "500", "internal_error").await;
    server.deserted().await;
}

async fn fail(request: ServiceRequest, next: Next<impl MessageBody>) -> Result<ServiceResponse, Error> {
    next.call(request).await?;
    Err(actix_web::error::ErrorForbidden("no"))
}

async fn a_101_that_became_an_error_starts_no_session(mechanism: Mechanism) {
    let server = start!(Limits::default(), |endpoint| move || {
        let chat = App::new().service(routes(endpoint.clone(), mechanism));
        chat.wrap(from_fn(fail)).wrap(outermost())
    });
    server.refused(&handshake(), "500", "internal_error").await;
    server.deserted().await;
}

async fn routes_without_the_outermost_layer_refuse(mechanism: Mechanism) {
    let server = start!(Limits::default(), |endpoint| move || {
        App::new().service(routes(endpoint.clone(), mechanism))
    });
    server.refused(&handshake(), "500", "internal_error").await;
    assert_eq!(server.chat.counts().connections, 0);
}

async fn the_end_of_a_connection_is_not_held_back(mechanism: Mechanism) {
    let server = server(mechanism).await;
    // actix by itself would wait for a second each time.
    let ended = async {
        for _ in 0..60 {
            let mut client = server.connect().await;
            client.write_all(&Frame::close(4321, "").encode()).await.unwrap();
            client.read_to_end(&mut Vec::new()).await.unwrap();
        }
    };
    timeout(Duration::from_secs(45), ended).await.expect("each end takes its time");
    drop(server.stop);
    server.served.await.unwrap().unwrap();
}

async fn a_peer_that_never_reads_is_dropped(mechanism: Mechanism) {
    let limits = Limits::default().with(|limits| {
        limits.connection.write_timeout = Duration::from_secs(1);
        limits.connection.close_timeout = Duration::from_millis(100);
    });
    let server = start!(limits, |endpoint| host!(endpoint, mechanism));
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut client = socket.connect(server.address).await.unwrap();
    let join = Frame::text(r#"{"type":"join","room":"lobby"}"#).encode();
    client.write_all(&[&handshake()[..], &join].concat()).await.unwrap();
    let lobby: RoomName = "lobby".parse().unwrap();
    while server.chat.members(&lobby).is_empty() {
        sleep(Duration::from_millis(1)).await;
    }

    let user = User::new("service:flood", "Flood").unwrap();
    let body = Text::new("x".repeat(4_000));
    let flood = async {
        while server.chat.counts().connections > 0 {
            server.chat.post(&lobby, &user, &body, None).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(30), flood).await.expect("it is still there");

    // actix would keep the socket, whatever the peer goes on sending.
    let sending = async { while client.write_all(&join).await.is_ok() {} };
    let gone = async {
        while is_established(server.address.port()) {
            sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        gone = timeout(Duration::from_secs(30), gone) => gone.expect("the connection is still open"),
        () = sending => {}
    }
}

/// Whether the kernel has a connection that was accepted at this port.
fn is_established(port: u16) -> bool {
    let local = format!(":{port:04X}");
    let connections = std::fs::read_to_string("/proc/net/tcp").unwrap();
    connections.lines().any(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        fields[1].ends_with(&local) && fields[3] == "01"
    })
}
