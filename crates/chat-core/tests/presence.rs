//! Presence for members that do not read in time.

use std::collections::BTreeSet;

use chat_core::{Chat, Limits};
use chat_testkit::{Peer, chat, connect, member, settle};
use serde_json::Value;

const MEMBERS: usize = 200;

/// Returns a chat whose tails have space for a part of the members.
fn small() -> Chat {
    chat(Limits::default().with(|limits| limits.rooms.tail_events = 32))
}

/// Starts sessions of guests that have joined the lobby.
async fn members(chat: &Chat) -> Vec<Peer> {
    let mut peers = Vec::new();
    for number in 0..MEMBERS {
        peers.push(member(chat, &format!("u{number}")).await);
    }
    peers
}

/// Applies presence events to the users that a client knows. Each event must be a change.
fn apply(seen: &mut BTreeSet<String>, events: &[Value]) {
    for event in events.iter().filter(|event| event["type"] == "presence") {
        let user = event["user"]["name"].as_str().expect("a name").to_owned();
        let is_change = if event["state"] == "joined" { seen.insert(user) } else { seen.remove(&user) };
        assert!(is_change, "twice: {event}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_observer_that_reads_sees_all_members_that_drop_at_once_leave() {
    let chat = small();
    let peers = members(&chat).await;
    let mut observer = connect(&chat, "observer").await;
    observer.join("lobby").await;
    let mut seen: BTreeSet<String> = (0..MEMBERS).map(|number| format!("u{number}")).collect();
    peers.iter().for_each(Peer::kill);
    apply(&mut seen, &observer.events().await);
    assert_eq!(seen, BTreeSet::new());
}

#[tokio::test(start_paused = true)]
async fn an_observer_that_did_not_read_gets_the_last_state_of_each_user() {
    let chat = small();
    let mut observer = member(&chat, "observer").await;
    observer.block();
    let peers = members(&chat).await;
    let (gone, here) = peers.split_at(MEMBERS - 10);
    gone.iter().for_each(Peer::kill);
    settle().await;
    observer.unblock();
    let events = observer.events().await;
    let mut seen = BTreeSet::new();
    apply(&mut seen, &events);
    let expected: BTreeSet<_> = (MEMBERS - here.len()..MEMBERS).map(|number| format!("u{number}")).collect();
    assert_eq!(seen, expected);
}
