//! Damaged rows and pages.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use chat_core::{Range, Search};
use chat_sqlite::{Options, SqliteStore};

use crate::support::{
    StoreDir, TEST_TIMEOUT, append, append_all, name, open_lobby, read_all, room, seqs, wait_until,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_message_with_a_flipped_bit_is_omitted_and_counted_once() {
    let (dir, store, lobby) = open_lobby();
    append_all(&lobby, (1..=9).map(|n| format!("number-{n}"))).await;
    store.close_blocking();
    let mut database = fs::read(dir.file("chat.db")).expect("a file");
    for number in [1, 4, 9] {
        let text = format!("number-{number}");
        let at = database.windows(text.len()).position(|bytes| bytes == text.as_bytes()).expect("there");
        database[at] ^= 1;
    }
    fs::write(dir.file("chat.db"), database).expect("written");
    let store = dir.open();
    let lobby = room(&store, "lobby");
    for _ in 0..3 {
        assert_eq!(seqs(&read_all(&lobby).await), [2, 3, 5, 6, 7, 8]);
    }
    assert_eq!(store.stats().unreadable, 3);
    let page = lobby.read(Range::Before { seq: 5, limit: 2 }).await.expect("a page");
    assert_eq!((seqs(&page.messages), page.more), (vec![2, 3], false), "the first message is unreadable");
    let page = lobby.read(Range::After { seq: 8, limit: 1 }).await.expect("a page");
    assert_eq!((seqs(&page.messages), page.more), (vec![], false));
    assert_eq!(append(&lobby, "on").await.map(|appended| appended.seq), Ok(10));
    store.close_blocking();
    let report = SqliteStore::check(dir.path(), |_| ()).expect("a report");
    assert_eq!((report.messages, report.unreadable, report.problems.len()), (7, 3, 3), "{report:?}");
    let mut lines = Vec::new();
    let exported = SqliteStore::export(dir.path(), &name("lobby"), &mut lines).expect("exported");
    assert_eq!((exported.messages, exported.unreadable), (7, 3));
    let lines = String::from_utf8(lines).expect("UTF-8");
    assert!(
        lines.lines().count() == 7
            && lines.starts_with("{\"type\":\"message\",\"room\":\"lobby\",\"seq\":2,")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_in_a_number_affects_no_other_message() {
    let dir = StoreDir::new();
    let often = Duration::from_millis(10);
    let age = Some(Duration::from_secs(24 * 60 * 60));
    let store = dir.open_with(Options::default().with(|options| {
        options.sweep_interval = often;
        options.retain_age = age;
        options.lock_wait = TEST_TIMEOUT;
    }));
    let lobby = room(&store, "lobby");
    append_all(&lobby, (1..=9).map(|n| format!("number-{n}"))).await;
    let moved = "SELECT count(*) FROM messages";
    wait_until(async || dir.database().query_row(moved, (), |row| row.get(0)) == Ok(9)).await;
    let flip = "UPDATE messages SET sum = sum + (1 << 40) WHERE id & 15 = 4";
    dir.database().execute_batch(flip).expect("flipped");
    assert_eq!(seqs(&read_all(&lobby).await), [1, 2, 3, 5, 6, 7, 8, 9]);
    let report = SqliteStore::check(dir.path(), |_| ()).expect("a report");
    assert_eq!((report.messages, report.unreadable), (8, 1), "{report:?}");
    dir.database().execute_batch("UPDATE messages SET at = -at WHERE id & 15 = 1").expect("flipped");
    wait_until(async || lobby.bounds().await.expect("bounds").first == 2).await;
    assert_eq!(store.stats().failing_since, None);
    store.close_blocking();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zeroed_page_affects_one_room_and_a_check_reports_it() {
    let dir = StoreDir::new();
    let store = dir.open();
    let (lobby, hall) = (room(&store, "lobby"), room(&store, "hall"));
    for n in 0..100 {
        append(&lobby, &format!("{n} {}", "x".repeat(900))).await.expect("appended");
        append(&hall, "hi").await.expect("appended");
    }
    store.close_blocking();
    let store = dir.open();
    let (lobby, hall) = (room(&store, "lobby"), room(&store, "hall"));
    // Zeroes the page of message 50 while the store is open.
    let mut database = fs::read(dir.file("chat.db")).expect("a file");
    let at = database.windows(20).position(|bytes| bytes.starts_with(b"\"50 xxxxxxxxx")).expect("there");
    let page = at / 4_096 * 4_096;
    database[page..page + 4_096].fill(0);
    fs::write(dir.file("chat.db"), database).expect("written");
    let read = lobby.read(Range::After { seq: 0, limit: 100 }).await;
    assert!(read.is_err() || read.is_ok_and(|page| page.messages.len() < 100));
    assert_eq!(read_all(&hall).await.len(), 100);
    assert_eq!(append(&hall, "on").await.map(|appended| appended.seq), Ok(101));
    store.close_blocking();
    let report = SqliteStore::check(dir.path(), |_| ()).expect("a report");
    assert!(!report.is_sound());
    assert!(SqliteStore::open(dir.path(), Options::default()).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_that_cannot_be_indexed_does_not_block_others() {
    let dir = StoreDir::new();
    let store = dir.open_with_long_lock_wait();
    let (lobby, hall) = (room(&store, "lobby"), room(&store, "hall"));
    for _ in 0..3 {
        append(&lobby, "hi").await.expect("appended");
        append(&hall, "hi").await.expect("appended");
    }
    // Updates of the first room fail, as with a damaged page.
    let fail = "CREATE TRIGGER fail BEFORE INSERT ON progress WHEN NEW.id = 1
                 BEGIN SELECT RAISE(ABORT, 'damaged'); END";
    dir.index().execute_batch(fail).expect("executed");
    for room in [&lobby, &hall, &lobby] {
        append(room, "more").await.expect("appended");
    }
    let indexed = "SELECT indexed FROM progress WHERE id = 2";
    wait_until(async || dir.index().query_row(indexed, (), |row| row.get(0)) == Ok(4)).await;
    assert_eq!(store.stats().failing_since, None, "appends succeed");
    let search = Search::new("more", 9);
    assert_eq!(seqs(&lobby.search(search).await.expect("found").messages), [5, 4]);
    store.close_blocking();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_cannot_be_stored_does_not_affect_others_of_its_batch() {
    let dir = StoreDir::new();
    let store = dir.open_with_long_lock_wait();
    let (lobby, hall) = (room(&store, "lobby"), room(&store, "hall"));
    append(&lobby, "fine").await.expect("appended");
    // Inserts into the first room fail, as with a damaged page.
    let blocker = dir.database();
    let fail = "CREATE TRIGGER fail BEFORE INSERT ON messages WHEN NEW.id >> 36 = 1
                 BEGIN SELECT RAISE(ABORT, 'damaged'); END";
    blocker.execute_batch(fail).expect("executed");
    blocker.execute_batch("BEGIN IMMEDIATE").expect("locked");
    // Texts of this length are never staged.
    let text = "x".repeat(2_000);
    let appends: Vec<_> = (0..20)
        .map(|n| {
            let (room, text) = (Arc::clone(if n % 2 == 0 { &lobby } else { &hall }), text.clone());
            tokio::spawn(async move { append(&room, &text).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(200)).await;
    blocker.execute_batch("ROLLBACK").expect("unlocked");
    for (n, append) in appends.into_iter().enumerate() {
        let appended = append.await.expect("no panic");
        assert_eq!(appended.is_ok(), n % 2 == 1, "{appended:?}");
    }
    assert_eq!(seqs(&read_all(&hall).await), (1..=10).collect::<Vec<_>>());
    blocker.execute_batch("DROP TRIGGER fail").expect("executed");
    assert_eq!(append(&lobby, "again").await.map(|appended| appended.seq), Ok(2));
    assert_eq!(store.stats().failing_since, None);
}
