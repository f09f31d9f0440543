//! A service with its own route, which posts into a room of the chat.
//!
//! `cargo run -p chat-axum --example mount`, then join `lobby` at `ws://127.0.0.1:8080/ws` and
//! `curl http://127.0.0.1:8080/announce`.

use std::error::Error;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use chat_core::{Chat, Endpoint, Text, User};
use tokio::net::TcpListener;

async fn announce(State(chat): State<Chat>) -> Result<String, (StatusCode, String)> {
    let receipt = post(&chat).await.map_err(|error| (StatusCode::SERVICE_UNAVAILABLE, error.to_string()))?;
    Ok(format!("message {receipt}\n"))
}

async fn post(chat: &Chat) -> Result<u64, Box<dyn Error + Send + Sync>> {
    let clerk = User::new("service:clerk", "Clerk")?;
    Ok(chat.post(&"lobby".parse()?, &clerk, &Text::new("The shop is open.")).await?.seq)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // The chat is mounted in these five lines.
    let chat = Chat::default();
    let app = Router::new().route("/announce", get(announce)).with_state(chat.clone());
    let app = app.merge(chat_axum::routes(Endpoint::new(chat.clone()))).layer(chat_axum::UpgradeLayer::new());
    let listener = TcpListener::bind("127.0.0.1:8080").await?;
    Ok(chat_axum::serve(listener, app, &chat, stop(&chat)).await?)
}

/// Waits for Ctrl-C, and ends the sessions so that clients can reconnect at once.
async fn stop(chat: &Chat) {
    if tokio::signal::ctrl_c().await.is_ok() {
        chat.drain(std::time::Duration::from_secs(5)).await;
    }
}
