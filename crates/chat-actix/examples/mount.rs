//! A service with a route of its own, the chat next to it, and a handler that posts into a room.
//!
//! `cargo run -p chat-actix --example mount`, then join `lobby` at `ws://127.0.0.1:8080/ws` and
//! `curl http://127.0.0.1:8080/announce`.

#![expect(clippy::print_stdout, reason = "it says where it listens")]

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actix_web::{App, HttpResponse, web};
use chat_core::{Chat, Endpoint, ErrorCode, Mechanism, RoomName, Text, User};

#[tokio::main]
async fn main() -> io::Result<()> {
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
    let app = move || {
        let shop = App::new().app_data(web::Data::new(chat.clone())).route("/announce", web::get().to(shop));
        chat_actix::mount(shop, Endpoint::new(chat.clone()), Mechanism::Hijack)
    };
    let listener = TcpListener::bind("127.0.0.1:8080")?;
    println!("ws://{}/ws", listener.local_addr()?);
    chat_actix::serve(listener, app, &limits, stop).await
}

async fn shop(chat: web::Data<Chat>) -> HttpResponse {
    match announce(&chat).await {
        Ok(seq) => HttpResponse::Ok().body(format!("message {seq}\n")),
        Err(error) => HttpResponse::ServiceUnavailable().body(format!("{error}\n")),
    }
}

async fn announce(chat: &Chat) -> Result<u64, ErrorCode> {
    let lobby: RoomName = "lobby".parse()?;
    let clerk = User::new("service:clerk", "Clerk")?;
    let posted = chat.post(&lobby, &clerk, &Text::new("The shop is open."), None).await?;
    Ok(posted.seq)
}
