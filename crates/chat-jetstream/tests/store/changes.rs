use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chat_core::{Limits, Range};
use futures_util::future::join_all;
use serde_json::json;

use crate::erasure::finds;
use crate::servers::{ALONE, Servers, request};
use crate::support::{Opened, delete, eventually, node, node_of, react};

/// Messages that are sent at once, so that they share records.
const MESSAGES: u64 = 40;

/// Users of each node who react to the first message.
const USERS: usize = 30;

/// Each node deletes every second message, while the users of both react to the first one. The nodes do not see each
/// other, so that both write to the room.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_on_two_nodes_at_once_lose_nothing() {
    let servers = Servers::start(1);
    servers.ready().await;
    let limits = Arc::new(Limits::default());
    let stores = [node(&servers, |_| {}).await, node_of(&servers, ALONE).await];
    let mut rooms = Vec::new();
    for store in &stores {
        rooms.push(Opened::open(store, "lobby", &limits).await);
    }
    rooms[0].say("first").await;
    let texts: Vec<_> = (0..MESSAGES).map(|number| format!("text {number}.")).collect();
    join_all(texts.iter().map(|text| rooms[0].say(text))).await;
    let before = rooms[0].events().await;
    assert_eq!(before.len() as u64, MESSAGES + 1);
    let is_deleted = |seq: &u64| !seq.is_multiple_of(4) && *seq > 1;
    let deletions = before.keys().copied().filter(is_deleted).map(|seq| {
        let room = &rooms[usize::from(seq % 2 == 0)];
        async move { room.change("zoe", seq, delete()).await.expect("a deletion").seq }
    });
    let reactions = (0..2 * USERS).map(|number| {
        let room = &rooms[number % 2];
        async move { room.change(&format!("u{number}"), 1, react()).await.expect("a reaction").seq }
    });
    let (deletions, reactions) = tokio::join!(join_all(deletions), join_all(reactions));
    let entries: BTreeSet<_> = deletions.iter().chain(&reactions).flatten().copied().collect();
    let head = rooms[1].room.bounds().await.expect("bounds").head;
    let head_of_messages = MESSAGES + 1;
    assert_eq!(entries, (head_of_messages + 1..=head).collect(), "each change has an entry");
    // A node that knows nothing reads the same.
    let third = Opened::open(&node(&servers, |_| {}).await, "lobby", &limits).await;
    for room in [&rooms[0], &rooms[1], &third] {
        let after = room.events().await;
        assert_eq!(after.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
        assert_eq!(after[&1]["reactions"][0]["count"], 2 * USERS);
        for (seq, event) in after.iter().skip(1) {
            if is_deleted(seq) {
                assert!(event["body"].is_null() && event["deleted"]["by"]["id"] == "zoe", "{event}");
            } else {
                assert_eq!(event, &before[seq]);
            }
        }
        let page = room.room.read(Range::entries(0, 1_000)).await.expect("a page");
        assert_eq!(
            page.messages.iter().map(|stored| stored.seq).collect::<Vec<_>>(),
            (1..=head).collect::<Vec<_>>()
        );
    }
    for room in &rooms {
        room.hears(head).await;
    }
    let erased = before.iter().filter(|(seq, _)| is_deleted(seq));
    for (_, event) in erased {
        let text = event["body"]["text"].as_str().expect("a text");
        assert!(!finds(servers.home(0), text), "{text} is in a file");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_states_of_messages_that_cannot_be_read_any_more_are_removed() {
    let servers = Servers::start(1);
    let client = servers.ready().await;
    let limits = Limits::default().with(|limits| limits.rooms.key_window = Duration::from_millis(100));
    let limits = Arc::new(limits);
    let store = node(&servers, |options| options.retain_messages = Some(20)).await;
    let lobby = Opened::open(&store, "lobby", &limits).await;
    for seq in 1..=10 {
        assert_eq!(lobby.say("hi").await, seq);
    }
    for seq in 1..=10 {
        lobby.change("ann", seq, if seq == 5 { delete() } else { react() }).await.expect("a change");
    }
    let subjects = || async {
        let query = json!({ "subjects_filter": "chat.*.*.*.*" });
        let info = request(&client, "STREAM.INFO.chat", &query).await.expect("a stream");
        info["state"]["subjects"].as_object().map_or(0, serde_json::Map::len)
    };
    assert_eq!(subjects().await, 11, "a state of each message, and a copy of a record");
    eventually("old states are removed", || async {
        for _ in 0..100 {
            lobby.say("hi").await;
        }
        subjects().await == 0
    })
    .await;
    assert_eq!(lobby.texts().await.len(), 30, "as many messages as entries that are no changes");
}
