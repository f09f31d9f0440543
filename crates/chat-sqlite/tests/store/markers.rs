//! Markers and followed rooms: their limits, and what becomes of them with their room and their epoch.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use crate::support::{
    StoreDir, append, append_all, draft, guest, name, open_lobby, open_lobby_with, room, wait_until,
};
use chat_core::{MarkerError, Room, RoomName, Store, User, UserKey};
use chat_sqlite::{Options, SqliteStore};
use serde_json::{Value, json};

fn user(id: &str) -> UserKey {
    UserKey::new(id)
}

async fn mark(room: &Arc<dyn Room>, user: &UserKey, seq: u64) -> u64 {
    room.mark(user, seq).await.expect("marked").seq
}

async fn read(room: &Arc<dyn Room>, user: &UserKey) -> u64 {
    room.unread(user, u64::MAX).await.expect("counted").read
}

async fn follow(store: &SqliteStore, user: &UserKey, rooms: &[&str]) {
    for room in rooms {
        store.follow(user, &name(room), true, 9).await.expect("followed");
    }
}

async fn followed(store: &SqliteStore, user: &UserKey) -> Vec<RoomName> {
    store.followed(user).await.expect("followed rooms")
}

fn count(dir: &StoreDir, sql: &str) -> u64 {
    dir.database().query_row(sql, (), |row| row.get(0)).expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_marker_that_does_not_move_commits_nothing() {
    let (_dir, store, lobby) = open_lobby();
    append_all(&lobby, ["a", "b"]).await;
    mark(&lobby, &user("1"), 2).await;
    let before = store.stats().commits;
    for seq in [2, 1, 0] {
        assert_eq!(mark(&lobby, &user("1"), seq).await, 2);
    }
    assert_eq!(lobby.mark(&user("1"), 3).await, Err(MarkerError::BeyondHead));
    assert_eq!(store.stats().commits, before);
    store.close_blocking();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_marker_of_a_guest_makes_place_for_another_user() {
    let (dir, store, lobby) = open_lobby_with(|options| options.max_markers = 3);
    append_all(&lobby, ["a"]).await;
    let [ann, bob, cid] = ["ann", "bob", "cid"].map(|name| guest(name).key());
    for user in [&ann, &bob, &user("1"), &user("2")] {
        mark(&lobby, user, 1).await;
    }
    assert_eq!((read(&lobby, &ann).await, read(&lobby, &bob).await), (0, 1));
    mark(&lobby, &cid, 1).await;
    assert_eq!((read(&lobby, &bob).await, read(&lobby, &cid).await), (0, 1));
    mark(&lobby, &user("3"), 1).await;
    assert!(matches!(lobby.mark(&user("4"), 1).await, Err(MarkerError::Unavailable(_))));
    assert!(matches!(lobby.mark(&ann, 1).await, Err(MarkerError::Unavailable(_))));
    append_all(&lobby, ["b"]).await;
    assert_eq!(mark(&lobby, &user("3"), 2).await, 2, "a marker that is there");
    store.close_blocking();
    assert_eq!(count(&dir, "SELECT count(*) FROM markers"), 3);
    assert_eq!(count(&dir, "SELECT markers FROM rooms"), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rooms_of_a_guest_make_place_for_those_of_another_guest() {
    let (dir, store, _lobby) = open_lobby_with(|options| options.max_guest_follows = 3);
    let [ann, bob] = ["ann", "bob"].map(|name| guest(name).key());
    follow(&store, &ann, &["a", "b", "a"]).await;
    follow(&store, &bob, &["a", "b"]).await;
    follow(&store, &user("1"), &["a", "b", "c", "d"]).await;
    assert_eq!((followed(&store, &ann).await.len(), followed(&store, &bob).await.len()), (0, 2));
    follow(&store, &bob, &["c"]).await;
    let refused = store.follow(&bob, &name("d"), true, 9).await;
    assert!(matches!(refused, Err(MarkerError::Unavailable(_))), "{refused:?}");
    store.follow(&bob, &name("a"), false, 9).await.expect("unfollowed");
    follow(&store, &ann, &["z"]).await;
    store.close_blocking();
    assert_eq!(count(&dir, "SELECT guest_follows FROM store"), 3);
    assert_eq!(count(&dir, "SELECT count(*) FROM follows"), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_store_keeps_the_markers_that_it_has() {
    let dir = StoreDir::new();
    let store = dir.open();
    let lobby = room(&store, "lobby");
    append_all(&lobby, ["a", "b"]).await;
    mark(&lobby, &user("1"), 1).await;
    follow(&store, &user("1"), &["a"]).await;
    store.close_blocking();
    let store = dir.open_with(Options::default().with(|options| options.max_disk_bytes = Some(1)));
    let lobby = room(&store, "lobby");
    assert_eq!(mark(&lobby, &user("1"), 2).await, 2);
    assert!(matches!(lobby.mark(&user("2"), 1).await, Err(MarkerError::Unavailable(_))));
    assert!(matches!(store.follow(&user("1"), &name("b"), true, 9).await, Err(MarkerError::Unavailable(_))));
    store.follow(&user("1"), &name("a"), false, 9).await.expect("unfollowed");
    store.close_blocking();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_epoch_has_the_followed_rooms_and_no_markers() {
    let (dir, store, lobby) = open_lobby();
    append_all(&lobby, ["a", "b"]).await;
    mark(&lobby, &user("1"), 2).await;
    follow(&store, &user("1"), &["lobby"]).await;
    store.close_blocking();
    fs::remove_file(dir.file("chat.mark")).expect("removed");
    let store = dir.open();
    let lobby = room(&store, "lobby");
    let unread = lobby.unread(&user("1"), u64::MAX).await.expect("counted");
    assert_eq!((unread.read, unread.unread), (0, 2));
    assert_eq!(followed(&store, &user("1")).await, [name("lobby")]);
    store.close_blocking();
    assert_eq!(count(&dir, "SELECT markers FROM rooms"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_is_deleted_with_its_markers() {
    let dir = StoreDir::new();
    let options = Options::default().with(|options| {
        options.sweep_interval = Duration::from_millis(10);
        options.retain_age = Some(Duration::ZERO);
    });
    let store = dir.open();
    let lobby = room(&store, "lobby");
    append_all(&lobby, ["a"]).await;
    for number in 0..600 {
        mark(&lobby, &user(&number.to_string()), 1).await;
    }
    let hall = room(&store, "hall");
    append_all(&hall, ["a"]).await;
    mark(&hall, &user("1"), 1).await;
    store.close_blocking();
    let store = dir.open_with(options.clone());
    room(&store, "other");
    wait_until(async || count(&dir, "SELECT count(*) FROM rooms WHERE empty_ms > 0") == 2).await;
    store.close_blocking();
    dir.database().execute("UPDATE store SET open_ms = open_ms + 86400000", ()).expect("aged");
    let store = dir.open_with(options);
    let hall = room(&store, "hall");
    wait_until(async || count(&dir, "SELECT count(*) FROM rooms") == 1).await;
    assert_eq!(count(&dir, "SELECT count(*) FROM markers"), 1, "that of a room that is open");
    let lobby = room(&store, "lobby");
    assert_eq!((read(&lobby, &user("1")).await, mark(&lobby, &user("1"), 1).await), (0, 0));
    assert_eq!(read(&hall, &user("1")).await, 1);
    append(&lobby, "again").await.expect("appended");
    assert_eq!(mark(&lobby, &user("1"), 2).await, 2);
    store.close_blocking();
}

/// Adds a field to the frame of a message, as a later version of the store writes it.
fn add_field(dir: &StoreDir, seq: u64, field: &str, value: Value) {
    let database = dir.database();
    let id = (1_i64 << 36) | i64::try_from(seq).expect("a small number");
    let sql = "SELECT frame FROM messages WHERE id = ?1";
    let frame: Vec<u8> = database.query_row(sql, [id], |row| row.get(0)).expect("a message");
    let mut event: Value = serde_json::from_slice(&frame).expect("JSON");
    event[field] = value;
    let frame = event.to_string();
    let mut sum = crc32fast::Hasher::new();
    for part in ["lobby".as_bytes(), &[0xff], &seq.to_le_bytes(), frame.as_bytes()] {
        sum.update(part);
    }
    let changed = (id, i64::from(sum.finalize()), frame.into_bytes());
    database.execute("UPDATE messages SET sum = ?2, frame = ?3 WHERE id = ?1", changed).expect("changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn unread_messages_that_mention_the_user_are_counted() {
    let (dir, store, lobby) = open_lobby();
    for author in ["bob", "bob", "bob", "ann"] {
        let author = User::new(author, author).expect("a user");
        lobby.append(draft(&author, None, "hi")).await.expect("appended");
    }
    store.close_blocking();
    for (seq, mentions) in
        [(1, json!(["ann"])), (2, json!(["cid", "ann"])), (3, json!("@room")), (4, json!("@room"))]
    {
        add_field(&dir, seq, "mentions", mentions);
    }
    let store = dir.open();
    let lobby = room(&store, "lobby");
    mark(&lobby, &user("ann"), 1).await;
    for (user, unread, mentions) in [(user("ann"), 2, 2), (user("bob"), 1, 1), (user("cid"), 4, 3)] {
        let counted = lobby.unread(&user, u64::MAX).await.expect("counted");
        assert_eq!((counted.unread, counted.mentions), (unread, mentions), "{user:?}");
    }
    store.close_blocking();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_check_compares_the_recorded_numbers_with_the_rows() {
    let (dir, store, lobby) = open_lobby();
    append_all(&lobby, ["a"]).await;
    for user in [user("1"), guest("ann").key()] {
        mark(&lobby, &user, 1).await;
        follow(&store, &user, &["lobby", "other"]).await;
    }
    store.close_blocking();
    let problems = || SqliteStore::check(dir.path(), |_| ()).expect("a report").problems;
    assert_eq!(problems(), [""; 0]);
    for (damage, repair, problem) in [
        (
            "UPDATE rooms SET markers = 3",
            "UPDATE rooms SET markers = 2",
            "room lobby: it has 2 markers, but 3 are recorded",
        ),
        (
            "UPDATE store SET guest_follows = 4",
            "UPDATE store SET guest_follows = 2",
            "guests follow 2 rooms, but 4 are recorded",
        ),
        (
            "INSERT INTO markers (room, user, seq) VALUES (99, x'0031', 1)",
            "DELETE FROM markers WHERE room = 99",
            "1 markers have no room",
        ),
    ] {
        dir.database().execute(damage, ()).expect("damaged");
        assert_eq!(problems(), [problem]);
        dir.database().execute(repair, ()).expect("repaired");
    }
    assert_eq!(problems(), [""; 0]);
}
