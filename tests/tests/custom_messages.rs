//! A message type of the host, next to text, passes through every adapter unchanged.

use anyhow::{Context, Result, ensure};
use chat_core::{BodyError, Chat, Limits, Message, RoomName, Text, User};
use chat_tests::{ADAPTERS, Client, Server};
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// Text, or the state of an order.
enum Shop {
    Text(Text),
    Order { id: u64, state: &'static str },
}

const STATES: [&str; 3] = ["paid", "packed", "shipped"];

impl Message for Shop {
    fn parse(body: &RawValue, limits: &Limits) -> Result<Self, BodyError> {
        let value: Value = serde_json::from_str(body.get()).map_err(|_| BodyError::Invalid)?;
        let Some(id) = value.get("order") else {
            return Text::parse(body, limits).map(Self::Text);
        };
        let state = STATES.into_iter().find(|state| value["state"] == *state);
        match (id.as_u64(), state) {
            (Some(id), Some(state)) => Ok(Self::Order { id, state }),
            _ => Err(BodyError::Invalid),
        }
    }

    fn to_json(&self) -> String {
        match self {
            Self::Text(text) => text.to_json(),
            Self::Order { id, state } => json!({"order": id, "state": state}).to_string(),
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
    let chat: Chat<Shop> = Chat::builder().build();
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
        let shipped = Shop::Order { id: 7, state: "shipped" };
        let posted = chat.post(&orders, &shop, &shipped, None).await?;
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
