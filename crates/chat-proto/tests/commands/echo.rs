use std::time::Duration;

use bytes::Bytes;
use chat_proto::session::Effect;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Map, Value, json};

use crate::member;

const KINDS: [&str; 14] = [
    "hello", "join", "leave", "send", "history", "members", "read", "follow", "rooms", "search", "typing",
    "ping", "nonsense", "",
];
const FIELDS: [&str; 18] = [
    "type", "room", "after", "last", "body", "key", "before", "limit", "query", "active", "token", "name",
    "epoch", "seq", "reply_to", "thread", "mentions", "unknown",
];

fn good_value(field: &str) -> Value {
    match field {
        "room" => json!("lobby"),
        "body" => json!({"text": "hi"}),
        "active" => json!(true),
        "query" => json!("q"),
        _ => Value::Null,
    }
}

/// Generates a value that has `marker` somewhere.
fn marked_value(marker: String) -> impl Strategy<Value = Value> {
    let leaf = Just(json!(marker));
    leaf.prop_recursive(3, 6, 2, move |inner| {
        let marker = marker.clone();
        prop_oneof![
            inner.clone().prop_map(|value| json!([1, value])),
            inner.clone().prop_map(|value| json!({"epoch": value, "seq": value})),
            inner.prop_map(move |value| json!({marker.as_str(): value})),
            "[ A-Z\u{0}\u{202e}]{0,4}".prop_map(String::into),
        ]
    })
}

/// Generates a command with a marker in some of its fields, and the marker.
fn marked_command() -> impl Strategy<Value = (String, Map<String, Value>)> {
    "qz[a-z0-9]{6}".prop_flat_map(|marker| {
        let field = (select(FIELDS.to_vec()), marked_value(marker.clone()));
        let marked = proptest::collection::vec(field, 0..4);
        (Just(marker), select(KINDS.to_vec()), marked).prop_map(|(marker, kind, marked)| {
            let needed =
                ["room", "body", "active", "query"].map(|field| (field.to_owned(), good_value(field)));
            let mut fields: Map<String, Value> = needed.into_iter().collect();
            fields.insert("type".to_owned(), kind.into());
            fields.extend(marked.into_iter().map(|(field, value)| (field.to_owned(), value)));
            (marker, fields)
        })
    })
}

fn events(text: String) -> Vec<Value> {
    let effects = member().handle_text(Duration::ZERO, Bytes::from(text));
    effects
        .into_iter()
        .filter_map(|effect| match effect {
            Effect::Reply(event) => Some(serde_json::from_slice(&event.encode()).expect("an event is JSON")),
            _ => None,
        })
        .collect()
}

/// Returns the event without the fields that repeat the sender's text by design.
fn in_own_words(mut event: Value) -> String {
    let fields = event.as_object_mut().expect("an event is an object");
    fields.remove("ref");
    fields.remove("room");
    event.to_string()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_error_never_repeats_a_value((marker, mut fields) in marked_command(), marked_ref: bool, twice: bool) {
        if marked_ref {
            fields.insert("ref".to_owned(), marker.as_str().into());
        }
        let mut text = Value::Object(fields).to_string();
        if twice {
            text = format!(r#"{{"{marker}":"{marker}","{marker}":"{marker}",{}"#, &text[1..]);
        }
        for event in events(text) {
            prop_assert_eq!(&event["type"], if event["code"].is_null() { "pong" } else { "error" });
            let own = in_own_words(event);
            prop_assert!(!own.contains(&marker), "{}", own);
        }
    }

    #[test]
    fn an_error_never_repeats_broken_text(
        (marker, fields) in marked_command(),
        at in any::<Index>(),
        junk in "[\\]}{,:\"x\\\\]{0,2}",
    ) {
        let mut text = Value::Object(fields).to_string();
        text = text.chars().enumerate().fold(String::new(), |text, (i, c)| {
            let junk = if i == at.index(200) { junk.as_str() } else { "" };
            text + junk + &String::from(c)
        });
        for event in events(text) {
            let own = in_own_words(event);
            prop_assert!(!own.contains(&marker), "{}", own);
        }
    }

    #[test]
    fn a_valid_ref_is_returned_even_if_the_rest_is_invalid(
        (_, mut fields) in marked_command(),
        reference in "\\PC{0,16}",
        last_twice in any::<bool>(),
    ) {
        fields.insert("ref".to_owned(), reference.as_str().into());
        let mut text = Value::Object(fields).to_string();
        if last_twice {
            text = format!(r#"{},"last":1,"last":2}}"#, text.trim_end_matches('}'));
            prop_assume!(serde_json::from_str::<Value>(&text).is_ok());
        }
        for event in events(text) {
            prop_assert_eq!(&event["ref"], reference.as_str());
        }
    }

    #[test]
    fn any_bytes_get_one_answer(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        prop_assert_eq!(member().handle_text(Duration::ZERO, bytes.into()).len(), 1);
    }

    #[test]
    fn a_command_with_one_changed_byte_gets_one_answer(
        (_, fields) in marked_command(),
        at in any::<Index>(),
        byte in any::<u8>(),
    ) {
        let mut text = Value::Object(fields).to_string().into_bytes();
        *at.get_mut(&mut text) = byte;
        prop_assert_eq!(member().handle_text(Duration::ZERO, text.into()).len(), 1);
    }
}
