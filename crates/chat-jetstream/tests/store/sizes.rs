use std::sync::Arc;

use chat_core::{Limits, Links, Mentions, NewMessage, RawValue, User};
use futures_util::future::join_all;

use crate::servers::Servers;
use crate::support::{Opened, node};

/// The bytes of all messages of the test are more than the servers take in one.
const MESSAGES: usize = 256;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_have_more_bytes_than_one_record_are_stored_in_several() {
    let servers = Servers::start(1);
    servers.ready().await;
    let (limits, store) = (Arc::new(Limits::default()), node(&servers, |_| {}).await);
    let lobby = Opened::open(&store, "lobby", &limits).await;
    let name = "u".repeat(120);
    let mentions = Mentions::users((0..50).map(|index| format!("{name}{index}")));
    let links = Links::default().with_mentions(mentions);
    let messages = (0..MESSAGES).map(|index| {
        let body = RawValue::from_string(format!(r#"{{"text":"{index}"}}"#)).expect("JSON");
        let ann = User::guest("ann").expect("a name");
        let message = NewMessage::new(ann, body).with_key(index.to_string());
        lobby.room.append(message.with_links(links.clone()))
    });
    for receipt in join_all(messages).await {
        receipt.expect("a message that is stored");
    }
    assert_eq!(lobby.texts().await.len(), MESSAGES);
}
