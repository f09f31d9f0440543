//! Rooms that write straight to the connections of their members.

use std::sync::Arc;
use std::time::Duration;

use chat_core::{Action, Chat, Forbidden, Limits, Range, RateLimits, RoomName, Text, User};
use chat_testkit::{Frame, Peer, chat, lobby, member, members, pass, seqs, settle, types};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

/// The members of a room in which several tasks write.
const MEMBERS: usize = 520;

/// Posts messages as a service does.
async fn post(chat: &Chat, messages: usize) {
    let user = User::guest("host").expect("a name");
    for _ in 0..messages {
        chat.post(&lobby(), &user, &Text::new("x")).await.expect("a room in memory");
    }
}

#[tokio::test(start_paused = true)]
async fn a_room_writes_to_a_quiet_member_and_its_session_counts_the_frames() {
    let chat = Chat::default();
    let mut ann = member(&chat, "ann").await;
    settle().await;
    let before = chat.stats().bytes_sent;
    post(&chat, 3).await;
    let events = ann.events().await;
    assert_eq!((seqs(&events), ann.direct_frames()), (vec![1, 2, 3], 3));
    let bytes: usize = events.iter().map(|event| event.to_string().len()).sum();
    assert_eq!(chat.stats().bytes_sent - before, bytes as u64);
    // The session has taken ann's own presence before.
    let deliveries = chat.stats().deliveries;
    assert_eq!((deliveries.direct, chat.stats().appends), (3, 3), "{deliveries:?}");
}

#[tokio::test(start_paused = true)]
async fn the_rest_of_a_partial_write_is_sent_before_later_frames() {
    let chat = Chat::default();
    let mut ann = member(&chat, "ann").await;
    settle().await;
    for grants in [1, 2, 5] {
        ann.block();
        ann.grant(grants);
        post(&chat, 4).await;
        settle().await;
        post(&chat, 4).await;
        ann.send(json!({"type": "ping"}));
        settle().await;
        ann.unblock();
        let events = ann.events().await;
        let first = events[0]["seq"].as_u64().expect("a message");
        assert_eq!(seqs(&events), (first..first + 8).collect::<Vec<_>>());
        assert_eq!(types(&events).last(), Some(&"pong"), "{events:?}");
    }
    let before = ann.direct_frames();
    post(&chat, 2).await;
    assert_eq!(seqs(&ann.events().await), [25, 26]);
    assert_eq!(ann.direct_frames() - before, 2, "the member is quiet again");
}

#[tokio::test(start_paused = true)]
async fn frames_that_a_connection_buffers_are_flushed_before_later_frames() {
    let chat = Chat::default();
    let mut ann = member(&chat, "ann").await;
    ann.buffer_direct_writes();
    settle().await;
    ann.block();
    ann.grant(1);
    post(&chat, 3).await;
    settle().await;
    post(&chat, 3).await;
    ann.send(json!({"type": "ping"}));
    settle().await;
    ann.unblock();
    let events = ann.events().await;
    assert_eq!((seqs(&events), types(&events).last()), ((1..7).collect(), Some(&"pong")));
    post(&chat, 1).await;
    assert_eq!(seqs(&ann.events().await), [7]);
    assert_eq!(ann.direct_frames(), 2, "the member is quiet again");
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_a_writer_ends_its_session_and_sends_nothing_twice() {
    let chat = Chat::default();
    let [mut ann, mut bob] = members(&chat, ["ann", "bob"]).await;
    ann.events().await;
    ann.panic_in_direct_writes();
    post(&chat, 2).await;
    assert_eq!(seqs(&bob.events().await), [1, 2]);
    pass(Limits::default().connection.close_timeout.as_secs_f64() + 1.0).await;
    assert!(ann.is_over().await);
    assert!(!ann.taken().iter().any(|frame| matches!(frame, Frame::Text(_))));
}

#[tokio::test(start_paused = true)]
async fn a_member_that_reads_nothing_is_closed_although_rooms_write_to_it() {
    for buffers in [false, true] {
        let chat = Chat::default();
        let [mut slow, mut ann] = members(&chat, ["slow", "ann"]).await;
        ann.events().await;
        slow.block();
        if buffers {
            slow.buffer_direct_writes();
            slow.grant(1);
            post(&chat, 2).await;
        } else {
            post(&chat, 1).await;
        }
        pass(Limits::default().connection.write_timeout.as_secs_f64() + 1.0).await;
        assert_eq!(slow.closed_with(), Some(Some(4000)));
        assert_eq!(seqs(&ann.events().await), [1, 2][..1 + usize::from(buffers)]);
        pass(Limits::default().connection.close_timeout.as_secs_f64()).await;
        assert!(slow.is_over().await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_and_its_reply_leave_in_one_write() {
    let chat = Chat::default();
    let [mut ann, mut bob] = members(&chat, ["ann", "bob"]).await;
    ann.events().await;
    let (writes, direct) = (ann.flushes(), ann.direct_frames());
    ann.send(json!({"type": "send", "ref": "1", "room": "lobby", "body": {"text": "hi"}}));
    assert_eq!(types(&ann.events().await), ["message", "sent"]);
    assert_eq!((ann.flushes() - writes, ann.direct_frames() - direct), (1, 0));
    assert_eq!(types(&bob.events().await), ["message"]);
}

#[tokio::test(start_paused = true)]
async fn events_from_before_a_command_are_sent_before_its_reply() {
    let chat = Chat::default();
    let mut ann = member(&chat, "ann").await;
    settle().await;
    // The session is woken before the flush is.
    ann.send(json!({"type": "ping"}));
    post(&chat, 1).await;
    assert_eq!(types(&ann.events().await), ["message", "pong"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn messages_from_runtimes_that_do_not_run_afterwards_are_delivered() {
    let chat = Chat::default();
    let mut ann = member(&chat, "ann").await;
    for _ in 0..2 {
        let chat = chat.clone();
        let posting = std::thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_time().build();
            let runtime = runtime.expect("a runtime");
            runtime.block_on(post(&chat, 1));
            runtime
        });
        let stopped = posting.join().expect("posted");
        while ann.event().await["type"] != "message" {}
        stopped.shutdown_background();
    }
}

#[tokio::test(start_paused = true)]
async fn a_flush_does_not_wait_for_code_of_the_host() {
    let (bob, frames) = (Arc::new(Mutex::new(None::<Peer>)), Arc::new(Mutex::new(Vec::new())));
    let (seen_by, counted) = (Arc::clone(&bob), Arc::clone(&frames));
    let authorize = move |_: &User, _: &RoomName, action: &Action<'_>| -> Result<(), Forbidden> {
        if let (Action::Send { .. }, Some(bob)) = (action, &*seen_by.lock()) {
            counted.lock().push(bob.direct_frames());
        }
        Ok(())
    };
    let chat = Chat::builder().authorize(authorize).build();
    let [ann, bob_peer] = members(&chat, ["ann", "bob"]).await;
    settle().await;
    let before = bob_peer.direct_frames();
    *bob.lock() = Some(bob_peer);
    for number in ["1", "2", "3"] {
        ann.send(json!({"type": "send", "room": "lobby", "body": {"text": number}}));
    }
    settle().await;
    // The host's code for each message runs when the members have those before it.
    assert_eq!(*frames.lock(), [before, before + 1, before + 2]);
}

#[tokio::test(start_paused = true)]
async fn other_tasks_get_their_turn_after_256_kib_of_long_messages() {
    let chat = Chat::default();
    let mut peers = Vec::new();
    for number in 0..20 {
        peers.push(member(&chat, &format!("user{number}")).await);
    }
    settle().await;
    let written = || peers.iter().map(Peer::direct_frames).sum::<usize>();
    let (user, text) = (User::guest("host").expect("a name"), Text::new("x".repeat(3_900)));
    let before = written();
    // 60 KiB, which leave in one flush.
    for _ in 0..15 {
        chat.post(&lobby(), &user, &text).await.expect("a room in memory");
    }
    let mut turns = Vec::new();
    while turns.iter().sum::<usize>() < 20 * 15 && turns.len() < 100 {
        let before = written();
        yield_now().await;
        turns.push(written() - before);
    }
    assert_eq!(written() - before, 20 * 15);
    assert!(turns.iter().all(|frames| *frames <= 4 * 15), "{turns:?}");
}

/// Returns two runtimes, each of which runs only while it is used.
fn runtimes() -> [Runtime; 2] {
    let build = || Builder::new_current_thread().enable_time().start_paused(true).build();
    [build(), build()].map(|runtime| runtime.expect("a runtime"))
}

#[test]
fn the_flush_of_a_session_does_not_wait_for_the_thread_of_another_member() {
    let [first, second] = runtimes();
    let chat = Chat::default();
    // Bob was there first, and his runtime does not run again.
    let _bob = first.block_on(member(&chat, "bob"));
    second.block_on(async {
        let mut peers = Vec::new();
        // Too many for one turn of a flush.
        for number in 0..300 {
            peers.push(member(&chat, &format!("user{number}")).await);
        }
        settle().await;
        peers.iter().for_each(|peer| drop(peer.taken()));
        peers[0].say("hi");
        settle().await;
        for peer in &mut peers {
            assert_eq!(seqs(&peer.events().await), [1]);
        }
    });
}

#[test]
fn the_flushes_of_two_rooms_in_one_turn_do_not_wait_for_the_thread_of_another_member() {
    let [first, second] = runtimes();
    let chat = Chat::default();
    let _bob = first.block_on(async {
        let mut bob = member(&chat, "bob").await;
        bob.join("hall").await;
        bob
    });
    second.block_on(async {
        let [mut ann, mut carl] = members(&chat, ["ann", "carl"]).await;
        for peer in [&mut ann, &mut carl] {
            peer.join("hall").await;
        }
        carl.events().await;
        for room in ["lobby", "hall"] {
            ann.send(json!({"type": "send", "room": room, "body": {"text": "hi"}}));
        }
        let events = carl.events().await;
        let rooms: Vec<_> = events.iter().filter_map(|event| event["room"].as_str()).collect();
        assert_eq!((rooms, seqs(&events)), (vec!["lobby", "hall"], vec![1, 1]));
    });
}

#[test]
fn members_whose_flush_was_given_up_take_the_events_themselves() {
    let [first, second] = runtimes();
    let chat = Chat::default();
    let bob = first.block_on(member(&chat, "bob"));
    let mut ann = second.block_on(member(&chat, "ann"));
    second.block_on(async { ann.events().await });
    // The flush begins in the runtime of bob, who was there first, and has no turn before it ends.
    first.block_on(post(&chat, 1));
    drop((first, bob));
    second.block_on(async { assert_eq!(seqs(&ann.events().await), [1]) });
}

#[test]
fn a_flush_needs_no_runtime_of_a_member_that_has_left() {
    let [first, second] = runtimes();
    let chat = Chat::default();
    let mut ann = first.block_on(member(&chat, "ann"));
    second.block_on(async {
        let mut bob = member(&chat, "bob").await;
        bob.close(1000);
        assert!(bob.is_over().await);
    });
    first.block_on(async {
        ann.events().await;
        post(&chat, 1).await;
        assert_eq!(seqs(&ann.events().await), [1]);
    });
}

/// The events of a peer of the test below, as it gets them.
struct Follower {
    peer: Peer,
    next: u64,
    is_member: bool,
    /// True once the last command has its reply.
    is_last: bool,
}

impl Follower {
    /// Checks the events that have come. A member gets each message once and in order, and none after it has left.
    fn check(&mut self) {
        for frame in self.peer.taken() {
            let Frame::Text(text) = frame else { panic!("{frame:?}") };
            let event: Value = serde_json::from_str(&text).expect("JSON");
            let seq = event["seq"].as_u64().unwrap_or_default();
            match event["type"].as_str() {
                Some("message") => {
                    assert!(self.is_member, "{event}");
                    assert_eq!(seq, self.next);
                    self.next += 1;
                }
                Some("joined") => {
                    self.next = if self.is_member { self.next } else { seq + 1 };
                    self.is_member = true;
                    self.is_last |= event["ref"] == "last";
                }
                Some("left") => self.is_member = false,
                _ => {}
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn members_on_several_threads_get_all_messages_once_and_in_order() {
    let rounds = 20;
    let chat = chat(Limits::default().with(|limits| {
        limits.rates = RateLimits::unlimited();
        limits.rooms.presence_threshold = 1;
        limits.connection.max_errors = usize::MAX;
        // The peers answer no ping.
        limits.connection.ping_interval = Duration::from_secs(3600);
        limits.rooms.tail_events = 64;
        limits.rooms.log_messages = 10_000;
    }));
    let mut followers = Vec::new();
    for number in 0..MEMBERS {
        let peer = member(&chat, &format!("user{number}")).await;
        followers.push(Follower { peer, next: 1, is_member: true, is_last: false });
    }
    for round in 0..rounds {
        for (number, follower) in followers.iter_mut().enumerate() {
            match (number + round * 7) % 60 {
                0..4 => {
                    let send = json!({"type": "send", "ref": "s", "room": "lobby", "body": {"text": "x"}});
                    follower.peer.send(send);
                }
                4 => follower.peer.block(),
                5 => follower.peer.grant(3),
                6 => follower.peer.unblock(),
                7 => follower.peer.send(json!({"type": "leave", "room": "lobby"})),
                8 => follower.peer.send(json!({"type": "join", "room": "lobby"})),
                _ => {}
            }
        }
        yield_now().await;
    }
    for follower in &mut followers {
        follower.peer.unblock();
        follower.peer.send(json!({"type": "join", "room": "lobby", "ref": "last"}));
    }
    follow(&mut followers, |follower| follower.is_last).await;
    post(&chat, 1).await;
    let head = chat.history(&lobby(), Range::newest(1)).await.expect("a room in memory").messages[0].seq;
    assert!(head > rounds as u64 * 10, "{head}");
    follow(&mut followers, |follower| follower.next > head).await;
}

/// Checks the events of all followers until each of them is done.
async fn follow(followers: &mut [Follower], is_done: impl Fn(&Follower) -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    for follower in followers {
        follower.check();
        while !is_done(follower) {
            assert!(Instant::now() < until, "message {} is missing: {}", follower.next, follower.is_member);
            sleep(Duration::from_millis(5)).await;
            follower.check();
        }
    }
}
