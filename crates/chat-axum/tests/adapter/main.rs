//! axum's two mechanisms on real sockets.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod peer;

use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Request, WebSocketUpgrade};
use axum::middleware::{map_request, map_response};
use axum::response::Response;
use axum::routing::{any, get};
use chat_axum::{mount, not_found, outermost, routes};
use chat_core::{Chat, Endpoint, Limits, Mechanism, RoomName, Text, User};
use futures_util::{SinkExt, StreamExt};
use http::StatusCode;
use hyper::upgrade::OnUpgrade;
use peer::{CLOSE, HEAD, PING, PONG, Peer, TEXT, frame, start, start_chat, start_chat_in_memory};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite;

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
    a_client_is_welcomed_joins_and_sends
    a_ping_is_answered_with_its_payload
    a_close_of_the_client_is_echoed_and_the_stream_ends
    a_close_of_the_server_waits_for_the_client_and_the_stream_ends
    a_frame_in_the_packet_of_the_request_is_served
    a_layer_that_answers_in_place_of_the_101_leaves_no_session
    without_the_outermost_layer_every_upgrade_is_refused
    where_a_layer_took_the_connection_the_upgrade_is_refused
    a_host_keeps_its_routes_and_its_own_websockets
    a_host_may_keep_its_own_server
    a_length_over_the_limit_is_refused_at_its_announcement
    fragments_of_one_byte_count_towards_the_limit
    text_that_is_not_utf8_is_refused
    an_unmasked_frame_is_refused
    a_breach_is_answered_after_what_came_before_it
    a_peer_that_goes_on_after_a_breach_still_hears_of_it
    a_peer_that_is_gone_leaves_nothing
    a_peer_that_never_reads_is_dropped
    a_peer_that_only_pings_and_never_reads_is_dropped
}

async fn in_time(case: impl Future<Output = ()>) {
    timeout(Duration::from_secs(30), case).await.unwrap();
}

fn chat() -> Chat {
    Chat::builder()
        .limits(Limits {
            close_timeout: Duration::from_millis(200),
            write_timeout: Duration::from_millis(300),
            ..Limits::default()
        })
        .build()
}

/// Nothing tells when a connection is gone, so this looks again and again.
async fn deserted(chat: &Chat) {
    while chat.counts().connections > 0 || chat.counts().sessions > 0 {
        sleep(Duration::from_millis(1)).await;
    }
}

async fn a_client_is_welcomed_joins_and_sends(mechanism: Mechanism) {
    let address = start_chat(&chat(), mechanism).await;
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut client, _) = client_async(format!("ws://{address}/ws?name=ann"), stream).await.unwrap();
    let send = json!({"type": "send", "ref": "2", "room": "lobby", "body": {"text": "안녕"}});
    for command in [std::str::from_utf8(JOIN).unwrap().to_owned(), send.to_string()] {
        client.send(tungstenite::Message::text(command)).await.unwrap();
    }
    let mut seen = Vec::new();
    while seen.len() < 4 {
        let event: Value =
            serde_json::from_str(client.next().await.unwrap().unwrap().to_text().unwrap()).unwrap();
        match event["type"].as_str().unwrap() {
            "presence" => {}
            "message" => {
                assert_eq!(event["body"]["text"], "안녕");
                assert_eq!(event["user"]["name"], "ann");
                seen.push("message".to_owned());
            }
            other => seen.push(other.to_owned()),
        }
    }
    seen[2..].sort();
    assert_eq!(seen, ["welcome", "joined", "message", "sent"]);
}

async fn a_ping_is_answered_with_its_payload(mechanism: Mechanism) {
    let address = start_chat(&chat(), mechanism).await;
    let mut peer = Peer::connect(address).await;
    peer.write(&frame(PING, b"who is there")).await;
    assert_eq!(peer.frame().await, (PONG, b"who is there".to_vec()));
}

async fn a_close_of_the_client_is_echoed_and_the_stream_ends(mechanism: Mechanism) {
    let chat = chat();
    let address = start_chat(&chat, mechanism).await;
    let mut peer = Peer::connect(address).await;
    peer.write(&frame(CLOSE, &1001_u16.to_be_bytes())).await;
    assert_eq!(peer.frame().await, (CLOSE, 1001_u16.to_be_bytes().to_vec()));
    assert!(peer.has_ended().await);
    peer.end_writing().await;
    deserted(&chat).await;
}

async fn a_close_of_the_server_waits_for_the_client_and_the_stream_ends(mechanism: Mechanism) {
    let chat = chat();
    let address = start_chat(&chat, mechanism).await;
    let mut peer = Peer::connect(address).await;
    let draining = tokio::spawn({
        let chat = chat.clone();
        async move { chat.drain(Duration::from_secs(10)).await }
    });
    assert_eq!(peer.event().await["type"], "closing");
    assert_eq!(peer.close_code().await, 1012);
    peer.write(&frame(CLOSE, &1012_u16.to_be_bytes())).await;
    assert!(peer.has_ended().await);
    peer.end_writing().await;
    let drained = draining.await.unwrap();
    assert_eq!((drained.connections, drained.abandoned), (1, 0));
}

async fn a_frame_in_the_packet_of_the_request_is_served(mechanism: Mechanism) {
    let address = start_chat(&chat(), mechanism).await;
    let bytes = [HEAD.as_bytes(), &frame(TEXT, JOIN)].concat();
    let mut peer = Peer::send_first(address, &bytes).await;
    assert!(peer.head().await.starts_with("HTTP/1.1 101 "));
    assert_eq!(peer.event().await["type"], "welcome");
    assert_eq!(peer.event().await["type"], "joined");
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
    peer.write(&frame(TEXT, b"one")).await;
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
    peer.write(&frame(TEXT, JOIN)).await;
    assert_eq!(peer.event().await["type"], "joined");
}

/// The code that the server closes with after `bytes`.
async fn code_after(bytes: &[u8], mechanism: Mechanism) -> u16 {
    let chat = chat();
    let address = start_chat(&chat, mechanism).await;
    let mut peer = Peer::connect(address).await;
    peer.write(bytes).await;
    let code = peer.close_code().await;
    // A reset is one of axum's deviations, if the client goes on; this one does not.
    assert!(peer.has_ended().await);
    deserted(&chat).await;
    code
}

async fn a_length_over_the_limit_is_refused_at_its_announcement(mechanism: Mechanism) {
    let announced = [&[0x82, 0xff][..], &(1_u64 << 40).to_be_bytes(), &[0; 4]].concat();
    assert_eq!(code_after(&announced, mechanism).await, 1009);
}

async fn fragments_of_one_byte_count_towards_the_limit(mechanism: Mechanism) {
    let limit = Limits::default().max_frame;
    let bytes = [frame(0x01, b"a"), frame(0x00, b"a").repeat(limit)].concat();
    assert_eq!(code_after(&bytes, mechanism).await, 1009);
}

async fn text_that_is_not_utf8_is_refused(mechanism: Mechanism) {
    assert_eq!(code_after(&frame(TEXT, b"\xc3\x28"), mechanism).await, 1007);
}

async fn an_unmasked_frame_is_refused(mechanism: Mechanism) {
    assert_eq!(code_after(b"\x81\x02{}", mechanism).await, 1002);
}

async fn a_breach_is_answered_after_what_came_before_it(mechanism: Mechanism) {
    let address = start_chat(&chat(), mechanism).await;
    let mut peer = Peer::connect(address).await;
    let ping = frame(TEXT, br#"{"type":"ping","ref":"1"}"#);
    peer.write(&[ping, frame(0x83, b"")].concat()).await;
    assert_eq!(peer.event().await["type"], "pong");
    assert_eq!(peer.close_code().await, 1002);
}

async fn a_peer_that_goes_on_after_a_breach_still_hears_of_it(mechanism: Mechanism) {
    let address = start_chat(&chat(), mechanism).await;
    let mut peer = Peer::connect(address).await;
    let announced = [&[0x82, 0xff][..], &(1_u64 << 40).to_be_bytes()].concat();
    peer.write(&announced).await;
    peer.write(&[0; 60_000]).await;
    assert_eq!(peer.close_code().await, 1009);
}

async fn a_peer_that_is_gone_leaves_nothing(mechanism: Mechanism) {
    let chat = chat();
    let address = start_chat(&chat, mechanism).await;
    let mut peer = Peer::connect(address).await;
    peer.write(&frame(TEXT, JOIN)).await;
    assert_eq!(peer.event().await["type"], "joined");
    assert_eq!(chat.counts().sessions, 1);
    drop(peer);
    deserted(&chat).await;
    assert!(chat.members(&"lobby".parse().unwrap()).is_empty());
}

async fn a_peer_that_never_reads_is_dropped(mechanism: Mechanism) {
    let chat = chat();
    let address = start_chat(&chat, mechanism).await;
    let mut peer = Peer::connect(address).await;
    peer.write(&frame(TEXT, JOIN)).await;
    assert_eq!(peer.event().await["type"], "joined");
    let (lobby, clerk): (RoomName, _) = ("lobby".parse().unwrap(), User::guest("clerk").unwrap());
    let page = Text::new("x".repeat(4_096));
    let started = Instant::now();
    while chat.counts().connections > 0 {
        chat.post(&lobby, &clerk, &page, None).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert!(started.elapsed() >= chat.limits().write_timeout);
}

async fn a_peer_that_only_pings_and_never_reads_is_dropped(mechanism: Mechanism) {
    let chat = chat();
    let address = start_chat(&chat, mechanism).await;
    let mut peer = Peer::connect(address).await;
    let pings = frame(PING, &[0; 125]).repeat(1_000);
    let pinging = tokio::spawn(async move {
        loop {
            peer.write(&pings).await;
        }
    });
    deserted(&chat).await;
    // What ends it is that nobody takes the pings any more.
    assert!(pinging.await.unwrap_err().is_panic());
}

/// The answer to an upgrade that is refused.
async fn answer(request: &str, mechanism: Mechanism) -> (String, String) {
    let address = start_chat(&chat(), mechanism).await;
    let mut peer = Peer::send_first(address, request.as_bytes()).await;
    peer.refusal().await
}

#[tokio::test]
async fn refusals_are_the_same_for_both_mechanisms() {
    let plain = "GET /ws HTTP/1.1\r\nHost: chat.test\r\n\r\n".to_owned();
    let refused = [
        (plain, "426", "upgrade_required"),
        (HEAD.replace("GET", "POST"), "405", "method_not_allowed"),
        (HEAD.replace("HTTP/1.1", "HTTP/1.0"), "400", "bad_handshake"),
        (HEAD.replace("Version: 13", "Version: 8"), "426", "unsupported_version"),
        (HEAD.replace("Host:", "Origin: https://elsewhere.test\r\nHost:"), "403", "origin_forbidden"),
        (HEAD.replace("chat.v1", "chat.v2"), "400", "unsupported_subprotocol"),
        (HEAD.replace("/ws?", "/nothing?"), "404", "not_found"),
    ];
    for (request, status, code) in refused {
        let hijacked = answer(&request, Mechanism::Hijack).await;
        assert_eq!(hijacked, answer(&request, Mechanism::Context).await);
        assert_eq!(hijacked.0.split(' ').nth(1), Some(status));
        assert!(hijacked.0.contains("content-type: application/json"));
        assert_eq!(hijacked.1, code);
    }
}

#[tokio::test]
async fn the_101_is_the_same_for_both_mechanisms() {
    let mut heads = Vec::new();
    for mechanism in [Mechanism::Hijack, Mechanism::Context] {
        let address = start_chat(&chat(), mechanism).await;
        let head = Peer::send_first(address, HEAD.as_bytes()).await.head().await;
        assert!(head.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
        assert!(head.contains("sec-websocket-protocol: chat.v1\r\n"));
        heads.push(head.lines().filter(|line| !line.starts_with("date: ")).collect::<String>());
    }
    assert_eq!(heads[0], heads[1]);
}

#[tokio::test]
async fn what_upgrades_one_mechanism_upgrades_the_other() {
    for request in [
        HEAD.replace("Upgrade: websocket", "Upgrade: foo, WebSocket"),
        HEAD.replace("Upgrade: websocket", "Upgrade: foo\r\nUpgrade: websocket"),
        HEAD.replace("Connection: Upgrade", "Connection: keep-alive\r\nConnection: Upgrade"),
    ] {
        for mechanism in [Mechanism::Hijack, Mechanism::Context] {
            let address = start_chat(&chat(), mechanism).await;
            let head = Peer::send_first(address, request.as_bytes()).await.head().await;
            assert!(head.starts_with("HTTP/1.1 101 "), "{mechanism:?}: {request}");
        }
    }
}

// Where the context mechanism differs. A test that fails here has found a difference that is no more.

#[tokio::test]
async fn axum_loses_the_answers_to_a_client_that_has_ended_its_stream() {
    for (mechanism, answered) in [(Mechanism::Hijack, true), (Mechanism::Context, false)] {
        let chat = chat();
        let address = start_chat(&chat, mechanism).await;
        let mut peer = Peer::connect(address).await;
        peer.write(&frame(TEXT, JOIN)).await;
        peer.end_writing().await;
        assert_eq!(!peer.has_ended().await, answered, "{mechanism:?}");
        deserted(&chat).await;
    }
}

#[tokio::test]
async fn axum_resets_a_peer_that_goes_on_after_a_breach_or_a_close() {
    for last in [frame(0x83, b""), frame(CLOSE, b"")] {
        for (mechanism, ends) in [(Mechanism::Hijack, true), (Mechanism::Context, false)] {
            let chat = chat();
            let address = start_chat(&chat, mechanism).await;
            let mut peer = Peer::connect(address).await;
            peer.write(&[&last[..], &[0; 60_000]].concat()).await;
            while peer.frame().await.0 != CLOSE {}
            assert_eq!(peer.has_ended().await, ends, "{mechanism:?}");
            drop(peer);
            deserted(&chat).await;
        }
    }
}

#[tokio::test]
async fn axum_takes_empty_fragments_without_end() {
    let fragments = [frame(0x01, b""), frame(0x00, b"").repeat(100_000), frame(PING, b"?")].concat();
    for (mechanism, first) in [(Mechanism::Hijack, CLOSE), (Mechanism::Context, PONG)] {
        let address = start_chat(&chat(), mechanism).await;
        let mut peer = Peer::connect(address).await;
        peer.write(&fragments).await;
        let next = loop {
            let frame = peer.frame().await;
            if frame.0 != TEXT {
                break frame;
            }
        };
        assert_eq!(next.0, first, "{mechanism:?}");
    }
}

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
        let history = frame(TEXT, br#"{"type":"history","ref":"2","room":"lobby"}"#);
        peer.write(&[HEAD.as_bytes(), &frame(TEXT, JOIN), &history].concat()).await;
        assert!(peer.head().await.starts_with("HTTP/1.1 101 "));
        for expected in ["welcome", "joined"] {
            assert_eq!(peer.event().await["type"], expected);
        }
        assert_eq!(peer.sips(15 * 4_096).await, stays, "{mechanism:?}");
    }
}
