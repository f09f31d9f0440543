//! Idempotency keys.

use std::sync::Arc;
use std::time::Duration;

use chat_core::{AppendError, User};

use chat_sqlite::Options;

use crate::support::{
    StoreDir, TEST_TIMEOUT, append, append_with_key, draft, guest, ignore_commits, limits, name, open_lobby,
    open_lobby_with, read_all, room, seqs, wait_until,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_known_after_a_restart_for_one_user_in_one_room() {
    let (dir, store, lobby) = open_lobby();
    let first = append_with_key(&lobby, "k", "hi").await.expect("appended");
    store.close_blocking();
    let store = dir.open();
    let (lobby, hall) = (room(&store, "lobby"), room(&store, "hall"));
    let again = append_with_key(&lobby, "k", "hi").await.expect("known");
    assert_eq!((again.seq, again.at, again.duplicate), (first.seq, first.at, true));
    assert_eq!(append_with_key(&lobby, "k", "other").await, Err(AppendError::KeyConflict));
    let registered = User::new("ann", "ann").expect("a name");
    let appended = lobby.append(draft(&registered, Some("k"), "hi")).await.expect("appended");
    assert_eq!(
        (appended.seq, appended.duplicate),
        (2, false),
        "a registered user is not the guest with that name"
    );
    let appended = lobby.append(draft(&guest("bob"), Some("k"), "hi")).await.expect("appended");
    assert_eq!((appended.seq, appended.duplicate), (3, false));
    let appended = append_with_key(&hall, "k", "hi").await.expect("appended");
    assert_eq!((appended.seq, appended.duplicate), (1, false));
    assert_eq!(append_with_key(&lobby, "\u{1}k", "hi").await.map(|appended| appended.seq), Ok(4));
    assert_eq!(read_all(&lobby).await.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_conflict_does_not_affect_other_appends_of_its_batch() {
    let (dir, _store, lobby) = open_lobby_with(|options| options.lock_wait = TEST_TIMEOUT);
    append_with_key(&lobby, "k", "first").await.expect("appended");
    let blocker = dir.lock();
    let appends: Vec<_> = (0..20)
        .map(|n| {
            let lobby = Arc::clone(&lobby);
            tokio::spawn(async move {
                if n % 2 == 0 {
                    append_with_key(&lobby, "k", "second").await
                } else {
                    append(&lobby, "hi").await
                }
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(200)).await;
    blocker.execute_batch("ROLLBACK").expect("unlocked");
    for (n, append) in appends.into_iter().enumerate() {
        let appended = append.await.expect("no panic");
        assert_eq!(appended.is_ok(), n % 2 == 1, "{appended:?}");
    }
    assert_eq!(seqs(&read_all(&lobby).await), (1..=11).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_young_key_is_never_forgotten_and_its_user_is_refused_instead() {
    let dir = StoreDir::new();
    let options = || Options::default().with(|options| options.max_keys_per_user = 3);
    let store = dir.open_with(options());
    let lobby = room(&store, "lobby");
    let victim = append_with_key(&lobby, "k", "hi").await.expect("appended");
    let bob = |key: &str| draft(&guest("bob"), Some(key), "hi");
    for n in 0..3 {
        lobby.append(bob(&n.to_string())).await.expect("appended");
    }
    for round in 0..2 {
        let refused = lobby.append(bob("3")).await;
        assert!(matches!(refused, Err(AppendError::Unavailable(_))), "{round}: {refused:?}");
    }
    for n in 0..3 {
        assert!(lobby.append(bob(&n.to_string())).await.expect("known").duplicate, "{n}");
    }
    assert!(
        !lobby.append(draft(&guest("bob"), None, "hi")).await.expect("appended").duplicate,
        "without a key"
    );
    assert!(!room(&store, "hall").append(bob("3")).await.expect("appended").duplicate, "another room");
    let again = append_with_key(&lobby, "k", "hi").await.expect("known");
    assert_eq!((again.seq, again.duplicate), (victim.seq, true));
    store.close_blocking();
    let store = dir.open_with(options());
    let refused = room(&store, "lobby").append(bob("3")).await;
    assert!(matches!(refused, Err(AppendError::Unavailable(_))), "after a restart: {refused:?}");
    store.close_blocking();
    dir.database().execute("UPDATE store SET open_ms = open_ms + 86400000", ()).expect("aged");
    let store = dir.open_with(options().with(|options| options.sweep_interval = Duration::from_millis(10)));
    let lobby = room(&store, "lobby");
    wait_until(async || lobby.append(bob("3")).await.is_ok()).await;
    store.close_blocking();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_forgotten_after_its_window() {
    let dir = StoreDir::new();
    let store = dir.open();
    append_with_key(&room(&store, "lobby"), "4", "hi").await.expect("appended");
    let brief = Arc::new((*limits()).clone().with(|limits| {
        limits.rooms.key_window = Duration::ZERO;
    }));
    let brief = store.room(name("lobby"), brief, ignore_commits());
    assert_eq!(append_with_key(&brief, "4", "another").await.map(|appended| appended.seq), Ok(2));
    store.close_blocking();
}
