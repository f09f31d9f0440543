//! Rooms with old messages.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chat_core::{Act, Limits, NewAct, NewMessage, Range};
use futures_util::future::join_all;
use tokio::time::sleep;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use super::damaged::damage;
use super::quiet::{open, run, send};
use super::schedule::{body, user};
use super::world::Model;
use crate::{JetStreamStore, Options};

/// The age of the messages that are removed, and the time in which that is done.
const AGE: Duration = Duration::from_secs(60);
const DONE: Duration = Duration::from_secs(70);

/// A year in milliseconds.
const YEAR: u64 = 365 * 24 * 60 * 60 * 1_000;

/// Opens a node with this age.
async fn node(model: &Model, retain_age: Option<Duration>) -> JetStreamStore {
    named_node(model, None, retain_age).await
}

/// Opens a node with a name.
pub(super) async fn named_node(
    model: &Model,
    name: Option<&str>,
    retain_age: Option<Duration>,
) -> JetStreamStore {
    let (client, connection) = model.connect();
    let options = Options::default().with(|options| {
        (options.replicas, options.retain_age) = (1, retain_age);
        options.node = name.map(|name| name.parse().expect("a name"));
    });
    JetStreamStore::open_on((client, connection), "the model", options).await.expect("a store")
}

fn limits() -> Limits {
    Limits::default().with(|limits| limits.rooms.key_window = Duration::from_secs(1))
}

/// A node whose messages and notices come from another one would see a hole in the log, if a trim were part of it.
#[test]
fn a_node_that_has_missed_a_trim_does_not_take_it_for_a_lost_end() {
    for (is_quiet, sends) in [(false, 0), (false, 1), (true, 0), (true, 1)] {
        run(|model| async move {
            let (one, other) = (node(&model, None).await, node(&model, Some(AGE)).await);
            // The messages are hidden, and their keys are known.
            let limits = Limits::default();
            let (lobby, on_other) =
                (open(&one, "lobby", &limits).await, open(&other, "lobby", &limits).await);
            // From then on, no node hears of another one.
            model.act(|world| world.clients.iter_mut().for_each(|client| client.losing = 100));
            for seq in 1..=3 {
                assert_eq!(send(&lobby, &format!("k{seq}")).await.seq, seq);
            }
            let kept = if is_quiet { None } else { Some(lobby) };
            // The first node asks for what it has missed each 2 s, and writes before that.
            while on_other.bounds().await.expect("bounds").first < 4 {
                sleep(Duration::from_millis(5)).await;
            }
            for seq in 4..4 + sends {
                assert_eq!(send(&on_other, &format!("k{seq}")).await.seq, seq);
            }
            let lobby = match kept {
                Some(lobby) => lobby,
                None => open(&one, "lobby", &limits).await,
            };
            assert_eq!(send(&lobby, "new").await.seq, 4 + sends);
            assert_eq!(send(&on_other, "newer").await.seq, 5 + sends);
            let bounds = lobby.bounds().await.expect("bounds");
            assert_eq!((bounds.first, bounds.head), (4, 5 + sends));
            assert_eq!(bounds, on_other.bounds().await.expect("bounds"));
            let stats = [one.stats(), other.stats()];
            assert!(stats.iter().all(|stats| stats.new_epochs == 0 && stats.unreadable == 0), "{stats:?}");
        });
    }
}

#[test]
fn a_wrong_clock_of_a_node_or_of_the_servers_removes_nothing_early() {
    for (behind, jumped) in [(YEAR, 0), (0, YEAR)] {
        run(|model| async move {
            model.act(|world| world.behind = behind);
            let store = node(&model, Some(AGE)).await;
            let lobby = open(&store, "lobby", &limits()).await;
            send(&lobby, "first").await;
            model.act(|world| world.jumped = jumped);
            sleep(AGE / 2).await;
            send(&lobby, "second").await;
            sleep(AGE / 4).await;
            assert_eq!(lobby.bounds().await.expect("bounds").first, 1, "{behind} {jumped}");
        });
    }
}

#[test]
fn a_sweep_reads_only_what_is_old() {
    run(|model| async move {
        let store = node(&model, Some(AGE)).await;
        for number in 0..20 {
            send(&open(&store, &format!("room-{number}"), &limits()).await, "hi").await;
        }
        sleep(DONE).await;
        assert_eq!((store.stats().expired, store.stats().removed), (20, 20));
        let before = store.stats().requests;
        sleep(AGE / 2).await;
        // A hundredth of the age is 0.6 s, and each 2 s the node asks for itself.
        let requests = store.stats().requests - before;
        assert!((40..90).contains(&requests), "{requests}");
        // The ends of the rooms are old now, and stay.
        sleep(10 * DONE).await;
        for number in 0..20 {
            let room = open(&store, &format!("room-{number}"), &limits()).await;
            let bounds = room.bounds().await.expect("bounds");
            assert_eq!((bounds.first, bounds.head), (2, 1));
            assert!(room.read(Range::newest(9)).await.expect("a page").messages.is_empty());
            assert_eq!(send(&room, "on").await.seq, 2);
        }
    });
}

#[test]
fn one_of_the_nodes_with_an_age_sweeps_whatever_the_other_nodes_are_called() {
    run(|model| async move {
        let limits = limits();
        let store = named_node(&model, Some("n1"), Some(AGE)).await;
        let lobby = open(&store, "lobby", &limits).await;
        let mut others = Vec::new();
        for name in ["n2", "n3", "n4", "n5", "n6"] {
            let other = named_node(&model, Some(name), None).await;
            others.push((open(&other, "lobby", &limits).await, other));
        }
        send(&lobby, "hi").await;
        sleep(DONE).await;
        assert_eq!(lobby.bounds().await.expect("bounds").first, 2);
    });
}

#[test]
fn messages_are_hidden_although_their_keys_are_remembered_for_ever() {
    run(|model| async move {
        let limits = Limits::default().with(|limits| limits.rooms.key_window = Duration::MAX);
        let store = node(&model, Some(AGE)).await;
        let lobby = open(&store, "lobby", &limits).await;
        send(&lobby, "hi").await;
        sleep(DONE).await;
        assert_eq!(lobby.bounds().await.expect("bounds").first, 2);
        assert_eq!(store.stats().removed, 0);
    });
}

#[test]
fn all_rooms_of_which_a_sweep_fails_are_tried_again() {
    run(|model| async move {
        let store = node(&model, Some(AGE)).await;
        for number in 0..20 {
            send(&open(&store, &format!("room-{number}"), &limits()).await, "hi").await;
        }
        sleep(AGE / 2).await;
        // Records can be read then, and the ends of rooms cannot.
        model.act(|world| world.refuses = true);
        sleep(AGE).await;
        assert_eq!((store.stats().expired, store.stats().removed), (0, 0));
        model.act(|world| world.refuses = false);
        sleep(AGE / 2).await;
        assert_eq!((store.stats().expired, store.stats().removed), (20, 20));
    });
}

#[test]
fn a_room_that_cannot_be_changed_does_not_delay_the_removal_from_others() {
    run(|model| async move {
        // A walk begins each 10 s, and each of its steps has 256 records.
        let (age, pause, count) = (Duration::from_secs(1_000), Duration::from_secs(10), 1_200);
        let store = node(&model, Some(age)).await;
        let broken = open(&store, "broken", &limits()).await;
        for text in ["first", "last"] {
            send(&broken, text).await;
        }
        damage(&model, |seq| seq == 2);
        let lobby = open(&store, "lobby", &limits()).await;
        for number in 0..count {
            send(&lobby, &format!("k{number}")).await;
        }
        model.act(|world| {
            let now = world.clock();
            world.servers[0].copy.messages.values_mut().for_each(|stored| stored.at = now);
        });
        sleep(age + 3 * pause).await;
        assert_eq!(lobby.bounds().await.expect("bounds").first, count + 1);
        assert!(broken.bounds().await.is_err());
    });
}

/// Counts the warnings of sweeps.
#[derive(Clone, Default)]
struct Warnings(Arc<AtomicUsize>);

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::WARN && metadata.target().ends_with("::sweep")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[test]
fn a_room_that_cannot_be_changed_causes_one_warning() {
    let warnings = Warnings::default();
    let _guard = tracing::subscriber::set_default(warnings.clone());
    run(|model| async move {
        // One walk hides messages. Another one removes records, and has nothing to do in this time.
        let limits = Limits::default().with(|limits| limits.rooms.key_window = 10 * AGE);
        let store = node(&model, Some(AGE)).await;
        let broken = open(&store, "broken", &limits).await;
        for text in ["first", "last"] {
            send(&broken, text).await;
        }
        damage(&model, |seq| seq == 2);
        sleep(3 * AGE).await;
    });
    assert_eq!(warnings.0.load(Ordering::Relaxed), 1);
}

/// The records of a long part of a log were replaced by copies, with the texts of other users.
#[test]
fn copies_far_before_the_oldest_record_are_removed() {
    run(|model| async move {
        let store = node(&model, Some(10 * AGE)).await;
        let lobby = open(&store, "lobby", &limits()).await;
        for part in 0..40_u64 {
            let messages = (0..100).map(|number| {
                // The first message has a record of its own.
                let (writer, text) = if number % 20 == 0 { (1, "to purge") } else { (2, "of another") };
                lobby.append(NewMessage::new(user(writer), body(&format!("{text} {part}"))))
            });
            join_all(messages).await.into_iter().for_each(|sent| assert!(sent.is_ok(), "{sent:?}"));
        }
        let texts = || {
            model.act(|world| {
                let has_text = |payload: &[u8]| payload.windows(10).any(|part| part == b"of another");
                let messages = world.servers[0].copy.messages.values();
                let with_text = messages.filter(|stored| has_text(&stored.payload));
                let subjects: Vec<_> = with_text.map(|stored| stored.subject.clone()).collect();
                (subjects.iter().filter(|subject| subject.contains(".r.")).count(), subjects.len())
            })
        };
        assert!(texts().1 >= 40);
        let purge = NewAct::new(user(3), Act::Purge { user: user(1) }).by_host();
        lobby.purge(purge).await.expect("a receipt");
        let (copies, all) = texts();
        assert!(copies >= 40 && copies == all, "{copies} of {all}");
        sleep(11 * AGE).await;
        assert_eq!(texts(), (0, 0));
    });
}
