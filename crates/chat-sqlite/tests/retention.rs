//! What is not to be kept goes in small steps, and nobody is left in the dark about it.

mod support;

#[path = "../../chat-core/tests/support/mod.rs"]
mod session;

use std::time::Duration;

use chat_core::{Chat, Limits, Range, Search};
use chat_sqlite::{Options, Store};
use serde_json::{Value, json};
use support::{Home, PATIENCE, all, room, say, say_once, seqs, until};

fn brief() -> Options {
    Options { sweep_interval: Duration::from_millis(10), ..Options::default() }
}

fn chat(store: &Store) -> Chat {
    let rooms = store.clone();
    // A tail too short for what is written at once, and batches of a few.
    let limits = Limits::default().with(|limits| {
        limits.rooms.call_timeout = PATIENCE;
        limits.rooms.tail_events = 8;
        limits.wire.max_batch_bytes = 1_000;
    });
    Chat::builder().limits(limits).rooms(move |name, limits, outlet| rooms.room(name, limits, outlet)).build()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_keeps_its_newest_messages_and_its_head() {
    let home = Home::new();
    let store = home.open();
    let (lobby, hall) = (room(&store, "lobby"), room(&store, "hall"));
    for n in 1..=700 {
        say(&lobby, &format!("word{n} common")).await.expect("appended");
        if n <= 5 {
            say(&hall, "common").await.expect("appended");
        }
    }
    store.close();
    let store = home.open_with(Options { retain_messages: Some(10), ..brief() });
    let (lobby, hall) = (room(&store, "lobby"), room(&store, "hall"));
    until(async || lobby.bounds().await.expect("a standing").first == 691).await;
    assert_eq!(seqs(&all(&lobby).await), (691..=700).collect::<Vec<_>>());
    assert_eq!(seqs(&all(&hall).await), [1, 2, 3, 4, 5]);
    let find = async |query: &str| {
        let search = Search { query: query.to_owned(), limit: 100, before: u64::MAX };
        seqs(&lobby.search(search).await.expect("found").messages)
    };
    assert_eq!(find("common").await, (691..=700).rev().collect::<Vec<_>>());
    assert_eq!((find("word690").await, find("word691").await), (vec![], vec![691]));
    let indexed = "SELECT count(*) FROM search_docsize";
    // What was written last is indexed in time, and the rest let go.
    until(async || home.database().query_row(indexed, (), |row| row.get(0)) == Ok(15)).await;
    assert_eq!(say(&lobby, "on").await.map(|appended| appended.seq), Ok(701));
    store.close();
    let report = Store::check(home.path(), |_| ()).expect("a report");
    assert!(report.is_sound(), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_of_which_nothing_is_left_goes_on_where_it_was() {
    let home = Home::new();
    let store = home.open_with(Options { retain_age: Some(Duration::ZERO), ..brief() });
    let lobby = room(&store, "lobby");
    for round in 1..=3u64 {
        let appended = say_once(&lobby, &round.to_string(), "hi").await.expect("appended");
        assert_eq!(appended.seq, round);
        until(async || all(&lobby).await.is_empty()).await;
        let bounds = lobby.bounds().await.expect("a standing");
        assert_eq!((bounds.head, bounds.first), (round, round + 1));
        assert!(
            say_once(&lobby, &round.to_string(), "hi").await.expect("known").duplicate,
            "its key is kept"
        );
    }
    let epoch = lobby.bounds().await.expect("a standing").epoch;
    store.close();
    let store = home.open();
    let lobby = room(&store, "lobby");
    let bounds = lobby.bounds().await.expect("a standing");
    assert_eq!((bounds.head, bounds.first, bounds.epoch), (3, 4, epoch));
    assert_eq!(say(&lobby, "on").await.map(|appended| appended.seq), Ok(4));
    store.close();
    assert!(Store::check(home.path(), |_| ()).expect("a report").is_sound());
}

#[tokio::test(flavor = "multi_thread")]
async fn old_keys_go_from_rooms_that_nobody_writes_to() {
    let home = Home::new();
    let store = home.open_with(brief());
    let lobby = room(&store, "lobby");
    say_once(&lobby, "old", "hi").await.expect("appended");
    say_once(&lobby, "new", "hi").await.expect("appended");
    let count = "SELECT count(*) FROM keys";
    let database = home.database();
    database.busy_timeout(PATIENCE).expect("set");
    database
        .execute("UPDATE keys SET at = at - 86400000 WHERE id = (SELECT min(id) FROM keys)", ())
        .expect("aged");
    until(async || database.query_row(count, (), |row| row.get(0)) == Ok(1)).await;
    assert!(say_once(&lobby, "new", "hi").await.expect("known").duplicate);
    assert!(!say_once(&lobby, "old", "hi").await.expect("appended").duplicate);
    drop(database);
    store.close();
    assert!(Store::check(home.path(), |_| ()).expect("a report").is_sound());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_past_whom_messages_went_is_told_of_the_gap() {
    let home = Home::new();
    let store = home.open_with(Options { retain_messages: Some(5), ..brief() });
    let chat = chat(&store);
    let mut slow = session::connect(&chat, "slow").await;
    slow.join("lobby").await;
    slow.block();
    let lobby = session::lobby();
    let user = support::guest("host");
    for n in 0..300 {
        chat.post(&lobby, &user, &chat_core::Text::new(n.to_string()), None).await.expect("posted");
    }
    let first = async || {
        chat.history(&lobby, Range::After { seq: 0, limit: 1 }).await.expect("a page").messages[0].seq
    };
    until(async || first().await == 296).await;
    slow.unblock();
    let (mut next, mut gaps) = (1, 0);
    while next <= 300 {
        let event = slow.event().await;
        match event["type"].as_str() {
            Some("gap") => {
                assert_eq!(event["from"], json!(next), "{event}");
                next = event["to"].as_u64().expect("a number") + 1;
                gaps += 1;
            }
            Some("message") => {
                assert_eq!(event["seq"], json!(next), "{event}");
                next += 1;
            }
            _ => assert_eq!(event["type"], "presence"),
        }
    }
    assert!(gaps > 0);
    store.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_became_unreadable_is_a_gap_to_who_catches_up() {
    let home = Home::new();
    let store = home.open();
    let lobby = room(&store, "lobby");
    for n in 1..=6 {
        say(&lobby, &n.to_string()).await.expect("appended");
    }
    let database = home.database();
    database.execute("UPDATE messages SET sum = sum + 1 WHERE id & 15 IN (3, 4)", ()).expect("spoilt");
    drop(database);
    let chat = chat(&store);
    let mut ann = session::connect(&chat, "ann").await;
    ann.ask(json!({"type": "join", "room": "lobby", "last": 10})).await;
    let mut events = Vec::new();
    while events.len() < 5 {
        let event = ann.event().await;
        if event["type"] != "presence" {
            events.push(event);
        }
    }
    let told: Vec<_> = events.iter().map(|event| (&event["seq"], &event["from"], &event["to"])).collect();
    let (null, numbers) = (&Value::Null, [1, 2, 3, 4, 5, 6].map(Value::from));
    let [one, two, three, four, five, six] = &numbers;
    let expected =
        [(one, null, null), (two, null, null), (null, three, four), (five, null, null), (six, null, null)];
    assert_eq!(told, expected);
    store.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn members_hear_of_every_message_once_and_in_order_whoever_writes() {
    let home = Home::new();
    let store = home.open();
    let chat = chat(&store);
    let mut bob = session::connect(&chat, "bob").await;
    bob.join("lobby").await;
    let writers: Vec<_> = (0..8)
        .map(|n| {
            let (chat, store) = (chat.clone(), store.clone());
            tokio::spawn(async move {
                let beside = room(&store, "lobby");
                for m in 0..20 {
                    let text = format!("{n} {m}");
                    // By way of the chat, and of a handle of their own, which is heard as well.
                    if m % 2 == 0 {
                        let text = chat_core::Text::new(text);
                        chat.post(&session::lobby(), &support::guest("host"), &text, None)
                            .await
                            .expect("posted");
                    } else {
                        say(&beside, &text).await.expect("appended");
                    }
                }
            })
        })
        .collect();
    let mut next = 1;
    while next <= 160 {
        let event = bob.event().await;
        if event["type"] == "message" {
            assert_eq!(event["seq"], json!(next));
            next += 1;
        } else {
            assert_eq!(event["type"], "presence", "{event}");
        }
    }
    for writer in writers {
        writer.await.expect("no panic");
    }
    store.close();
}
