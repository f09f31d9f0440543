//! Purges and deletions whose node ends, in rooms that nobody opens, and rooms in which all is complete.

use std::sync::Arc;
use std::time::Duration;

use chat_core::{Act, Change, Limits, NewAct, NewChange, Role, Room, Store};
use tokio::runtime::Builder;
use tokio::time::sleep;

use super::copy::Copy;
use super::quiet::{node, open, run, send};
use super::schedule::user;
use super::world::{Model, World};
use super::{begin, end};
use crate::JetStreamStore;
use crate::life::token;

/// The messages of a room.
const MESSAGES: u64 = 40;

/// The time after which another node has completed what was left.
const COMPLETED: Duration = Duration::from_secs(60);

/// The time after which a node has searched again, if a room could not be completed.
const AGAIN: Duration = Duration::from_secs(15 * 60);

async fn fill(room: &Arc<dyn Room>) {
    for number in 1..=MESSAGES {
        assert_eq!(send(room, &format!("secret {number}")).await.seq, number);
    }
}

fn purge() -> NewAct {
    NewAct::new(user(2), Act::Purge { user: user(1) }).by_host()
}

/// Returns the number of messages of the stream with a text.
fn texts(model: &Model) -> usize {
    model.act(|world| {
        let has_text = |payload: &[u8]| payload.windows(7).any(|part| part == b"secret ");
        world.servers[0].copy.messages.values().filter(|stored| has_text(&stored.payload)).count()
    })
}

/// Ends the first node as soon as a room has more than some entries.
async fn end_after(model: &Model, room: &Arc<dyn Room>, head: u64) {
    while room.known_bounds().is_none_or(|bounds| bounds.head <= head) {
        sleep(Duration::from_millis(1)).await;
    }
    model.act(|world| world.end_client(0));
}

/// Starts another node, which opens another room: from then on it looks for unfinished rooms.
async fn start_other(model: &Model, limits: &Limits) -> (JetStreamStore, Arc<dyn Room>) {
    let other = node(model, 0, limits).await;
    let hall = open(&other, "hall", limits).await;
    (other, hall)
}

/// Deletes a message of a full room on a node that ends before it has erased the text.
async fn interrupt_deletion(model: &Model, limits: &Limits) {
    let store = node(model, 0, limits).await;
    let lobby = open(&store, "lobby", limits).await;
    fill(&lobby).await;
    let deleting = Arc::clone(&lobby);
    let deletion = NewChange::new(user(2), 7, Change::Delete { reason: None }).with_role(Role::Moderator);
    let _interrupted = tokio::spawn(async move { deleting.change(deletion).await });
    end_after(model, &lobby, MESSAGES).await;
}

#[test]
fn another_node_completes_a_purge_in_a_room_that_nobody_opens() {
    run(|model| async move {
        let limits = Limits::default();
        let store = node(&model, 0, &limits).await;
        let lobby = open(&store, "lobby", &limits).await;
        fill(&lobby).await;
        let purging = Arc::clone(&lobby);
        let _interrupted = tokio::spawn(async move { purging.purge(purge()).await });
        end_after(&model, &lobby, MESSAGES + 2).await;
        let _other = start_other(&model, &limits).await;
        assert!(texts(&model) > 5, "the purge was complete");
        sleep(COMPLETED).await;
        assert_eq!(texts(&model), 0);
    });
}

#[test]
fn another_node_completes_a_deletion_in_a_room_that_nobody_opens() {
    run(|model| async move {
        let limits = Limits::default();
        interrupt_deletion(&model, &limits).await;
        let _other = start_other(&model, &limits).await;
        let left = texts(&model);
        assert_eq!(left as u64, MESSAGES, "the deletion was complete");
        sleep(COMPLETED).await;
        assert_eq!(texts(&model), left - 1);
    });
}

/// Lets the copies of two of three servers have no message, or all of them.
fn set_behind(world: &mut World, are_behind: bool) {
    let leader = world.group.leader;
    for number in (0..world.servers.len()).filter(|number| Some(*number) != leader) {
        let applied = &world.group.log[..world.servers[number].applied];
        let mut copy = Copy::default();
        for op in applied {
            copy.apply(op);
        }
        world.servers[number].copy = if are_behind {
            let mut empty = Copy::default();
            (empty.config, empty.last) = (copy.config, copy.last);
            empty
        } else {
            copy
        };
    }
}

#[test]
fn rooms_are_looked_at_again_soon_after_copies_were_behind() {
    for seed in 0..8 {
        let runtime =
            Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
        runtime.block_on(async {
            begin(seed);
            let (model, limits) = (Model::start(seed, 3), Limits::default());
            interrupt_deletion(&model, &limits).await;
            let _other = start_other(&model, &limits).await;
            model.act(|world| set_behind(world, true));
            // The first search is over by then.
            sleep(Duration::from_secs(40)).await;
            model.act(|world| set_behind(world, false));
            sleep(AGAIN).await;
            let leader = model.act(|world| world.group.leader).expect("a leader");
            let has_text = |payload: &[u8]| payload.windows(9).any(|part| part == b"secret 7\"");
            let is_left = model.act(|world| {
                world.servers[leader].copy.messages.values().any(|stored| has_text(&stored.payload))
            });
            assert!(!is_left, "seed {seed}");
        });
        end();
    }
}

#[test]
fn searches_that_fail_are_repeated_less_and_less_often() {
    run(|model| async move {
        let limits = Limits::default();
        interrupt_deletion(&model, &limits).await;
        let _other = start_other(&model, &limits).await;
        let left = texts(&model);
        model.act(|world| world.refuses = true);
        sleep(Duration::from_secs(60 * 60)).await;
        let listings = model.act(|world| world.listings);
        assert!((8..20).contains(&listings), "{listings} in an hour");
        model.act(|world| world.refuses = false);
        sleep(AGAIN).await;
        assert_eq!(texts(&model), left - 1);
    });
}

#[test]
fn rooms_that_cannot_be_completed_do_not_hold_up_others_for_long() {
    const FAILING: usize = 12;
    run(|model| async move {
        let limits = Limits::default();
        let store = node(&model, 0, &limits).await;
        for room in (0..FAILING).map(|number| format!("room-{number}")).chain(["lobby".to_owned()]) {
            let room = open(&store, &room, &limits).await;
            send(&room, "secret").await;
            let deletion =
                NewChange::new(user(2), 1, Change::Delete { reason: None }).with_role(Role::Moderator);
            room.change(deletion).await.expect("a receipt");
        }
        store.close().await.expect("a store that can be closed");
        let lobby = token(&"lobby".parse().expect("a name"));
        model.act(|world| {
            for stored in world.servers[0].copy.messages.values_mut() {
                assert!(!stored.subject.ends_with("erased"), "a mark: {}", stored.subject);
                if stored.subject.contains(".s.") && !stored.subject.contains(&lobby) {
                    stored.payload = "unreadable".into();
                }
            }
        });
        let other = node(&model, 0, &limits).await;
        let _hall = open(&other, "hall", &limits).await;
        // Those that fail are given up after 20 s, some at a time.
        sleep(Duration::from_secs(75)).await;
        let marked = model.act(|world| {
            let subjects = world.servers[0].copy.messages.values().map(|stored| stored.subject.clone());
            subjects.filter(|subject| subject.ends_with("erased")).collect::<Vec<_>>()
        });
        assert!(marked.len() == 1 && marked[0].contains(&lobby), "{marked:?}");
    });
}

#[test]
fn a_room_after_a_purge_is_not_erased_again() {
    run(|model| async move {
        let limits = Limits::default();
        let store = node(&model, 0, &limits).await;
        let lobby = open(&store, "lobby", &limits).await;
        fill(&lobby).await;
        lobby.purge(purge()).await.expect("a receipt");
        assert_eq!(texts(&model), 0);
        store.close().await.expect("a store that can be closed");
        for _ in 0..2 {
            let store = node(&model, 0, &limits).await;
            let before = store.stats().requests;
            let lobby = open(&store, "lobby", &limits).await;
            sleep(Duration::from_secs(4)).await;
            let requests = store.stats().requests - before;
            assert!(requests <= 5, "{requests}: the end, the mark, and some of the node itself");
            assert_eq!(lobby.bounds().await.expect("bounds").head, MESSAGES + MESSAGES / 2);
            store.close().await.expect("a store that can be closed");
        }
    });
}

/// A node of an earlier version, or one whose mark was lost, has left none.
#[test]
fn a_room_without_a_mark_is_erased_again_once() {
    run(|model| async move {
        let limits = Limits::default();
        let store = node(&model, 0, &limits).await;
        let lobby = open(&store, "lobby", &limits).await;
        fill(&lobby).await;
        let deletion = NewChange::new(user(2), 7, Change::Delete { reason: None }).with_role(Role::Moderator);
        lobby.change(deletion).await.expect("a receipt");
        store.close().await.expect("a store that can be closed");
        let mut requests = Vec::new();
        for _ in 0..3 {
            let store = node(&model, 0, &limits).await;
            let before = store.stats().requests;
            let _lobby = open(&store, "lobby", &limits).await;
            sleep(Duration::from_secs(4)).await;
            requests.push(store.stats().requests - before);
            store.close().await.expect("a store that can be closed");
        }
        assert!(requests[0] > 7 && requests[1] <= 5 && requests[2] <= 5, "{requests:?}");
    });
}
