//! Retention: expired messages and keys are deleted, and members receive `gap` events.

use std::time::Duration;

use crate::support::{
    StoreDir, TEST_TIMEOUT, append, append_all, append_with_key, guest, open_lobby, read_all, room, seqs,
    wait_until,
};
use chat_core::{Chat, Limits, Range, Search};
use chat_sqlite::{Options, SqliteStore};
use chat_testkit as session;
use serde_json::{Value, json};

/// Options with frequent sweeps.
fn frequent_sweeps() -> Options {
    Options::default().with(|options| options.sweep_interval = Duration::from_millis(10))
}

fn chat(store: &SqliteStore) -> Chat {
    // The tail is shorter than the messages written at once, and a batch has few messages.
    let limits = Limits::default().with(|limits| {
        limits.rooms.call_timeout = TEST_TIMEOUT;
        limits.rooms.tail_events = 8;
        limits.wire.max_batch_bytes = 1_000;
    });
    Chat::builder().limits(limits).store(store.clone()).build()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_keeps_its_newest_messages_and_its_head() {
    let dir = StoreDir::new();
    let store = dir.open();
    let (lobby, hall) = (room(&store, "lobby"), room(&store, "hall"));
    for n in 1..=700 {
        append(&lobby, &format!("word{n} common")).await.expect("appended");
        if n <= 5 {
            append(&hall, "common").await.expect("appended");
        }
    }
    store.close_blocking();
    let store = dir.open_with(frequent_sweeps().with(|options| options.retain_messages = Some(10)));
    let (lobby, hall) = (room(&store, "lobby"), room(&store, "hall"));
    wait_until(async || lobby.bounds().await.expect("bounds").first == 691).await;
    assert_eq!(seqs(&read_all(&lobby).await), (691..=700).collect::<Vec<_>>());
    assert_eq!(seqs(&read_all(&hall).await), [1, 2, 3, 4, 5]);
    let find = async |query: &str| {
        let search = Search::new(query, 100);
        seqs(&lobby.search(search).await.expect("found").messages)
    };
    assert_eq!(find("common").await, (691..=700).rev().collect::<Vec<_>>());
    assert_eq!((find("word690").await, find("word691").await), (vec![], vec![691]));
    let indexed = "SELECT count(*) FROM search_docsize";
    // The newest messages are indexed, and the deleted ones are removed from the index.
    wait_until(async || dir.index().query_row(indexed, (), |row| row.get(0)) == Ok(15)).await;
    assert_eq!(append(&lobby, "on").await.map(|appended| appended.seq), Ok(701));
    store.close_blocking();
    let report = SqliteStore::check(dir.path(), |_| ()).expect("a report");
    assert!(report.is_sound(), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_without_remaining_messages_continues_its_seq() {
    let dir = StoreDir::new();
    let store = dir.open_with(frequent_sweeps().with(|options| options.retain_age = Some(Duration::ZERO)));
    let lobby = room(&store, "lobby");
    for round in 1..=3u64 {
        let appended = append_with_key(&lobby, &round.to_string(), "hi").await.expect("appended");
        assert_eq!(appended.seq, round);
        wait_until(async || read_all(&lobby).await.is_empty()).await;
        let bounds = lobby.bounds().await.expect("bounds");
        assert_eq!((bounds.head, bounds.first), (round, round + 1));
        assert!(
            append_with_key(&lobby, &round.to_string(), "hi").await.expect("known").duplicate,
            "its key remains"
        );
    }
    let epoch = lobby.bounds().await.expect("bounds").epoch;
    store.close_blocking();
    let store = dir.open();
    let lobby = room(&store, "lobby");
    let bounds = lobby.bounds().await.expect("bounds");
    assert_eq!((bounds.head, bounds.first, bounds.epoch), (3, 4, epoch));
    assert_eq!(append(&lobby, "on").await.map(|appended| appended.seq), Ok(4));
    store.close_blocking();
    assert!(SqliteStore::check(dir.path(), |_| ()).expect("a report").is_sound());
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_keys_are_deleted_from_rooms_without_appends() {
    let dir = StoreDir::new();
    let store = dir.open();
    append_with_key(&room(&store, "lobby"), "old", "hi").await.expect("appended");
    store.close_blocking();
    // The age of a key is the time for which the store was open.
    dir.database().execute("UPDATE store SET open_ms = open_ms + 86400000", ()).expect("aged");
    let store = dir.open();
    append_with_key(&room(&store, "lobby"), "new", "hi").await.expect("appended");
    store.close_blocking();
    let store = dir.open_with(frequent_sweeps());
    let lobby = room(&store, "lobby");
    let count = "SELECT count(*) FROM keys";
    let database = dir.database();
    wait_until(async || database.query_row(count, (), |row| row.get(0)) == Ok(1)).await;
    assert!(append_with_key(&lobby, "new", "hi").await.expect("known").duplicate);
    assert!(!append_with_key(&lobby, "old", "hi").await.expect("appended").duplicate);
    drop(database);
    store.close_blocking();
    assert!(SqliteStore::check(dir.path(), |_| ()).expect("a report").is_sound());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_with_a_wrong_clock_expires_no_message_and_no_key() {
    const SIXTY_DAYS: i64 = 60 * 24 * 60 * 60 * 1_000;
    // The store is moved in time instead of the clock.
    for (clock, shift) in
        [("ahead", -SIXTY_DAYS), ("behind", SIXTY_DAYS), ("at 1970", 56 * 365 * SIXTY_DAYS / 60)]
    {
        let dir = StoreDir::new();
        let store = dir.open();
        let (lobby, hall) = (room(&store, "lobby"), room(&store, "hall"));
        for n in 1..=3 {
            append_with_key(&lobby, &n.to_string(), "hi").await.expect("appended");
        }
        for _ in 0..10 {
            append(&hall, "hi").await.expect("appended");
        }
        store.close_blocking();
        let moved = format!(
            "UPDATE messages SET at = at + {shift}; UPDATE keys SET at = at + {shift};
             UPDATE store SET seen_at = seen_at + {shift};"
        );
        dir.database().execute_batch(&moved).expect("moved");
        let options = frequent_sweeps().with(|options| {
            options.retain_age = Some(Duration::from_secs(30 * 24 * 60 * 60));
            options.retain_messages = Some(5);
        });
        let store = dir.open_with(options);
        let (lobby, hall) = (room(&store, "lobby"), room(&store, "hall"));
        // The limit by number shows that sweeps have passed.
        wait_until(async || hall.bounds().await.expect("bounds").first == 6).await;
        append(&hall, "more").await.expect("appended");
        wait_until(async || hall.bounds().await.expect("bounds").first == 7).await;
        assert_eq!(seqs(&read_all(&lobby).await), [1, 2, 3], "{clock}");
        assert_eq!(read_all(&hall).await.len(), 5, "{clock}");
        for n in 1..=3 {
            let again = append_with_key(&lobby, &n.to_string(), "hi").await.expect("known");
            assert_eq!((again.seq, again.duplicate), (n, true), "{clock}");
        }
        let new = append_with_key(&room(&store, "new"), "k", "hi").await.expect("appended");
        let again = append_with_key(&room(&store, "new"), "k", "hi").await.expect("known");
        assert_eq!((again.seq, again.duplicate), (new.seq, true), "{clock}");
        store.close_blocking();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_that_was_empty_for_a_day_is_deleted_and_its_positions_are_not_used_again() {
    let dir = StoreDir::new();
    let options = || frequent_sweeps().with(|options| options.retain_age = Some(Duration::ZERO));
    let rooms = || {
        let sql = "SELECT group_concat(name) FROM (SELECT name FROM rooms ORDER BY name)";
        dir.database().query_row(sql, (), |row| row.get::<_, Option<String>>(0)).expect("names")
    };
    let store = dir.open_with(options());
    let lobby = room(&store, "lobby");
    for _ in 0..3 {
        append(&lobby, "hi").await.expect("appended");
    }
    append(&room(&store, "open"), "hi").await.expect("appended");
    let epoch = lobby.bounds().await.expect("bounds").epoch;
    let empty = "SELECT count(*) FROM rooms WHERE empty_ms > 0";
    wait_until(async || dir.database().query_row(empty, (), |row| row.get(0)) == Ok(2)).await;
    store.close_blocking();
    assert_eq!(rooms().as_deref(), Some("lobby,open"), "the rooms have been empty for a short time");
    dir.database().execute("UPDATE store SET open_ms = open_ms + 86400000", ()).expect("aged");
    let store = dir.open();
    append_with_key(&room(&store, "hall"), "k", "hi").await.expect("appended");
    store.close_blocking();
    let store = dir.open_with(options());
    let open = room(&store, "open");
    wait_until(async || rooms().as_deref() == Some("hall,open")).await;
    assert_eq!(open.bounds().await.expect("bounds").head, 1, "an open room stays");
    let lobby = room(&store, "lobby");
    let bounds = lobby.bounds().await.expect("bounds");
    assert_eq!((bounds.head, bounds.first, &bounds.epoch), (3, 4, &epoch));
    assert_eq!(append(&lobby, "again").await.map(|appended| appended.seq), Ok(4));
    let again = append_with_key(&room(&store, "hall"), "k", "hi").await.expect("known");
    assert_eq!((again.seq, again.duplicate), (1, true), "a room with a young key stays");
    store.close_blocking();
    assert!(SqliteStore::check(dir.path(), |_| ()).expect("a report").is_sound());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_store_refuses_messages_until_others_expire() {
    let dir = StoreDir::new();
    let quota = Options::default().with(|options| options.max_disk_bytes = Some(4 * 1024 * 1024));
    let store = dir.open_with(quota.clone());
    let lobby = room(&store, "lobby");
    append_with_key(&lobby, "first", "hi").await.expect("appended");
    let text = "x".repeat(16 * 1024);
    let mut appended = 1;
    while append(&lobby, &text).await.is_ok() {
        appended += 1;
        assert!(appended < 1_000, "the quota has no effect");
    }
    // The write-ahead log is part of the data, and is emptied when space is needed.
    wait_until(async || {
        let is_full = append(&lobby, &text).await.is_err();
        is_full && store.stats().wal_bytes < 2 * 1024 * 1024
    })
    .await;
    assert!(store.stats().is_full && store.stats().failing_since.is_none());
    assert!(append(&room(&store, "hall"), "hi").await.is_err(), "all rooms have one quota");
    assert!(append_with_key(&lobby, "first", "hi").await.expect("known").duplicate);
    let bounds = lobby.bounds().await.expect("bounds");
    assert_eq!(read_all(&lobby).await.len() as u64, bounds.head, "reading continues");
    store.close_blocking();
    let bytes: u64 = ["chat.db", "chat.search"]
        .map(|name| std::fs::metadata(dir.file(name)).expect("a file").len())
        .iter()
        .sum();
    assert!(bytes < 6 * 1024 * 1024, "{bytes}");
    let store = dir.open_with(frequent_sweeps().with(|options| {
        options.max_disk_bytes = quota.max_disk_bytes;
        options.retain_messages = Some(5);
    }));
    let lobby = room(&store, "lobby");
    wait_until(async || append(&lobby, &text).await.is_ok()).await;
    assert!(!store.stats().is_full);
    store.close_blocking();
    assert!(SqliteStore::check(dir.path(), |_| ()).expect("a report").is_sound());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_member_receives_a_gap_for_deleted_messages() {
    let dir = StoreDir::new();
    let store = dir.open_with(frequent_sweeps().with(|options| options.retain_messages = Some(5)));
    let chat = chat(&store);
    let mut slow = session::connect(&chat, "slow").await;
    slow.join("lobby").await;
    slow.block();
    let lobby = session::lobby();
    let user = guest("host");
    for n in 0..300 {
        chat.post(&lobby, &user, &chat_core::Text::new(n.to_string())).await.expect("posted");
    }
    let first = async || {
        chat.history(&lobby, Range::After { seq: 0, limit: 1 }).await.expect("a page").messages[0].seq
    };
    wait_until(async || first().await == 296).await;
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
    store.close_blocking();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_joining_member_receives_a_gap_for_unreadable_messages() {
    let (dir, store, lobby) = open_lobby();
    append_all(&lobby, (1..=6).map(|n| n.to_string())).await;
    let database = dir.database();
    for table in ["messages", "staged"] {
        let damage = format!("UPDATE {table} SET sum = sum + 1 WHERE id & 15 IN (3, 4)");
        database.execute(&damage, ()).expect("executed");
    }
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
    let received: Vec<_> = events.iter().map(|event| (&event["seq"], &event["from"], &event["to"])).collect();
    let (null, numbers) = (&Value::Null, [1, 2, 3, 4, 5, 6].map(Value::from));
    let [one, two, three, four, five, six] = &numbers;
    let expected =
        [(one, null, null), (two, null, null), (null, three, four), (five, null, null), (six, null, null)];
    assert_eq!(received, expected);
    store.close_blocking();
}

#[tokio::test(flavor = "multi_thread")]
async fn members_receive_each_message_once_and_in_order_from_all_writers() {
    let dir = StoreDir::new();
    let store = dir.open();
    let chat = chat(&store);
    let mut bob = session::connect(&chat, "bob").await;
    bob.join("lobby").await;
    let writers: Vec<_> = (0..8)
        .map(|n| {
            let (chat, store) = (chat.clone(), store.clone());
            tokio::spawn(async move {
                let other = room(&store, "lobby");
                for m in 0..20 {
                    let text = format!("{n} {m}");
                    // Through the chat, and through another handle of the room.
                    if m % 2 == 0 {
                        let text = chat_core::Text::new(text);
                        chat.post(&session::lobby(), &guest("host"), &text).await.expect("posted");
                    } else {
                        append(&other, &text).await.expect("appended");
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
    store.close_blocking();
}
