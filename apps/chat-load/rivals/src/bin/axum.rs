//! The chat of axum's example: a broadcast channel, and two tasks for each connection.
//!
//! It follows `examples/chat` of <https://github.com/tokio-rs/axum>. It differs in this: there is a channel for each
//! room, a member has no name, and only the new member gets `joined`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use anyhow::Result;
use axum::Router;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use axum::routing::get;
use futures_util::{SinkExt, StreamExt};
use tokio::sync::broadcast;

/// The capacity of the channel in axum's example.
const CAPACITY: usize = 100;

#[derive(Default)]
struct Rooms {
    channels: Mutex<HashMap<String, broadcast::Sender<String>>>,
}

impl Rooms {
    fn channel(&self, room: String) -> broadcast::Sender<String> {
        let mut channels = self.channels.lock().expect("no holder panics");
        channels.entry(room).or_insert_with(|| broadcast::channel(CAPACITY).0).clone()
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let listener = tokio::net::TcpListener::from_std(rivals::listen()?)?;
    let app = Router::new().route("/ws/{room}", get(upgrade)).with_state(Arc::<Rooms>::default());
    Ok(axum::serve(listener, app).await?)
}

async fn upgrade(
    upgrade: WebSocketUpgrade,
    Path(room): Path<String>,
    State(rooms): State<Arc<Rooms>>,
) -> impl IntoResponse {
    upgrade.on_upgrade(move |socket| serve(socket, rooms.channel(room)))
}

async fn serve(socket: WebSocket, channel: broadcast::Sender<String>) {
    let (mut sender, mut receiver) = socket.split();
    let mut texts = channel.subscribe();
    if sender.send(Message::text("joined")).await.is_err() {
        return;
    }
    let mut sending = tokio::spawn(async move {
        while let Ok(text) = texts.recv().await {
            if sender.send(Message::text(text)).await.is_err() {
                break;
            }
        }
    });
    let mut receiving = tokio::spawn(async move {
        while let Some(Ok(Message::Text(text))) = receiver.next().await {
            // Sending fails only without subscribers.
            let _subscribers = channel.send(text.to_string());
        }
    });
    tokio::select! {
        _ = &mut sending => receiving.abort(),
        _ = &mut receiving => sending.abort(),
    }
}
