//! A room: its log, its keys, its tail, its members, and its presence.

mod changes;
mod checks;
mod deferred;
mod direct;
mod histories;
mod keys;
mod model;
mod nodes;
mod occupancy;
mod pages;
mod presence;
mod purges;
mod reader;
mod receipts;
mod renewal;
mod resumption;
mod roster;
mod rules;
mod tail;
mod threads;
mod typing;
mod waking;

use std::ops::Range;
use std::sync::Arc;

use chat_proto::{Limits, Log, NewMessage, RoomName, StoredMessage, User};
use proptest::prelude::*;
use serde_json::value::RawValue;

const EPOCH: &str = "k3f9";

fn room(name: &str) -> RoomName {
    name.parse().expect("a good name")
}

fn log(limits: &Limits) -> Log {
    Log::new(room("lobby"), EPOCH.to_owned(), Arc::new(limits.clone()))
}

fn body(text: &str) -> Box<RawValue> {
    RawValue::from_string(format!(r#"{{"text":"{text}"}}"#)).expect("a body is JSON")
}

fn draft(user: &str, key: Option<&str>, text: &str) -> NewMessage {
    let user = User::guest(user).expect("a good name");
    NewMessage::new(user, body(text)).with_key(key.map(str::to_owned))
}

/// Appends a message whose frame has at least `size` bytes.
fn append(log: &mut Log, size: usize) -> StoredMessage {
    let (appended, stored) =
        log.append(7, draft("ada", None, &"x".repeat(size))).expect("no key, no conflict");
    let stored = stored.expect("what has no key is always stored");
    assert_eq!((appended.seq, appended.at, appended.duplicate), (stored.seq, 7, false));
    stored
}

/// Small limits, so that short histories reach the tail, a page, and the end of the log.
fn small_limits(log_bytes: Range<usize>, tail_events: Range<usize>) -> impl Strategy<Value = Limits> {
    let threshold = prop_oneof![Just(100), 0..3_usize];
    (1..20_usize, log_bytes, tail_events, 1..5_usize, 0..600_usize, threshold).prop_map(
        |(log_messages, log_bytes, tail_events, max_page, max_batch, threshold)| {
            Limits::default().with(|limits| {
                limits.rooms.log_messages = log_messages;
                limits.rooms.log_bytes = log_bytes;
                limits.rooms.tail_events = tail_events;
                limits.rooms.presence_threshold = threshold;
                limits.wire.max_page_messages = max_page;
                limits.wire.max_batch_bytes = max_batch;
                limits.wire.default_page_messages = 3;
            })
        },
    )
}

fn bytes<'a>(messages: impl IntoIterator<Item = &'a StoredMessage>) -> usize {
    messages.into_iter().map(|stored| stored.frame.len()).sum()
}
