//! Memory for a peer that does not read. The test is alone in its process, because it measures the memory of the
//! process.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::future::pending;
use std::time::Duration;

use actix_web::App;
use chat_actix::{UpgradeLayer, routes, serve};
use chat_core::{Chat, Endpoint, Limits, RoomName, Text, UpgradeMode, User};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket};
use tokio::time::sleep;

const MIB: usize = 1024 * 1024;

/// An upgrade, and a masked frame with `{"type":"join","room":"lobby"}`.
const JOINS: &[u8] = b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\
    \x81\x9e\0\0\0\0{\"type\":\"join\",\"room\":\"lobby\"}";

#[tokio::test]
async fn a_peer_that_does_not_read_costs_bounded_memory() {
    for mode in [UpgradeMode::Hijack, UpgradeMode::Framework] {
        let patient = Limits::default().with(|limits| {
            limits.connection.write_timeout = Duration::from_secs(60 * 60);
            // The peer answers no ping, and posting takes longer than the time for an answer on a busy machine.
            limits.connection.ping_interval = Duration::from_secs(60 * 60);
        });
        let chat = Chat::builder().limits(patient).build();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (endpoint, served) = (Endpoint::new(chat.clone()).mode(mode), chat.clone());
        let app = move || App::new().configure(routes(endpoint.clone())).wrap(UpgradeLayer::new());
        tokio::spawn(async move { serve(listener, app, &served, pending()).await });

        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4_096).unwrap();
        let mut peer = socket.connect(address).await.unwrap();
        peer.write_all(JOINS).await.unwrap();
        let lobby: RoomName = "lobby".parse().unwrap();
        while chat.members(&lobby).is_empty() {
            sleep(Duration::from_millis(1)).await;
        }
        // Fills the log of the room and all buffers on the way.
        post(&chat, &lobby, 8 * MIB).await;
        let before = resident();
        post(&chat, &lobby, 32 * MIB).await;
        let grown = resident().saturating_sub(before) / MIB;
        assert!(grown < 8, "{mode:?}: {grown} MiB more for 32 MiB that the peer does not read");
        assert_eq!(chat.counts().sessions, 1);
    }
}

async fn post(chat: &Chat, room: &RoomName, bytes: usize) {
    let (user, body) = (User::new("service:flood", "Flood").unwrap(), Text::new("x".repeat(4_096)));
    for _ in 0..bytes / 4_096 {
        chat.post(room, &user, &body).await.unwrap();
        tokio::task::yield_now().await;
    }
}

fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4_096
}
