//! The flushes of a room, and the sessions of its members and followers, under schedules that shuttle chooses.
//!
//! The code of the chat runs unchanged. Shuttle decides at each lock of a room, of a member and of a socket which task
//! runs next. It fails if all tasks wait, so a lost wake-up is found. A failure prints a schedule for
//! `shuttle::replay`.
//!
//! `cargo test -p chat-core --features shuttle --test interleavings`

mod member;
mod socket;

use std::env;
use std::future::poll_fn;
use std::io::ErrorKind;
use std::sync::Arc;
use std::task::Poll;

use chat_core::{Chat, Incoming, Limits, RoomName, Text, User};
use chat_testkit::{Mode, Store};
use shuttle::future::block_on;
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::thread::JoinHandle;
use shuttle::{Config, Runner, thread};
use tokio::runtime::Builder;

use crate::member::Member;
use crate::socket::Socket;

/// The schedules of each scheduler, unless `CHAT_SCHEDULES` sets another number.
const SCHEDULES: usize = 150;

/// The preemptions of a schedule of the second scheduler.
const DEPTH: usize = 4;

/// Bytes that a full socket takes: less than a message.
const PART_OF_A_MESSAGE: usize = 40;

/// Bytes of the stack of a task.
const STACK_BYTES: usize = 512 * 1024;

/// Checks a scenario with rooms in memory.
fn check(scenario: fn(&Chat)) {
    check_on(|| (Chat::default(), ()), move |chat, ()| scenario(chat));
}

/// Checks a scenario under random schedules, and under schedules with few preemptions.
fn check_on<T: 'static>(
    build: fn() -> (Chat, T),
    scenario: impl Fn(&Chat, &T) + Copy + Send + Sync + 'static,
) {
    let schedules = env::var("CHAT_SCHEDULES").map_or(SCHEDULES, |number| number.parse().expect("a number"));
    run(RandomScheduler::new(schedules), build, scenario);
    run(PctScheduler::new(DEPTH, schedules), build, scenario);
}

fn run<T: 'static>(
    scheduler: impl Scheduler + 'static,
    build: fn() -> (Chat, T),
    scenario: impl Fn(&Chat, &T) + Send + Sync + 'static,
) {
    let mut config = Config::new();
    config.stack_size = STACK_BYTES;
    let iteration = move || {
        // It opens the room. Later it only creates timers, which never fire.
        let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
        let (chat, store) = build();
        runtime.block_on(post(&chat));
        let _context = runtime.enter();
        scenario(&chat, &store);
        assert_eq!(chat.counts().connections, 0);
    };
    Runner::new(scheduler, config).run(iteration);
}

fn lobby() -> RoomName {
    "lobby".parse().expect("a valid name")
}

/// Posts a message as a service does, and returns its `seq`.
async fn post(chat: &Chat) -> u64 {
    let user = User::guest("host").expect("a valid name");
    chat.post(&lobby(), &user, &Text::new("hi")).await.expect("a room in memory").seq
}

/// Posts messages on another thread. Then the peer of a session sends a `ping`.
fn post_and_ping(chat: &Chat, messages: usize, peer: Arc<Socket>) -> JoinHandle<u64> {
    let chat = chat.clone();
    thread::spawn(move || {
        let last = (0..messages).fold(0, |_, _| block_on(post(&chat)));
        peer.send(Incoming::Text(r#"{"type":"ping","ref":"ping"}"#.into()));
        last
    })
}

#[test]
fn members_get_all_messages_once_and_in_order() {
    check(|chat| {
        let [ann, bob, slow] = ["ann", "bob", "slow"].map(|name| Member::join(chat, name));
        slow.socket().wait_for("joined");
        slow.socket().limit(PART_OF_A_MESSAGE);
        let host = post_and_ping(chat, 2, bob.socket());
        let reader = {
            let slow = slow.socket();
            thread::spawn(move || [1, 200, usize::MAX].into_iter().for_each(|bytes| slow.read(bytes)))
        };
        ann.command(r#"{"type":"send","ref":"send","room":"lobby","body":{"text":"hi"}}"#);
        // Ann has joined before the last message, but the reply to hers may come before it. The others may join later.
        let of_ann = "\"seq\":4,\"user\"";
        for (member, newest, last) in [
            (&ann, of_ann, "\"ref\":\"send\""),
            (&bob, "\"seq\":4,", "pong"),
            (&slow, "\"seq\":4,", "joined"),
        ] {
            member.socket().wait_for(newest);
            member.socket().wait_for(last);
        }
        host.join().expect("posted");
        reader.join().expect("read");
        // A message may come after the pong: the entry before it, which ann sends, may be reported late.
        assert_eq!([ann, bob, slow].map(|member| member.close().last_seq(None)), [4, 4, 4]);
    });
}

#[test]
fn the_rest_of_a_partial_write_is_sent_once_there_is_space() {
    check(|chat| {
        let slow = Member::join(chat, "slow");
        slow.socket().wait_for("joined");
        slow.socket().limit(PART_OF_A_MESSAGE);
        let host = post_and_ping(chat, 1, Arc::default());
        slow.socket().read(usize::MAX);
        slow.socket().wait_for("\"text\":\"hi\"");
        let posted = host.join().expect("posted");
        assert_eq!(slow.close().last_seq(None), posted);
    });
}

#[test]
fn members_that_leave_get_nothing_more_and_the_others_all() {
    check(|chat| {
        let [leaving, closing, lost, staying] =
            ["leaving", "closing", "lost", "staying"].map(|name| Member::join(chat, name));
        lost.socket().wait_for("joined");
        lost.socket().limit(PART_OF_A_MESSAGE);
        let host = post_and_ping(chat, 2, staying.socket());
        leaving.command(r#"{"type":"leave","ref":"leave","room":"lobby"}"#);
        lost.socket().send(Incoming::Lost(ErrorKind::ConnectionReset.into()));
        let closing = closing.close();
        let lost = lost.ended();
        staying.socket().wait_for("\"seq\":3,");
        staying.socket().wait_for("pong");
        leaving.socket().wait_for("leave");
        let posted = host.join().expect("posted");
        let [leaving, staying] = [leaving, staying].map(Member::close);
        for events in [closing, lost, leaving] {
            events.last_seq(None);
        }
        assert_eq!((staying.last_seq(None), staying.last_seq(Some("ping"))), (posted, posted));
    });
}

#[test]
fn a_follower_gets_the_activity_of_the_last_message() {
    check(|chat| {
        let ann = Member::follow(chat, "ann");
        ann.socket().wait_for("done");
        let host = post_and_ping(chat, 2, Arc::default());
        ann.socket().wait_for("\"seq\":3,");
        assert_eq!(host.join().expect("posted"), 3);
        ann.close();
    });
}

#[test]
fn a_flush_that_waits_for_appends_begins_when_the_last_of_them_is_stored_or_dropped() {
    let on_store = || {
        let (store, chat) = Store::with_chat(Limits::default());
        (chat, store)
    };
    check_on(on_store, |chat, store| {
        let members = ["ann", "bob", "carl", "dora"].map(|name| Member::join(chat, name));
        members.iter().for_each(|member| member.socket().wait_for("joined"));
        store.append(Mode::Waits);
        let [mut dropped, stored] =
            [chat.clone(), chat.clone()].map(|chat| Box::pin(async move { post(&chat).await }));
        block_on(poll_fn(|cx| {
            assert!(dropped.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        }));
        let stored = thread::spawn(move || block_on(stored));
        members[0].command(r#"{"type":"typing","room":"lobby","active":true}"#);
        let dropped = thread::spawn(move || drop(dropped));
        store.append(Mode::Works);
        for member in &members {
            member.socket().wait_for("\"seq\":2,");
        }
        members[1..].iter().for_each(|member| member.socket().wait_for("typing"));
        dropped.join().expect("dropped");
        assert_eq!(stored.join().expect("posted"), 2);
        assert_eq!(members.map(|member| member.close().last_seq(None)), [2; 4]);
    });
}
