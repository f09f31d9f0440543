//! A service whose messages are more than text: the state of an order, and texts of people.
//!
//! `cargo run -p chat-tungstenite --example orders`, join `orders` at `ws://127.0.0.1:8080/ws`, and send
//! `{"type":"send","room":"orders","body":{"order":7,"state":"packed"}}`. An unknown state is refused with `bad_body`.

use std::error::Error;
use std::future::pending;

use chat_core::{BodyError, Chat, Endpoint, Limits, Message, Text};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::net::TcpListener;

/// A message in the shop.
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
            // `Text` has further rules.
            _ => Text::parse(body, limits).map(Self::Text),
        }
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
    let chat = Chat::builder().messages::<Shop>().build();
    let routes = chat_tungstenite::routes(Endpoint::new(chat.clone()));
    let app = chat_tungstenite::UpgradeLayer::new().layer(routes);
    let listener = TcpListener::bind("127.0.0.1:8080").await?;
    Ok(chat_tungstenite::serve(listener, app, &chat, pending()).await?)
}
