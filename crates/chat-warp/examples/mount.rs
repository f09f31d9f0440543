//! A service with a route of its own, the chat next to it, and a handler that posts into a room.
//!
//! `cargo run -p chat-warp --example mount`, then join `lobby` at `ws://127.0.0.1:8080/ws` and
//! `curl http://127.0.0.1:8080/announce`.

#![expect(clippy::print_stdout, reason = "it says where it listens")]

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use chat_core::{Chat, Endpoint, ErrorCode, Mechanism, RoomName, Text, User};
use tokio::net::TcpListener;
use warp::http::StatusCode;
use warp::{Filter, Reply};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let chat: Chat = Chat::default();
    let limits = Arc::clone(chat.limits());
    // Ctrl-C: every client is told, and may come back at once.
    let stop = {
        let chat = chat.clone();
        async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                chat.drain(Duration::from_secs(5)).await;
            }
        }
    };
    let own = warp::path!("announce").then({
        let chat = chat.clone();
        move || shop(chat.clone())
    });
    let service = chat_warp::mount(Endpoint::new(chat), Mechanism::Hijack, own);
    let listener = TcpListener::bind("127.0.0.1:8080").await?;
    println!("ws://{}/ws", listener.local_addr()?);
    chat_warp::serve(listener, service, &limits, stop).await;
    Ok(())
}

async fn shop(chat: Chat) -> impl Reply {
    let (status, text) = match announce(&chat).await {
        Ok(seq) => (StatusCode::OK, format!("message {seq}\n")),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")),
    };
    warp::reply::with_status(text, status)
}

async fn announce(chat: &Chat) -> Result<u64, ErrorCode> {
    let lobby: RoomName = "lobby".parse()?;
    let clerk = User::new("service:clerk", "Clerk")?;
    let posted = chat.post(&lobby, &clerk, &Text::new("The shop is open."), None).await?;
    Ok(posted.seq)
}
