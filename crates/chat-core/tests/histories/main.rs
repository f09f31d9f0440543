//! Random histories of several sessions: joins, messages, blocked readers, and lost connections.
//!
//! The properties of one room are proven in `chat-proto/tests/room`. These histories check the session around it:
//! replies, acknowledgements, cut-off output, and the end of connections.

mod model;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use chat_core::{Chat, Incoming, Limits, Range, RoomName};
use chat_testkit::{Peer, connect, pass, settle};
use model::{Observed, TestUser};
use proptest::prelude::*;
use proptest::test_runner::Config;
use serde_json::{Value, json};

const ROOMS: [&str; 2] = ["lobby", "hall"];
/// A time that is longer than any history.
const HOUR: Duration = Duration::from_secs(60 * 60);
const NAMES: [&str; 4] = ["ann", "bob", "cid", "ann"];

#[derive(Clone, Copy, Debug)]
enum Step {
    Join(usize, usize, Position),
    Leave(usize, usize),
    /// A message, with one of a few keys or without a key.
    Send(usize, usize, Option<u8>),
    /// This number of messages at once.
    Burst(usize, usize, u8),
    Typing(usize, usize),
    Block(usize),
    Grant(usize, u8),
    Unblock(usize),
    Disconnect(usize, How),
    /// Lets the sessions run. Without it, steps overlap.
    Settle,
}

#[derive(Clone, Copy, Debug)]
enum Position {
    Now,
    Last(u8),
    /// After the last message that this user saw in the room.
    Seen,
}

#[derive(Clone, Copy, Debug)]
enum How {
    Close,
    End,
    Lost,
    Killed,
}

fn step() -> impl Strategy<Value = Step> {
    let user = 0..NAMES.len();
    let place = (0..NAMES.len(), 0..ROOMS.len());
    let position =
        prop_oneof![Just(Position::Now), (0_u8..30).prop_map(Position::Last), Just(Position::Seen)];
    let how = prop_oneof![Just(How::Close), Just(How::End), Just(How::Lost), Just(How::Killed)];
    prop_oneof![
        4 => (place.clone(), position).prop_map(|((user, room), from)| Step::Join(user, room, from)),
        1 => place.clone().prop_map(|(user, room)| Step::Leave(user, room)),
        4 => (place.clone(), proptest::option::of(0_u8..3))
            .prop_map(|((user, room), key)| Step::Send(user, room, key)),
        2 => (place.clone(), 2_u8..30).prop_map(|((user, room), count)| Step::Burst(user, room, count)),
        1 => place.prop_map(|(user, room)| Step::Typing(user, room)),
        1 => user.clone().prop_map(Step::Block),
        1 => (user.clone(), 1_u8..6).prop_map(|(user, frames)| Step::Grant(user, frames)),
        2 => user.clone().prop_map(Step::Unblock),
        1 => (user, how).prop_map(|(user, how)| Step::Disconnect(user, how)),
        5 => Just(Step::Settle),
    ]
}

/// Returns small limits, so that short histories reach the tail, a page, and the end of the log.
fn limits() -> Limits {
    Limits::default().with(|limits| {
        limits.rooms.tail_events = 5;
        limits.wire.max_page_messages = 4;
        limits.wire.default_page_messages = 20;
        limits.rooms.log_messages = 20;
        limits.wire.max_batch_bytes = 700;
        limits.connection.max_errors = 1_000_000;
        limits.connection.ping_interval = HOUR;
        limits.connection.write_timeout = HOUR;
        limits.rooms.idle_timeout = HOUR;
    })
}

struct History {
    chat: Chat,
    users: Vec<TestUser>,
    observed: Observed,
    sent: u64,
}

impl History {
    async fn perform(&mut self, step: Step) {
        match step {
            Step::Join(user, room, from) => {
                let (user, room) = (&mut self.users[user], ROOMS[room]);
                if user.peer.is_none() {
                    user.peer = Some(connect(&self.chat, user.name).await);
                }
                let mut command = json!({"type": "join", "room": room});
                match from {
                    Position::Now => {}
                    Position::Last(count) => command["last"] = count.into(),
                    Position::Seen => {
                        if let Some(epoch) = self.observed.epochs.get(room) {
                            let seq = user.seen.get(room).copied().unwrap_or(0);
                            command["after"] = json!({"epoch": epoch, "seq": seq});
                        }
                    }
                }
                user.ask(command);
            }
            Step::Leave(user, room) => self.users[user].ask(json!({"type": "leave", "room": ROOMS[room]})),
            Step::Send(user, room, Some(key)) => {
                let key = format!("key-{key}");
                let body = json!({"text": key});
                let command = json!({"type": "send", "room": ROOMS[room], "key": key, "body": body});
                self.users[user].ask(command);
            }
            Step::Send(user, room, None) => self.send(user, room, 1),
            Step::Burst(user, room, count) => self.send(user, room, count),
            Step::Typing(user, room) => {
                self.users[user].ask(json!({"type": "typing", "room": ROOMS[room], "active": true}));
            }
            Step::Block(user) => self.with(user, Peer::block),
            Step::Grant(user, frames) => self.with(user, |peer| peer.grant(frames.into())),
            Step::Unblock(user) => self.with(user, Peer::unblock),
            Step::Disconnect(user, how) => self.disconnect(user, how).await,
            Step::Settle => {
                settle().await;
                self.check();
            }
        }
    }

    fn with(&self, user: usize, act: impl FnOnce(&Peer)) {
        if let Some(peer) = &self.users[user].peer {
            act(peer);
        }
    }

    fn send(&mut self, user: usize, room: usize, count: u8) {
        for _ in 0..count {
            self.sent += 1;
            let body = json!({"text": format!("message {}", self.sent)});
            self.users[user].ask(json!({"type": "send", "room": ROOMS[room], "body": body}));
        }
    }

    async fn disconnect(&mut self, user: usize, how: How) {
        let user = &mut self.users[user];
        let Some(peer) = &user.peer else { return };
        match how {
            How::Close => peer.close(1000),
            How::End => peer.incoming(Incoming::End),
            How::Lost => {
                peer.fail();
                peer.incoming(Incoming::Lost(std::io::ErrorKind::ConnectionReset.into()));
            }
            How::Killed => peer.kill(),
        }
        // A peer that does not read has this long for its last frames. Its input is not read while too many replies
        // wait for it.
        pass(2.5).await;
        peer.unblock();
        settle().await;
        user.check(&mut self.observed);
        user.peer = None;
        user.asked.clear();
        user.next.clear();
    }

    fn check(&mut self) {
        for user in &mut self.users {
            user.check(&mut self.observed);
        }
    }

    /// Checks the guarantees once all peers read and no command is in flight.
    async fn conclude(mut self) {
        for user in 0..self.users.len() {
            self.with(user, Peer::unblock);
        }
        settle().await;
        self.check();
        let mut heads = BTreeMap::new();
        for room in ROOMS {
            let (kept, stored) = self.stored(room).await;
            let forgotten = self.observed.gaps.get(room).copied().unwrap_or(0);
            assert!(forgotten < *kept.start(), "{room}: a gap that need not be");
            for (seq, event) in &stored {
                let seen = self.observed.messages.get(&(room.to_owned(), *seq));
                assert!(seen.is_none_or(|seen| seen == event), "{seen:?} and {event}");
            }
            for (_, seq, body) in self.observed.acknowledged.iter().filter(|(r, ..)| r == room) {
                assert!(seq <= kept.end(), "{seq} was acknowledged and is lost");
                let event = self.observed.messages.get(&(room.to_owned(), *seq));
                if let Some(event) = stored.get(seq).or(event) {
                    assert_eq!(event["body"], *body, "{room} {seq}");
                }
            }
            heads.insert(room, *kept.end());
        }
        for user in &self.users {
            for (room, next) in &user.next {
                assert_eq!(*next, heads[&**room] + 1, "{} has not got all of {room}", user.name);
            }
        }
        for user in 0..self.users.len() {
            self.disconnect(user, How::Close).await;
        }
        let counts = self.chat.counts();
        assert_eq!((counts.connections, counts.sessions), (0, 0));
        for room in ROOMS {
            let room: RoomName = room.parse().expect("a room name");
            assert_eq!(self.chat.members(&room), []);
        }
    }

    /// Returns the messages in the log of a room.
    async fn stored(&self, room: &str) -> (RangeInclusive<u64>, BTreeMap<u64, Value>) {
        let room: RoomName = room.parse().expect("a room name");
        let mut stored = BTreeMap::new();
        let mut last = 0;
        loop {
            let range = Range::After { seq: last, limit: 100 };
            let page = self.chat.history(&room, range).await.expect("a page");
            for message in &page.messages {
                assert!(last == 0 || message.seq == last + 1, "a hole in the log");
                last = message.seq;
                stored.insert(last, serde_json::from_slice(&message.frame).expect("JSON"));
            }
            if !page.more {
                let first = stored.keys().next().copied().unwrap_or(1);
                return (first..=last, stored);
            }
        }
    }
}

proptest! {
    #![proptest_config(Config { cases: 100, failure_persistence: None, ..Config::default() })]

    #[test]
    fn random_histories_of_sessions_keep_order_and_lose_nothing(steps in proptest::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let user = |name| TestUser {
                name,
                peer: None,
                asked: Vec::new(),
                next: BTreeMap::new(),
                seen: BTreeMap::new(),
            };
            let mut history = History {
                chat: chat_testkit::chat(limits()),
                users: NAMES.map(user).into_iter().collect(),
                observed: Observed::default(),
                sent: 0,
            };
            for step in steps {
                history.perform(step).await;
            }
            history.conclude().await;
        });
    }
}
