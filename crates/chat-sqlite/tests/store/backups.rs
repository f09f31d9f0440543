//! A backup that is restored does not bring deleted messages back.

use std::fs;

use chat_core::{Act, Event, NewAct, Restrict, Restriction, Room, User};
use chat_sqlite::{Opening, SqliteStore};

use crate::changes::{delete, edit, known};
use crate::erasure::files_with;
use crate::support::{StoreDir, append, draft, guest, read_all, room, wait_until};

/// The files of a store of one room with the messages `secret1` to `secret3`, of which the first was edited.
async fn backup_of(dir: &StoreDir) -> Vec<u8> {
    let store = dir.open();
    let lobby = room(&store, "lobby");
    for number in 1..=3 {
        lobby.append(draft(&known("ann"), None, &format!("secret{number}"))).await.expect("appended");
    }
    lobby.change(edit(&known("ann"), 1, "secret9")).await.expect("edited");
    store.close_blocking();
    fs::read(dir.file("chat.db")).expect("a database")
}

/// Restores only the database, as `docs/operations.md` says.
fn restore(dir: &StoreDir, backup: &[u8]) {
    for name in ["chat.db-wal", "chat.db-shm", "chat.mark", "chat.search"] {
        let _missing = fs::remove_file(dir.file(name));
    }
    fs::write(dir.file("chat.db"), backup).expect("written");
}

async fn is_deleted(lobby: &dyn Room) -> Vec<bool> {
    let mut page = lobby.messages(&[1, 2, 3], usize::MAX).await.expect("messages").messages;
    page.sort_by_key(|stored| stored.seq);
    let is_deleted = |event| matches!(event, Ok(Event::Message { body: None, .. }));
    page.iter().map(|stored| is_deleted(stored.event())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_backup_has_no_message_that_was_deleted_after_it() {
    let dir = StoreDir::new();
    let backup = backup_of(&dir).await;
    let store = dir.open();
    let lobby = room(&store, "lobby");
    for seq in [1, 3] {
        lobby.change(delete(&known("ann"), seq)).await.expect("deleted");
    }
    store.close_blocking();
    for _ in 0..2 {
        restore(&dir, &backup);
        let store = dir.open();
        assert!(matches!(store.opening(), Opening::NewEpoch { .. }), "{:?}", store.opening());
        let lobby = room(&store, "lobby");
        assert_eq!(is_deleted(&*lobby).await, [true, false, true]);
        let entries = read_all(&lobby).await;
        assert_eq!(entries.len(), 3, "a deleted message has a place");
        let secrets = ["secret1", "secret9", "secret3"].map(str::to_owned);
        wait_until(async || files_with(&dir.path(), &secrets).is_empty()).await;
        // The next message has a position after the repeated deletions, and stays.
        assert_eq!(append(&lobby, "new").await.expect("appended").seq, 7);
        store.close_blocking();
        assert!(SqliteStore::check(dir.path(), |_| ()).expect("a report").is_sound());
        let store = dir.open();
        assert_eq!(store.opening(), Opening::Closed);
        store.close_blocking();
    }
}

/// The commit mark alone does not show that a database was replaced by a copy that fits to it.
#[tokio::test(flavor = "multi_thread")]
async fn the_list_shows_that_a_database_is_older() {
    let dir = StoreDir::new();
    let backup = backup_of(&dir).await;
    let mark = fs::read(dir.file("chat.mark")).expect("a mark");
    let store = dir.open();
    let lobby = room(&store, "lobby");
    for seq in [1, 3] {
        lobby.change(delete(&known("ann"), seq)).await.expect("deleted");
    }
    store.close_blocking();
    fs::write(dir.file("chat.db"), &backup).expect("written");
    fs::write(dir.file("chat.mark"), &mark).expect("written");
    let store = dir.open();
    assert!(matches!(store.opening(), Opening::NewEpoch { .. }), "{:?}", store.opening());
    assert_eq!(is_deleted(&*room(&store, "lobby")).await, [true, false, true]);
    store.close_blocking();
}

/// Two backups of different epochs may have different messages at one position.
#[tokio::test(flavor = "multi_thread")]
async fn another_message_at_the_position_of_a_deleted_one_stays() {
    let dir = StoreDir::new();
    let earlier = backup_of(&dir).await;
    let store = dir.open();
    assert_eq!(append(&room(&store, "lobby"), "kept").await.expect("appended").seq, 5);
    store.close_blocking();
    let later = fs::read(dir.file("chat.db")).expect("a database");
    restore(&dir, &earlier);
    let store = dir.open();
    let lobby = room(&store, "lobby");
    assert_eq!(append(&lobby, "another").await.expect("appended").seq, 5);
    lobby.change(delete(&guest("ann"), 5)).await.expect("deleted");
    store.close_blocking();
    restore(&dir, &later);
    let store = dir.open();
    let newest = read_all(&room(&store, "lobby")).await.pop().expect("a message");
    assert!(String::from_utf8_lossy(&newest.frame).contains("kept"), "{newest:?}");
    store.close_blocking();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_list_begins_again() {
    let dir = StoreDir::new();
    let _backup = backup_of(&dir).await;
    for garbage in [vec![0xa5; 8_192], Vec::new()] {
        fs::write(dir.file("chat.erasures"), garbage).expect("written");
        let store = dir.open();
        assert_eq!(store.opening(), Opening::Closed);
        let lobby = room(&store, "lobby");
        lobby.change(delete(&known("ann"), 2)).await.expect("deleted");
        store.close_blocking();
        assert!(fs::read(dir.file("chat.erasures")).expect("a list").starts_with(b"SQLite"));
    }
}

/// A user who was restricted at the time of the backup may have deleted a message later.
#[tokio::test(flavor = "multi_thread")]
async fn a_restriction_in_a_backup_keeps_no_deleted_message() {
    let dir = StoreDir::new();
    let owner = User::new("1", "Owner").expect("a user");
    let restrict = |restriction| {
        let act = Act::Restrict { user: known("bob"), restriction, reason: None };
        NewAct::new(owner.clone(), act).by_host()
    };
    let store = dir.open();
    let lobby = room(&store, "lobby");
    for text in ["secret1", "secret2"] {
        lobby.append(draft(&known("bob"), None, text)).await.expect("appended");
    }
    lobby.govern(restrict(Some(Restriction::new(Restrict::Ban, None)))).await.expect("restricted");
    store.close_blocking();
    let backup = fs::read(dir.file("chat.db")).expect("a database");
    let store = dir.open();
    let lobby = room(&store, "lobby");
    lobby.govern(restrict(None)).await.expect("allowed again");
    lobby.change(delete(&known("bob"), 1)).await.expect("deleted");
    store.close_blocking();
    restore(&dir, &backup);
    let store = dir.open();
    assert_eq!(is_deleted(&*room(&store, "lobby")).await, [true, false]);
    store.close_blocking();
}
