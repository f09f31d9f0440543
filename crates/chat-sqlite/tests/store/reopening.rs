//! Reopening: a store returns the same bytes after a restart.

use chat_core::{AppendError, Chat, Limits, Range};
use chat_sqlite::{Durability, Options, SqliteStore};

use crate::support::{
    self, StoreDir, append, append_all, append_with_key, file_hash, guest, name, open_lobby, read_all, room,
    seqs, wait_until,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_reopened_store_returns_the_same_bytes() {
    for durability in [Durability::Disk, Durability::Process] {
        let dir = StoreDir::new();
        let options = Options::default().with(|options| options.durability = durability);
        let store = dir.open_with(options.clone());
        let (lobby, hall) = (room(&store, "lobby"), room(&store, "로비"));
        append_all(&lobby, (0..10).map(|n| format!("\u{1f600} \"{n}\" \\ 안녕"))).await;
        append_with_key(&hall, "k", "hi").await.expect("appended");
        let (before, bounds) = (read_all(&lobby).await, lobby.bounds().await);
        let other = hall.bounds().await.expect("bounds");
        store.close_blocking();
        assert!(!dir.file("chat.db-wal").exists(), "the write-ahead log was emptied and removed");
        let store = dir.open_with(options);
        let (lobby, hall) = (room(&store, "lobby"), room(&store, "로비"));
        assert_eq!(read_all(&lobby).await, before);
        assert_eq!(lobby.bounds().await, bounds);
        assert_eq!(hall.bounds().await.as_ref(), Ok(&other));
        assert_ne!(bounds.map(|bounds| bounds.epoch), Ok(other.epoch), "each room has its own epoch");
        assert_eq!(append(&lobby, "on").await.map(|appended| appended.seq), Ok(11));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_finds_its_rooms_after_a_restart() {
    let dir = StoreDir::new();
    for round in 1..=3u64 {
        let store = dir.open();
        let limits = Limits::default().with(|limits| limits.rooms.call_timeout = support::TEST_TIMEOUT);
        let chat: Chat = Chat::builder().limits(limits).store(store.clone()).build();
        let text = chat_core::Text::new("hi");
        let posted = chat.post(&name("lobby"), &guest("host"), &text).await.expect("posted");
        assert_eq!(posted.seq, round);
        let page = chat.history(&name("lobby"), Range::After { seq: 0, limit: 100 }).await.expect("a page");
        assert_eq!(seqs(&page.messages), (1..=round).collect::<Vec<_>>());
        store.close_blocking();
        let refused = chat.post(&name("lobby"), &guest("host"), &text).await;
        assert!(
            matches!(refused, Err(chat_core::PostError::Unavailable(_))),
            "the store is closed: {refused:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_store_refuses_all_calls_and_does_not_change() {
    let (dir, store, lobby) = open_lobby();
    append(&lobby, "hi").await.expect("appended");
    store.close_blocking();
    store.close_blocking();
    let before = file_hash(&dir.file("chat.db"));
    assert!(matches!(append(&lobby, "late").await, Err(AppendError::Unavailable(_))));
    assert!(lobby.read(Range::After { seq: 0, limit: 1 }).await.is_err());
    assert!(lobby.bounds().await.is_err());
    assert_eq!(file_hash(&dir.file("chat.db")), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_closes_when_its_last_handle_and_room_are_dropped() {
    let dir = StoreDir::new();
    let lobby = room(&dir.open(), "lobby");
    append(&lobby, "hi").await.expect("appended");
    drop(lobby);
    wait_until(async || SqliteStore::open(dir.path(), Options::default()).is_ok()).await;
}
