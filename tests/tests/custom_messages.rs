//! A message type of the host, next to text, passes through every adapter unchanged.

use anyhow::{Context, Result, ensure};
use chat_core::{BodyError, Chat, Limits, Message, RoomName, Text, User};
use chat_tests::{ADAPTERS, Client, Server};
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

/// Text, or the state of an order.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Shop {
    Order { order: u64, state: State },
    Text(Text),
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
            Ok(order @ Self::Order { .. }) => Ok(order),
            // `Text` has further rules.
            _ => Text::parse(body, limits).map(Self::Text),
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Text(text) => text.kind(),
            Self::Order { .. } => "order",
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_adapter_delivers_a_message_type_of_the_host_unchanged() -> Result<()> {
    let chat = Chat::builder().messages::<Shop>().build();
    let orders: RoomName = "orders".parse()?;
    let shop = User::new("service:shop", "Shop")?;
    for adapter in ADAPTERS {
        let server = Server::start(adapter, &chat).await?;
        let mut client = Client::connect(server.address(), "ann").await?;
        client.ask(json!({"type": "join", "room": "orders"})).await?;
        for (body, wanted) in [
            (json!({"text": "hi"}), "sent"),
            (json!({"order": 7, "state": "paid", "note": [1.50]}), "sent"),
            (json!({"order": 7, "state": "lost"}), "bad_body"),
            (json!({"words": "hi"}), "bad_body"),
            (json!({"text": " "}), "empty_body"),
        ] {
            let send = json!({"type": "send", "room": "orders", "body": body});
            let reply = client.ask(send).await?;
            ensure!(reply["type"] == wanted || reply["code"] == wanted, "{adapter:?}: {body} got {reply}");
        }
        let shipped = Shop::Order { order: 7, state: State::Shipped };
        let posted = chat.post(&orders, &shop, &shipped).await?;
        let message = client.until("message").await?;
        ensure!(message["seq"] == posted.seq, "{message}");
        ensure!(message["body"] == json!({"order": 7, "state": "shipped"}), "{message}");
        let history = client.ask(json!({"type": "history", "room": "orders", "limit": 2})).await?;
        let oldest = history["messages"].get(0).context("no message")?;
        ensure!(
            oldest["body"] == json!({"order": 7, "state": "paid", "note": [1.5]}),
            "{adapter:?}: {history}"
        );
        client.close(1000).await?;
    }
    Ok(())
}
