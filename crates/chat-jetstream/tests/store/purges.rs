use std::sync::Arc;

use chat_core::{Act, ChangeError, ChangeReceipt, Limits, NewAct, NewMessage, Range, RawValue, Store, User};
use chat_jetstream::JetStreamStore;
use futures_util::future::join_all;
use serde_json::Value;

use crate::erasure::finds;
use crate::servers::{NO_ERASURE, Servers};
use crate::support::{Opened, delete, edit, eventually, node, node_of};

/// Messages of the user who is purged: more than one entry of a purge deletes.
const SOME: usize = 100;

/// More messages than a purge deletes while it cannot erase.
const MANY: usize = 1_200;

/// Part of each text that must be in no file.
const SECRET: &str = "a-text-that-is-purged";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_erases_the_texts_of_its_user_and_each_node_hears_of_it() {
    let servers = Servers::start(1);
    servers.ready().await;
    let limits = Arc::new(Limits::default());
    let stores = [node(&servers, |_| {}).await, node(&servers, |_| {}).await];
    let (a, b) =
        (Opened::open(&stores[0], "lobby", &limits).await, Opened::open(&stores[1], "lobby", &limits).await);
    let seqs = say_all(&a, SOME).await;
    a.change("eve", seqs[7], edit(&format!("{SECRET} again"))).await.expect("an edit");
    assert!(finds(servers.home(0), SECRET));
    let receipt = purge(&b).await.expect("a receipt");
    let head = b.room.bounds().await.expect("bounds").head;
    assert_eq!(receipt.seq, Some(head), "the last entry of several");
    assert!(head > 2 * SOME as u64 + 2, "{head}");
    assert!(!finds(servers.home(0), SECRET), "in a file");
    for room in [&a, &b] {
        for (seq, event) in room.events().await {
            let is_purged = seqs.contains(&seq);
            assert_eq!(event["body"].is_null(), is_purged, "{event}");
            assert_eq!(event["deleted"]["by"]["id"] == "ops", is_purged, "{event}");
        }
        let acts = room.room.read(Range::Acts { after: 0, limit: 99 }).await.expect("a page").messages;
        let acts: Vec<Value> =
            acts.iter().map(|act| serde_json::from_slice(&act.frame).expect("an event")).collect();
        assert!(acts.len() > 1 && acts.iter().all(|act| act["type"] == "purged"), "{acts:?}");
        assert_eq!(acts.last().map(|act| &act["seq"]), Some(&head.into()));
        let mut erased = seqs.clone();
        // The edit.
        erased.push(2 * SOME as u64 + 1);
        room.hears_of_erased(&erased).await;
    }
    assert_eq!(purge(&a).await.expect("a receipt").seq, None, "nothing is left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_that_is_interrupted_is_completed_by_the_node_that_opens_the_room() {
    let servers = Servers::start(1);
    servers.ready().await;
    let limits = Arc::new(Limits::default());
    let (interrupted, seqs) = interrupt(&servers, &limits).await;
    interrupted.close().await.expect("a store that can be closed");
    assert!(finds(servers.home(0), SECRET));
    let lobby = Opened::open(&node(&servers, |_| {}).await, "lobby", &limits).await;
    is_completed(&servers, &lobby, &seqs).await;
    assert_eq!(purge(&lobby).await.expect("a receipt").seq, None, "nothing is left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_that_is_interrupted_is_completed_by_a_node_that_has_the_room_open() {
    let servers = Servers::start(1);
    servers.ready().await;
    let limits = Arc::new(Limits::default());
    let lobby = Opened::open(&node(&servers, |_| {}).await, "lobby", &limits).await;
    let (interrupted, seqs) = interrupt(&servers, &limits).await;
    interrupted.close().await.expect("a store that can be closed");
    is_completed(&servers, &lobby, &seqs).await;
}

/// Each message is alone in its record, which is the most that an erasure costs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_needs_less_than_three_requests_for_two_messages() {
    let servers = Servers::start(1);
    servers.ready().await;
    let limits = Arc::new(Limits::default());
    let store = node(&servers, |_| {}).await;
    let lobby = Opened::open(&store, "lobby", &limits).await;
    for number in 0..SOME {
        lobby.say("kept").await;
        say(&lobby, number).await;
    }
    let before = store.stats().requests;
    purge(&lobby).await.expect("a receipt");
    let requests = store.stats().requests - before;
    assert!(2 * requests < 3 * SOME as u64, "{requests} requests");
    assert!(!finds(servers.home(0), SECRET), "in a file");
    // A page of replaced records costs no more than one of others.
    let before = store.stats().requests;
    assert_eq!(lobby.events().await.len(), 2 * SOME);
    let requests = store.stats().requests - before;
    assert!(requests < 40, "{requests} requests for a page");
}

/// Three of the requests erase: the record is read, its copy stored, and the record removed. The others read the
/// message, and store the deletion.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_needs_at_most_eight_requests() {
    let servers = Servers::start(1);
    servers.ready().await;
    let limits = Arc::new(Limits::default());
    let store = node(&servers, |_| {}).await;
    let lobby = Opened::open(&store, "lobby", &limits).await;
    for number in 0..SOME {
        say(&lobby, number).await;
    }
    let before = store.stats().requests;
    for seq in 1..=SOME as u64 {
        lobby.change("eve", seq, delete()).await.expect("a deletion");
    }
    let requests = store.stats().requests - before;
    assert!(requests <= 8 * SOME as u64, "{requests} requests");
    assert!(!finds(servers.home(0), SECRET), "in a file");
}

/// Begins a purge on a node that cannot erase, so that it stops after some entries. Returns the node, and the messages
/// of the user.
pub(crate) async fn interrupt(servers: &Servers, limits: &Arc<Limits>) -> (JetStreamStore, Vec<u64>) {
    let store = node_of(servers, NO_ERASURE).await;
    let lobby = Opened::open(&store, "lobby", limits).await;
    let seqs = say_all(&lobby, MANY).await;
    let head = lobby.room.bounds().await.expect("bounds").head;
    let stopped = async {
        purge(&lobby).await.expect("an entry");
        panic!("a purge that is complete");
    };
    let begun = eventually("an entry of the purge", || async {
        lobby.room.bounds().await.expect("bounds").head > head
    });
    tokio::select! {
        () = stopped => {}
        () = begun => {}
    }
    (store, seqs)
}

/// Waits until no text of the user is left.
pub(crate) async fn is_completed(servers: &Servers, lobby: &Opened, seqs: &[u64]) {
    eventually("no text is left", || async {
        let events = lobby.events().await;
        events.iter().all(|(seq, event)| event["body"].is_null() == seqs.contains(seq))
            && !finds(servers.home(0), SECRET)
    })
    .await;
}

/// Appends texts of Eve and of Ann. Returns the positions of those of Eve.
async fn say_all(room: &Opened, count: usize) -> Vec<u64> {
    let says = (0..count).map(|number| async move {
        room.say("kept").await;
        say(room, number).await
    });
    let mut seqs = join_all(says).await;
    seqs.sort_unstable();
    seqs
}

/// Appends a text of Eve.
async fn say(room: &Opened, number: usize) -> u64 {
    let body = RawValue::from_string(format!(r#"{{"text":"{SECRET} {number}"}}"#)).expect("JSON");
    room.room.append(NewMessage::new(user("eve"), body)).await.expect("a receipt").seq
}

async fn purge(room: &Opened) -> Result<ChangeReceipt, ChangeError> {
    room.room.purge(NewAct::new(user("ops"), Act::Purge { user: user("eve") }).by_host()).await
}

fn user(id: &str) -> User {
    User::new(id, id).expect("a user")
}
