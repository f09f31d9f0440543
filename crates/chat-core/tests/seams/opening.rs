use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use chat_core::{
    Answer, AppendError, AppendReceipt, Chat, CommitSink, Decision, Endpoint, Health, Limits, LogBounds,
    MemoryRoom, NewMessage, Page, Range, Readiness, RequestContext, Room, RoomName, Text, Unavailable, User,
};
use chat_testkit::{Mode, Store, connect, lobby, plain, seconds_until, settle};
use serde_json::{Value, json};

async fn readyz(endpoint: &Endpoint) -> (u16, Value) {
    let context = RequestContext::default().with_peer("127.0.0.1:5000".parse().ok());
    let Decision::Answer(answer) = endpoint.handle(&plain("GET", "/readyz"), &context).await else {
        panic!("no answer");
    };
    (answer.status(), body(answer))
}

fn body(answer: Answer) -> Value {
    serde_json::from_slice(&answer.into_body()).expect("JSON")
}

#[tokio::test(start_paused = true)]
async fn a_room_that_cannot_be_opened_is_unavailable_until_it_can() {
    let (store, chat) = Store::with_chat(Limits::default());
    let mut ann = connect(&chat, "ann").await;
    let join = json!({"type": "join", "room": "lobby"});
    for (mode, seconds) in [(Mode::Fails, 0.0), (Mode::Hangs, 5.0)] {
        store.open(mode);
        let waited = seconds_until(async {
            assert_eq!(ann.ask(join.clone()).await["code"], "unavailable");
        });
        let waited = waited.await;
        assert!((seconds..seconds + 0.1).contains(&waited), "{waited}");
        assert!(chat.subscribe(&lobby()).await.is_err());
        let user = User::guest("ann").expect("a name");
        assert!(chat.post(&lobby(), &user, &Text::new("hi")).await.is_err());
    }
    assert_eq!((chat.counts().rooms, chat.counts().sessions), (0, 1));
    store.open(Mode::Works);
    assert_eq!(ann.ask(join).await["type"], "joined");
}

#[tokio::test(start_paused = true)]
async fn a_room_that_is_opened_twice_at_once_is_one_room() {
    let (store, chat) = Store::with_chat(Limits::default());
    store.open(Mode::Slow(Duration::from_secs(1)));
    let (mut ann, mut bob) = (connect(&chat, "ann").await, connect(&chat, "bob").await);
    let join = json!({"type": "join", "room": "lobby"});
    let (one, two) = tokio::join!(ann.ask(join.clone()), bob.ask(join));
    assert_eq!(one["epoch"], two["epoch"]);
    assert_eq!((store.opens(), chat.counts().rooms), (1, 1));
    ann.say("hi");
    assert_eq!(chat_testkit::seqs(&bob.events().await), [1]);
    assert_eq!(chat.members(&lobby()).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn many_joins_of_a_cold_room_open_it_once() {
    let store = Store::new();
    let chat = store.chat(Limits::default());
    store.open(Mode::Slow(Duration::from_secs(1)));
    let mut peers = Vec::new();
    for number in 0..20 {
        peers.push(connect(&chat, &format!("member{number}")).await);
    }
    let join = json!({"type": "join", "room": "lobby"});
    peers.iter().for_each(|peer| peer.send(join.clone()));
    settle().await;
    // The first caller is gone: the others do not wait for longer.
    peers.remove(0).kill();
    let waited = seconds_until(async {
        for peer in &mut peers {
            assert_eq!(peer.event().await["type"], "joined");
        }
    });
    let waited = waited.await;
    assert!((0.9..1.1).contains(&waited), "{waited}");
    assert_eq!((store.opens(), chat.counts().rooms), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_failed_open_is_shared_by_those_who_wait_and_the_next_call_opens_again() {
    let store = Store::new();
    let chat = store.chat(Limits::default());
    let lobby = lobby();
    let calls = || futures_util::future::join_all((0..20).map(|_| chat.history(&lobby, Range::newest(1))));
    for (mode, opens) in [(Mode::Hangs, 1), (Mode::Panics, 2), (Mode::Fails, 3)] {
        store.open(mode);
        let answers = tokio::time::timeout(Duration::from_secs(6), calls()).await.expect("answers");
        assert!(answers.iter().all(Result::is_err));
        assert_eq!(store.opens(), opens, "{mode:?}");
    }
    store.open(Mode::Works);
    assert!(calls().await.iter().all(Result::is_ok));
    assert_eq!((store.opens(), chat.counts().rooms), (4, 1));
}

#[tokio::test(start_paused = true)]
async fn a_slow_open_of_one_room_delays_no_other_room() {
    let store = Store::new();
    let chat = store.chat(Limits::default());
    let (mut ann, mut bob) = (connect(&chat, "ann").await, connect(&chat, "bob").await);
    store.open(Mode::Hangs);
    ann.send(json!({"type": "join", "room": "lobby"}));
    settle().await;
    store.open(Mode::Works);
    let waited = seconds_until(bob.join("hall")).await;
    assert!(waited < 0.1, "{waited}");
    assert_eq!(ann.event().await["code"], "unavailable");
}

#[tokio::test(start_paused = true)]
async fn a_later_drain_reports_the_result_of_a_closing_that_was_not_done_in_time() {
    let (slow, fails) = (Mode::Slow(Duration::from_secs(2)), Mode::Fails);
    for (mode, first, second) in [
        (Mode::Works, Ok(()), Ok(())),
        (slow, Err("the store was not closed in time"), Ok(())),
        (fails, Err("the disk is full"), Err("the disk is full")),
        (
            Mode::Panics,
            Err("the store panicked while it was closed"),
            Err("the store panicked while it was closed"),
        ),
    ] {
        let store = Store::new();
        let chat = store.chat(Limits::default());
        store.close(mode);
        for (limit, expected) in [(Duration::ZERO, first), (Duration::from_secs(20), second)] {
            let closed = chat.drain(limit).await.store;
            assert_eq!(
                closed.as_ref().map_err(Unavailable::cause),
                expected.as_ref().map(|()| &()).map_err(|cause| *cause)
            );
        }
        assert_eq!(store.closes(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_closes_the_store_once_when_the_sessions_have_ended() {
    let (store, chat) = Store::with_chat(Limits::default());
    let ann = connect(&chat, "ann").await;
    ann.block();
    let (first, second) = tokio::join!(chat.drain(Duration::from_secs(20)), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(store.closes(), 0);
        ann.unblock();
        chat.drain(Duration::from_secs(20)).await
    });
    assert_eq!((first.store, second.store), (Ok(()), Ok(())));
    assert_eq!(store.closes(), 1);
}

#[tokio::test(start_paused = true)]
async fn readyz_reports_the_health_of_the_store() {
    let store = Store::new();
    let endpoint = Endpoint::new(store.chat(Limits::default())).with_status_pages();
    assert_eq!(
        readyz(&endpoint).await,
        (200, json!({"ready": true, "connections": 0, "sessions": 0, "rooms": 0}))
    );
    store.health(Health::Degraded("no space left".to_owned()));
    let (status, body) = readyz(&endpoint).await;
    assert_eq!(
        (status, &body["ready"], &body["store_problem"]),
        (200, &json!(true), &json!("no space left"))
    );
    store.health(Health::Unreachable("no route".to_owned()));
    let (status, body) = readyz(&endpoint).await;
    assert_eq!((status, &body["ready"], &body["store_problem"]), (503, &json!(false), &json!("no route")));
    assert_eq!(endpoint.chat().health(), Health::Unreachable("no route".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_host_that_is_not_ready_takes_the_chat_out_of_service() {
    for (is_ready, expected) in [(true, 200), (false, 503)] {
        let endpoint = Endpoint::new(Chat::default()).with_status_pages().with_readiness(move || {
            let mut readiness = Readiness::default().with("database", "primary");
            readiness.is_ready = is_ready;
            readiness
        });
        let (status, body) = readyz(&endpoint).await;
        assert_eq!((status, &body["ready"]), (expected, &json!(is_ready)));
        assert_eq!(body["database"], "primary");
    }
}

/// A store whose rooms use the chat when they are dropped.
#[derive(Clone, Default)]
struct Reentrant(Arc<OnceLock<Chat>>);

struct ReentrantRoom {
    log: MemoryRoom,
    store: Reentrant,
}

impl Drop for ReentrantRoom {
    fn drop(&mut self) {
        if let Some(chat) = self.store.0.get() {
            chat.open_rooms();
        }
    }
}

#[async_trait]
impl chat_core::Store for Reentrant {
    async fn open(
        &self,
        room: &RoomName,
        limits: &Arc<Limits>,
        sink: CommitSink,
    ) -> Result<Arc<dyn Room>, Unavailable> {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let log = MemoryRoom::new(room.clone(), Arc::clone(limits), sink);
        Ok(Arc::new(ReentrantRoom { log, store: self.clone() }))
    }
}

#[async_trait]
impl Room for ReentrantRoom {
    async fn append(&self, message: NewMessage) -> Result<AppendReceipt, AppendError> {
        self.log.append(message).await
    }

    async fn read(&self, range: Range) -> Result<Page, Unavailable> {
        self.log.read(range).await
    }

    async fn bounds(&self) -> Result<LogBounds, Unavailable> {
        self.log.bounds().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_room_of_a_store_is_dropped_without_a_lock() {
    let store = Reentrant::default();
    let limits = Limits::default().with(|limits| limits.rooms.max_idle = 0);
    let chat = Chat::builder().limits(limits).store(store.clone()).build();
    assert!(store.0.set(chat.clone()).is_ok());
    let user = User::guest("ann").expect("a name");
    let (lobby, hall): (RoomName, RoomName) = (lobby(), "hall".parse().expect("a room name"));
    let text = Text::new("hi");
    let (one, two) = tokio::join!(chat.post(&lobby, &user, &text), chat.post(&lobby, &user, &text));
    assert_eq!(one.expect("posted").seq + two.expect("posted").seq, 1 + 2, "they are one room");
    // The idle room is evicted.
    assert_eq!(chat.post(&hall, &user, &text).await.expect("posted").seq, 1);
    assert_eq!(chat.open_rooms(), [hall]);
    // The empty room is closed after its time.
    tokio::time::sleep(Duration::from_secs(10_000)).await;
    assert_eq!(chat.counts().rooms, 0);
}
