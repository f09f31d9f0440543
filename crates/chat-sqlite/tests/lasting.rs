//! What is written stays as it was, whoever opens the store again, and is told once.

mod support;

use std::sync::Arc;
use std::time::Duration;

use chat_core::{AppendError, Chat, Limits, Range, Room, User};
use chat_sqlite::{Durability, Options};
use support::{Home, all, deaf, draft, guest, hash, limits, name, room, say, say_once, seqs};

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_opened_again_has_everything_byte_for_byte() {
    for durability in [Durability::Disk, Durability::Process] {
        let home = Home::new();
        let options = Options { durability, ..Options::default() };
        let store = home.open_with(options.clone());
        let (lobby, hall) = (room(&store, "lobby"), room(&store, "로비"));
        for n in 0..10 {
            say(&lobby, &format!("\u{1f600} \"{n}\" \\ 안녕")).await.expect("appended");
        }
        say_once(&hall, "k", "hi").await.expect("appended");
        let (before, bounds) = (all(&lobby).await, lobby.bounds().await);
        let other = hall.bounds().await.expect("a standing");
        store.close();
        assert!(!home.file("chat.db-wal").exists(), "nothing is left to be brought in");
        let store = home.open_with(options);
        let (lobby, hall) = (room(&store, "lobby"), room(&store, "로비"));
        assert_eq!(all(&lobby).await, before);
        assert_eq!(lobby.bounds().await, bounds);
        assert_eq!(hall.bounds().await.as_ref(), Ok(&other));
        assert_ne!(bounds.map(|bounds| bounds.epoch), Ok(other.epoch), "each room has its own");
        assert_eq!(say(&lobby, "on").await.map(|appended| appended.seq), Ok(11));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_begins_with_its_first_message() {
    let home = Home::new();
    let store = home.open();
    let lobby = room(&store, "lobby");
    let bounds = lobby.bounds().await.expect("a standing");
    assert_eq!((bounds.head, bounds.first, bounds.epoch.len()), (0, 1, 16));
    let page = lobby.read(Range::Before { seq: u64::MAX, limit: 9 }).await.expect("a page");
    assert_eq!((page.messages.len(), page.more, page.epoch), (0, false, bounds.epoch));
    store.close();
    assert_eq!(chat_sqlite::Store::rooms(home.path()).expect("rooms"), [], "looking makes no room");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_committed_together() {
    let home = Home::new();
    let store = home.open_patient();
    let lobby = room(&store, "lobby");
    // While another program has the database, appends gather.
    let blocker = home.database();
    blocker.execute_batch("BEGIN IMMEDIATE").expect("locked");
    let appends: Vec<_> = (0..64)
        .map(|n| {
            let lobby = Arc::clone(&lobby);
            tokio::spawn(async move { say(&lobby, &n.to_string()).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    blocker.execute_batch("ROLLBACK").expect("unlocked");
    let mut places = Vec::new();
    for append in appends {
        places.push(append.await.expect("no panic").expect("appended").seq);
    }
    places.sort_unstable();
    assert_eq!(places, (1..=64).collect::<Vec<_>>());
    let stats = store.stats();
    assert_eq!((stats.appends, stats.failing_since), (64, None));
    assert!(stats.commits <= 16, "{stats:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_known_across_restarts_to_its_user_in_its_room_alone() {
    let home = Home::new();
    let store = home.open();
    let lobby = room(&store, "lobby");
    let first = say_once(&lobby, "k", "hi").await.expect("appended");
    store.close();
    let store = home.open();
    let (lobby, hall) = (room(&store, "lobby"), room(&store, "hall"));
    let again = say_once(&lobby, "k", "hi").await.expect("known");
    assert_eq!((again.seq, again.at, again.duplicate), (first.seq, first.at, true));
    assert_eq!(say_once(&lobby, "k", "other").await, Err(AppendError::KeyConflict));
    let knows = User::new("ann", "ann").expect("a name");
    let appended = lobby.append(draft(&knows, Some("k"), "hi")).await.expect("appended");
    assert_eq!((appended.seq, appended.duplicate), (2, false), "a user is not the guest of that name");
    let appended = lobby.append(draft(&guest("bob"), Some("k"), "hi")).await.expect("appended");
    assert_eq!((appended.seq, appended.duplicate), (3, false));
    let appended = say_once(&hall, "k", "hi").await.expect("appended");
    assert_eq!((appended.seq, appended.duplicate), (1, false));
    assert_eq!(say_once(&lobby, "\u{1}k", "hi").await.map(|appended| appended.seq), Ok(4));
    assert_eq!(all(&lobby).await.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_spoils_nothing_that_is_committed_with_it() {
    let home = Home::new();
    let store = home.open_patient();
    let lobby = room(&store, "lobby");
    say_once(&lobby, "k", "first").await.expect("appended");
    let blocker = home.database();
    blocker.execute_batch("BEGIN IMMEDIATE").expect("locked");
    let appends: Vec<_> = (0..20)
        .map(|n| {
            let lobby = Arc::clone(&lobby);
            tokio::spawn(async move {
                if n % 2 == 0 { say_once(&lobby, "k", "second").await } else { say(&lobby, "hi").await }
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(200)).await;
    blocker.execute_batch("ROLLBACK").expect("unlocked");
    for (n, append) in appends.into_iter().enumerate() {
        let appended = append.await.expect("no panic");
        assert_eq!(appended.is_ok(), n % 2 == 1, "{appended:?}");
    }
    assert_eq!(seqs(&all(&lobby).await), (1..=11).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_forgotten_after_its_window_and_when_there_are_too_many() {
    let home = Home::new();
    let store = home.open_with(Options { max_keys: 3, ..Options::default() });
    let lobby = room(&store, "lobby");
    for n in 0..5 {
        say_once(&lobby, &n.to_string(), "hi").await.expect("appended");
    }
    assert!(say_once(&lobby, "4", "hi").await.expect("known").duplicate);
    assert!(say_once(&lobby, "2", "hi").await.expect("known").duplicate);
    assert!(!say_once(&lobby, "1", "hi").await.expect("appended").duplicate, "the oldest went first");
    let brief = Arc::new((*limits()).clone().with(|limits| {
        limits.rooms.key_window = Duration::ZERO;
    }));
    let outlet = deaf();
    let brief = store.room(name("lobby"), brief, outlet);
    assert_eq!(say_once(&brief, "4", "another").await.map(|appended| appended.seq), Ok(7));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_that_nobody_waits_for_is_stored_and_told_or_neither() {
    let home = Home::new();
    let store = home.open();
    let lobby = room(&store, "lobby");
    let mut acknowledged = 0;
    for n in 0..200u64 {
        let append = tokio::spawn({
            let lobby = Arc::clone(&lobby);
            async move { say(&lobby, "hi").await }
        });
        if n % 2 == 0 {
            tokio::time::sleep(Duration::from_micros(n * 3)).await;
            append.abort();
        }
        acknowledged += u64::from(matches!(append.await, Ok(Ok(_))));
    }
    let messages = all(&lobby).await;
    assert_eq!(seqs(&messages), (1..=messages.len() as u64).collect::<Vec<_>>());
    assert!(acknowledged >= 100 && messages.len() as u64 >= acknowledged);
    assert_eq!(store.stats().appends, messages.len() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_finds_its_rooms_again() {
    let home = Home::new();
    for round in 1..=3u64 {
        let store = home.open();
        let rooms = store.clone();
        let limits = Limits::default().with(|limits| {
            limits.rooms.call_timeout = support::PATIENCE;
        });
        let chat: Chat = Chat::builder()
            .limits(limits)
            .rooms(move |name, limits, outlet| rooms.room(name, limits, outlet))
            .build();
        let text = chat_core::Text::new("hi");
        let posted = chat.post(&name("lobby"), &guest("host"), &text, None).await.expect("posted");
        assert_eq!(posted.seq, round);
        let page = chat.history(&name("lobby"), Range::After { seq: 0, limit: 100 }).await.expect("a page");
        assert_eq!(seqs(&page.messages), (1..=round).collect::<Vec<_>>());
        store.close();
        let refused = chat.post(&name("lobby"), &guest("host"), &text, None).await;
        assert_eq!(refused, Err(chat_core::ErrorCode::Unavailable), "it is closed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_closed_is_left_in_peace() {
    let home = Home::new();
    let store = home.open();
    let lobby = room(&store, "lobby");
    say(&lobby, "hi").await.expect("appended");
    store.close();
    store.close();
    let before = hash(&home.file("chat.db"));
    assert!(matches!(say(&lobby, "late").await, Err(AppendError::Unavailable(_))));
    assert!(lobby.read(Range::After { seq: 0, limit: 1 }).await.is_err());
    assert!(lobby.bounds().await.is_err());
    assert_eq!(hash(&home.file("chat.db")), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_is_free_again_when_its_last_user_has_gone() {
    let home = Home::new();
    let lobby = room(&home.open(), "lobby");
    say(&lobby, "hi").await.expect("appended");
    drop(lobby);
    support::until(async || chat_sqlite::Store::open(home.path(), Options::default()).is_ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_bounded_and_say_whether_there_is_more() {
    let home = Home::new();
    let store = home.open();
    let outlet = deaf();
    let small = Arc::new((*limits()).clone().with(|limits| {
        limits.wire.max_batch_bytes = 1_000;
    }));
    let lobby: Arc<dyn Room> = store.room(name("lobby"), small, outlet);
    for n in 1..=9 {
        let text = if n == 5 { "x".repeat(2_000) } else { "x".repeat(300) };
        say(&lobby, &text).await.expect("appended");
    }
    for (range, expected, more) in [
        (Range::After { seq: 0, limit: 9 }, vec![1, 2], true),
        (Range::After { seq: 2, limit: 1 }, vec![3], true),
        (Range::After { seq: 4, limit: 9 }, vec![5], true),
        (Range::After { seq: 7, limit: 9 }, vec![8, 9], false),
        (Range::After { seq: 8, limit: 0 }, vec![], true),
        (Range::After { seq: 9, limit: 9 }, vec![], false),
        (Range::After { seq: u64::MAX, limit: 9 }, vec![], false),
        (Range::Before { seq: u64::MAX, limit: 9 }, vec![8, 9], true),
        (Range::Before { seq: 6, limit: 9 }, vec![5], true),
        (Range::Before { seq: 3, limit: 2 }, vec![1, 2], false),
        (Range::Before { seq: 1, limit: 2 }, vec![], false),
        (Range::Before { seq: 0, limit: 2 }, vec![], false),
    ] {
        let page = lobby.read(range).await.expect("a page");
        assert_eq!((seqs(&page.messages), page.more), (expected, more), "{range:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_option_is_too_large_or_too_small() {
    let largest = Options {
        retain_age: Some(Duration::MAX),
        retain_messages: Some(u64::MAX),
        sweep_interval: Duration::MAX,
        max_keys: u64::MAX,
        max_queue: usize::MAX,
        max_batch: usize::MAX,
        readers: usize::MAX,
        lock_wait: Duration::MAX,
        ..Options::default()
    };
    let smallest = Options {
        retain_age: None,
        retain_messages: None,
        sweep_interval: Duration::ZERO,
        max_keys: 0,
        max_queue: 0,
        max_batch: 0,
        readers: 0,
        lock_wait: Duration::ZERO,
        ..Options::default()
    };
    for options in [largest, smallest] {
        let home = Home::new();
        let store = home.open_with(options);
        let patient = Limits::default().with(|limits| {
            limits.rooms.call_timeout = Duration::MAX;
        });
        let lobby: Arc<dyn Room> = store.room(name("lobby"), Arc::new(patient), deaf());
        for seq in 1..=3 {
            assert_eq!(say_once(&lobby, &seq.to_string(), "hi").await.map(|appended| appended.seq), Ok(seq));
        }
        assert_eq!(seqs(&all(&lobby).await), [1, 2, 3]);
        store.close();
    }
}
