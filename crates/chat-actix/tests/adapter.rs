//! The adapter on real sockets, each case with both mechanisms.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::middleware::{Next, from_fn};
use actix_web::{App, Error, web};
use chat_actix::{mount, outermost, routes, serve};
use chat_core::{Chat, Endpoint, Limits, Mechanism, RoomName, Text, User};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

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
    a_message_goes_round
    a_drain_closes_with_1012
    the_clients_close_is_echoed_and_the_connection_ends
    a_ping_is_answered
    a_frame_in_the_packet_of_the_request_is_served
    a_fragmented_message_of_exactly_the_limit_is_served
    what_came_before_a_half_close_is_answered
    what_came_before_a_breach_is_answered
    a_frame_that_announces_a_tebibyte_is_refused_at_its_header
    a_message_over_the_limit_is_refused_and_its_sender_can_read_why
    text_that_is_not_utf_8_is_refused
    refusals_have_a_json_body
    the_hosts_own_routes_answer_beside_the_site
    a_101_that_was_rewritten_starts_no_session
    a_101_that_became_an_error_starts_no_session
    routes_without_the_outermost_layer_refuse
    a_peer_that_goes_leaves_nothing_behind
    a_peer_that_never_reads_is_dropped
}

type Client = WebSocketStream<MaybeTlsStream<TcpStream>>;

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
    async fn client(&self) -> Client {
        let mut request = format!("ws://{}/ws", self.address).into_client_request().unwrap();
        let subprotocol = "chat.v1".parse().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", subprotocol);
        let (mut client, response) = connect_async(request).await.unwrap();
        assert_eq!(response.headers()["sec-websocket-protocol"], "chat.v1");
        assert_eq!(response.headers()["connection"], "upgrade");
        assert_eq!(event(&mut client).await["type"], "welcome");
        client
    }

    async fn raw(&self, early: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request = [&handshake("")[..], early].concat();
        stream.write_all(&request).await.unwrap();
        assert!(head(&mut stream).await.starts_with("HTTP/1.1 101 "));
        let (opcode, welcome) = frame(&mut stream).await;
        assert!(opcode == 1 && welcome.starts_with(br#"{"type":"welcome""#));
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
        timeout(Duration::from_secs(5), deserted).await.expect("a connection is left");
        assert_eq!(self.chat.counts().sessions, 0);
    }
}

fn handshake(more: &str) -> Vec<u8> {
    format!(
        "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
    )
    .into_bytes()
}

async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// A client's frame, masked with zeros.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        short @ ..126 => frame.push(0x80 | u8::try_from(short).unwrap()),
        long => {
            frame.push(0x80 | 127);
            frame.extend((long as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

async fn frame(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let opcode = stream.read_u8().await.unwrap() & 0x0f;
    let length = match stream.read_u8().await.unwrap() {
        126 => usize::from(stream.read_u16().await.unwrap()),
        127 => usize::try_from(stream.read_u64().await.unwrap()).unwrap(),
        short => usize::from(short),
    };
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).await.unwrap();
    (opcode, payload)
}

/// Reads the reply to a `ping` command.
async fn pong(stream: &mut TcpStream, reference: &str) {
    let (opcode, payload) = frame(stream).await;
    let event: Value = serde_json::from_slice(&payload).unwrap();
    assert_eq!((opcode, event), (1, json!({"type": "pong", "ref": reference})));
}

/// Reads a `closing` event, the close frame, and the end.
async fn closed(stream: &mut TcpStream, code: u16) {
    let (opcode, closing) = frame(stream).await;
    let closing: Value = serde_json::from_slice(&closing).unwrap();
    assert_eq!((opcode, &closing["type"], &closing["code"]), (1, &json!("closing"), &json!(code)));
    let (opcode, close) = frame(stream).await;
    assert_eq!((opcode, &close[..2]), (8, &code.to_be_bytes()[..]));
    let end = timeout(Duration::from_secs(2), stream.read(&mut [0])).await;
    assert_eq!(end.expect("the connection does not end").unwrap(), 0);
}

fn text(value: &Value) -> Message {
    Message::text(value.to_string())
}

async fn event(client: &mut Client) -> Value {
    let message = client.next().await.unwrap().unwrap();
    serde_json::from_str(message.to_text().unwrap()).unwrap()
}

const PING: &[u8] = br#"{"type":"ping","ref":"1"}"#;

async fn a_message_goes_round(mechanism: Mechanism) {
    let server = server(mechanism).await;
    let mut client = server.client().await;
    client.send(text(&json!({"type": "join", "ref": "1", "room": "lobby"}))).await.unwrap();
    assert_eq!(event(&mut client).await["type"], "joined");
    let send = json!({"type": "send", "ref": "2", "room": "lobby", "body": {"text": "hi, 로비"}});
    client.send(text(&send)).await.unwrap();
    let events = [event(&mut client).await, event(&mut client).await];
    let find = |kind: &str| events.iter().find(|event| event["type"] == kind).unwrap();
    assert_eq!(find("sent")["seq"], 1);
    assert_eq!(find("message")["body"]["text"], "hi, 로비");
}

async fn a_drain_closes_with_1012(mechanism: Mechanism) {
    let server = server(mechanism).await;
    let mut client = server.client().await;
    let began = Instant::now();
    let (drained, close) = tokio::join!(server.chat.drain(Duration::from_secs(5)), async {
        assert_eq!(event(&mut client).await["code"], 1012);
        let close = client.next().await.unwrap().unwrap();
        assert!(client.next().await.is_none());
        close
    });
    assert!(matches!(close, Message::Close(Some(frame)) if u16::from(frame.code) == 1012));
    assert_eq!((drained.connections, drained.abandoned), (1, 0));
    assert!(began.elapsed() < Duration::from_millis(900), "the end was held back");
    server.refused(&handshake(""), "503", "draining").await;
    drop(server.stop);
    let served = timeout(Duration::from_secs(5), server.served).await;
    served.expect("serving goes on").unwrap().unwrap();
}

async fn the_clients_close_is_echoed_and_the_connection_ends(mechanism: Mechanism) {
    let server = server(mechanism).await;
    let mut client = server.client().await;
    let began = Instant::now();
    let frame = CloseFrame { code: 4321.into(), reason: "enough".into() };
    client.close(Some(frame)).await.unwrap();
    let echo = client.next().await.unwrap().unwrap();
    assert!(matches!(echo, Message::Close(Some(frame)) if u16::from(frame.code) == 4321));
    assert!(client.next().await.is_none());
    assert!(began.elapsed() < Duration::from_millis(900), "the end was held back");
    server.deserted().await;
    // Without a code.
    let mut raw = server.raw(&[]).await;
    raw.write_all(&masked(0x88, &[])).await.unwrap();
    assert_eq!(frame_and_end(&mut raw).await, (8, Vec::new()));
}

async fn frame_and_end(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let last = frame(stream).await;
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    last
}

async fn a_ping_is_answered(mechanism: Mechanism) {
    let server = server(mechanism).await;
    let mut client = server.raw(&[]).await;
    let pings: Vec<u8> = (0..100).flat_map(|n| masked(0x89, &[n; 5])).collect();
    client.write_all(&pings).await.unwrap();
    for n in 0..100 {
        assert_eq!(frame(&mut client).await, (10, vec![n; 5]));
    }
}

async fn a_frame_in_the_packet_of_the_request_is_served(mechanism: Mechanism) {
    let server = server(mechanism).await;
    let mut client = server.raw(&masked(0x81, PING)).await;
    pong(&mut client, "1").await;
}

async fn a_fragmented_message_of_exactly_the_limit_is_served(mechanism: Mechanism) {
    let server = server(mechanism).await;
    let mut client = server.raw(&[]).await;
    let mut message = PING.to_vec();
    message.resize(Limits::default().max_frame, b' ');
    let frames = [
        masked(0x01, &message[..10]),
        masked(0x89, b"between"),
        masked(0x00, &message[10..10]),
        masked(0x80, &message[10..]),
        masked(0x81, &message),
    ];
    for byte in frames.concat().chunks(1_000) {
        client.write_all(byte).await.unwrap();
    }
    assert_eq!(frame(&mut client).await, (10, b"between".to_vec()));
    pong(&mut client, "1").await;
    pong(&mut client, "1").await;
}

async fn what_came_before_a_half_close_is_answered(mechanism: Mechanism) {
    let server = server(mechanism).await;
    let mut client = server.raw(&[]).await;
    client.write_all(&masked(0x81, PING).repeat(3)).await.unwrap();
    client.shutdown().await.unwrap();
    for _ in 0..3 {
        pong(&mut client, "1").await;
    }
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    server.deserted().await;
}

async fn what_came_before_a_breach_is_answered(mechanism: Mechanism) {
    let server = server(mechanism).await;
    for breach in [&[0xf1, 0x80, 0, 0, 0, 0][..], &[0x81, 0x01, b'x'], &masked(0x83, b""), &masked(0x80, b"")]
    {
        let mut client = server.raw(&[]).await;
        let frames = [&masked(0x81, PING)[..], &masked(0x89, b"p"), breach, &masked(0x81, PING)].concat();
        client.write_all(&frames).await.unwrap();
        let first = [frame(&mut client).await, frame(&mut client).await];
        assert!(first.contains(&(10, b"p".to_vec())), "{breach:?}");
        assert!(first.contains(&(1, br#"{"type":"pong","ref":"1"}"#.to_vec())), "{breach:?}");
        closed(&mut client, 1002).await;
    }
    server.deserted().await;
}

async fn a_frame_that_announces_a_tebibyte_is_refused_at_its_header(mechanism: Mechanism) {
    let server = server(mechanism).await;
    let mut client = server.raw(&[]).await;
    let header = [&[0x82, 0xff][..], &(1_u64 << 40).to_be_bytes(), &[0; 4]].concat();
    client.write_all(&header).await.unwrap();
    closed(&mut client, 1009).await;
    server.deserted().await;
}

async fn a_message_over_the_limit_is_refused_and_its_sender_can_read_why(mechanism: Mechanism) {
    let server = server(mechanism).await;
    let half = vec![b' '; Limits::default().max_frame / 2 + 1];
    for message in [[masked(0x01, &half), masked(0x80, &half)].concat(), masked(0x81, &half.repeat(10))] {
        let mut client = server.raw(&[]).await;
        client.write_all(&message).await.unwrap();
        // Still in the middle of sending when the close comes.
        client.write_all(&message).await.unwrap();
        closed(&mut client, 1009).await;
    }
    server.deserted().await;
}

async fn text_that_is_not_utf_8_is_refused(mechanism: Mechanism) {
    let server = server(mechanism).await;
    let fragmented = [masked(0x01, b"\xff"), masked(0x80, b"")].concat();
    for message in [masked(0x81, b"\xff"), fragmented] {
        let mut client = server.raw(&message).await;
        closed(&mut client, 1007).await;
    }
}

async fn refusals_have_a_json_body(mechanism: Mechanism) {
    let server = server(mechanism).await;
    server.refused(b"GET /ws HTTP/1.1\r\nHost: localhost\r\n\r\n", "426", "upgrade_required").await;
    server.refused(b"DELETE /ws HTTP/1.1\r\nHost: localhost\r\n\r\n", "405", "method_not_allowed").await;
    server.refused(&handshake("Origin: https://elsewhere.example\r\n"), "403", "origin_forbidden").await;
    server.refused(&handshake("Sec-WebSocket-Protocol: other\r\n"), "400", "unsupported_subprotocol").await;
    assert_eq!(server.chat.counts().connections, 0);
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
    server.refused(&handshake(""), "500", "internal_error").await;
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
    server.refused(&handshake(""), "500", "internal_error").await;
    server.deserted().await;
}

async fn routes_without_the_outermost_layer_refuse(mechanism: Mechanism) {
    let server = start!(Limits::default(), |endpoint| move || {
        App::new().service(routes(endpoint.clone(), mechanism))
    });
    server.refused(&handshake(""), "500", "internal_error").await;
    assert_eq!(server.chat.counts().connections, 0);
}

async fn a_peer_that_goes_leaves_nothing_behind(mechanism: Mechanism) {
    let server = server(mechanism).await;
    for resets in [false, true] {
        let client = server.raw(&[]).await;
        assert_eq!(server.chat.counts().connections, 1);
        if resets {
            client.set_zero_linger().unwrap();
        }
        drop(client);
        server.deserted().await;
    }
}

fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4_096
}

async fn a_peer_that_never_reads_is_dropped(mechanism: Mechanism) {
    let limits = Limits {
        write_timeout: Duration::from_secs(1),
        close_timeout: Duration::from_millis(100),
        ..Limits::default()
    };
    let server = start!(limits, |endpoint| host!(endpoint, mechanism));
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut client = socket.connect(server.address).await.unwrap();
    let join = masked(0x81, br#"{"type":"join","room":"lobby"}"#);
    client.write_all(&[&handshake("")[..], &join].concat()).await.unwrap();
    let lobby: RoomName = "lobby".parse().unwrap();
    while server.chat.members(&lobby).is_empty() {
        sleep(Duration::from_millis(1)).await;
    }

    let user = User::new("service:flood", "Flood").unwrap();
    let body = Text::new("x".repeat(4_000));
    let before = resident();
    let (mut posted, mut peak) = (0, before);
    let began = Instant::now();
    while server.chat.counts().connections > 0 {
        assert!(began.elapsed() < Duration::from_secs(20), "it is still there");
        for _ in 0..100 {
            server.chat.post(&lobby, &user, &body, None).await.unwrap();
            posted += 1;
        }
        peak = peak.max(resident());
        tokio::task::yield_now().await;
    }
    let (posted, grown) = ((posted * 4_000) >> 20, (peak - before) >> 20);
    assert!(grown < 8, "{grown} MiB grown, {posted} MiB posted");

    // actix would keep the socket, whatever the peer goes on sending.
    let sending = async { while client.write_all(&join).await.is_ok() {} };
    let gone = async {
        while is_established(server.address.port()) {
            sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        gone = timeout(Duration::from_secs(10), gone) => gone.expect("the connection is still open"),
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
