//! What fails while a store is in use is refused, harms nothing else, and heals by itself.

mod support;

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use chat_core::{AppendError, Range, Room, Search};
use chat_sqlite::{Options, Store};
use support::disk::Disk;
use support::{Home, all, room, say, say_once, seqs, until};

/// Appends until it fails; what was acknowledged.
async fn fill(room: &Arc<dyn Room>) -> Vec<u64> {
    let mut acknowledged = Vec::new();
    loop {
        match say(room, &"x".repeat(1_500)).await {
            Ok(appended) => acknowledged.push(appended.seq),
            Err(AppendError::Unavailable(_)) => return acknowledged,
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_takes_nothing_loses_nothing_and_heals() {
    let home = Home::new();
    let disk = Disk::mount(&home.path(), "600k");
    let dir = disk.path().join("store");
    let store = Store::open(&dir, Options::default()).expect("a store");
    let lobby = room(&store, "lobby");
    let acknowledged = fill(&lobby).await;
    assert!(!acknowledged.is_empty());
    for _ in 0..3 {
        assert!(say_once(&lobby, "k", &"x".repeat(1_500)).await.is_err());
        assert_eq!(seqs(&all(&lobby).await), acknowledged, "reads go on, and see what was acknowledged");
    }
    assert!(store.stats().failing_since.is_some());
    disk.remount("size=4m");
    let next = acknowledged.len() as u64 + 1;
    let healed = say_once(&lobby, "k", &"x".repeat(1_500)).await.expect("appended");
    assert_eq!((healed.seq, healed.duplicate), (next, false), "no place is wasted");
    assert_eq!(store.stats().failing_since, None);
    store.close();
    let store = Store::open(&dir, Options::default()).expect("a store");
    assert_eq!(seqs(&all(&room(&store, "lobby")).await), (1..=next).collect::<Vec<_>>());
    store.close();
    assert!(Store::check(&dir, |_| ()).expect("a report").is_sound());
}

/// With one page more each time, the disk is full at every write that opening and appending do.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_may_be_full_at_any_write() {
    let home = Home::new();
    let disk = Disk::mount(&home.path(), "4m");
    let dir = disk.path().join("store");
    let ballast = disk.path().join("ballast");
    let (mut refused, mut filled) = (0, 0);
    for free in 0..60 {
        drop(fs::remove_dir_all(&dir));
        drop(fs::remove_file(&ballast));
        // All but so many pages are taken.
        let _full = fs::write(&ballast, vec![1; 4 * 1024 * 1024]);
        let taken = fs::metadata(&ballast).expect("a file").len();
        support::cut(&ballast, taken - free * 4_096);
        let mut acknowledged = Vec::new();
        match Store::open(&dir, Options::default()) {
            Ok(store) => {
                acknowledged = fill(&room(&store, "lobby")).await;
                store.close();
                filled += 1;
            }
            Err(_) => refused += 1,
        }
        fs::remove_file(&ballast).expect("removed");
        let store = Store::open(&dir, Options::default()).unwrap_or_else(|error| panic!("{free}: {error}"));
        let lobby = room(&store, "lobby");
        let messages = seqs(&all(&lobby).await);
        // The last one may be there though it was not acknowledged.
        let kept = acknowledged.len();
        assert!(messages[..kept] == acknowledged && messages.len() <= kept + 1, "{free}: {messages:?}");
        assert_eq!(messages, (1..=messages.len() as u64).collect::<Vec<_>>(), "{free}");
        say(&lobby, "on").await.expect("appended");
        store.close();
        let report = Store::check(&dir, |_| ()).expect("a report");
        assert!(report.is_sound(), "{free}: {report:?}");
    }
    assert!(refused > 5 && filled > 20, "{refused} {filled}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_stalls_is_waited_out_and_a_retry_is_safe() {
    let home = Home::new();
    let disk = Disk::on_a_device(&home.path());
    let store = Store::open(disk.path().join("store"), Options::default()).expect("a store");
    let lobby = room(&store, "lobby");
    say(&lobby, "before").await.expect("appended");
    disk.freeze();
    let given_up = tokio::time::timeout(Duration::from_millis(300), say_once(&lobby, "k", "hi")).await;
    let waiting = tokio::spawn({
        let lobby = Arc::clone(&lobby);
        async move { say_once(&lobby, "k", "hi").await }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(given_up.is_err() && !waiting.is_finished(), "nothing is acknowledged meanwhile");
    disk.thaw();
    let appended = waiting.await.expect("no panic").expect("appended");
    assert_eq!(appended.seq, 2);
    assert_eq!(seqs(&all(&lobby).await), [1, 2], "once");
    store.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_breaks_refuses_appends_and_reads_go_on() {
    let home = Home::new();
    let disk = Disk::on_a_device(&home.path());
    let store = Store::open(disk.path().join("store"), Options::default()).expect("a store");
    let lobby = room(&store, "lobby");
    let acknowledged: Vec<_> = (1..=5).collect();
    for _ in &acknowledged {
        say(&lobby, "before").await.expect("appended");
    }
    assert_eq!(seqs(&all(&lobby).await), acknowledged);
    // The system mounts it for reading only, as it does after an error.
    disk.remount("abort");
    for _ in 0..3 {
        assert!(matches!(say(&lobby, "after").await, Err(AppendError::Unavailable(_))));
    }
    assert_eq!(seqs(&all(&lobby).await), acknowledged);
    assert!(store.stats().failing_since.is_some());
    store.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_another_program_has_locked_is_waited_for_so_long() {
    let home = Home::new();
    let store = home.open();
    let lobby = room(&store, "lobby");
    say(&lobby, "before").await.expect("appended");
    let blocker = home.database();
    blocker.execute_batch("BEGIN IMMEDIATE").expect("locked");
    let refused = say_once(&lobby, "k", "hi").await;
    assert!(
        matches!(&refused, Err(AppendError::Unavailable(cause)) if cause.contains("locked")),
        "{refused:?}"
    );
    assert_eq!(seqs(&all(&lobby).await), [1], "reads go on");
    assert!(store.stats().failing_since.is_some());
    blocker.execute_batch("ROLLBACK").expect("unlocked");
    assert_eq!(say_once(&lobby, "k", "hi").await.map(|appended| appended.seq), Ok(2));
    assert_eq!(store.stats().failing_since, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_takes_long_delays_no_append() {
    let home = Home::new();
    let store = home.open_with(Options { readers: 2, ..Options::default() });
    let lobby = room(&store, "lobby");
    say(&lobby, "hi").await.expect("appended");
    // A reader of another program keeps its view, and the log from being tidied up.
    let reader = home.database();
    reader.execute_batch("BEGIN; SELECT * FROM messages").expect("reads");
    let reads: Vec<_> = (0..50)
        .map(|_| {
            let lobby = Arc::clone(&lobby);
            tokio::spawn(async move { lobby.read(Range::After { seq: 0, limit: 100 }).await })
        })
        .collect();
    for n in 2..=50 {
        assert_eq!(say(&lobby, "hi").await.map(|appended| appended.seq), Ok(n));
    }
    for read in reads {
        assert!(read.await.expect("no panic").is_ok(), "they wait for one another");
    }
    drop(reader);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_is_found_left_out_and_counted_once() {
    let home = Home::new();
    let store = home.open();
    let lobby = room(&store, "lobby");
    for n in 1..=9 {
        say(&lobby, &format!("number-{n}")).await.expect("appended");
    }
    store.close();
    let mut database = fs::read(home.file("chat.db")).expect("a file");
    for number in [1, 4, 9] {
        let text = format!("number-{number}");
        let at = database.windows(text.len()).position(|bytes| bytes == text.as_bytes()).expect("there");
        database[at] ^= 1;
    }
    fs::write(home.file("chat.db"), database).expect("written");
    let store = home.open();
    let lobby = room(&store, "lobby");
    for _ in 0..3 {
        assert_eq!(seqs(&all(&lobby).await), [2, 3, 5, 6, 7, 8]);
    }
    assert_eq!(store.stats().unreadable, 3);
    let page = lobby.read(Range::Before { seq: 5, limit: 2 }).await.expect("a page");
    assert_eq!((seqs(&page.messages), page.more), (vec![2, 3], false), "the first is not to be had");
    let page = lobby.read(Range::After { seq: 8, limit: 1 }).await.expect("a page");
    assert_eq!((seqs(&page.messages), page.more), (vec![], false));
    assert_eq!(say(&lobby, "on").await.map(|appended| appended.seq), Ok(10));
    store.close();
    let report = Store::check(home.path(), |_| ()).expect("a report");
    assert_eq!((report.messages, report.unreadable, report.problems.len()), (7, 3, 3), "{report:?}");
    let mut lines = Vec::new();
    let exported = Store::export(home.path(), &support::name("lobby"), &mut lines).expect("exported");
    assert_eq!((exported.messages, exported.unreadable), (7, 3));
    let lines = String::from_utf8(lines).expect("UTF-8");
    assert!(
        lines.lines().count() == 7
            && lines.starts_with("{\"type\":\"message\",\"room\":\"lobby\",\"seq\":2,")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_in_a_number_harms_no_other_message() {
    let home = Home::new();
    let often = Duration::from_millis(10);
    let age = Some(Duration::from_secs(24 * 60 * 60));
    let store = home.open_with(Options {
        sweep_interval: often,
        retain_age: age,
        lock_wait: support::PATIENCE,
        ..Options::default()
    });
    let lobby = room(&store, "lobby");
    for n in 1..=9 {
        say(&lobby, &format!("number-{n}")).await.expect("appended");
    }
    let flip = "UPDATE messages SET sum = sum + (1 << 40) WHERE id & 15 = 4";
    home.database().execute_batch(flip).expect("flipped");
    assert_eq!(seqs(&all(&lobby).await), [1, 2, 3, 5, 6, 7, 8, 9]);
    let report = Store::check(home.path(), |_| ()).expect("a report");
    assert_eq!((report.messages, report.unreadable), (8, 1), "{report:?}");
    home.database().execute_batch("UPDATE messages SET at = -at WHERE id & 15 = 1").expect("flipped");
    until(async || lobby.bounds().await.expect("a standing").first == 2).await;
    assert_eq!(store.stats().failing_since, None);
    store.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_lost_while_in_use_harms_one_room_and_can_be_checked_and_exported() {
    let home = Home::new();
    let store = home.open();
    let (lobby, hall) = (room(&store, "lobby"), room(&store, "hall"));
    for n in 0..100 {
        say(&lobby, &format!("{n} {}", "x".repeat(900))).await.expect("appended");
        say(&hall, "hi").await.expect("appended");
    }
    store.close();
    let store = home.open();
    let (lobby, hall) = (room(&store, "lobby"), room(&store, "hall"));
    // The page in which message 50 lies, behind the store's back.
    let mut database = fs::read(home.file("chat.db")).expect("a file");
    let at = database.windows(20).position(|bytes| bytes.starts_with(b"\"50 xxxxxxxxx")).expect("there");
    let page = at / 4_096 * 4_096;
    database[page..page + 4_096].fill(0);
    fs::write(home.file("chat.db"), database).expect("written");
    let read = lobby.read(Range::After { seq: 0, limit: 100 }).await;
    assert!(read.is_err() || read.is_ok_and(|page| page.messages.len() < 100));
    assert_eq!(all(&hall).await.len(), 100);
    assert_eq!(say(&hall, "on").await.map(|appended| appended.seq), Ok(101));
    store.close();
    let report = Store::check(home.path(), |_| ()).expect("a report");
    assert!(!report.is_sound());
    assert!(Store::open(home.path(), Options::default()).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_that_cannot_be_indexed_keeps_no_other_from_it() {
    let home = Home::new();
    let store = home.open_patient();
    let (lobby, hall) = (room(&store, "lobby"), room(&store, "hall"));
    for _ in 0..3 {
        say(&lobby, "hi").await.expect("appended");
        say(&hall, "hi").await.expect("appended");
    }
    // The first room refuses to be indexed, as one with a damaged page would.
    let spoil = "CREATE TRIGGER spoil BEFORE UPDATE OF indexed ON rooms WHEN NEW.name = 'lobby'
                 BEGIN SELECT RAISE(ABORT, 'spoilt'); END";
    home.database().execute_batch(spoil).expect("spoilt");
    for room in [&lobby, &hall, &lobby] {
        say(room, "more").await.expect("appended");
    }
    let indexed = "SELECT indexed FROM rooms WHERE name = 'hall'";
    until(async || home.database().query_row(indexed, (), |row| row.get(0)) == Ok(4)).await;
    assert_eq!(store.stats().failing_since, None, "it takes every message");
    let search = Search { query: "more".to_owned(), limit: 9, before: u64::MAX };
    assert_eq!(seqs(&lobby.search(search).await.expect("found").messages), [5, 4]);
    store.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_cannot_be_stored_spoils_no_other() {
    let home = Home::new();
    let store = home.open_patient();
    let (lobby, hall) = (room(&store, "lobby"), room(&store, "hall"));
    say(&lobby, "fine").await.expect("appended");
    // The first room's part of the database refuses everything, as a damaged one would.
    let blocker = home.database();
    let spoil = "CREATE TRIGGER spoil BEFORE INSERT ON messages WHEN NEW.id >> 36 = 1
                 BEGIN SELECT RAISE(ABORT, 'spoilt'); END";
    blocker.execute_batch(spoil).expect("spoilt");
    blocker.execute_batch("BEGIN IMMEDIATE").expect("locked");
    let appends: Vec<_> = (0..20)
        .map(|n| {
            let room = Arc::clone(if n % 2 == 0 { &lobby } else { &hall });
            tokio::spawn(async move { say(&room, "hi").await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(200)).await;
    blocker.execute_batch("ROLLBACK").expect("unlocked");
    for (n, append) in appends.into_iter().enumerate() {
        let appended = append.await.expect("no panic");
        assert_eq!(appended.is_ok(), n % 2 == 1, "{appended:?}");
    }
    assert_eq!(seqs(&all(&hall).await), (1..=10).collect::<Vec<_>>());
    blocker.execute_batch("DROP TRIGGER spoil").expect("mended");
    assert_eq!(say(&lobby, "again").await.map(|appended| appended.seq), Ok(2));
    assert_eq!(store.stats().failing_since, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_removed_takes_nothing_until_it_is_back() {
    let home = Home::new();
    let store = home.open();
    let lobby = room(&store, "lobby");
    assert_eq!(say(&lobby, "kept").await.map(|appended| appended.seq), Ok(1));
    fs::rename(home.file("chat.db"), home.file("aside")).expect("removed");
    let refused = say(&lobby, "to nobody").await;
    assert!(
        matches!(&refused, Err(AppendError::Unavailable(cause)) if cause.contains("removed")),
        "{refused:?}"
    );
    fs::rename(home.file("aside"), home.file("chat.db")).expect("back");
    assert_eq!(say(&lobby, "kept").await.map(|appended| appended.seq), Ok(2));
    fs::rename(home.file("chat.db"), home.file("aside")).expect("removed");
    assert!(!store.close(), "it cannot be put in order");
    fs::rename(home.file("aside"), home.file("chat.db")).expect("back");
    assert_eq!(seqs(&all(&room(&home.open(), "lobby")).await), [1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_heals_though_nobody_appends() {
    let home = Home::new();
    let often = Duration::from_millis(10);
    let store = home.open_with(Options { sweep_interval: often, lock_wait: often, ..Options::default() });
    let blocker = home.database();
    blocker.execute_batch("BEGIN IMMEDIATE").expect("locked");
    until(async || store.stats().failing_since.is_some()).await;
    blocker.execute_batch("ROLLBACK").expect("unlocked");
    until(async || store.stats().failing_since.is_none()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_the_queue_holds_waits_its_turn_and_not_for_ever() {
    let home = Home::new();
    let store = home.open_with(Options {
        max_queue: 4,
        max_batch: 2,
        lock_wait: support::PATIENCE,
        ..Options::default()
    });
    let lobby = room(&store, "lobby");
    let appends: Vec<_> = (0..100)
        .map(|_| {
            let lobby = Arc::clone(&lobby);
            tokio::spawn(async move { say(&lobby, "hi").await })
        })
        .collect();
    for append in appends {
        assert!(append.await.expect("no panic").is_ok());
    }
    assert_eq!(seqs(&all(&lobby).await), (1..=100).collect::<Vec<_>>());
    let hasty = chat_core::Limits::default().with(|limits| {
        limits.rooms.call_timeout = Duration::from_millis(50);
    });
    let hasty: Arc<dyn Room> = store.room(support::name("lobby"), Arc::new(hasty), support::deaf());
    let blocker = home.database();
    blocker.execute_batch("BEGIN IMMEDIATE").expect("locked");
    let waiting: Vec<_> = (0..4)
        .map(|_| {
            let lobby = Arc::clone(&lobby);
            tokio::spawn(async move { say(&lobby, "hi").await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let refused = say(&hasty, "hi").await;
    assert!(
        matches!(&refused, Err(AppendError::Unavailable(cause)) if cause.contains("waits")),
        "{refused:?}"
    );
    drop(blocker);
    for append in waiting {
        drop(append.await.expect("no panic"));
    }
}
