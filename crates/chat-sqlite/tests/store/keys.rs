//! Idempotency keys.

use std::sync::Arc;
use std::time::Duration;

use chat_core::{AppendError, User};

use crate::support::{
    TEST_TIMEOUT, append, append_with_key, draft, guest, lobby_with, open_lobby, open_lobby_with, read_all,
    room, seqs,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_known_after_a_restart_for_one_user_in_one_room() {
    let (dir, store, lobby) = open_lobby();
    let first = append_with_key(&lobby, "k", "hi").await.expect("appended");
    store.close();
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
async fn a_key_is_forgotten_after_its_window_and_above_the_limit() {
    let (_dir, store, lobby) = open_lobby_with(|options| options.max_keys_per_room = 3);
    for n in 0..5 {
        append_with_key(&lobby, &n.to_string(), "hi").await.expect("appended");
    }
    assert!(append_with_key(&lobby, "4", "hi").await.expect("known").duplicate);
    assert!(append_with_key(&lobby, "2", "hi").await.expect("known").duplicate);
    assert!(
        !append_with_key(&lobby, "1", "hi").await.expect("appended").duplicate,
        "the oldest key was deleted"
    );
    let brief = lobby_with(&store, |limits| limits.rooms.key_window = Duration::ZERO);
    assert_eq!(append_with_key(&brief, "4", "another").await.map(|appended| appended.seq), Ok(7));
}
