//! Changes to messages: one transaction for the entry and the message, and what the store keeps of them.

use std::sync::Arc;

use chat_core::{Change, ChangeError, NewChange, RawValue, Role, Room, User};
use chat_sqlite::SqliteStore;
use serde_json::{Value, json};

use crate::support::{
    StoreDir, append, append_all, draft, guest, name, open_lobby, open_lobby_with, read_all, room, seqs,
    wait_until,
};

pub(crate) fn edit(by: &User, target: u64, text: &str) -> NewChange {
    let body = RawValue::from_string(json!({ "text": text }).to_string()).expect("JSON");
    NewChange::new(by.clone(), target, Change::Edit { body })
}

pub(crate) fn delete(by: &User, target: u64) -> NewChange {
    NewChange::new(by.clone(), target, Change::Delete { reason: None }).with_role(Role::Moderator)
}

pub(crate) fn react(by: &User, target: u64, reaction: &str, on: bool) -> NewChange {
    NewChange::new(by.clone(), target, Change::React { reaction: reaction.to_owned(), on })
}

pub(crate) fn known(id: &str) -> User {
    User::new(id, id).expect("a user")
}

/// All entries of a room.
pub(crate) async fn entries(room: &Arc<dyn Room>) -> Vec<Value> {
    let page = room.read(chat_core::Range::entries(0, usize::MAX)).await.expect("a page");
    let values = page.messages.iter().map(|stored| serde_json::from_slice(&stored.frame).expect("JSON"));
    values.collect()
}

fn of_all(entries: &[Value], field: &str) -> Vec<Value> {
    entries.iter().map(|entry| entry[field].clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn reactions_of_one_commit_are_one_entry() {
    let (dir, store, lobby) = open_lobby();
    append(&lobby, "hi").await.expect("appended");
    // The writer waits for the lock, so the reactions are one batch, but perhaps for the first.
    let lock = dir.lock();
    let reactions: Vec<_> = (0..100)
        .map(|n| {
            let lobby = Arc::clone(&lobby);
            tokio::spawn(async move { lobby.change(react(&guest(&format!("user{n}")), 1, "+1", true)).await })
        })
        .collect();
    wait_until(async || store.stats().queued >= 100).await;
    lock.execute_batch("ROLLBACK").expect("unlocked");
    let mut places = Vec::new();
    for reaction in reactions {
        places.push(reaction.await.expect("no panic").expect("stored").seq.expect("a position"));
    }
    let last = places.iter().max().copied().expect("places");
    assert!(last <= 4, "{places:?}");
    let entries = entries(&lobby).await;
    assert_eq!(of_all(&entries, "seq"), (1..=last).map(Value::from).collect::<Vec<_>>());
    let summary = &entries[0]["reactions"][0];
    assert_eq!((&summary["count"], summary["users"].as_array().map(Vec::len)), (&100.into(), Some(10)));
    store.close_blocking();
    let report = SqliteStore::check(dir.path(), |_| ()).expect("a report");
    assert!(report.is_sound() && report.changes == last - 1, "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_users_of_a_reaction_follow_those_who_remove_it() {
    let (dir, store, lobby) = open_lobby();
    append(&lobby, "hi").await.expect("appended");
    for n in 0..12 {
        lobby.change(react(&known(&format!("u{n}")), 1, "+1", true)).await.expect("stored");
    }
    let author = guest("ann");
    assert_eq!(lobby.change(edit(&author, 1, "no connection")).await, Err(ChangeError::Forbidden));
    lobby.change(react(&known("u3"), 1, "+1", false)).await.expect("stored");
    store.close_blocking();
    let store = dir.open();
    let lobby = room(&store, "lobby");
    let summary = entries(&lobby).await[0]["reactions"][0].clone();
    let users = summary["users"].as_array().expect("users").clone();
    assert_eq!(of_all(&users, "id"), ["u0", "u1", "u2", "u4", "u5", "u6", "u7", "u8", "u9", "u10"]);
    assert_eq!(summary["count"], 11);
}

/// A room in memory computes the reactions from all users, and a store from the users that it named before.
#[tokio::test(flavor = "multi_thread")]
async fn reactions_with_long_names_are_those_of_a_room_in_memory() {
    let (_dir, _store, lobby) = open_lobby();
    let limits = Arc::new(chat_core::Limits::default());
    let sink = chat_core::CommitSink::new(|_| {});
    let memory: Arc<dyn Room> = Arc::new(chat_core::MemoryRoom::new(name("lobby"), limits, sink));
    for room in [&lobby, &memory] {
        append(room, "hi").await.expect("appended");
    }
    let reactions = async |room: &Arc<dyn Room>| {
        let page = room.read(chat_core::Range::newest(1)).await.expect("a page");
        serde_json::from_slice::<Value>(&page.messages[0].frame).expect("JSON")["reactions"].clone()
    };
    let mut state = 1_u64;
    let mut random = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut cut = 0;
    for _ in 0..400 {
        let (user, kind, on) = (known_long(random(13)), random(5).to_string(), random(5) > 0);
        for room in [&lobby, &memory] {
            room.change(react(&user, 1, &kind, on)).await.expect("a reaction");
        }
        let (stored, computed) = (reactions(&lobby).await, reactions(&memory).await);
        assert_eq!(stored, computed);
        let named = |reaction: &Value| reaction["users"].as_array().map_or(0, Vec::len) as u64;
        let is_cut = |reaction: &Value| named(reaction) < reaction["count"].as_u64().unwrap_or(0).min(10);
        cut += stored.as_array().into_iter().flatten().filter(|reaction| is_cut(reaction)).count();
    }
    assert!(cut > 100, "{cut} times a reaction did not name all");
}

fn known_long(number: u64) -> User {
    User::new(&format!("{number:0>255}"), "Ann").expect("a user")
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_by_count_counts_messages_and_removes_their_changes() {
    let (dir, store, lobby) = open_lobby_with(|options| {
        options.retain_messages = Some(3);
        options.sweep_interval = std::time::Duration::from_millis(10);
    });
    append_all(&lobby, ["a", "b", "c"]).await;
    for _ in 0..4 {
        for on in [true, false] {
            lobby.change(react(&known("bob"), 3, "+1", on)).await.expect("stored");
        }
    }
    lobby.change(react(&known("bob"), 1, "+1", true)).await.expect("stored");
    append(&lobby, "d").await.expect("appended");
    wait_until(async || lobby.bounds().await.expect("bounds").first > 1).await;
    let bounds = lobby.bounds().await.expect("bounds");
    assert_eq!(
        (bounds.first, bounds.head, bounds.has_changes),
        (2, 13, true),
        "12 changes are fewer than 4 for each"
    );
    assert_eq!(seqs(&read_all(&lobby).await), [2, 3, 13]);
    let reaction = &entries(&lobby).await[10];
    assert_eq!(
        (&reaction["seq"], &reaction["what"]),
        (&12.into(), &"superseded".into()),
        "its message is gone"
    );
    for n in 0..12 {
        lobby.change(react(&known("bob"), 13, "+1", n % 2 == 0)).await.expect("stored");
    }
    wait_until(async || seqs(&read_all(&lobby).await) == [13]).await;
    store.close_blocking();
    assert!(SqliteStore::check(dir.path(), |_| ()).expect("a report").is_sound());
    let orphans = "SELECT count(*) FROM reactions WHERE message & 0xfffffff < 13";
    assert_eq!(dir.database().query_row(orphans, (), |row| row.get(0)), Ok(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_finds_an_edited_message_by_its_new_text_only() {
    let (dir, store, lobby) = open_lobby();
    let ann = known("ann");
    for text in ["first apple", "second apple"] {
        lobby.append(draft(&ann, None, text)).await.expect("appended");
    }
    let find = async |lobby: &Arc<dyn Room>, query: &str| {
        let found = lobby.search(chat_core::Search::new(query, 9)).await.expect("found");
        seqs(&found.messages)
    };
    let indexed = async || {
        let sql = "SELECT coalesce(max(indexed), 0) FROM progress";
        dir.index().query_row(sql, (), |row| row.get::<_, u64>(0)).expect("a number")
    };
    wait_until(async || indexed().await == 2).await;
    lobby.change(edit(&ann, 1, "one pear")).await.expect("edited");
    let expect = async |lobby: &Arc<dyn Room>| {
        for (query, seqs) in [("apple", vec![2]), ("pear", vec![1]), ("first", vec![])] {
            assert_eq!(find(lobby, query).await, seqs, "{query}");
        }
    };
    expect(&lobby).await;
    wait_until(async || indexed().await == 3).await;
    expect(&lobby).await;
    lobby.change(delete(&ann, 2)).await.expect("deleted");
    assert_eq!(find(&lobby, "apple").await, [0; 0]);
    store.close_blocking();
    let store = dir.open();
    let lobby = room(&store, "lobby");
    wait_until(async || indexed().await == 4).await;
    assert_eq!((find(&lobby, "apple").await, find(&lobby, "pear").await), (vec![], vec![1]));
}

/// The author of a message of a store of an earlier version is not known.
#[tokio::test(flavor = "multi_thread")]
async fn only_a_moderator_deletes_a_message_of_an_earlier_version() {
    let dir = StoreDir::new();
    let store = dir.open();
    let ann = known("ann");
    room(&store, "lobby").append(draft(&ann, None, "hi")).await.expect("appended");
    store.close_blocking();
    dir.database().execute_batch("UPDATE messages SET guest = NULL").expect("executed");
    let store = dir.open();
    let lobby = room(&store, "lobby");
    assert_eq!(lobby.change(edit(&ann, 1, "no")).await, Err(ChangeError::Forbidden));
    assert_eq!(lobby.change(delete(&ann, 1)).await.map(|done| done.seq), Ok(Some(2)));
}
