//! Purges that are repeated, that fail, or whose rows are damaged.

use std::sync::Arc;
use std::time::Duration;

use chat_core::{ChangeError, Health, Room, Store};
use chat_sqlite::SqliteStore;
use futures_util::future::join_all;
use rusqlite::Connection;

use crate::changes::known;
use crate::purges::{fill_fast, kept_of_eve, purge};
use crate::staging::damage_first_room;
use crate::support::{StoreDir, draft, open_lobby, room, wait_until};

/// Lets each step of a purge fail.
const FAIL: &str = "CREATE TRIGGER fail BEFORE INSERT ON changes BEGIN SELECT RAISE(ABORT, 'damaged'); END";

/// Returns the number of purges that are not complete.
fn stored_purges(dir: &StoreDir) -> Option<u64> {
    dir.database().query_row("SELECT count(*) FROM purges", (), |row| row.get(0)).ok()
}

/// Returns a store that was closed with a purge that is not complete.
async fn interrupted() -> StoreDir {
    let (dir, store, lobby) = open_lobby();
    fill_fast(&lobby, 10).await;
    dir.database().execute_batch(FAIL).expect("a trigger");
    let failed = lobby.purge(purge("eve")).await;
    assert!(matches!(failed, Err(ChangeError::Unavailable(_))), "{failed:?}");
    store.close_blocking();
    dir.database().execute_batch("DROP TRIGGER fail").expect("dropped");
    dir
}

/// Opens a store with messages of `eve`, and locks it. What is sent to it waits for the end of the lock.
async fn locked() -> (StoreDir, SqliteStore, Arc<dyn Room>, Connection) {
    let dir = StoreDir::new();
    let store = dir.open_with_long_lock_wait();
    let lobby = room(&store, "lobby");
    fill_fast(&lobby, 1_000).await;
    let lock = dir.lock();
    (dir, store, lobby, lock)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_waits_for_the_purge_that_goes_on_and_deletes_newer_messages() {
    let (dir, store, lobby, lock) = locked().await;
    let later = draft(&known("eve"), None, "secret later");
    let (first, appended, repeat, ()) =
        tokio::join!(lobby.purge(purge("eve")), lobby.append(later), lobby.purge(purge("eve")), async {
            drop(lock);
        });
    assert!(appended.is_ok() && first.as_ref().is_ok_and(|receipt| receipt.seq > Some(1_001)), "{first:?}");
    assert_eq!(first, repeat, "both end together");
    assert_eq!((kept_of_eve(&lobby).await, stored_purges(&dir)), (0, Some(0)));
    store.close_blocking();
}

#[tokio::test(flavor = "multi_thread")]
async fn only_some_callers_wait_for_one_purge() {
    let (_dir, store, lobby, lock) = locked().await;
    let purges = join_all((0..20).map(|_| lobby.purge(purge("eve"))));
    let (purged, ()) = tokio::join!(purges, async {
        drop(lock);
    });
    let is_refused = |error: &ChangeError| {
        matches!(error, ChangeError::Unavailable(unavailable)
            if unavailable.is_over_quota() && unavailable.cause().contains("too many callers"))
    };
    let refused = purged.iter().filter(|purged| purged.as_ref().is_err_and(is_refused)).count();
    let done = purged.iter().filter(|purged| purged.is_ok()).count();
    assert_eq!((done, refused), (16, 4), "{purged:?}");
    assert_eq!(kept_of_eve(&lobby).await, 0);
    store.close_blocking();
}

/// The row of the purge that has failed is used again.
#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_of_a_purge_that_has_failed_completes_it() {
    let (dir, store, lobby) = open_lobby();
    fill_fast(&lobby, 10).await;
    dir.database().execute_batch(FAIL).expect("a trigger");
    let failed = lobby.purge(purge("eve")).await;
    assert!(matches!(failed, Err(ChangeError::Unavailable(_))), "{failed:?}");
    assert_eq!((kept_of_eve(&lobby).await, stored_purges(&dir)), (10, Some(1)));
    dir.database().execute_batch("DROP TRIGGER fail").expect("dropped");
    // On a slow machine, the store itself has tried again before.
    let repeated = lobby.purge(purge("eve")).await.map(|receipt| receipt.seq);
    assert!(matches!(repeated, Ok(Some(11) | None)), "{repeated:?}");
    assert_eq!((kept_of_eve(&lobby).await, stored_purges(&dir)), (0, Some(0)));
    store.close_blocking();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_that_fails_once_after_a_start_goes_on() {
    let dir = interrupted().await;
    dir.database().execute_batch(FAIL).expect("a trigger");
    let store = dir.open();
    wait_until(async || matches!(store.health(), Health::Degraded(_))).await;
    dir.database().execute_batch("DROP TRIGGER fail").expect("dropped");
    wait_until(async || stored_purges(&dir) == Some(0)).await;
    assert_eq!(kept_of_eve(&room(&store, "lobby")).await, 0);
    store.close_blocking();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_that_fails_after_a_start_again_and_again_is_given_up() {
    let dir = interrupted().await;
    let export = || SqliteStore::export_all(dir.path(), std::io::sink());
    let refused = export().expect_err("messages would be kept").to_string();
    assert!(refused.starts_with("room lobby: a purge is not complete: start the server"), "{refused}");
    dir.database().execute_batch(FAIL).expect("a trigger");
    let store = dir.open();
    wait_until(async || stored_purges(&dir) == Some(0)).await;
    store.close_blocking();
    export().expect("exported");
}

/// Returns a store that was closed with a purge that is not complete, in a room that takes no writes, because one of
/// its messages cannot be moved.
async fn interrupted_in_damaged_room() -> StoreDir {
    let dir = interrupted().await;
    let last = "id = (SELECT max(id) FROM messages)";
    let leave = format!(
        "INSERT INTO staged (id, at, sum, frame, guest, connection)
             SELECT id, at, sum, frame, guest, connection FROM messages WHERE {last};
         DELETE FROM messages WHERE {last}"
    );
    dir.database().execute_batch(&leave).expect("executed");
    damage_first_room(&dir);
    dir
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_of_an_earlier_process_is_given_up_if_its_room_takes_no_writes_for_long() {
    let dir = interrupted_in_damaged_room().await;
    let store = dir.open();
    wait_until(async || stored_purges(&dir) == Some(0)).await;
    store.close_blocking();
    SqliteStore::export_all(dir.path(), std::io::sink()).expect("exported");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_of_an_earlier_process_waits_for_a_room_that_takes_no_writes() {
    let dir = interrupted_in_damaged_room().await;
    let store = dir.open();
    // Three steps that fail would be over, and the purge would be given up.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(stored_purges(&dir), Some(1));
    dir.database().execute_batch("DROP TRIGGER fail").expect("dropped");
    wait_until(async || stored_purges(&dir) == Some(0)).await;
    assert_eq!(kept_of_eve(&room(&store, "lobby")).await, 0);
    store.close_blocking();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_purge_is_reported_and_removed() {
    for damage in ["sum = sum + 1", "room = CAST(x'ff' AS TEXT)", "up_to = -1", "act = x'7b'"] {
        let dir = interrupted().await;
        dir.database().execute_batch(&format!("UPDATE purges SET {damage}")).expect("altered");
        let report = SqliteStore::check(dir.path(), |_| ()).expect("a report");
        assert_eq!(report.problems, ["purge 1 differs from its checksum: the next start removes it"]);
        SqliteStore::export_all(dir.path(), std::io::sink()).expect("exported");
        let store = dir.open();
        assert_eq!(stored_purges(&dir), Some(0), "{damage}");
        let lobby = room(&store, "lobby");
        assert!(lobby.purge(purge("eve")).await.is_ok(), "a new one");
        store.close_blocking();
        assert!(SqliteStore::check(dir.path(), |_| ()).expect("a report").is_sound());
    }
}
