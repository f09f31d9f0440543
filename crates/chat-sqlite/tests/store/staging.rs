//! New messages are stored in the order of their arrival first, and are moved to the tables of their rooms later.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chat_core::{Act, Change, ChangeError, NewAct, NewChange, Role, Search};
use chat_sqlite::SqliteStore;

use crate::support::{
    StoreDir, TEST_TIMEOUT, append, append_with_key, assert_unavailable, guest, lobby_with, open_lobby,
    open_lobby_with, read_all, room, seqs, wait_until,
};

/// Returns the number of messages that are not moved yet.
fn staged(dir: &StoreDir) -> u64 {
    dir.database().query_row("SELECT count(*) FROM staged", (), |row| row.get(0)).expect("counted")
}

/// The ways to read a store.
const READS: usize = 7;

#[tokio::test(flavor = "multi_thread")]
async fn every_read_has_the_messages_that_are_not_moved_yet() {
    let (dir, store, lobby) = open_lobby();
    let (mut seq, mut seen) = (0, BTreeSet::new());
    // On a slow machine, a message is moved before or while it is read.
    while seen.len() < READS {
        seq += 1;
        assert!(seq < 1_000, "a staged message was only read in the ways {seen:?}");
        let (key, text) = (format!("k{seq}"), format!("text{seq}"));
        append_with_key(&lobby, &key, &text).await.expect("appended");
        let was_staged = staged(&dir) > 0;
        let way = usize::try_from(seq).expect("a number") % READS;
        match way {
            0 => {
                assert_eq!(seqs(&read_all(&lobby).await), (1..=seq).collect::<Vec<u64>>());
                let page = lobby.messages(&[seq], 1_000).await.expect("a page");
                assert_eq!(seqs(&page.messages), [seq]);
            }
            1 => assert_eq!(lobby.bounds().await.expect("bounds").head, seq),
            2 => {
                let found = lobby.search(Search::new(&text, 9)).await.expect("found");
                assert_eq!(seqs(&found.messages), [seq]);
            }
            3 => {
                let unread = lobby.unread(&guest("bob").key(), seq).await.expect("counted");
                assert_eq!(unread.unread, seq.min(100));
            }
            4 => {
                let again = append_with_key(&lobby, &key, &text).await.expect("known");
                assert_eq!((again.seq, again.duplicate), (seq, true));
            }
            5 => {
                let report = SqliteStore::check(dir.path(), |_| ()).expect("a report");
                assert!(report.is_sound() && report.messages == seq, "{report:?}");
            }
            _ => {
                let mut export = Vec::new();
                let exported = SqliteStore::export_all(dir.path(), &mut export).expect("exported");
                let keys = String::from_utf8(export).expect("UTF-8").matches("\"content\":").count() as u64;
                assert_eq!((exported.messages, exported.unreadable, keys), (seq, 0, seq));
            }
        }
        if was_staged && staged(&dir) > 0 {
            seen.insert(way);
        }
    }
    // Another write finds the message in its table.
    let pin = NewChange::new(guest("bob"), seq, Change::Pin { on: true }).with_role(Role::Moderator);
    assert_eq!(lobby.change(pin).await.map(|done| done.seq), Ok(Some(seq + 1)));
    assert_eq!(staged(&dir), 0);
    append(&lobby, "later").await.expect("appended");
    // A quiet store has moved all.
    wait_until(async || staged(&dir) == 0).await;
    append(&lobby, "last").await.expect("appended");
    store.close_blocking();
    assert_eq!(staged(&dir), 0);
}

/// A search may have read the store before the index got a message that was staged then.
#[tokio::test(flavor = "multi_thread")]
async fn a_search_looks_at_staged_messages_that_the_index_has() {
    let (dir, store, lobby) = open_lobby();
    append(&lobby, "first").await.expect("appended");
    for round in 0..1_000 {
        let (text, seq) = (format!("word{round}"), round + 2);
        append(&lobby, &text).await.expect("appended");
        let sql = "INSERT INTO progress (id, indexed, first) VALUES (1, ?1, 1)
            ON CONFLICT (id) DO UPDATE SET indexed = ?1";
        dir.index().execute(sql, [seq]).expect("executed");
        let found = lobby.search(Search::new(&text, 9)).await.expect("found");
        // On a slow machine, the message is moved meanwhile.
        if staged(&dir) > 0 {
            assert_eq!(seqs(&found.messages), [seq]);
            store.close_blocking();
            return;
        }
    }
    panic!("no message was staged for long enough");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_with_a_damaged_table_keeps_its_new_messages_and_does_not_block_others() {
    let (dir, store, lobby) = open_lobby();
    let hall = room(&store, "hall");
    for room in [&lobby, &hall] {
        append(room, "hi").await.expect("appended");
    }
    damage_first_room(&dir);
    for room in [&lobby, &hall] {
        append_with_key(room, "k", "new").await.expect("appended");
    }
    wait_until(async || staged(&dir) == 1).await;
    // A repeated message is not stored twice, and no deletion is answered that deletes nothing.
    assert_unavailable(&append_with_key(&lobby, "k", "new").await, "damaged");
    let deletion = NewChange::new(guest("ann"), 2, Change::Delete { reason: None }).with_role(Role::Owner);
    assert!(matches!(lobby.change(deletion).await, Err(ChangeError::Unavailable(_))));
    let purge = NewAct::new(guest("boss"), Act::Purge { user: guest("ann") }).by_host();
    assert!(matches!(lobby.purge(purge).await, Err(ChangeError::Unavailable(_))));
    assert_eq!(append(&hall, "stored").await.map(|receipt| receipt.seq), Ok(3));
    for (room, count) in [(&lobby, 2), (&hall, 3)] {
        assert_eq!(read_all(room).await.len(), count);
    }
    store.close_blocking();
    assert!(SqliteStore::check(dir.path(), |_| ()).expect("a report").is_sound());
    dir.database().execute_batch("DROP TRIGGER fail").expect("executed");
    let store = dir.open();
    assert_eq!(staged(&dir), 0);
    let lobby = room(&store, "lobby");
    let again = append_with_key(&lobby, "k", "new").await.expect("known");
    assert_eq!((again.seq, again.duplicate), (2, true));
    assert_eq!(append(&lobby, "on").await.map(|receipt| receipt.seq), Ok(3));
    store.close_blocking();
}

/// Lets inserts into the table of the first room fail, as with a damaged page.
pub(crate) fn damage_first_room(dir: &StoreDir) {
    let fail = "CREATE TRIGGER fail BEFORE INSERT ON messages WHEN NEW.id >> 36 = 1
                 BEGIN SELECT RAISE(ABORT, 'damaged'); END";
    dir.database().execute_batch(fail).expect("executed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_send_to_a_room_with_a_damaged_table_takes_nothing_from_others_of_its_batch() {
    let dir = StoreDir::new();
    let store = dir.open_with_long_lock_wait();
    let (lobby, hall) = (room(&store, "lobby"), room(&store, "hall"));
    for room in [&lobby, &hall] {
        append(room, "hi").await.expect("appended");
    }
    damage_first_room(&dir);
    wait_until(async || append(&lobby, "new").await.is_err()).await;
    let stuck = staged(&dir);
    assert!(stuck > 0, "no message was staged");

    let blocker = dir.lock();
    let commits = store.stats().commits;
    let appends: Vec<_> = (0..20)
        .map(|n| {
            let room = Arc::clone(if n % 2 == 0 { &lobby } else { &hall });
            tokio::spawn(async move { append(&room, "hi").await })
        })
        .collect();
    wait_until(async || store.stats().queued == 20).await;
    blocker.execute_batch("ROLLBACK").expect("unlocked");
    for (n, append) in appends.into_iter().enumerate() {
        match append.await.expect("no panic") {
            refused if n % 2 == 0 => assert_unavailable(&refused, "damaged"),
            appended => assert!(appended.is_ok(), "{appended:?}"),
        }
    }
    let commits = store.stats().commits - commits;
    assert!(commits < 5, "{commits} commits of 10 messages");

    let mut rounds = 0..1_000;
    loop {
        assert_unavailable(&append(&lobby, "hi").await, "damaged");
        append(&hall, "staged").await.expect("appended");
        // On a slow machine, it is moved already.
        if staged(&dir) > stuck {
            break;
        }
        assert!(rounds.next().is_some(), "no message was staged");
    }
    assert_eq!(store.stats().failing_since, None);
    store.close_blocking();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_messages_of_a_room_whose_table_was_damaged_are_indexed() {
    let (dir, store, lobby) = open_lobby_with(|options| options.lock_wait = TEST_TIMEOUT);
    let hall = room(&store, "hall");
    let indexed = |room: i64| {
        let sql = "SELECT coalesce(sum(indexed), 0) FROM progress WHERE id = ?1";
        dir.index().query_row(sql, [room], |row| row.get::<_, u64>(0)).expect("a number")
    };
    for room in [&lobby, &hall] {
        append(room, "hi").await.expect("appended");
    }
    damage_first_room(&dir);
    wait_until(async || append(&lobby, "new").await.is_err()).await;
    assert!(staged(&dir) > 0, "no message was staged");
    // The indexer has looked at the room, and waits for no more of it.
    append(&hall, "new").await.expect("appended");
    wait_until(async || indexed(2) == 2).await;
    assert_eq!(indexed(1), 1);
    dir.database().execute_batch("DROP TRIGGER fail").expect("executed");
    wait_until(async || staged(&dir) == 0).await;
    let head = lobby.bounds().await.expect("bounds").head;
    wait_until(async || indexed(1) == head).await;
    store.close_blocking();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_key_of_a_message_that_is_not_moved_yet_is_new_again() {
    let (dir, store, _) = open_lobby();
    let window = Duration::from_millis(50);
    let lobby = lobby_with(&store, |limits| limits.rooms.key_window = window);
    let (mut seq, mut replaced) = (0, 0);
    while replaced < 3 {
        seq += 1;
        assert!(seq < 1_000, "no message was staged for long enough");
        let was_staged = staged(&dir) > 0;
        let stored = append_with_key(&lobby, "k", "again").await.expect("appended");
        assert_eq!((stored.seq, stored.duplicate), (seq, false));
        replaced += usize::from(was_staged && staged(&dir) > 1);
        tokio::time::sleep(2 * window).await;
    }
    let report = SqliteStore::check(dir.path(), |_| ()).expect("a report");
    assert!(report.is_sound(), "{report:?}");
    store.close_blocking();
    let report = SqliteStore::check(dir.path(), |_| ()).expect("a report");
    assert!(report.is_sound(), "{report:?}");
}
