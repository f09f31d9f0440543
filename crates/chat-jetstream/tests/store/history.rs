use std::sync::Arc;

use chat_core::{Limits, Range};

use crate::servers::Servers;
use crate::support::{Opened, node, text};

/// Messages of a room that are sent at once, so that they share records, or one by one.
const BURST: usize = 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_knows_nothing_finds_each_part_of_a_long_log() {
    let servers = Servers::start(1);
    servers.ready().await;
    let (limits, store) = (Arc::new(Limits::default()), node(&servers, |_| {}).await);
    let (lobby, hall) =
        (Opened::open(&store, "lobby", &limits).await, Opened::open(&store, "hall", &limits).await);
    let mut count = 0;
    for round in 0..30 {
        let said = if round % 3 == 0 { 100 } else { 7 };
        for _ in 0..said {
            count += 1;
            lobby.say(&count.to_string()).await;
            // The other room makes the places of this one uneven.
            if round > 20 {
                hall.say("other").await;
            }
        }
        let burst = (0..BURST).map(|_| hall.say("burst"));
        futures_util::future::join_all(burst).await;
    }
    drop((lobby, hall, store));
    for seq in [2, 3, 150, 151, count / 2, count - 1, count, count + 1] {
        // Each time, the node knows no place.
        let store = node(&servers, |_| {}).await;
        let lobby = Opened::open(&store, "lobby", &limits).await;
        let page = lobby.room.read(Range::before(seq, 5)).await.expect("a page");
        let expected: Vec<_> = (seq.saturating_sub(5).max(1)..seq).collect();
        assert_eq!(page.messages.iter().map(|stored| stored.seq).collect::<Vec<_>>(), expected);
        assert!(page.messages.iter().all(|stored| text(&stored.frame) == stored.seq.to_string()));
        let page = lobby.room.read(Range::after(seq - 1, 5)).await.expect("a page");
        let expected: Vec<_> = (seq..(seq + 5).min(count + 1)).collect();
        assert_eq!(page.messages.iter().map(|stored| stored.seq).collect::<Vec<_>>(), expected);
    }
}
