use std::sync::Arc;

use async_nats::Client;
use chat_core::Limits;
use futures_util::future::join_all;
use serde_json::json;

use crate::servers::{Servers, request};
use crate::support::{Opened, delete, node};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_hears_of_each_entry_although_all_notices_are_lost() {
    let servers = Servers::start(1);
    let client = servers.ready().await;
    let limits = Arc::new(Limits::default());
    let (one, two) = (node(&servers, |_| {}).await, node(&servers, |_| {}).await);
    let (a, b) = (Opened::open(&one, "lobby", &limits).await, Opened::open(&two, "lobby", &limits).await);
    lose_notices(&client).await;
    for seq in 1..=3 {
        let (writer, reader) = if seq == 2 { (&b, &a) } else { (&a, &b) };
        assert_eq!(writer.say("hi").await, seq);
        // No later entry shows that this one is missing.
        reader.hears(seq).await;
    }
}

/// The record with the first deletion is replaced before the other node has read it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_hears_of_a_deletion_whose_record_was_replaced_although_all_notices_are_lost() {
    let servers = Servers::start(1);
    let client = servers.ready().await;
    let limits = Arc::new(Limits::default());
    let (one, two) = (node(&servers, |_| {}).await, node(&servers, |_| {}).await);
    let (a, b) = (Opened::open(&one, "lobby", &limits).await, Opened::open(&two, "lobby", &limits).await);
    assert_eq!(a.say("one").await, 1);
    b.hears(1).await;
    lose_notices(&client).await;
    // Those that come while the first one is stored share a record.
    let says = join_all(["two", "three", "four", "five"].map(|text| a.say(text)));
    let (said, deleted) = tokio::join!(says, a.change("zoe", 1, delete()));
    let deleted = deleted.expect("a deletion").seq.expect("an entry");
    let mut erased: Vec<_> = said.into_iter().filter(|seq| seq.abs_diff(deleted) == 1).collect();
    for seq in &erased {
        a.change("zoe", *seq, delete()).await.expect("a deletion");
    }
    erased.push(1);
    erased.sort_unstable();
    b.hears_of_erased(&erased).await;
}

/// Lets the stream publish no notice any more.
pub(crate) async fn lose_notices(client: &Client) {
    let info = request(client, "STREAM.INFO.chat", &json!({})).await.expect("a stream");
    let mut config = info["config"].clone();
    config.as_object_mut().expect("settings").remove("republish").expect("notices");
    let updated = request(client, "STREAM.UPDATE.chat", &config).await.expect("an answer");
    assert!(updated["error"].is_null(), "{updated}");
}
