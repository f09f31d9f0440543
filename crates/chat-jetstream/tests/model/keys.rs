//! The keys of a room that a node reads before its first message.

use std::time::Duration;

use chat_core::{Act, Limits, NewAct, Room, Store};
use tokio::time::sleep;

use super::quiet::{node, open, run, send};
use super::schedule::user;

/// The messages of a room, each of which is alone in its record.
const MESSAGES: u64 = 1_000;

/// The time in which a node stores nothing more.
const QUIET: Duration = Duration::from_secs(3);

/// A year in milliseconds.
const YEAR: u64 = 365 * 24 * 60 * 60 * 1_000;

/// Deletes all messages of the user.
async fn purge(room: &dyn Room) {
    let act = NewAct::new(user(2), Act::Purge { user: user(1) }).by_host();
    room.purge(act).await.expect("a receipt");
}

#[test]
fn keys_of_many_records_that_a_purge_has_replaced_are_read_together() {
    run(|model| async move {
        let limits = Limits::default();
        let store = node(&model, 0, &limits).await;
        let lobby = open(&store, "lobby", &limits).await;
        for number in 1..=MESSAGES {
            assert_eq!(send(&lobby, &format!("k{number}")).await.seq, number);
        }
        purge(&*lobby).await;
        store.close().await.expect("a store that can be closed");
        let store = node(&model, 0, &limits).await;
        let lobby = open(&store, "lobby", &limits).await;
        sleep(QUIET).await;
        let before = store.stats();
        for number in [1, MESSAGES / 2, MESSAGES] {
            let repeated = send(&lobby, &format!("k{number}")).await;
            assert!(repeated.duplicate && repeated.seq == number, "{repeated:?}");
        }
        let stats = store.stats();
        assert_eq!((stats.key_loads, stats.unreadable), (1, 0));
        let requests = stats.requests - before.requests;
        assert!(requests < 40, "{requests} requests for the keys of {MESSAGES} records");
        assert!(!send(&lobby, "new").await.duplicate);
    });
}

#[test]
fn a_node_reads_only_the_keys_within_the_window_after_an_import() {
    run(|model| async move {
        let limits = Limits::default().with(|limits| limits.rooms.key_window = Duration::from_secs(600));
        let store = node(&model, 0, &limits).await;
        let lobby = open(&store, "lobby", &limits).await;
        for number in 1..=MESSAGES {
            send(&lobby, &format!("old{number}")).await;
        }
        sleep(Duration::from_secs(1_300)).await;
        for number in 1..=10 {
            assert_eq!(send(&lobby, &format!("k{number}")).await.seq, MESSAGES + number);
        }
        store.close().await.expect("a store that can be closed");
        // An import stores all of it now.
        model.act(|world| {
            let now = super::unix_millis().expect("the time of the run");
            world.servers[0].copy.messages.values_mut().for_each(|stored| stored.at = now);
        });
        let store = node(&model, 0, &limits).await;
        let lobby = open(&store, "lobby", &limits).await;
        sleep(QUIET).await;
        let before = model.act(|world| world.read);
        for number in 1..=10 {
            let repeated = send(&lobby, &format!("k{number}")).await;
            assert!(repeated.duplicate && repeated.seq == MESSAGES + number, "{repeated:?}");
        }
        let read = model.act(|world| world.read) - before;
        assert!(read < 100, "{read} messages of the stream for 10 keys");
        assert_eq!(store.stats().key_loads, 1);
        assert!(!send(&lobby, "old1").await.duplicate, "a key that is too old");
    });
}

#[test]
fn a_window_that_begins_among_the_first_entries_is_read_to_its_beginning() {
    run(|model| async move {
        let limits = Limits::default().with(|limits| limits.rooms.key_window = Duration::from_secs(600));
        let store = node(&model, 0, &limits).await;
        let lobby = open(&store, "lobby", &limits).await;
        for number in 1..=5 {
            send(&lobby, &format!("old{number}")).await;
        }
        sleep(Duration::from_secs(1_300)).await;
        for number in 6..=10 {
            send(&lobby, &format!("k{number}")).await;
        }
        store.close().await.expect("a store that can be closed");
        let store = node(&model, 0, &limits).await;
        let lobby = open(&store, "lobby", &limits).await;
        assert!(send(&lobby, "k6").await.duplicate && !send(&lobby, "old5").await.duplicate);
        assert_eq!(store.stats().key_loads, 1);
    });
}

#[test]
fn a_clock_that_is_a_year_ahead_gives_rooms_no_time_far_ahead_and_forgets_no_key() {
    run(|model| async move {
        model.act(|world| world.behind = YEAR);
        let limits = Limits::default();
        let store = node(&model, 0, &limits).await;
        let lobby = open(&store, "lobby", &limits).await;
        sleep(QUIET).await;
        let sent = send(&lobby, "k1").await;
        let ahead = sent.at - model.act(|world| world.clock());
        assert!((3_599_000..3_601_000).contains(&ahead), "{ahead} ms ahead of the servers");
        store.close().await.expect("a store that can be closed");
        let store = node(&model, 0, &limits).await;
        let lobby = open(&store, "lobby", &limits).await;
        sleep(QUIET).await;
        let repeated = send(&lobby, "k1").await;
        assert!(repeated.duplicate && repeated.seq == sent.seq, "{repeated:?}");
    });
}

/// The stream has stored the messages at earlier times than those of their entries.
#[test]
fn a_clock_of_the_servers_that_is_behind_hides_no_key_of_the_window() {
    for (window, behind, is_followed) in
        [(7_200, 600, false), (7_200, 600, true), (600, 1_800, false), (600, 1_800, true)]
    {
        run(|model| async move {
            model.act(|world| world.behind = behind * 1_000);
            let window = Duration::from_secs(window);
            let limits = Limits::default().with(|limits| limits.rooms.key_window = window);
            let store = node(&model, 0, &limits).await;
            let lobby = open(&store, "lobby", &limits).await;
            sleep(QUIET).await;
            for number in 1..=5 {
                assert_eq!(send(&lobby, &format!("k{number}")).await.seq, number);
            }
            sleep(window - Duration::from_secs(60)).await;
            if is_followed {
                send(&lobby, "later").await;
            }
            store.close().await.expect("a store that can be closed");
            let store = node(&model, 0, &limits).await;
            let lobby = open(&store, "lobby", &limits).await;
            sleep(QUIET).await;
            for number in 1..=5 {
                let repeated = send(&lobby, &format!("k{number}")).await;
                assert!(repeated.duplicate && repeated.seq == number, "{repeated:?}");
            }
            assert!(!send(&lobby, "new").await.duplicate);
            assert_eq!(store.stats().key_loads, 1);
        });
    }
}
