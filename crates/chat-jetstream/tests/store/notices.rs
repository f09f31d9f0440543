use std::sync::Arc;

use chat_core::Limits;
use serde_json::json;

use crate::servers::{Servers, request};
use crate::support::{Opened, node};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_hears_of_each_entry_although_all_notices_are_lost() {
    let servers = Servers::start(1);
    let client = servers.ready().await;
    let limits = Arc::new(Limits::default());
    let (one, two) = (node(&servers, |_| {}).await, node(&servers, |_| {}).await);
    let (a, b) = (Opened::open(&one, "lobby", &limits).await, Opened::open(&two, "lobby", &limits).await);
    // The stream publishes no notice any more.
    let info = request(&client, "STREAM.INFO.chat", &json!({})).await.expect("a stream");
    let mut config = info["config"].clone();
    config.as_object_mut().expect("settings").remove("republish").expect("notices");
    let updated = request(&client, "STREAM.UPDATE.chat", &config).await.expect("an answer");
    assert!(updated["error"].is_null(), "{updated}");
    for seq in 1..=3 {
        let (writer, reader) = if seq == 2 { (&b, &a) } else { (&a, &b) };
        assert_eq!(writer.say("hi").await, seq);
        // No later entry shows that this one is missing.
        reader.hears(seq).await;
    }
}
