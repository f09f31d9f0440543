//! New messages are stored in the order of their arrival first, and are moved to the tables of their rooms later.

use std::time::Duration;

use chat_core::{Change, NewChange, Role, Search};
use chat_sqlite::SqliteStore;

use crate::support::{
    StoreDir, append, append_with_key, assert_unavailable, guest, lobby_with, open_lobby, read_all, room,
    seqs, wait_until,
};

/// Returns the number of messages that are not moved yet.
fn staged(dir: &StoreDir) -> u64 {
    dir.database().query_row("SELECT count(*) FROM staged", (), |row| row.get(0)).expect("counted")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_read_has_the_messages_that_are_not_moved_yet() {
    let (dir, store, lobby) = open_lobby();
    let mut seq = 0;
    // Between an append and the reads, a slow machine may move the message.
    loop {
        seq += 1;
        let (key, text) = (format!("k{seq}"), format!("text{seq}"));
        append_with_key(&lobby, &key, &text).await.expect("appended");
        let is_staged = staged(&dir) > 0;
        let all: Vec<u64> = (1..=seq).collect();
        assert_eq!(seqs(&read_all(&lobby).await), all);
        assert_eq!(seqs(&lobby.messages(&[seq], 1_000).await.expect("a page").messages), [seq]);
        assert_eq!(lobby.bounds().await.expect("bounds").head, seq);
        let found = lobby.search(Search::new(&text, 9)).await.expect("found");
        assert_eq!(seqs(&found.messages), [seq]);
        let unread = lobby.unread(&guest("bob").key(), seq).await.expect("counted");
        assert_eq!(unread.unread, seq.min(100));
        let again = append_with_key(&lobby, &key, &text).await.expect("known");
        assert_eq!((again.seq, again.duplicate), (seq, true));
        let report = SqliteStore::check(dir.path(), |_| ()).expect("a report");
        assert!(report.is_sound() && report.messages == seq, "{report:?}");
        let mut export = Vec::new();
        let exported = SqliteStore::export_all(dir.path(), &mut export).expect("exported");
        let keys = String::from_utf8(export).expect("UTF-8").matches("\"content\":").count() as u64;
        assert_eq!((exported.messages, exported.unreadable, keys), (seq, 0, seq));
        if is_staged && staged(&dir) > 0 {
            break;
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

#[tokio::test(flavor = "multi_thread")]
async fn a_room_with_a_damaged_table_keeps_its_new_messages_and_does_not_block_others() {
    let (dir, store, lobby) = open_lobby();
    let hall = room(&store, "hall");
    for room in [&lobby, &hall] {
        append(room, "hi").await.expect("appended");
    }
    // Inserts into the table of the first room fail, as with a damaged page.
    let database = dir.database();
    let fail = "CREATE TRIGGER fail BEFORE INSERT ON messages WHEN NEW.id >> 36 = 1
                 BEGIN SELECT RAISE(ABORT, 'damaged'); END";
    database.execute_batch(fail).expect("executed");
    for room in [&lobby, &hall] {
        append_with_key(room, "k", "new").await.expect("appended");
    }
    wait_until(async || staged(&dir) == 1).await;
    assert_unavailable(&append(&lobby, "refused").await, "damaged");
    assert_eq!(append(&hall, "stored").await.map(|receipt| receipt.seq), Ok(3));
    for (room, count) in [(&lobby, 2), (&hall, 3)] {
        assert_eq!(read_all(room).await.len(), count);
    }
    store.close_blocking();
    assert!(SqliteStore::check(dir.path(), |_| ()).expect("a report").is_sound());
    database.execute_batch("DROP TRIGGER fail").expect("executed");
    drop(database);
    let store = dir.open();
    assert_eq!(staged(&dir), 0);
    let lobby = room(&store, "lobby");
    let again = append_with_key(&lobby, "k", "new").await.expect("known");
    assert_eq!((again.seq, again.duplicate), (2, true));
    assert_eq!(append(&lobby, "on").await.map(|receipt| receipt.seq), Ok(3));
    store.close_blocking();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_key_of_a_message_that_is_not_moved_yet_is_new_again() {
    let (dir, store, _) = open_lobby();
    let window = Duration::from_millis(50);
    let lobby = lobby_with(&store, |limits| limits.rooms.key_window = window);
    for seq in 1..=9 {
        let stored = append_with_key(&lobby, "k", "again").await.expect("appended");
        assert_eq!((stored.seq, stored.duplicate), (seq, false));
        tokio::time::sleep(2 * window).await;
    }
    let report = SqliteStore::check(dir.path(), |_| ()).expect("a report");
    assert!(report.is_sound(), "{report:?}");
    store.close_blocking();
    let report = SqliteStore::check(dir.path(), |_| ()).expect("a report");
    assert!(report.is_sound(), "{report:?}");
}
