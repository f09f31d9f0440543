//! A service with its own route, which posts into a room of the chat.
//!
//! `cargo run -p chat-actix --example mount`, then join `lobby` at `ws://127.0.0.1:8080/ws` and
//! `curl http://127.0.0.1:8080/announce`.

use std::error::Error;

use actix_web::error::ErrorServiceUnavailable;
use actix_web::{App, web};
use chat_core::{Chat, Endpoint, Text, User};
use tokio::net::TcpListener;

async fn announce(chat: web::Data<Chat>) -> actix_web::Result<String> {
    let seq = post(&chat).await.map_err(ErrorServiceUnavailable)?;
    Ok(format!("message {seq}\n"))
}

async fn post(chat: &Chat) -> Result<u64, Box<dyn Error + Send + Sync>> {
    let clerk = User::new("service:clerk", "Clerk")?;
    Ok(chat.post(&"lobby".parse()?, &clerk, &Text::new("The shop is open.")).await?.seq)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let chat = Chat::default();
    let (endpoint, data) = (Endpoint::new(chat.clone()), web::Data::new(chat.clone()));
    let shop = move || App::new().app_data(data.clone()).route("/announce", web::get().to(announce));
    // The chat is mounted in these three lines.
    let app =
        move || shop().configure(chat_actix::routes(endpoint.clone())).wrap(chat_actix::UpgradeLayer::new());
    let listener = TcpListener::bind("127.0.0.1:8080").await?;
    Ok(chat_actix::serve(listener, app, &chat, stop(&chat)).await?)
}

/// Waits for Ctrl-C, and ends the sessions so that clients can reconnect at once.
async fn stop(chat: &Chat) {
    if tokio::signal::ctrl_c().await.is_ok() {
        chat.drain(std::time::Duration::from_secs(5)).await;
    }
}
