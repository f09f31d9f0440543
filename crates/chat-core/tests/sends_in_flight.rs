//! Several messages of one connection in flight, for a store that keeps their order.

use std::sync::Arc;

use async_trait::async_trait;
use chat_core::{Action, Authorize, Chat, Forbidden, Limits, RateLimits, RoomName, User};
use chat_testkit::{Mode, Peer, Store, member, seqs, settle};
use serde_json::json;
use tokio::sync::Semaphore;

/// Returns a member of a room that has a message, on a store whose appends wait.
async fn writer(store: &Store, chat: &Chat) -> Peer {
    let mut ann = member(chat, "ann").await;
    ann.say("first");
    assert_eq!(ann.ask(json!({"type": "ping"})).await["type"], "pong");
    store.append(Mode::Waits);
    ann
}

fn send_all(peer: &Peer, count: usize) {
    for number in 0..count {
        let body = json!({"text": number.to_string()});
        peer.send(json!({"type": "send", "room": "lobby", "body": body, "ref": number.to_string()}));
    }
}

/// Returns the `ref`s and types of the replies, up to a pong.
async fn replies(peer: &mut Peer) -> Vec<(usize, String)> {
    let mut replies = Vec::new();
    loop {
        let event = peer.event().await;
        match (event["ref"].as_str().and_then(|number| number.parse().ok()), event["type"].as_str()) {
            (_, Some("pong")) => return replies,
            (Some(number), Some(kind)) => replies.push((number, kind.to_owned())),
            _ => {}
        }
    }
}

fn in_order(count: usize, kind: &str) -> Vec<(usize, String)> {
    (0..count).map(|number| (number, kind.to_owned())).collect()
}

#[tokio::test(start_paused = true)]
async fn messages_are_in_flight_together_up_to_the_limit() {
    let (store, chat) = Store::with_chat(Limits::default());
    store.keep_order();
    let mut ann = writer(&store, &chat).await;
    send_all(&ann, 40);
    ann.send(json!({"type": "ping"}));
    settle().await;
    assert_eq!(store.appends(), 1 + 32);
    store.append(Mode::Works);
    assert_eq!(replies(&mut ann).await, in_order(40, "sent"));
    let page = ann.ask(json!({"type": "history", "room": "lobby", "limit": 100})).await;
    let texts = page["messages"].as_array().expect("messages").iter().skip(1);
    let texts: Vec<_> = texts.map(|message| message["body"]["text"].as_str().expect("a text")).collect();
    assert_eq!(texts, (0..40).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn messages_in_flight_that_fail_are_answered_in_their_order() {
    let (store, chat) = Store::with_chat(Limits::default());
    store.keep_order();
    let mut ann = writer(&store, &chat).await;
    send_all(&ann, 5);
    settle().await;
    store.append(Mode::Fails);
    ann.send(json!({"type": "ping"}));
    assert_eq!(replies(&mut ann).await, in_order(5, "error"));
}

#[tokio::test(start_paused = true)]
async fn one_message_is_in_flight_where_the_order_may_be_lost() {
    let (store, chat) = Store::with_chat(Limits::default());
    let ann = writer(&store, &chat).await;
    send_all(&ann, 5);
    settle().await;
    assert_eq!(store.appends(), 1 + 1);
}

#[tokio::test(start_paused = true)]
async fn the_first_message_of_a_room_is_in_flight_alone() {
    let (store, chat) = Store::with_chat(Limits::default());
    store.keep_order();
    store.append(Mode::Waits);
    let mut ann = member(&chat, "ann").await;
    send_all(&ann, 5);
    ann.send(json!({"type": "ping"}));
    settle().await;
    assert_eq!(store.appends(), 1);
    store.append(Mode::Works);
    assert_eq!(replies(&mut ann).await, in_order(5, "sent"));
}

/// A store may commit the messages of many sessions together, and answer each of them when another one is polled.
#[tokio::test(start_paused = true)]
async fn messages_in_flight_are_polled_although_their_sender_takes_no_replies() {
    let (store, chat) =
        Store::with_chat(Limits::default().with(|limits| limits.rates = RateLimits::unlimited()));
    store.keep_order();
    let mut ann = writer(&store, &chat).await;
    let mut bob = member(&chat, "bob").await;
    settle().await;
    bob.events().await;
    ann.block();
    // With a few of the replies to the messages, these are all that may wait.
    for _ in 0..60 {
        ann.send(json!({"type": "ping"}));
    }
    send_all(&ann, 16);
    settle().await;
    assert_eq!((store.appends(), ann.unread()), (1 + 16, 0));
    store.append(Mode::Works);
    assert_eq!(seqs(&bob.events().await), (2..=17).collect::<Vec<_>>());
    ann.unblock();
    settle().await;
    ann.send(json!({"type": "ping"}));
    let mut sent = Vec::new();
    while sent.len() < 16 {
        sent.extend(replies(&mut ann).await);
    }
    assert_eq!(sent, in_order(16, "sent"));
}

/// A host that allows one action for each permit.
struct Gate(Arc<Semaphore>);

#[async_trait]
impl Authorize for Gate {
    async fn authorize(&self, _: &User, _: &RoomName, _: &Action<'_>) -> Result<(), Forbidden> {
        self.0.acquire().await.expect("the semaphore is open").forget();
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn the_host_is_asked_about_one_message_at_a_time() {
    let (store, permits) = (Store::new(), Arc::new(Semaphore::new(2)));
    store.keep_order();
    let chat = Chat::builder().store(store.clone()).authorize(Gate(Arc::clone(&permits))).build();
    let mut ann = writer(&store, &chat).await;
    send_all(&ann, 5);
    ann.send(json!({"type": "ping"}));
    for allowed in 0..=5 {
        settle().await;
        assert_eq!(store.appends(), 1 + allowed);
        permits.add_permits(1);
    }
    store.append(Mode::Works);
    assert_eq!(replies(&mut ann).await, in_order(5, "sent"));
}
