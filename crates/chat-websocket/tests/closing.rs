//! Frames of the session after the peer's close frame.

use std::future::poll_fn;

use bytes::Bytes;
use chat_core::{Connection, Incoming, Limits, Outgoing};
use chat_websocket::WebSocket;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A client's close with code 1000, masked with zeros.
const CLOSE: [u8; 8] = [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8];

#[tokio::test]
async fn a_ping_after_the_peers_close_frame_is_not_sent() {
    let (server, mut client) = tokio::io::duplex(1_024);
    let mut socket = WebSocket::accept(server, Bytes::new(), &Limits::default()).await;
    client.write_all(&CLOSE).await.expect("written");
    let incoming = poll_fn(|cx| socket.poll_receive(cx)).await;
    assert!(matches!(incoming, Incoming::Close(Some(1000))), "{incoming:?}");
    socket.send(Outgoing::Ping).expect("no failure");
    socket.send(Outgoing::Text(Bytes::from_static(b"last"))).expect("taken");
    poll_fn(|cx| socket.poll_flush(cx)).await.expect("flushed");
    let closed = tokio::spawn(async move { poll_fn(|cx| socket.poll_close(cx, None)).await });
    let mut seen = [0; 10];
    client.read_exact(&mut seen).await.expect("read");
    assert_eq!(&seen, b"\x81\x04last\x88\x02\x03\xe8", "the reply, then the echo");
    drop(client);
    closed.await.expect("no panic");
}
