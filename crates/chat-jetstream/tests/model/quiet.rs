//! Rooms to which nobody writes for a while.

use std::sync::Arc;
use std::time::Duration;

use chat_core::{AppendReceipt, CommitSink, Limits, NewMessage, Room, Store};
use tokio::runtime::Builder;
use tokio::time::sleep;

use super::schedule::{body, user};
use super::world::Model;
use super::{begin, end};
use crate::{JetStreamStore, Options};

/// The time after which a writer has ended, whatever the servers do meanwhile.
const QUIET: Duration = Duration::from_secs(3);

/// A key window that is shorter than a test.
const SHORT: Duration = Duration::from_secs(20);

/// The messages of a room before it is quiet.
const MESSAGES: u64 = 600;

/// Runs a test on a model of one server.
pub(super) fn run<F: Future<Output = ()>>(test: impl FnOnce(Model) -> F) {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(async {
        begin(1);
        test(Model::start(1, 1)).await;
    });
    end();
}

/// Opens a node with this much memory for keys. It keeps ten messages of a room if the key window is short.
pub(super) async fn node(model: &Model, max_key_bytes: usize, limits: &Limits) -> JetStreamStore {
    let (client, connection) = model.connect();
    let options = Options::default().with(|options| {
        options.replicas = 1;
        options.max_key_bytes = max_key_bytes;
        options.retain_messages = (limits.rooms.key_window == SHORT).then_some(10);
    });
    JetStreamStore::open_on((client, connection), "the model", options).await.expect("a store")
}

pub(super) async fn open(store: &JetStreamStore, name: &str, limits: &Limits) -> Arc<dyn Room> {
    let limits = Arc::new(limits.clone());
    store.open(&name.parse().expect("a name"), &limits, CommitSink::new(|_| {})).await.expect("a room")
}

/// Lets no node hear of another one any more, so that each appends itself.
async fn separate(model: &Model) {
    model.act(|world| world.clients.iter_mut().for_each(|client| client.losing = 100));
    sleep(Duration::from_secs(10)).await;
}

/// Sends a message with a key, which is its text too.
pub(super) async fn send(room: &Arc<dyn Room>, key: &str) -> AppendReceipt {
    let message = NewMessage::new(user(1), body(key)).with_key(key.to_owned());
    room.append(message).await.expect("a receipt")
}

async fn fill(room: &Arc<dyn Room>) {
    for number in 1..=MESSAGES {
        assert_eq!(send(room, &format!("k{number}")).await.seq, number);
    }
}

#[test]
fn the_first_message_after_a_quiet_time_reads_nothing() {
    run(|model| async move {
        let store = node(&model, 0, &Limits::default()).await;
        let lobby = open(&store, "lobby", &Limits::default()).await;
        fill(&lobby).await;
        for number in MESSAGES + 1..MESSAGES + 5 {
            sleep(QUIET).await;
            let before = store.stats();
            assert_eq!(send(&lobby, &format!("k{number}")).await.seq, number);
            let requests = store.stats().requests - before.requests;
            assert!((1..=2).contains(&requests), "{requests}: one, and perhaps one of the node itself");
        }
        assert_eq!(store.stats().key_loads, 0);
        // The room was closed meanwhile.
        drop(lobby);
        sleep(QUIET).await;
        let lobby = open(&store, "lobby", &Limits::default()).await;
        for number in 1..=MESSAGES + 4 {
            let repeated = send(&lobby, &format!("k{number}")).await;
            assert!(repeated.duplicate && repeated.seq == number, "{repeated:?}");
        }
        assert_eq!(store.stats().key_loads, 0);
    });
}

#[test]
fn keys_for_which_there_is_no_memory_are_read_again() {
    run(|model| async move {
        // There is memory for the keys of one room.
        let store = node(&model, 50_000, &Limits::default()).await;
        let (lobby, hall) =
            (open(&store, "lobby", &Limits::default()).await, open(&store, "hall", &Limits::default()).await);
        fill(&lobby).await;
        fill(&hall).await;
        sleep(QUIET).await;
        for (room, loads) in [(&hall, 0), (&hall, 0), (&lobby, 1), (&lobby, 1), (&hall, 2)] {
            let repeated = send(room, "k7").await;
            assert!(repeated.duplicate && repeated.seq == 7, "{repeated:?}");
            assert_eq!(store.stats().key_loads, loads);
            sleep(QUIET).await;
        }
    });
}

#[test]
fn a_room_in_which_another_node_has_written_meanwhile_knows_its_keys() {
    run(|model| async move {
        let store = node(&model, 0, &Limits::default()).await;
        let lobby = open(&store, "lobby", &Limits::default()).await;
        fill(&lobby).await;
        drop(lobby);
        sleep(QUIET).await;
        let other = node(&model, 0, &Limits::default()).await;
        separate(&model).await;
        let on_other = open(&other, "lobby", &Limits::default()).await;
        assert_eq!(send(&on_other, "k0").await.seq, MESSAGES + 1);
        assert_eq!(other.stats().key_loads, 1);

        let lobby = open(&store, "lobby", &Limits::default()).await;
        let before = store.stats().requests;
        let repeated = send(&lobby, "k0").await;
        assert!(repeated.duplicate && repeated.seq == MESSAGES + 1, "{repeated:?}");
        let requests = store.stats().requests - before;
        assert!(
            requests <= 2,
            "{requests}: one for the message of the other node, and perhaps one of the node itself"
        );
        assert!(send(&lobby, "k1").await.duplicate);
        assert_eq!(send(&lobby, "new").await.seq, MESSAGES + 2);
        assert_eq!(store.stats().key_loads, 0);
    });
}

#[test]
fn a_log_that_is_older_than_the_key_window_is_read_again() {
    run(|model| async move {
        let limits = Limits::default().with(|limits| limits.rooms.key_window = SHORT);
        let (store, other) = (node(&model, 0, &limits).await, node(&model, 0, &limits).await);
        separate(&model).await;
        let lobby = open(&store, "lobby", &limits).await;
        send(&lobby, "first").await;
        sleep(QUIET).await;
        // The records right after it are removed.
        let on_other = open(&other, "lobby", &limits).await;
        for number in 0..MESSAGES {
            send(&on_other, &format!("second{number}")).await;
        }
        sleep(3 * SHORT).await;
        for number in 0..MESSAGES {
            send(&on_other, &format!("other{number}")).await;
        }
        assert_eq!(send(&lobby, "new").await.seq, 2 * MESSAGES + 2);
        assert_eq!((store.stats().key_loads, store.stats().unreadable), (1, 0));
    });
}

#[test]
fn a_log_that_has_lost_its_end_during_a_quiet_time_has_a_new_epoch() {
    // The lost message is replaced by another one at its place, or by more.
    for others in [1, 5] {
        run(|model| async move {
            let limits = Limits::default();
            let store = node(&model, 0, &limits).await;
            let lobby = open(&store, "lobby", &limits).await;
            fill(&lobby).await;
            let last = send(&lobby, "lost").await;
            drop(lobby);
            sleep(QUIET).await;
            // The node does not see that the stream is shorter for a while.
            model.act(|world| world.cut(0, true));
            model.act(|world| world.roll_back(1));
            model.act(|world| world.revive(0));
            sleep(QUIET).await;
            let other = node(&model, 0, &limits).await;
            separate(&model).await;
            let on_other = open(&other, "lobby", &limits).await;
            for number in 0..others {
                assert_eq!(send(&on_other, &format!("other{number}")).await.seq, last.seq + number);
            }
            model.act(|world| world.cut(0, false));
            loop {
                sleep(Duration::from_millis(100)).await;
                let name = "lobby".parse().expect("a name");
                let opened = store.open(&name, &Arc::new(limits.clone()), CommitSink::new(|_| {})).await;
                let Ok(lobby) = opened else { continue };
                let message = NewMessage::new(user(1), body("lost")).with_key("lost".to_owned());
                let Ok(sent) = lobby.append(message).await else { continue };
                assert!(sent.epoch != last.epoch && !sent.duplicate, "{sent:?} after {last:?}");
                assert!(send(&lobby, "k1").await.duplicate);
                break;
            }
        });
    }
}
