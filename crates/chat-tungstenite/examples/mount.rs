//! A service with a route of its own, the chat next to it, and a handler that posts into a room.
//!
//! `cargo run -p chat-tungstenite --example mount`, then join `lobby` at `ws://127.0.0.1:8080/ws` and
//! `curl http://127.0.0.1:8080/announce`.

#![expect(clippy::print_stdout, reason = "it says where it listens")]

use std::convert::Infallible;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use chat_core::{Chat, Endpoint, ErrorCode, RoomName, Text, User};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use tokio::net::TcpListener;

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
    let own = tower::service_fn({
        let chat = chat.clone();
        move |request| shop(chat.clone(), request)
    });
    let service = chat_tungstenite::mount(Endpoint::new(chat), own);
    let listener = TcpListener::bind("127.0.0.1:8080").await?;
    println!("ws://{}/ws", listener.local_addr()?);
    chat_tungstenite::serve(listener, service, &limits, stop).await;
    Ok(())
}

async fn shop(chat: Chat, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (status, text) = match request.uri().path() {
        "/announce" => match announce(&chat).await {
            Ok(seq) => (StatusCode::OK, format!("message {seq}\n")),
            Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")),
        },
        _ => (StatusCode::NOT_FOUND, "nothing is here\n".to_owned()),
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    Ok(response)
}

async fn announce(chat: &Chat) -> Result<u64, ErrorCode> {
    let lobby: RoomName = "lobby".parse()?;
    let clerk = User::new("service:clerk", "Clerk")?;
    let posted = chat.post(&lobby, &clerk, &Text::new("The shop is open."), None).await?;
    Ok(posted.seq)
}
