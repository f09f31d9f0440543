//! The drain of a chat: the commands received are answered, and each session is closed with a reason.

use std::time::Duration;

use chat_core::{Chat, Decision, Drained, Endpoint, Limits, Range};
use chat_testkit::{
    Frame, Peer, chat, connect, guarded, handshake, lobby, member, members, pass, seconds_until, seqs,
    settle, ticket,
};
use chat_testkit::{Mode, Store};
use futures_util::FutureExt;
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(20);

/// Drains in a separate task.
fn drain(chat: &Chat, limit: Duration) -> tokio::task::JoinHandle<Drained> {
    let chat = chat.clone();
    tokio::spawn(async move { chat.drain(limit).await })
}

/// Returns the numbers of connections at the beginning and at the end. The store was closed cleanly.
#[expect(clippy::needless_pass_by_value, reason = "it is the end of a chain of calls")]
fn numbers(drained: Drained) -> (usize, usize) {
    assert_eq!(drained.store, Ok(()));
    (drained.connections, drained.abandoned)
}

/// Waits for a close with 1012. Returns the events before the `closing` event, and the advice in it.
async fn until_restarting(peer: &mut Peer) -> (Vec<Value>, u64) {
    let mut frames = peer.until_gone().await;
    assert_eq!(frames.pop(), Some(Frame::Close(Some(1012))));
    let events = frames.into_iter().map(|frame| match frame {
        Frame::Text(text) => serde_json::from_str(&text).expect("JSON"),
        other => panic!("{other:?}"),
    });
    let mut events: Vec<Value> = events.collect();
    let mut closing = events.pop().expect("closing");
    let advice = closing["reconnect_in_ms"].take().as_u64().expect("a number");
    let expected = json!({"type": "closing", "code": 1012, "reason": "restarting", "reconnect_in_ms": null});
    assert_eq!(closing, expected);
    (events, advice)
}

#[tokio::test(start_paused = true)]
async fn a_drain_announces_and_closes_every_session() {
    let chat = Chat::default();
    let mut peers = Vec::new();
    for name in ["ann", "bob", "cid", "dan"] {
        peers.push(connect(&chat, name).await);
    }
    assert!(!chat.is_draining());
    let drained = drain(&chat, LIMIT);
    let mut advised = Vec::new();
    for peer in &mut peers {
        let (events, advice) = until_restarting(peer).await;
        assert_eq!(events, [] as [Value; 0]);
        assert!((2_000..4_000).contains(&advice), "{advice}");
        advised.push(advice);
    }
    advised.dedup();
    assert_eq!(advised.len(), 4, "the clients have different delays");
    let mut result = None;
    let waited = seconds_until(async { result = drained.await.ok() }).await;
    assert!(waited < 0.1, "{waited}");
    assert_eq!(result.map(numbers), Some((4, 0)));
    assert!(chat.is_draining());
    assert_eq!((chat.counts().connections, chat.counts().sessions), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_chat_without_connections_drains_at_once_and_refuses_upgrades() {
    let chat = Chat::default();
    let waited = seconds_until(async {
        assert_eq!(numbers(chat.drain(LIMIT).await), (0, 0));
    });
    assert!(waited.await < 0.01);
    let decision = Endpoint::new(chat).handle(&handshake("/ws"), &guarded()).await;
    assert!(matches!(decision, Decision::Answer(answer) if answer.status() == 503));
}

#[tokio::test(start_paused = true)]
async fn commands_that_were_received_are_answered_before_a_drain_closes() {
    let (store, chat) = Store::with_chat(Limits::default());
    let [mut ann, mut bob] = members(&chat, ["ann", "bob"]).await;
    ann.events().await;
    store.append(Mode::Slow(Duration::from_secs(1)));
    for number in ["1", "2", "3"] {
        ann.send(json!({"type": "send", "ref": number, "room": "lobby", "body": {"text": number}}));
    }
    settle().await;
    let drained = drain(&chat, LIMIT);
    settle().await;
    ann.send(json!({"type": "send", "ref": "4", "room": "lobby", "body": {"text": "too late"}}));
    let decision = Endpoint::new(chat.clone()).handle(&handshake("/ws"), &guarded()).await;
    assert!(matches!(decision, Decision::Answer(answer) if answer.status() == 503));
    until_restarting(&mut bob).await;
    let mut events = Vec::new();
    let waited = seconds_until(async { events = until_restarting(&mut ann).await.0 }).await;
    assert!((2.9..3.1).contains(&waited), "{waited}");
    let sent: Vec<_> = events.iter().filter(|event| event["type"] == "sent").collect();
    let refs: Vec<_> = sent.iter().map(|event| event["ref"].as_str()).collect();
    assert_eq!(refs, [Some("1"), Some("2"), Some("3")]);
    let page = chat.history(&lobby(), Range::After { seq: 0, limit: 9 }).await;
    let page = page.expect("a page").messages;
    assert_eq!(page.len(), 3, "a command that did not start is not stored");
    assert_eq!(drained.await.map(|drained| drained.abandoned).ok(), Some(0));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_is_abandoned_at_the_limit_of_a_drain() {
    let chat = chat(Limits::default().with(|limits| {
        limits.connection.write_timeout = Duration::from_secs(60);
        limits.connection.close_timeout = Duration::from_secs(30);
    }));
    let [mut slow, _quick] = members(&chat, ["slow", "quick"]).await;
    slow.events().await;
    slow.block();
    let mut result = None;
    let waited = seconds_until(async { result = Some(chat.drain(Duration::from_secs(5)).await) }).await;
    // One of the five seconds is reserved for the store.
    assert!((4.0..4.1).contains(&waited), "{waited}");
    assert_eq!(result.map(numbers), Some((2, 1)));
}

#[tokio::test(start_paused = true)]
async fn a_session_whose_log_hangs_is_closed_before_the_limit() {
    let (store, chat) = Store::with_chat(
        Limits::default().with(|limits| limits.rooms.call_timeout = Duration::from_secs(60)),
    );
    let mut ann = member(&chat, "ann").await;
    let waiting = ticket(&chat, "/ws").await;
    store.append(Mode::Hangs);
    ann.say("hi");
    settle().await;
    let drained = chat.drain(Duration::from_secs(2)).await;
    assert_eq!(drained.connections, 2);
    assert_eq!(drained.abandoned, 1, "the unfinished upgrade is abandoned");
    ann.until_gone().await;
    assert_eq!(ann.closed_with(), Some(Some(1012)));
    assert!(ann.is_over().await);
    drop(waiting);
    assert_eq!((chat.counts().connections, chat.counts().sessions), (0, 0));
    assert_eq!(chat.members(&lobby()), []);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_starts_while_the_chat_drains_is_closed_with_restarting() {
    let chat = Chat::default();
    let (ticket, guard) = ticket(&chat, "/ws").await;
    let drained = drain(&chat, LIMIT);
    settle().await;
    assert!(guard.observe(101).is_none());
    let mut late = Peer::new(|wire| ticket.start(async { Ok::<_, std::convert::Infallible>(wire) }));
    let (events, _) = until_restarting(&mut late).await;
    assert_eq!(chat_testkit::types(&events), ["welcome"]);
    assert_eq!(drained.await.ok().map(numbers), Some((1, 0)));
}

#[tokio::test(start_paused = true)]
async fn a_second_drain_shortens_the_first_and_never_reopens_the_chat() {
    let (store, chat) = Store::with_chat(
        Limits::default().with(|limits| limits.rooms.call_timeout = Duration::from_secs(60)),
    );
    let mut ann = member(&chat, "ann").await;
    store.append(Mode::Hangs);
    ann.say("hi");
    settle().await;
    let first = drain(&chat, LIMIT);
    pass(1.0).await;
    assert_eq!(chat.drain(Duration::ZERO).await.abandoned, 1);
    // The session has not run since the second drain.
    let mut third = Box::pin(chat.drain(LIMIT));
    assert!((&mut third).now_or_never().is_none());
    let waited = seconds_until(async {
        ann.until_gone().await;
        assert_eq!(third.await.abandoned, 0);
        assert_eq!(first.await.map(|drained| drained.abandoned).ok(), Some(0));
    });
    let waited = waited.await;
    assert!(waited < 0.01, "{waited}");
}

#[tokio::test(start_paused = true)]
async fn messages_acknowledged_during_a_drain_under_load_are_in_the_log() {
    let (store, chat) = Store::with_chat(Limits::default());
    let mut peers = Vec::new();
    for name in ["ann", "bob", "cid"] {
        peers.push(member(&chat, name).await);
    }
    store.append(Mode::Slow(Duration::from_millis(7)));
    for round in 0..40 {
        for peer in &peers {
            peer.say(&format!("{round}"));
        }
    }
    pass(0.1).await;
    let drained = drain(&chat, LIMIT);
    let mut acknowledged = Vec::new();
    for peer in &mut peers {
        let (events, _) = until_restarting(peer).await;
        acknowledged.extend(
            events
                .iter()
                .filter(|event| event["type"] == "sent")
                .map(|event| event["seq"].as_u64().expect("a number")),
        );
    }
    assert_eq!(drained.await.map(|drained| drained.abandoned).ok(), Some(0));
    acknowledged.sort_unstable();
    let page = chat.history(&lobby(), Range::After { seq: 0, limit: 1_000 }).await;
    let stored: Vec<Value> = page
        .expect("a page")
        .messages
        .iter()
        .map(|stored| serde_json::from_slice(&stored.frame).expect("JSON"))
        .collect();
    assert_eq!(acknowledged, seqs(&stored), "stored and acknowledged are the same");
    assert_eq!(stored.len(), 120, "all had been read when the drain began");
}
