//! The questions of a node to the leader, while some of its rooms fail or take long.

use std::time::Duration;

use chat_core::{AppendError, Health, Limits, NewMessage, Store};
use futures_util::future::join_all;
use tokio::time::sleep;

use super::quiet::{node, open, run, send};
use super::schedule::{body, user};
use super::world::World;
use crate::life::token;

/// The messages of the stream after which each open room asks.
const MANY: u64 = 5_000;

/// The time in which a node asks the leader some times.
const ROUNDS: Duration = Duration::from_secs(10);

/// Damages the newest record of a room on all servers.
fn damage(world: &mut World, room: &str) {
    let subject = format!(".m.{}", token(&room.parse().expect("a name")));
    for server in &mut world.servers {
        let records = server.copy.messages.values_mut().filter(|stored| stored.subject.ends_with(&subject));
        records.last().expect("a record").payload = "damaged".into();
    }
}

/// Lets a stream store many messages, of which none is left.
fn store_many(world: &mut World) {
    world.servers.iter_mut().for_each(|server| server.copy.last += MANY);
}

#[test]
fn a_room_whose_newest_record_is_damaged_stops_no_other_room() {
    for has_lost_its_end in [true, false] {
        run(|model| async move {
            let limits = Limits::default();
            let store = node(&model, 0, &limits).await;
            let (lobby, hall) = (open(&store, "lobby", &limits).await, open(&store, "hall", &limits).await);
            for text in ["first", "second"] {
                send(&lobby, text).await;
                send(&hall, text).await;
            }
            let before = send(&hall, "third").await;
            model.act(|world| {
                if has_lost_its_end {
                    world.roll_back(1);
                    world.revive(0);
                } else {
                    store_many(world);
                    world.reset(0);
                }
                damage(world, "lobby");
            });
            sleep(ROUNDS).await;
            let sent = send(&hall, "fourth").await;
            let expected = if has_lost_its_end { 3 } else { 4 };
            assert_eq!((sent.seq, sent.epoch == before.epoch), (expected, !has_lost_its_end));
            let refused = lobby.append(NewMessage::new(user(1), body("third"))).await;
            assert!(matches!(refused, Err(AppendError::Unavailable(_))), "{refused:?}");
            assert_eq!(store.health(), Health::Ready);
        });
    }
}

#[test]
fn a_node_is_ready_while_many_rooms_look_at_what_they_have_missed() {
    run(|model| async move {
        let limits = Limits::default();
        let store = node(&model, 0, &limits).await;
        let names: Vec<_> = (0..1_000).map(|number| format!("room-{number}")).collect();
        let rooms = join_all(names.iter().map(|name| open(&store, name, &limits))).await;
        model.act(|world| {
            store_many(world);
            world.clients[0].slow = 1_000;
        });
        for _ in 0..60 {
            sleep(Duration::from_secs(1)).await;
            assert_eq!(store.health(), Health::Ready);
        }
        drop(rooms);
    });
}
