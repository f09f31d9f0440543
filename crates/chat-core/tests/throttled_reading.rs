//! The end of the time for which a peer that sends too many bytes is not read.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use chat_core::{
    AppendError, AppendReceipt, Chat, CommitSink, Limits, LogBounds, MemoryRoom, NewMessage, Page, Range,
    Rate, Room, RoomName, Store, Text, Unavailable, User,
};
use chat_testkit::{connect, lobby, pass, settle};
use serde_json::json;
use tokio::time::{Instant, advance};

/// The step of the clock. The debt of bytes ends within it.
const STEP: Duration = Duration::from_secs(13);

/// A store whose reads never return. Once it is set, a read that is polled twice at one time advances the clock.
#[derive(Clone, Default)]
struct ClockStore(Arc<AtomicBool>);

struct ClockRoom {
    log: MemoryRoom,
    is_set: Arc<AtomicBool>,
}

#[chat_core::async_trait]
impl Store for ClockStore {
    async fn open(
        &self,
        room: &RoomName,
        limits: &Arc<Limits>,
        sink: CommitSink,
    ) -> Result<Arc<dyn Room>, Unavailable> {
        let log = MemoryRoom::new(room.clone(), Arc::clone(limits), sink);
        Ok(Arc::new(ClockRoom { log, is_set: Arc::clone(&self.0) }))
    }
}

#[chat_core::async_trait]
impl Room for ClockRoom {
    async fn append(&self, message: NewMessage) -> Result<AppendReceipt, AppendError> {
        self.log.append(message).await
    }

    async fn read(&self, _: Range) -> Result<Page, Unavailable> {
        let mut polled_at = None;
        poll_fn(|_| {
            let now = Instant::now();
            let is_again = polled_at.replace(now) == Some(now);
            if is_again && self.is_set.swap(false, Ordering::Relaxed) {
                // The first poll advances the clock. The waker of the session is not told.
                let first = pin!(advance(STEP)).poll(&mut Context::from_waker(Waker::noop()));
                assert!(first.is_pending());
            }
            Poll::Pending
        })
        .await
    }

    async fn bounds(&self) -> Result<LogBounds, Unavailable> {
        self.log.bounds().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_is_read_again_if_its_debt_ends_while_the_session_is_polled() {
    let limits = Limits::default().with(|limits| {
        limits.connection.ping_interval = Duration::from_secs(20);
        limits.rooms.call_timeout = Duration::from_secs(1_000);
        limits.rates.read_bytes = Rate::new(100, 1_000);
    });
    let store = ClockStore::default();
    let chat = Chat::builder().limits(limits).store(store.clone()).build();
    let host = User::new("host", "host").expect("a name");
    chat.post(&lobby(), &host, &Text::new("x")).await.expect("posted");
    let mut ann = connect(&chat, "ann").await;
    let joined = ann.ask(json!({"type": "join", "room": "lobby", "last": 1})).await;
    assert_eq!(joined["type"], "joined", "{joined}");
    pass(10.0).await;
    // The debt is more than 30 s, and ends before 33 s.
    ann.text(format!(r#"{{"type":"ping","pad":"{}"}}"#, "x".repeat(4_000)));
    ann.send(json!({"type": "ping"}));
    settle().await;
    assert_eq!(ann.unread(), 1);
    store.0.store(true, Ordering::Relaxed);
    // After 20 s, the session is polled because of the silence of the peer. The store then advances the clock.
    pass(36.0).await;
    assert!(!store.0.load(Ordering::Relaxed), "the clock was advanced");
    assert_eq!(ann.unread(), 0);
}
