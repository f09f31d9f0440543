//! A service with its own route, which posts into a room of the chat.
//!
//! `cargo run -p chat-tungstenite --example mount`, then join `lobby` at `ws://127.0.0.1:8080/ws` and
//! `curl http://127.0.0.1:8080/announce`.

use std::convert::Infallible;
use std::error::Error;

use chat_core::{Chat, Endpoint, Text, User};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::net::TcpListener;

async fn shop(chat: Chat, request: Request<Incoming>) -> Result<Response<String>, Infallible> {
    let (status, text) = match request.uri().path() {
        "/announce" => match post(&chat).await {
            Ok(seq) => (StatusCode::OK, format!("message {seq}\n")),
            Err(error) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
        },
        _ => (StatusCode::NOT_FOUND, "nothing is here\n".to_owned()),
    };
    let mut response = Response::new(text);
    *response.status_mut() = status;
    Ok(response)
}

async fn post(chat: &Chat) -> Result<u64, Box<dyn Error + Send + Sync>> {
    let clerk = User::new("service:clerk", "Clerk")?;
    Ok(chat.post(&"lobby".parse()?, &clerk, &Text::new("The shop is open.")).await?.seq)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let chat = Chat::default();
    let handle = chat.clone();
    let shop = tower::service_fn(move |request| shop(handle.clone(), request));
    // The chat is mounted in these four lines.
    let routes = chat_tungstenite::routes(Endpoint::new(chat.clone())).fallback(shop);
    let app = chat_tungstenite::UpgradeLayer::new().layer(routes);
    let listener = TcpListener::bind("127.0.0.1:8080").await?;
    Ok(chat_tungstenite::serve(listener, app, &chat, stop(&chat)).await?)
}

/// Waits for Ctrl-C, and ends the sessions so that clients can reconnect at once.
async fn stop(chat: &Chat) {
    if tokio::signal::ctrl_c().await.is_ok() {
        chat.drain(std::time::Duration::from_secs(5)).await;
    }
}
