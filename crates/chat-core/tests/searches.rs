//! The turns of searches, and of reads of history, on a store that serves one call at a time.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use chat_core::{
    AppendError, AppendReceipt, Chat, CommitSink, Incoming, Limits, LogBounds, MemoryRoom, NewMessage, Page,
    Range, Room, RoomName, Search, SearchError, SearchPage, Store, Unavailable, User,
};
use chat_testkit::{Peer, lobby, member, members, pass, seconds_until};
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::time::sleep;

/// A store that answers one search or one read after the other, each after a second. The query names its user.
#[derive(Clone)]
struct SlowStore {
    disk: Arc<Semaphore>,
    calls: Arc<Mutex<Calls>>,
}

#[derive(Default)]
struct Calls {
    /// The queries that began, in order.
    begun: Vec<String>,
    in_flight: HashMap<String, usize>,
    /// The largest number of calls of one kind or query in flight.
    most: HashMap<String, usize>,
}

/// A call in flight.
struct Call(SlowStore, String);

struct SlowRoom {
    store: SlowStore,
    log: MemoryRoom,
}

impl SlowStore {
    fn new() -> Self {
        Self { disk: Arc::new(Semaphore::new(1)), calls: Arc::default() }
    }

    fn chat(&self, limits: Limits) -> Chat {
        Chat::builder().limits(limits).store(self.clone()).build()
    }

    async fn serve(&self, name: &str) {
        let call = Call(self.clone(), name.to_owned());
        {
            let mut calls = self.calls.lock();
            calls.begun.push(name.to_owned());
            let in_flight = calls.in_flight.entry(name.to_owned()).or_default();
            *in_flight += 1;
            let in_flight = *in_flight;
            let most = calls.most.entry(name.to_owned()).or_default();
            *most = in_flight.max(*most);
        }
        let permit = self.disk.acquire().await.expect("the disk is there");
        sleep(Duration::from_secs(1)).await;
        drop((permit, call));
    }

    fn begun(&self) -> Vec<String> {
        self.calls.lock().begun.clone()
    }

    fn most(&self, name: &str) -> usize {
        self.calls.lock().most[name]
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        *self.0.calls.lock().in_flight.get_mut(&self.1).expect("the call began") -= 1;
    }
}

#[chat_core::async_trait]
impl Store for SlowStore {
    async fn open(
        &self,
        room: &RoomName,
        limits: &Arc<Limits>,
        sink: CommitSink,
    ) -> Result<Arc<dyn Room>, Unavailable> {
        let log = MemoryRoom::new(room.clone(), Arc::clone(limits), sink);
        Ok(Arc::new(SlowRoom { store: self.clone(), log }))
    }
}

#[chat_core::async_trait]
impl Room for SlowRoom {
    async fn append(&self, message: NewMessage) -> Result<AppendReceipt, AppendError> {
        self.log.append(message).await
    }

    async fn read(&self, range: Range) -> Result<Page, Unavailable> {
        self.store.serve("history").await;
        self.log.read(range).await
    }

    async fn bounds(&self) -> Result<LogBounds, Unavailable> {
        self.log.bounds().await
    }

    async fn search(&self, search: Search) -> Result<SearchPage, SearchError> {
        self.store.serve(&search.query).await;
        if search.query == "expensive" {
            return Err(SearchError::TooExpensive);
        }
        self.log.search(search).await
    }
}

/// Returns the limits, with one search of all users in flight.
fn one_search() -> Limits {
    Limits::default().with(|limits| limits.reads.max_searches = 1)
}

fn search(peer: &Peer, query: &str) {
    peer.send(json!({"type": "search", "room": "lobby", "query": query}));
}

async fn connections<const N: usize>(chat: &Chat, name: &str) -> [Peer; N] {
    let mut peers = Vec::new();
    for _ in 0..N {
        let mut peer = member(chat, name).await;
        peer.events().await;
        peers.push(peer);
    }
    peers.try_into().expect("all connections")
}

/// Returns the `type` of the next event, or the `code` of an error.
async fn answer(peer: &mut Peer) -> String {
    let event = loop {
        let event = peer.event().await;
        if event["type"] != "presence" {
            break event;
        }
    };
    let answer = if event["type"] == "error" { &event["code"] } else { &event["type"] };
    answer.as_str().expect("a text").to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_user_who_searches_on_four_connections_delays_another_by_one_search() {
    let store = SlowStore::new();
    let chat = store.chat(Limits::default());
    let noisy: [Peer; 4] = connections(&chat, "noisy").await;
    let [mut ann] = connections(&chat, "ann").await;
    for _ in 0..10 {
        noisy.iter().for_each(|peer| search(peer, "noisy"));
    }
    for _ in 0..3 {
        pass(0.5).await;
        search(&ann, "ann");
        let waited = seconds_until(async { assert_eq!(answer(&mut ann).await, "found") }).await;
        assert!(waited < 2.1, "{waited} s for a search of 1 s");
    }
    assert_eq!(store.most("noisy"), 1, "searches of one user at once");
}

#[tokio::test(start_paused = true)]
async fn users_take_turns_with_their_searches() {
    let store = SlowStore::new();
    let chat = store.chat(one_search());
    let noisy: [Peer; 3] = connections(&chat, "noisy").await;
    let others = [member(&chat, "ann").await, member(&chat, "bob").await];
    noisy.iter().for_each(|peer| search(peer, "noisy"));
    pass(0.1).await;
    others.iter().zip(["ann", "bob"]).for_each(|(peer, query)| search(peer, query));
    pass(10.0).await;
    assert_eq!(store.begun(), ["noisy", "ann", "bob", "noisy", "noisy"]);
}

#[tokio::test(start_paused = true)]
async fn a_search_that_finds_its_queue_full_is_refused_with_the_time_to_wait() {
    for limits in [
        one_search().with(|limits| limits.reads.max_waiting_per_user = 1),
        one_search().with(|limits| limits.reads.max_waiting = 1),
    ] {
        let chat = SlowStore::new().chat(limits);
        let [mut first, mut second, mut third] = connections(&chat, "ann").await;
        for peer in [&first, &second, &third] {
            search(peer, "ann");
            pass(0.1).await;
        }
        let refused = third.events().await;
        assert_eq!(refused.len(), 1, "{refused:?}");
        assert_eq!(
            (&refused[0]["code"], &refused[0]["retry_after_ms"]),
            (&json!("rate_limited"), &json!(1_000))
        );
        pass(1.0).await;
        search(&third, "ann");
        for peer in [&mut first, &mut second, &mut third] {
            assert_eq!(answer(peer).await, "found");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_wait_for_a_turn_has_a_limit_that_does_not_end_the_search_in_flight() {
    let limits = one_search().with(|limits| limits.reads.wait_timeout = Duration::from_millis(500));
    let chat = SlowStore::new().chat(limits);
    let [mut first, mut second] = connections(&chat, "ann").await;
    search(&first, "ann");
    pass(0.1).await;
    search(&second, "ann");
    let waited = seconds_until(async { assert_eq!(answer(&mut second).await, "rate_limited") }).await;
    assert!((0.4..0.6).contains(&waited), "{waited}");
    assert_eq!(answer(&mut first).await, "found");
}

#[tokio::test(start_paused = true)]
async fn the_commands_before_a_close_are_served_after_a_search_that_waits_for_its_turn() {
    let limits = one_search().with(|limits| limits.rooms.call_timeout = Duration::from_millis(1_500));
    let chat = SlowStore::new().chat(limits);
    let others = members(&chat, ["bob", "eve", "joe"]).await;
    let [mut ann] = connections(&chat, "ann").await;
    others.iter().for_each(|peer| search(peer, "x"));
    pass(0.01).await;
    search(&ann, "ann");
    ann.say("last");
    ann.close(1000);
    let waited = seconds_until(ann.until_gone()).await;
    assert!((3.9..4.1).contains(&waited), "{waited} s behind three searches of 1 s");
    let page = chat.history(&lobby(), Range::newest(1)).await.expect("a page");
    assert_eq!(page.messages.len(), 1, "the message before the close is kept");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_gone_frees_its_place_and_its_turn() {
    let limits = one_search().with(|limits| limits.reads.max_waiting = 2);
    let store = SlowStore::new();
    let chat = store.chat(limits);
    let [running, waiting] = connections(&chat, "noisy").await;
    let [kicked] = connections(&chat, "kicked").await;
    let [mut ann, mut bob] = [member(&chat, "ann").await, member(&chat, "bob").await];
    search(&running, "noisy");
    pass(0.1).await;
    search(&waiting, "noisy");
    search(&kicked, "kicked");
    pass(0.1).await;
    waiting.incoming(Incoming::Lost(io::ErrorKind::ConnectionReset.into()));
    chat.kick(User::guest("kicked").expect("a name"));
    pass(0.1).await;
    search(&ann, "ann");
    search(&bob, "bob");
    pass(0.1).await;
    running.incoming(Incoming::Lost(io::ErrorKind::ConnectionReset.into()));
    let waited = seconds_until(async { assert_eq!(answer(&mut ann).await, "found") }).await;
    assert!(waited < 1.1, "{waited} s after the end of the search in flight");
    assert_eq!(answer(&mut bob).await, "found");
    assert_eq!(store.begun(), ["noisy", "ann", "bob"]);
}

#[tokio::test(start_paused = true)]
async fn searches_that_take_too_long_count_as_errors_of_the_connection() {
    let limits = Limits::default().with(|limits| limits.connection.max_errors = 2);
    let chat = SlowStore::new().chat(limits);
    let [mut ann] = connections(&chat, "ann").await;
    for _ in 0..2 {
        search(&ann, "expensive");
        assert_eq!(answer(&mut ann).await, "bad_query");
    }
    assert_eq!(ann.event().await["code"], 4500);
    ann.until_gone().await;
}

#[tokio::test(start_paused = true)]
async fn a_user_has_a_limited_number_of_reads_of_history_in_flight() {
    let store = SlowStore::new();
    let chat = store.chat(Limits::default());
    let mut noisy: [Peer; 10] = connections(&chat, "noisy").await;
    let [mut ann] = connections(&chat, "ann").await;
    let history = json!({"type": "history", "room": "lobby"});
    noisy.iter().for_each(|peer| peer.send(history.clone()));
    pass(0.1).await;
    let waited = seconds_until(ann.ask(history)).await;
    assert!(waited < 5.1, "{waited} s behind four reads");
    assert_eq!(store.most("history"), 5);
    pass(10.0).await;
    for peer in &mut noisy[..8] {
        assert_eq!(answer(peer).await, "history");
    }
}
