//! The removal of messages from the stream.

use std::sync::Arc;
use std::time::Duration;

use chat_core::Limits;
use tokio::time::{Instant, sleep};

use super::quiet::{node, open, run, send};
use super::world::Model;

/// The time after which a node has noticed that it has no connection.
const CUT: Duration = Duration::from_secs(20);

/// A key window that is shorter than a test, with which a node keeps ten messages of a room.
const SHORT: Duration = Duration::from_secs(20);

/// The longest delay of each answer of a server, in milliseconds, and of a message that waits for one of them.
const SLOW: u64 = 300;
const ONE_ANSWER: Duration = Duration::from_millis(500);

/// Returns true if the stream has a message at a place.
fn has(model: &Model, place: u64) -> bool {
    model.act(|world| world.servers[0].copy.messages.contains_key(&place))
}

#[test]
fn a_removal_that_was_meant_for_a_lost_message_removes_no_other_one() {
    // It is asked for before there is a connection again, and right after that.
    for (before, after) in [(500, 0), (50, 0), (0, 0), (0, 5), (0, 50), (0, 500)] {
        run(|model| async move {
            let limits = Limits::default();
            let store = node(&model, 0, &limits).await;
            let lobby = open(&store, "lobby", &limits).await;
            send(&lobby, "first").await;
            send(&lobby, "lost").await;
            let shared = store.room(&"lobby".parse().expect("a name"), &Arc::new(limits.clone()));
            let life = shared.node.life();
            let (places, place) = (shared.node.places(&life), life.highest());
            assert!(has(&model, place));
            model.act(|world| world.cut(0, true));
            sleep(CUT).await;
            model.act(|world| world.roll_back(1));
            model.act(|world| world.revive(0));
            let other = node(&model, 0, &limits).await;
            send(&open(&other, "lobby", &limits).await, "other").await;
            assert!(has(&model, place), "the place is not given out again");

            let remove = async |pause: u64| {
                sleep(Duration::from_millis(pause)).await;
                shared.node.remove(&places, place).await
            };
            let reconnect = async {
                sleep(Duration::from_millis(before)).await;
                model.act(|world| world.cut(0, false));
                while !shared.node.connection.is_open() {
                    sleep(Duration::from_millis(1)).await;
                }
                shared.node.remove_later(&places, place).await;
                remove(after).await
            };
            let (early, late) = tokio::join!(remove(0), reconnect);
            assert!(early.is_err() && late.is_err(), "{before} {after}: {early:?} {late:?}");
            sleep(CUT).await;
            assert!(has(&model, place), "{before} {after}: another message is removed");
        });
    }
}

#[test]
fn a_message_does_not_wait_while_old_records_are_removed() {
    run(|model| async move {
        let limits = Limits::default().with(|limits| limits.rooms.key_window = SHORT);
        let store = node(&model, 0, &limits).await;
        let lobby = open(&store, "lobby", &limits).await;
        // The first message reads the end of the log, too.
        send(&lobby, "first").await;
        model.act(|world| world.clients[0].slow = SLOW);
        let mut longest = Duration::ZERO;
        for number in 0..600 {
            let begun = Instant::now();
            send(&lobby, &format!("k{number}")).await;
            longest = longest.max(begun.elapsed());
        }
        assert!(longest < ONE_ANSWER, "{longest:?}");
        sleep(SHORT).await;
        // The records of the last 40 s have keys.
        let left = model.act(|world| world.servers[0].copy.messages.len());
        assert!((10..500).contains(&left), "{left} of 600 records are left");
    });
}
