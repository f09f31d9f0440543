//! The seams between the chat and its host: identity, rights, kicks, subscriptions, stores, and the bus between nodes.

mod authorize;
mod cluster;
mod commits;
mod identify;
mod kick;
mod nodes;
mod opening;
mod partition;
mod repair;
mod subscribe;
mod users;
mod waking;

use chat_core::{Chat, NewMessage, RoomName, StoredMessage, Text, User};
use serde_json::value::RawValue;

/// Posts texts into the lobby as the host.
async fn post(chat: &Chat, count: u64) {
    let host = User::new("host", "host").expect("a name");
    for _ in 0..count {
        chat.post(&chat_testkit::lobby(), &host, &Text::new("x")).await.expect("posted");
    }
}

/// Returns an entry as a store reports it.
fn stored(room: &RoomName, seq: u64) -> StoredMessage {
    let body = RawValue::from_string(format!(r#"{{"text":"{seq}"}}"#)).expect("JSON");
    let user = User::guest("elsewhere").expect("a name");
    NewMessage::new(user, body).into_stored(room.clone(), seq, 1)
}
