//! The test of the examples `users`.

use chat_core::Chat;
use serde_json::json;
use tokio::net::TcpStream;

use crate::{HEAD, Peer, Server};

/// Joins, is forbidden, posts and kicks in a server that runs the example `users`.
pub async fn users_of_the_host_join_post_and_are_kicked(server: &Server) {
    server.send(HEAD).await.assert_refused(401, "unauthorized").await;
    let mut ann = connect(server, "ann-1").await;
    let mut bob = connect(server, "bob-2").await;
    ann.text(r#"{"type":"join","ref":"1","room":"staff"}"#).await;
    assert_eq!(ann.event().await["type"], "joined");
    bob.text(r#"{"type":"join","ref":"1","room":"staff"}"#).await;
    assert_eq!(bob.event().await["code"], "forbidden");
    bob.text(r#"{"type":"join","ref":"2","room":"lobby"}"#).await;
    assert_eq!(bob.event().await["type"], "joined");

    post(server, "/rooms/lobby", "open").await.assert_status(201).await;
    let message = bob.event().await;
    assert_eq!((&message["user"]["name"], &message["body"]["text"]), (&"Clerk".into(), &"open".into()));

    // The user of a handler and the user of a socket are one, so they share the keys.
    let mut said = say(server, "staff", "ann-1", "k1", "hi").await;
    assert_eq!(said.body(200).await, b"1");
    assert_eq!(ann.event().await["user"], json!({"id": "staff:1", "name": "Ann"}));
    say(server, "staff", "bob-2", "k1", "hi").await.assert_status(403).await;
    say(server, "staff", "ann-1", "k1", "another text").await.assert_status(409).await;
    say(server, "staff", "ann-1", "k2", " ").await.assert_status(400).await;
    ann.text(r#"{"type":"send","ref":"2","room":"staff","key":"k1","body":{"text":"hi"}}"#).await;
    let sent = ann.event().await;
    assert_eq!((&sent["type"], &sent["seq"], &sent["duplicate"]), (&"sent".into(), &1.into(), &true.into()));

    post(server, "/kick/bob-2", "").await.assert_status(200).await;
    assert_eq!(bob.close_code().await, 4503);
    assert_eq!(members(&server.chat, "staff"), ["Ann"]);
}

async fn connect(server: &Server, session: &str) -> Peer<TcpStream> {
    let cookie = format!("Sec-WebSocket-Version: 13\r\nCookie: session={session}\r\n");
    let mut peer = server.send(HEAD.replace("Sec-WebSocket-Version: 13\r\n", &cookie)).await;
    peer.assert_status(101).await;
    assert_eq!(peer.event().await["type"], "welcome");
    peer
}

/// Posts as the user of a session.
async fn say(server: &Server, room: &str, session: &str, key: &str, text: &str) -> Peer<TcpStream> {
    let length = text.len();
    let head = format!("POST /rooms/{room}/say HTTP/1.1\r\nHost: chat.test\r\nContent-Type: text/plain\r\n");
    let head = format!("{head}Cookie: session={session}\r\nIdempotency-Key: {key}\r\n");
    server.send(format!("{head}Content-Length: {length}\r\n\r\n{text}")).await
}

async fn post(server: &Server, path: &str, text: &str) -> Peer<TcpStream> {
    let length = text.len();
    let head = format!("POST {path} HTTP/1.1\r\nHost: chat.test\r\nContent-Type: text/plain\r\n");
    server.send(format!("{head}Content-Length: {length}\r\n\r\n{text}")).await
}

fn members(chat: &Chat, room: &str) -> Vec<String> {
    chat.members(&room.parse().unwrap()).iter().map(|user| user.name().to_owned()).collect()
}
