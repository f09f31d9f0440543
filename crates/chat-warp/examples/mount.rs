//! A service with its own route, which posts into a room of the chat.
//!
//! `cargo run -p chat-warp --example mount`, then join `lobby` at `ws://127.0.0.1:8080/ws` and
//! `curl http://127.0.0.1:8080/announce`.

use std::error::Error;

use chat_core::{Chat, Endpoint, Text, User};
use tokio::net::TcpListener;
use warp::http::StatusCode;
use warp::{Filter, Reply};

async fn announce(chat: Chat) -> impl Reply {
    match post(&chat).await {
        Ok(seq) => warp::reply::with_status(format!("message {seq}\n"), StatusCode::OK),
        Err(error) => warp::reply::with_status(error.to_string(), StatusCode::SERVICE_UNAVAILABLE),
    }
}

async fn post(chat: &Chat) -> Result<u64, Box<dyn Error + Send + Sync>> {
    let clerk = User::new("service:clerk", "Clerk")?;
    Ok(chat.post(&"lobby".parse()?, &clerk, &Text::new("The shop is open.")).await?.seq)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let chat = Chat::default();
    let handle = chat.clone();
    let shop = warp::path!("announce").then(move || announce(handle.clone()));
    // The chat is mounted in these four lines.
    let routes = shop.or(chat_warp::routes(Endpoint::new(chat.clone())));
    let app = chat_warp::UpgradeLayer::new().layer(warp::service(routes));
    let listener = TcpListener::bind("127.0.0.1:8080").await?;
    Ok(chat_warp::serve(listener, app, &chat, stop(&chat)).await?)
}

/// Waits for Ctrl-C, and ends the sessions so that clients can reconnect at once.
async fn stop(chat: &Chat) {
    if tokio::signal::ctrl_c().await.is_ok() {
        chat.drain(std::time::Duration::from_secs(5)).await;
    }
}
