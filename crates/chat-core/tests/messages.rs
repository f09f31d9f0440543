//! Messages of a host's own type, which are stored and delivered unchanged.

use chat_core::{BodyError, Chat, Limits, Message};
use chat_testkit::member;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// A message of a host, with a parser of its own.
#[derive(Debug, Serialize, Deserialize)]
struct Poll {
    question: String,
}

impl Message for Poll {
    fn parse(body: &RawValue, _: &Limits) -> Result<Self, BodyError> {
        let body: Value = serde_json::from_str(body.get()).map_err(|_| BodyError::Invalid)?;
        match body["poll"].as_str() {
            Some("") => Err(BodyError::Empty),
            Some(question) => Ok(Self { question: question.to_owned() }),
            None => Err(BodyError::Invalid),
        }
    }

    fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string(&json!({"poll": self.question}))
    }

    fn kind(&self) -> &'static str {
        "poll"
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_defines_its_own_messages() {
    let chat = Chat::builder().messages::<Poll>().build();
    let mut ann = member(&chat, "ann").await;
    let send = |body| json!({"type": "send", "room": "lobby", "body": body});
    for (body, code) in [(json!({"text": "hi"}), "bad_body"), (json!({"poll": ""}), "empty_body")] {
        assert_eq!(ann.ask(send(body)).await["code"], code);
    }
    let poll = json!({"poll": "Tea?", "answers": ["yes", "no"]});
    assert_eq!(ann.ask(send(poll.clone())).await["seq"], 1);
    assert_eq!(ann.event().await["body"], poll);
    let question = Poll { question: "Cake?".to_owned() };
    let user = chat_core::User::guest("host").expect("a name");
    let posted = chat.post(&chat_testkit::lobby(), &user, &question).await;
    assert_eq!(posted.expect("posted").seq, 2);
    assert_eq!(ann.event().await["body"], json!({"poll": "Cake?"}));
}

#[tokio::test(start_paused = true)]
async fn a_body_passes_unchanged_byte_for_byte() {
    let chat = Chat::builder().messages::<Poll>().build();
    let mut ann = member(&chat, "ann").await;
    let body = "{ \"b\" : 1.50e+01,\t\"poll\":\"\\u00e9\\/<\u{e9}\u{1f600}&\",\n \"a\":[ -0.0,12345678901234567890123 ] }";
    ann.text(format!(r#"{{"body":{body},"room":"lobby","type":"send"}}"#));
    let message = ann.text_frame().await;
    ann.text_frame().await;
    assert!(message.ends_with(&format!(r#""body":{body}}}"#)), "{message}");
    ann.send(json!({"type": "history", "room": "lobby"}));
    let page = ann.text_frame().await;
    assert!(page.contains(&message), "{page}");
}

/// A message that serde alone reads and writes.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    item: String,
    count: u8,
}

impl Message for Order {}

#[tokio::test(start_paused = true)]
async fn a_type_that_serde_reads_and_writes_is_a_message() {
    let chat = Chat::builder().messages::<Order>().build();
    let mut ann = member(&chat, "ann").await;
    let send = |body| json!({"type": "send", "room": "lobby", "body": body});
    for body in [json!({"item": "tea"}), json!({"item": "tea", "count": 256}), json!({"text": "hi"})] {
        assert_eq!(ann.ask(send(body)).await["code"], "bad_body");
    }
    assert_eq!(ann.ask(send(json!({"item": "tea", "count": 2}))).await["seq"], 1);
    let user = chat_core::User::guest("host").expect("a name");
    let order = Order { item: "cake".to_owned(), count: 1 };
    let posted = chat.post(&chat_testkit::lobby(), &user, &order).await;
    assert_eq!(posted.expect("posted").seq, 2);
    assert_eq!(ann.event().await["body"], json!({"item": "tea", "count": 2}));
    assert_eq!(ann.event().await["body"], json!({"item": "cake", "count": 1}));
    let text = chat.post(&chat_testkit::lobby(), &user, &chat_core::Text::new("hi")).await;
    assert!(text.is_err(), "the chat accepts only orders: {text:?}");
}
