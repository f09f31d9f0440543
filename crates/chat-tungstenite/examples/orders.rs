//! A service whose messages are more than text: the state of an order, next to what people write.
//!
//! `cargo run -p chat-tungstenite --example orders`, join `orders` at `ws://127.0.0.1:8080/ws`, and send
//! `{"type":"send","room":"orders","body":{"order":7,"state":"packed"}}`. A state that is none is `bad_body`.

use std::error::Error;
use std::future::pending;
use std::sync::Arc;

use chat_core::{BodyError, Chat, Endpoint, Limits, Message, Text};
use chat_tungstenite::NotFound;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::net::TcpListener;

/// What is said in the shop.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Shop {
    Order(Order),
    Text(Text),
}

#[derive(Serialize, Deserialize)]
struct Order {
    order: u64,
    state: State,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Paid,
    Packed,
    Shipped,
}

impl Message for Shop {
    fn parse(body: &RawValue, limits: &Limits) -> Result<Self, BodyError> {
        match serde_json::from_str(body.get()) {
            Ok(Self::Order(order)) => Ok(Self::Order(order)),
            // `Text` has rules of its own.
            _ => Text::parse(body, limits).map(Self::Text),
        }
    }

    fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a message is always JSON")
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Order(_) => "order",
            Self::Text(_) => "text",
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let chat: Chat<Shop> = Chat::builder().build();
    let limits = Arc::clone(chat.limits());
    let service = chat_tungstenite::mount(Endpoint::new(chat), NotFound);
    let listener = TcpListener::bind("127.0.0.1:8080").await?;
    chat_tungstenite::serve(listener, service, &limits, pending()).await;
    Ok(())
}
