//! A chat server that commits each message in a separate transaction. `apps/chat-load/durability` compares it with the
//! default.
//!
//! `cargo run --release -p chat-sqlite --example one_by_one -- DIR`

#![expect(clippy::print_stdout, reason = "the caller needs the address")]

use std::future::pending;

use chat_core::{Chat, Endpoint};
use chat_sqlite::{Options, SqliteStore};
use chat_tungstenite::UpgradeLayer;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = std::env::args_os().nth(1).ok_or("usage: one_by_one DIR")?;
    let store = SqliteStore::open(dir, Options::default().with(|options| options.max_batch_messages = 1))?;
    let chat = Chat::builder().store(store).build();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listens on ws://{}/ws", listener.local_addr()?);
    let service = UpgradeLayer::new().layer(chat_tungstenite::routes(Endpoint::new(chat.clone())));
    Ok(chat_tungstenite::serve(listener, service, &chat, pending()).await?)
}
