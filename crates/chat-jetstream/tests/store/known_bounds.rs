use std::sync::Arc;

use chat_core::{Change, Chat, Limits, Text, User};
use futures_util::future::join_all;

use crate::servers::Servers;
use crate::support::{Opened, eventually, node};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscriptions_to_an_open_room_ask_the_servers_nothing() {
    let servers = Servers::start(1);
    servers.ready().await;
    let store = node(&servers, |_| {}).await;
    let chat = Chat::builder().store(store.clone()).build();
    let (lobby, ann) = ("lobby".parse().expect("a name"), User::guest("ann").expect("a name"));
    chat.post(&lobby, &ann, &Text::new("hi")).await.expect("stored");
    let first = chat.subscribe(&lobby).await.expect("a subscription");
    let before = store.stats().requests;
    let rest = join_all((0..50).map(|_| chat.subscribe(&lobby))).await;
    let asked = store.stats().requests - before;
    assert!(rest.iter().all(Result::is_ok) && asked < 5, "only the requests of the node itself: {asked}");
    drop((first, rest));
    // The requests of a room that is opened are counted.
    let before = store.stats().requests;
    let names: Vec<_> = (0..50).map(|number| format!("room{number}").parse().expect("a name")).collect();
    let opened = join_all(names.iter().map(|name| chat.subscribe(name))).await;
    let asked = store.stats().requests - before;
    assert!(opened.iter().all(Result::is_ok) && (50..=110).contains(&asked), "{asked}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_knows_the_bounds_of_a_room_in_which_another_one_writes() {
    let mut servers = Servers::start(1);
    servers.ready().await;
    let limits = Arc::new(Limits::default());
    let (one, two) = (node(&servers, |_| {}).await, node(&servers, |_| {}).await);
    let writer = Opened::open(&one, "lobby", &limits).await;
    let reader = Opened::open(&two, "lobby", &limits).await;
    let known = |opened: &Opened| opened.room.known_bounds();
    assert_eq!(known(&reader), Some(reader.room.bounds().await.expect("bounds")));
    for _ in 0..3 {
        writer.say("hi").await;
    }
    writer.change("ann", 2, Change::Pin { on: true }).await.expect("a pin");
    reader.hears(4).await;
    let before = two.stats().requests;
    let bounds = known(&reader).expect("known");
    assert_eq!((bounds.head, bounds.first, bounds.has_changes, &*bounds.pins), (4, 1, true, &[2][..]));
    assert!(two.stats().requests - before <= 2, "only the requests of the node itself");
    assert_eq!(Some(reader.room.bounds().await.expect("bounds")), known(&reader));

    // A node without servers does not know what it has missed.
    servers.kill(0);
    eventually("unknown bounds", || async { known(&reader).is_none() }).await;
    servers.revive(0);
    eventually("known bounds", || async { known(&reader).is_some() }).await;
}
