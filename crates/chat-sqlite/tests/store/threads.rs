//! Threads and pins: what the store keeps of them, and what a migration makes of a store without them.

use std::sync::Arc;

use chat_core::{
    AppendError, AppendReceipt, Change, ChangeError, Links, Mentions, NewChange, Range, Role, Room,
    ThreadError,
};
use chat_sqlite::SqliteStore;
use serde_json::{Value, json};

use crate::changes::{delete, edit, entries, known, react};
use crate::support::{
    StoreDir, append, draft, lobby_with, open_lobby, open_lobby_with, room, seqs, wait_until,
};

/// Appends a message of a thread.
async fn reply(room: &Arc<dyn Room>, root: u64, text: &str) -> Result<AppendReceipt, AppendError> {
    let links = Links::default().with_thread(root).with_mentions(Mentions::users(["zoe"]));
    room.append(draft(&known("bob"), None, text).with_links(links)).await
}

fn pin(target: u64, on: bool) -> NewChange {
    NewChange::new(known("boss"), target, Change::Pin { on }).with_role(Role::Moderator)
}

async fn message(room: &Arc<dyn Room>, seq: u64) -> Value {
    let page = room.read(Range::after(seq - 1, 1)).await.expect("a page");
    serde_json::from_slice(&page.messages[0].frame).expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_one_commit_are_all_counted() {
    let (dir, store, lobby) = open_lobby();
    append(&lobby, "first").await.expect("appended");
    // The writer waits for the lock, so the messages are one batch, but perhaps for the first. The root of the second
    // thread and its messages are in one batch.
    let lock = dir.lock();
    let replies: Vec<_> = (0..100)
        .map(|n: u64| {
            let lobby = Arc::clone(&lobby);
            tokio::spawn(async move { reply(&lobby, 1, &n.to_string()).await })
        })
        .collect();
    wait_until(async || store.stats().queued >= 100).await;
    lock.execute_batch("ROLLBACK").expect("unlocked");
    for reply in replies {
        reply.await.expect("no panic").expect("stored");
    }
    let root = message(&lobby, 1).await;
    assert_eq!((&root["replies"], &root["rev"]), (&json!({"count": 100, "last": 101}), &json!(101)));
    let page = lobby.thread(1, Range::newest(9)).await.expect("a page");
    assert_eq!((seqs(&page.messages), page.more), ((93..=101).collect(), true));
    store.close_blocking();
    assert!(SqliteStore::check(dir.path(), |_| ()).expect("a report").is_sound());
    dir.database().execute_batch("DELETE FROM messages WHERE id & 0xff = 101").expect("executed");
    let report = SqliteStore::check(dir.path(), |_| ()).expect("a report");
    let expected = "message 1 does not count the messages of its thread";
    assert!(report.problems.iter().any(|problem| problem.contains(expected)), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_and_messages_of_a_thread_in_one_commit_are_folded_in_their_order() {
    let (dir, store, lobby) = open_lobby();
    let bob = known("bob");
    lobby.append(draft(&bob, None, "root")).await.expect("appended");
    let lock = dir.lock();
    let mut changes = Vec::new();
    for n in 0..30_u64 {
        let (lobby, bob) = (Arc::clone(&lobby), bob.clone());
        changes.push(tokio::spawn(async move {
            match n % 3 {
                0 => reply(&lobby, 1, "hi").await.map(drop).map_err(|_| ()),
                1 => {
                    lobby.change(react(&known(&n.to_string()), 1, "+1", true)).await.map(drop).map_err(|_| ())
                }
                _ => lobby.change(edit(&bob, 1, &n.to_string())).await.map(drop).map_err(|_| ()),
            }
        }));
    }
    wait_until(async || store.stats().queued >= 30).await;
    lock.execute_batch("ROLLBACK").expect("unlocked");
    for change in changes {
        change.await.expect("no panic").expect("stored");
    }
    let root = message(&lobby, 1).await;
    let log = entries(&lobby).await;
    let counts = (&root["replies"]["count"], &root["reactions"][0]["count"], &root["rev"]);
    assert_eq!(counts, (&json!(10), &json!(10), &json!(log.len())));
    store.close_blocking();
    assert!(SqliteStore::check(dir.path(), |_| ()).expect("a report").is_sound());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_message_creates_no_room() {
    let (dir, store, lobby) = open_lobby();
    assert_eq!(reply(&lobby, 1, "hi").await, Err(AppendError::NoMessage));
    assert_eq!(lobby.thread(1, Range::newest(9)).await, Err(ThreadError::NoMessage));
    let hall = room(&store, "hall");
    append(&hall, "hi").await.expect("appended");
    let rooms = dir.database().query_row("SELECT count(*) FROM rooms", (), |row| row.get(0));
    assert_eq!(rooms, Ok(1));
    assert_eq!(reply(&lobby, 1, "of another room").await, Err(AppendError::NoMessage));
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_removes_the_pins_of_removed_messages() {
    let (dir, store, lobby) = open_lobby_with(|options| {
        options.retain_messages = Some(2);
        options.sweep_interval = std::time::Duration::from_millis(10);
    });
    for text in ["a", "b"] {
        append(&lobby, text).await.expect("appended");
    }
    for seq in [1, 2] {
        lobby.change(pin(seq, true)).await.expect("pinned");
    }
    assert_eq!(lobby.bounds().await.expect("bounds").pins, [1, 2]);
    append(&lobby, "c").await.expect("appended");
    wait_until(async || lobby.bounds().await.expect("bounds").first > 1).await;
    assert_eq!(lobby.bounds().await.expect("bounds").pins, [2]);
    store.close_blocking();
    assert!(SqliteStore::check(dir.path(), |_| ()).expect("a report").is_sound());
}

#[tokio::test(flavor = "multi_thread")]
async fn pins_of_one_commit_do_not_exceed_the_limit() {
    let (dir, store, _) = open_lobby();
    let lobby = lobby_with(&store, |limits| limits.rooms.max_pins = 5);
    for n in 0..20 {
        append(&lobby, &n.to_string()).await.expect("appended");
    }
    let lock = dir.lock();
    let pins: Vec<_> = (1..=20)
        .map(|seq| {
            let lobby = Arc::clone(&lobby);
            tokio::spawn(async move { lobby.change(pin(seq, true)).await })
        })
        .collect();
    wait_until(async || store.stats().queued >= 20).await;
    lock.execute_batch("ROLLBACK").expect("unlocked");
    let mut refused = 0;
    for pin in pins {
        match pin.await.expect("no panic") {
            Ok(_) => {}
            Err(error) => {
                assert_eq!(error, ChangeError::TooManyPins);
                refused += 1;
            }
        }
    }
    assert_eq!((refused, lobby.bounds().await.expect("bounds").pins.len()), (15, 5));
}

/// Reverts a store to version 5 of its schema.
fn downgrade(dir: &StoreDir) {
    let version_5 = "
        BEGIN;
        DROP VIEW all_messages;
        DROP VIEW all_keys;
        DROP TABLE staged;
        DROP TABLE purges;
        DROP TABLE markers;
        DROP TABLE follows;
        ALTER TABLE rooms DROP COLUMN markers;
        ALTER TABLE store DROP COLUMN guest_follows;
        DROP TABLE rules;
        DROP TABLE standings;
        ALTER TABLE rooms DROP COLUMN governed;
        DROP INDEX threads;
        DROP TABLE pins;
        ALTER TABLE messages DROP COLUMN thread;
        ALTER TABLE messages DROP COLUMN deleted;
        PRAGMA user_version = 5;
        COMMIT;";
    dir.database().execute_batch(version_5).expect("executed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_version_5_keeps_its_pins_and_deletions() {
    let (dir, store, lobby) = open_lobby();
    let bob = known("bob");
    for text in ["pinned", "not pinned any more", "deleted", "plain"] {
        lobby.append(draft(&bob, None, text)).await.expect("appended");
    }
    for change in [pin(1, true), pin(2, true), pin(2, false), pin(3, true), delete(&bob, 3)] {
        lobby.change(change).await.expect("changed");
    }
    store.close_blocking();
    downgrade(&dir);
    let store = dir.open();
    let lobby = room(&store, "lobby");
    assert_eq!(lobby.bounds().await.expect("bounds").pins, [1]);
    for root in [3, 4] {
        reply(&lobby, root, "hi").await.expect("a message of a thread");
    }
    let repeated = lobby.change(delete(&bob, 3)).await.expect("a repeat");
    assert_eq!((repeated.seq, repeated.duplicate), (Some(9), true), "not the newest entry of the message");
    let deletion = &entries(&lobby).await[8];
    assert_eq!((&deletion["what"], &deletion["seq"]), (&json!("deleted"), &json!(9)));
    let root = message(&lobby, 3).await;
    assert_eq!((&root["rev"], &root["replies"]), (&json!(10), &json!({"count": 1, "last": 10})));
    store.close_blocking();
    assert!(SqliteStore::check(dir.path(), |_| ()).expect("a report").is_sound());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_a_thread_reads_only_its_messages() {
    let (dir, store, lobby) = open_lobby();
    append(&lobby, "root").await.expect("appended");
    reply(&lobby, 1, "hi").await.expect("appended");
    store.close_blocking();
    for order in ["id", "id DESC"] {
        let sql = format!(
            "EXPLAIN QUERY PLAN SELECT id, sum, frame FROM messages
             WHERE thread = 1 AND id > 1 AND id <= 9 ORDER BY {order}"
        );
        let plan: String = dir.database().query_row(&sql, (), |row| row.get(3)).expect("a plan");
        assert!(plan.contains("USING INDEX threads (thread=? AND rowid>? AND rowid<?)"), "{plan}");
    }
}
