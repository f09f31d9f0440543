use std::time::Duration;

use bytes::Bytes;
use chat_core::{Chat, InvalidEvent, Limits, LogBounds, StoredMessage, Subscription, SubscriptionError};
use chat_testkit::{Mode, Store, lobby, member, seconds_until, settle};
use futures_util::{FutureExt, StreamExt};
use serde_json::Value;

use crate::post;

async fn next(events: &mut Subscription) -> Value {
    let event = events.next_frame().await.expect("the log goes on").expect("the log can be read");
    serde_json::from_slice(&event).expect("JSON")
}

fn small() -> Limits {
    Limits::default().with(|limits| {
        limits.rooms.tail_events = 4;
        limits.wire.max_page_messages = 3;
        limits.rooms.log_messages = 10;
    })
}

#[tokio::test(start_paused = true)]
async fn a_subscription_gets_the_events_of_a_member_and_no_user_sees_it() {
    let chat = Chat::default();
    post(&chat, 3).await;
    let mut events = chat.subscribe(&lobby()).await.expect("a subscription");
    assert_eq!(events.room(), &lobby());
    let mut ann = member(&chat, "ann").await;
    assert_eq!(chat.members(&lobby()).len(), 1, "a subscription is no member");
    assert_eq!(ann.join("lobby").await["members"], 1);
    assert_eq!(next(&mut events).await["state"], "joined");
    ann.say("hi");
    ann.send(serde_json::json!({"type": "typing", "room": "lobby", "active": true}));
    assert_eq!(next(&mut events).await["seq"], 4, "from now on");
    assert_eq!(next(&mut events).await["type"], "typing");
    ann.kill();
    assert_eq!(next(&mut events).await["state"], "left");
    assert!(events.next().now_or_never().is_none());
    assert_eq!(chat.counts().sessions, 0);
}

#[tokio::test(start_paused = true)]
async fn a_slow_subscription_reads_the_log_and_gets_a_gap_for_removed_entries() {
    let chat = chat_testkit::chat(small());
    let mut events = chat.subscribe(&lobby()).await.expect("a subscription");
    post(&chat, 8).await;
    for seq in 1..=8 {
        assert_eq!(next(&mut events).await["seq"], seq);
    }
    post(&chat, 30).await;
    let gap = next(&mut events).await;
    assert_eq!((&gap["type"], &gap["from"], &gap["to"]), (&"gap".into(), &9.into(), &28.into()));
    for seq in 29..=38 {
        assert_eq!(next(&mut events).await["seq"], seq);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_or_fails_loses_nothing() {
    let (store, chat) = Store::with_chat(small());
    let mut events = chat.subscribe(&lobby()).await.expect("a subscription");
    post(&chat, 8).await;
    store.read(Mode::Slow(Duration::from_secs(1)));
    for _ in 0..3 {
        assert!(events.next().now_or_never().is_none(), "it reads the log");
    }
    store.read(Mode::Fails);
    // The read in flight is kept: its page has three messages.
    for seq in 1..=3 {
        assert_eq!(next(&mut events).await["seq"], seq);
    }
    for _ in 0..2 {
        assert!(matches!(events.next().await, Some(Err(SubscriptionError::Unavailable(_)))));
    }
    store.read(Mode::Works);
    for seq in 4..=8 {
        let none = tokio::time::timeout(Duration::ZERO, std::future::pending::<()>()).await;
        assert!(none.is_err());
        assert_eq!(next(&mut events).await["seq"], seq);
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_that_fails_is_read_again_after_growing_pauses() {
    let (store, chat) = Store::with_chat(small());
    let mut events = chat.subscribe(&lobby()).await.expect("a subscription");
    post(&chat, 6).await;
    store.read(Mode::Fails);
    let ten_errors = seconds_until(async {
        for _ in 0..10 {
            assert!(matches!(events.next().await, Some(Err(SubscriptionError::Unavailable(_)))));
        }
    });
    // The pauses are 0.1 s, 0.2 s, 0.4 s, ..., 3.2 s, and then 5 s.
    let waited = ten_errors.await;
    assert!((21.3..21.4).contains(&waited), "{waited}");
    store.read(Mode::Works);
    for seq in 1..=6 {
        assert_eq!(next(&mut events).await["seq"], seq);
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_after_a_failed_read_ends_when_the_chat_has_drained() {
    let (store, chat) = Store::with_chat(small());
    let mut events = chat.subscribe(&lobby()).await.expect("a subscription");
    post(&chat, 6).await;
    store.read(Mode::Fails);
    for _ in 0..10 {
        assert!(matches!(events.next().await, Some(Err(SubscriptionError::Unavailable(_)))));
    }
    let waiting = tokio::spawn(async move { (events.next().await, events.next().await) });
    settle().await;
    assert!(!waiting.is_finished());
    let waited = seconds_until(async {
        chat.drain(Duration::from_secs(1)).await;
        let ended = waiting.await.expect("no panic");
        assert!(matches!(ended, (Some(Err(SubscriptionError::Unavailable(_))), None)), "{ended:?}");
    });
    assert!(waited.await < 1.1);
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_is_not_an_event_is_an_error_and_the_next_event_follows() {
    let (store, chat) = Store::with_chat(small());
    let mut events = chat.subscribe(&lobby()).await.expect("a subscription");
    store.sink().publish(&store.epoch(), &StoredMessage::new(1, Bytes::from_static(b"{\"seq\":1}")));
    let error = events.next().await.expect("the log goes on").expect_err("no event");
    assert_eq!(error, InvalidEvent::NotAnEvent.into());
    let pinned = Bytes::from_static(br#"{"type":"pinned","room":"lobby","seq":2,"at":1}"#);
    store.sink().publish(&store.epoch(), &StoredMessage::new(2, pinned));
    let event = events.next().await.expect("the log goes on").expect("no error");
    assert_eq!(event.entry().map(|(_, seq)| seq), Some(2));
}

#[tokio::test(start_paused = true)]
async fn a_subscription_ends_with_an_error_when_its_log_starts_a_new_epoch() {
    let (store, chat) = Store::with_chat(small());
    let mut events = chat.subscribe(&lobby()).await.expect("a subscription");
    post(&chat, 1).await;
    assert_eq!(next(&mut events).await["seq"], 1);
    store.sink().renewed(&LogBounds::new("another", 0));
    assert_eq!(events.next().await.and_then(Result::err), Some(SubscriptionError::Renewed));
    assert!(events.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_subscription_keeps_its_room_open_until_it_is_dropped() {
    let chat = Chat::default();
    let events = chat.subscribe(&lobby()).await.expect("a subscription");
    tokio::time::sleep(Duration::from_secs(10_000)).await;
    assert_eq!(chat.open_rooms(), [lobby()]);
    drop(events);
    settle().await;
    assert_eq!(chat.counts().rooms, 0, "a room without messages is closed at once");
}

#[tokio::test(start_paused = true)]
async fn a_subscription_ends_when_the_chat_has_drained() {
    let chat = Chat::default();
    let mut events = chat.subscribe(&lobby()).await.expect("a subscription");
    let waiting = tokio::spawn(async move { events.next().await });
    settle().await;
    assert!(!waiting.is_finished());
    chat.drain(Duration::from_secs(1)).await;
    let ended = tokio::time::timeout(Duration::from_secs(1), waiting).await;
    assert!(matches!(ended, Ok(Ok(None))), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn a_subscription_is_a_stream_that_ends_with_the_chat() {
    let chat = Chat::default();
    let events = chat.subscribe(&lobby()).await.expect("a subscription");
    post(&chat, 3).await;
    chat.drain(Duration::from_secs(1)).await;
    let seqs = events.map(|event| event.expect("no error").entry().map(|(_, seq)| seq));
    assert_eq!(seqs.collect::<Vec<_>>().await, [Some(1), Some(2), Some(3)]);
}

#[tokio::test(start_paused = true)]
async fn a_log_that_fails_after_the_drain_ends_the_subscription() {
    let store = Store::new();
    let chat = store.chat(small());
    let mut events = chat.subscribe(&lobby()).await.expect("a subscription");
    post(&chat, 8).await;
    store.read(Mode::Fails);
    chat.drain(Duration::from_secs(1)).await;
    while let Some(event) = events.next().await {
        assert!(matches!(event, Err(SubscriptionError::Unavailable(_))), "{event:?}");
    }
}
