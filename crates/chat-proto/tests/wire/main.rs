//! The wire in both directions: what one side writes, the other side reads.

mod asyncapi;
mod commands;
mod events;

use chat_proto::{Links, Mentions, RoomName, User};
use proptest::prelude::*;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};

fn room() -> impl Strategy<Value = RoomName> {
    "[a-z0-9가-힣][a-z0-9가-힣_-]{0,20}".prop_map(|name| name.parse().expect("a valid name"))
}

/// Generates texts with characters that JSON must escape.
fn text() -> impl Strategy<Value = String> {
    prop_oneof!["\\PC{1,12}", "[\"\\\\\u{0}-\u{1f}\u{7f}/<&a]{1,6}"]
}

fn reference() -> impl Strategy<Value = Option<String>> {
    proptest::option::of(text())
}

/// Generates integers that the protocol can express.
fn integer() -> impl Strategy<Value = u64> {
    prop_oneof![0..100_u64, Just((1 << 53) - 1)]
}

/// Generates users as the wire has them.
fn user() -> impl Strategy<Value = User> {
    (text(), text()).prop_map(|(id, name)| {
        serde_json::from_value(json!({"id": id, "name": name})).expect("an id and a name")
    })
}

fn mentions() -> impl Strategy<Value = Mentions> {
    prop_oneof![
        3 => proptest::collection::vec("[a-z가-힣@\"]{1,9}", 0..4).prop_map(Mentions::users),
        1 => Just(Mentions::Room),
    ]
}

/// Generates links, `None` if there are none.
fn links() -> impl Strategy<Value = Option<Box<Links>>> {
    let seq = || proptest::option::of(1..100_u64);
    (seq(), seq(), proptest::option::of(mentions())).prop_map(|(reply_to, thread, mentions)| {
        let links = Links::default().with_reply_to(reply_to).with_thread(thread).with_mentions(mentions);
        (!links.is_empty()).then(|| Box::new(links))
    })
}

fn body() -> impl Strategy<Value = Box<RawValue>> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(Value::from),
        text().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(Value::Null),
    ];
    let value = leaf.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            proptest::collection::btree_map(text(), inner, 0..3)
                .prop_map(|fields| fields.into_iter().collect::<Map<_, _>>().into()),
        ]
    });
    proptest::collection::btree_map(text(), value, 0..4).prop_map(|fields| {
        let fields: Map<String, Value> = fields.into_iter().collect();
        to_raw_value(&fields).expect("a map is JSON")
    })
}
