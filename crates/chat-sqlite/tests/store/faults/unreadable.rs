//! Pages that the disk does not return.

use std::fs;
use std::path::Path;

use chat_sqlite::{Options, SqliteStore};
use rusqlite::Connection;
use tokio::runtime::Runtime;

use crate::support::process::{is_single_test, run_single_test};
use crate::support::reads::{TracedReads, this_thread, thread_named};
use crate::support::{StoreDir, append, append_all, assert_unavailable, read_all, room, wait_until};

/// The messages of each room before a test. They are on several pages.
const MESSAGES: usize = 100;

/// A text that is never staged.
fn long_text() -> String {
    "x".repeat(2_000)
}

/// Makes a store of two rooms.
async fn fill(dir: &StoreDir) {
    let store = dir.open();
    for name in ["lobby", "hall"] {
        let texts = (1..=MESSAGES).map(|number| format!("{number} of {name} {}", "x".repeat(900)));
        append_all(&room(&store, name), texts).await;
    }
    store.close_blocking();
}

/// Returns the number of messages that are not moved yet.
fn staged(database: &Connection) -> u64 {
    database.query_row("SELECT count(*) FROM staged", (), |row| row.get(0)).expect("counted")
}

/// Runs in a process of its own, because it traces the writer thread, which it finds by its name.
#[test]
fn a_page_that_cannot_be_read_while_messages_are_moved_affects_one_room() {
    let this = "faults::unreadable::a_page_that_cannot_be_read_while_messages_are_moved_affects_one_room";
    if is_single_test(this) {
        Runtime::new().expect("a runtime").block_on(move_with_failing_reads());
    } else {
        run_single_test(this);
    }
}

async fn move_with_failing_reads() {
    let dir = StoreDir::new();
    fill(&dir).await;
    let store = dir.open();
    let (lobby, hall) = (room(&store, "lobby"), room(&store, "hall"));
    append(&lobby, &long_text()).await.expect("appended");
    let database = dir.database();
    let writer = thread_named("chat-sqlite");
    let mut attempts = 0..20;
    let tracer = loop {
        assert!(attempts.next().is_some(), "no message was staged for long enough");
        // The writer forgets its pages, and reads all but those of the first room again.
        wait_until(async || {
            let emptied = "PRAGMA wal_checkpoint(truncate)";
            database.query_row(emptied, (), |row| row.get::<_, i64>(0)).expect("a checkpoint") == 0
        })
        .await;
        append(&hall, &long_text()).await.expect("appended");
        append(&lobby, "staged").await.expect("appended");
        let tracer = TracedReads::attach(&writer, &dir.file("chat.db"), Some("1+"));
        if staged(&database) > 0 {
            break tracer;
        }
    };
    wait_until(async || append(&lobby, "refused").await.is_err()).await;
    assert_unavailable(&append(&lobby, "refused").await, "damaged");
    // The others are stored and moved.
    append(&hall, "stored").await.expect("appended");
    let of_hall = "SELECT count(*) FROM staged WHERE id >> 36 = 2";
    wait_until(async || database.query_row(of_hall, (), |row| row.get(0)) == Ok(0)).await;
    append(&hall, "stored").await.expect("appended");
    assert_eq!(store.stats().failing_since, None);
    assert!(!tracer.detach().is_empty(), "a read has failed");
    let count = read_all(&lobby).await.len() as u64;
    store.close_blocking();
    drop(database);
    let store = dir.open();
    assert_eq!(staged(&dir.database()), 0);
    assert_eq!(append(&room(&store, "lobby"), "on").await.map(|receipt| receipt.seq), Ok(count + 1));
    store.close_blocking();
    assert!(SqliteStore::check(dir.path(), |_| ()).expect("a report").is_sound());
}

#[tokio::test]
async fn a_store_opens_if_a_page_cannot_be_read_while_messages_are_moved() {
    let (dir, copy) = (StoreDir::new(), StoreDir::new());
    fill(&dir).await;
    // The last message of each room, as a process leaves it that is killed before it has moved them.
    let leave = "INSERT INTO staged (id, at, sum, frame, guest, connection)
            SELECT id, at, sum, frame, guest, connection FROM messages WHERE (id & 127) = 100 ORDER BY id;
        DELETE FROM messages WHERE (id & 127) = 100;";
    dir.database().execute_batch(leave).expect("executed");
    copy_files(&dir.path(), &copy.path());
    // The message of the first room belongs on a page with one of its neighbours. The last read of it is that of the move.
    let database = fs::read(dir.file("chat.db")).expect("a file");
    let pages: Vec<_> = database.chunks(4_096).collect();
    let is_wanted = |offset: u64| {
        let page = usize::try_from(offset / 4_096).ok().and_then(|number| pages.get(number));
        let has = |text: &[u8]| page.is_some_and(|page| page.windows(text.len()).any(|bytes| bytes == text));
        has(b"\"99 of lobby") || has(b"\"1 of hall")
    };
    let tracer = TracedReads::attach(&this_thread(), &copy.file("chat.db"), None);
    copy.open().close_blocking();
    let reads = tracer.detach();
    let last = reads.iter().rposition(|offset| is_wanted(*offset)).expect("the page was read");
    let failing = (last + 1).to_string();
    let tracer = TracedReads::attach(&this_thread(), &dir.file("chat.db"), Some(&failing));
    let store = SqliteStore::open(dir.path(), Options::default()).expect("a store");
    assert_eq!(tracer.detach()[last], reads[last]);
    let (lobby, hall) = (room(&store, "lobby"), room(&store, "hall"));
    assert_unavailable(&append(&lobby, "refused").await, "damaged");
    append(&hall, "stored").await.expect("appended");
    for (room, count) in [(&lobby, MESSAGES), (&hall, MESSAGES + 1)] {
        assert_eq!(read_all(room).await.len(), count);
    }
    assert_eq!(store.stats().failing_since, None);
    store.close_blocking();
    let store = dir.open();
    append(&room(&store, "lobby"), "on").await.expect("appended");
    store.close_blocking();
    assert!(SqliteStore::check(dir.path(), |_| ()).expect("a report").is_sound());
}

fn copy_files(from: &Path, to: &Path) {
    fs::create_dir(to).expect("a directory");
    for file in fs::read_dir(from).expect("a directory") {
        let file = file.expect("a file");
        fs::copy(file.path(), to.join(file.file_name())).expect("copied");
    }
}
