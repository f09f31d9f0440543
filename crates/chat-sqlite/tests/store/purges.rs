//! Purges: all messages of one user are deleted in short steps, and none of them is left in a file.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chat_core::{Act, ChangeError, Commit, CommitSink, NewAct, Room, Search};
use chat_sqlite::{Opening, SqliteStore};
use futures_util::future::join_all;
use serde_json::Value;

use crate::changes::{delete, edit, entries, known, react};
use crate::erasure::files_with;
use crate::support::{
    StoreDir, append, draft, guest, limits, name, open_lobby, open_lobby_with, read_all, room, seqs,
    wait_until,
};

pub(crate) fn purge(id: &str) -> NewAct {
    NewAct::new(known("ops"), Act::Purge { user: known(id) }).by_host()
}

fn word(number: u64) -> String {
    format!("secret{number:06}")
}

/// Appends messages of `eve` with these numbers, and one of `bob` after each third of them.
async fn fill(lobby: &Arc<dyn Room>, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let text =
            format!("{} {}", word(number), "x".repeat(usize::try_from(number * 37 % 300).expect("small")));
        lobby.append(draft(&known("eve"), Some(&word(number)), &text)).await.expect("appended");
        if number % 3 == 0 {
            lobby.append(draft(&known("bob"), None, "kept")).await.expect("appended");
        }
    }
}

/// Appends messages of `eve` in few commits.
pub(crate) async fn fill_fast(lobby: &Arc<dyn Room>, count: u64) {
    let eve = known("eve");
    for first in (0..count).step_by(200) {
        let last = (first + 200).min(count);
        let sends = (first..last).map(|number| lobby.append(draft(&eve, None, &word(number))));
        assert!(join_all(sends).await.iter().all(Result::is_ok));
    }
}

fn of_type<'a>(entries: &'a [Value], kind: &str) -> Vec<&'a Value> {
    entries.iter().filter(|entry| entry["type"] == kind).collect()
}

/// Returns the number of messages of `eve` that have a body.
pub(crate) async fn kept_of_eve(lobby: &Arc<dyn Room>) -> usize {
    let messages = read_all(lobby).await;
    messages.iter().filter(|stored| String::from_utf8_lossy(&stored.frame).contains("secret")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purged_body_is_in_no_file() {
    let dir = StoreDir::new();
    let store = dir.open();
    let (lobby, hall) = (room(&store, "lobby"), room(&store, "hall"));
    fill(&lobby, 0..200).await;
    hall.append(draft(&known("eve"), None, "another room")).await.expect("appended");
    for number in [1, 9, 17] {
        lobby.change(edit(&known("eve"), number, &format!("secret9{number:05}"))).await.expect("edited");
        lobby.change(react(&known("bob"), number, "+1", true)).await.expect("a reaction");
    }
    let texts: Vec<_> =
        (0..200).map(word).chain([1, 9, 17].map(|number| format!("secret9{number:05}"))).collect();
    assert!(!files_with(&dir.path(), &texts[..2]).is_empty(), "the test finds a body that is there");
    let head = lobby.bounds().await.expect("bounds").head;
    let receipt = lobby.purge(purge("eve")).await.expect("purged");
    let all = entries(&lobby).await;
    assert_eq!(receipt.seq, Some(all.len() as u64), "the newest entry");
    assert!(of_type(&all, "purged").len() > 1 && all.len() as u64 > head + 1, "several entries");
    assert!(!all.iter().any(|entry| entry.to_string().contains("secret")));
    for changed in of_type(&all, "changed") {
        assert_eq!(changed["what"], "superseded");
    }
    let purged = lobby.purge(purge("eve")).await.expect("purged again");
    assert_eq!((purged.seq, purged.duplicate), (None, false), "a repeat changes nothing");
    assert_eq!(lobby.change(edit(&known("eve"), 1, "no")).await, Err(ChangeError::Gone));
    let repeated = lobby.append(draft(&known("eve"), Some(&word(0)), &format!("{} ", word(0)))).await;
    assert!(repeated.is_ok_and(|receipt| receipt.duplicate && receipt.seq == 1), "a key restores nothing");
    wait_until(async || files_with(&dir.path(), &texts).is_empty()).await;
    wait_until(async || {
        let index = dir.index();
        let number = |sql| index.query_row(sql, (), |row| row.get::<_, u64>(0)).expect("a number");
        number("SELECT max(indexed) FROM progress") == all.len() as u64
            && number("SELECT must_erase FROM source") == 0
    })
    .await;
    assert_eq!(
        dir.index().query_row("SELECT count(*) FROM search_docsize", (), |row| row.get(0)),
        Ok(67 + 1)
    );
    drop((lobby, hall));
    store.close_blocking();
    assert_eq!(files_with(&dir.path(), &texts), [""; 0], "after a restart");
    let store = dir.open();
    let lobby = room(&store, "lobby");
    for query in ["secret000001", "secret900009"] {
        assert_eq!(lobby.search(Search::new(query, 9)).await.expect("found").messages, [], "{query}");
    }
    assert_eq!(lobby.search(Search::new("kept", 99)).await.expect("found").messages.len(), 67);
    store.close_blocking();
    let mut exported = Vec::new();
    SqliteStore::export(dir.path(), &name("lobby"), &mut exported).expect("exported");
    assert!(!String::from_utf8(exported).expect("text").contains("secret"));
    let report = SqliteStore::check(dir.path(), |_| ()).expect("a report");
    assert!(report.is_sound(), "{report:?}");
    SqliteStore::compact(dir.path()).expect("compacted");
    assert_eq!(files_with(&dir.path(), &texts), [""; 0], "after a compaction");
    let (mut export, moved) = (Vec::new(), StoreDir::new());
    SqliteStore::export_all(dir.path(), &mut export).expect("exported");
    assert!(!String::from_utf8_lossy(&export).contains("secret"));
    SqliteStore::import(moved.path(), &*export, |_| ()).expect("imported");
    let report = SqliteStore::check(moved.path(), |_| ()).expect("a report");
    assert!(report.is_sound(), "{report:?}");
}

/// The indexer may be in the middle of the messages when they are purged.
#[tokio::test(flavor = "multi_thread")]
async fn messages_that_are_purged_while_they_are_indexed_are_not_found() {
    let (_dir, store, lobby) = open_lobby();
    fill_fast(&lobby, 1_000).await;
    lobby.purge(purge("eve")).await.expect("purged");
    lobby.append(draft(&known("eve"), None, "secret later")).await.expect("appended");
    let found = lobby.search(Search::new("secret", 99)).await.expect("found");
    assert_eq!(seqs(&found.messages).len(), 1, "only the later message");
    assert_eq!(kept_of_eve(&lobby).await, 1);
    store.close_blocking();
}

#[tokio::test(flavor = "multi_thread")]
async fn other_rooms_write_during_a_purge() {
    let (_dir, store, lobby) = open_lobby();
    let hall = room(&store, "hall");
    fill_fast(&lobby, 2_000).await;
    let purged = lobby.purge(purge("eve"));
    let mut purged = std::pin::pin!(purged);
    let mut during = 0;
    let receipt = loop {
        tokio::select! {
            biased;
            receipt = &mut purged => break receipt,
            appended = append(&hall, "hi") => {
                appended.expect("appended");
                during += 1;
            }
        }
    };
    assert!(receipt.is_ok_and(|receipt| receipt.seq.is_some()) && during >= 10, "{during} appends");
    store.close_blocking();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_sent_during_a_purge_stays() {
    let (_dir, store, lobby) = open_lobby();
    fill_fast(&lobby, 1_000).await;
    let (first, second) = (lobby.purge(purge("eve")), lobby.purge(purge("eve")));
    let later = async {
        wait_until(async || lobby.bounds().await.is_ok_and(|bounds| bounds.head > 1_000)).await;
        lobby.append(draft(&known("eve"), None, "secret later")).await
    };
    let (first, second, later) = tokio::join!(first, second, later);
    let later = later.expect("appended");
    assert!(first.is_ok() && second.is_ok(), "two at once: {first:?} {second:?}");
    assert_eq!(kept_of_eve(&lobby).await, 1);
    assert_eq!(read_all(&lobby).await.last().map(|stored| stored.seq), Some(later.seq));
    store.close_blocking();
}

/// A room may hold entries as they were published. They are replaced before the purge is reported.
#[tokio::test(flavor = "multi_thread")]
async fn the_newest_messages_are_reported_in_their_new_form() {
    let dir = StoreDir::new();
    let store = dir.open();
    let erased = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&erased);
    let sink = CommitSink::new(move |commit| {
        if let Commit::Erased { entries, .. } = commit {
            assert!(entries.iter().all(|stored| !String::from_utf8_lossy(&stored.frame).contains("secret")));
            count.fetch_add(entries.len() as u64, Ordering::Relaxed);
        }
    });
    let lobby = store.room(name("lobby"), limits(), sink);
    fill_fast(&lobby, 1_000).await;
    lobby.change(edit(&known("eve"), 1, "secret edit")).await.expect("edited");
    lobby.purge(purge("eve")).await.expect("purged");
    let tail = limits().rooms.tail_events as u64;
    let erased = erased.load(Ordering::Relaxed);
    assert!((tail - 30..=tail + 1).contains(&erased), "{erased} of the tail, and the edit of an old message");
    store.close_blocking();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_that_a_close_interrupts_is_completed_by_the_next_opening() {
    let (dir, store, lobby) = open_lobby();
    fill_fast(&lobby, 2_000).await;
    let purging = tokio::spawn({
        let lobby = Arc::clone(&lobby);
        async move { lobby.purge(purge("eve")).await }
    });
    wait_until(async || {
        dir.database().query_row("SELECT count(*) FROM purges", (), |row| row.get(0)) == Ok(1)
    })
    .await;
    store.close_blocking();
    let interrupted = purging.await.expect("no panic");
    assert!(matches!(interrupted, Err(ChangeError::Unavailable(_))), "{interrupted:?}");
    let report = SqliteStore::check(dir.path(), |_| ()).expect("a report");
    assert!(report.is_sound(), "{report:?}");
    let store = dir.open();
    let lobby = room(&store, "lobby");
    wait_until(async || kept_of_eve(&lobby).await == 0).await;
    wait_until(async || {
        dir.database().query_row("SELECT count(*) FROM purges", (), |row| row.get(0)) == Ok(0)
    })
    .await;
    store.close_blocking();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_goes_on_after_its_caller_is_gone() {
    let (dir, store, lobby) = open_lobby();
    fill_fast(&lobby, 1_000).await;
    let has_begun = wait_until(async || {
        let begun = "SELECT (SELECT count(*) FROM purges) + (SELECT count(*) FROM changes)";
        dir.database().query_row(begun, (), |row| row.get(0)).is_ok_and(|rows: u64| rows > 0)
    });
    tokio::select! {
        biased;
        () = has_begun => {}
        purged = lobby.purge(purge("eve")) => assert!(purged.is_ok(), "{purged:?}"),
    }
    wait_until(async || kept_of_eve(&lobby).await == 0).await;
    store.close_blocking();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_backup_is_purged_again() {
    let dir = StoreDir::new();
    let store = dir.open();
    let lobby = room(&store, "lobby");
    fill(&lobby, 0..150).await;
    lobby.append(draft(&guest("eve"), None, "secret of a guest")).await.expect("appended");
    drop(lobby);
    store.close_blocking();
    let backup = fs::read(dir.file("chat.db")).expect("a database");
    let store = dir.open();
    let lobby = room(&store, "lobby");
    lobby.change(delete(&known("mod"), 5)).await.expect("deleted, inside of the range of the purge");
    lobby.purge(purge("eve")).await.expect("purged");
    lobby.append(draft(&known("eve"), None, "secret later")).await.expect("appended");
    drop(lobby);
    store.close_blocking();
    for name in ["chat.db-wal", "chat.db-shm", "chat.mark", "chat.search"] {
        let _missing = fs::remove_file(dir.file(name));
    }
    fs::write(dir.file("chat.db"), &backup).expect("written");
    let store = dir.open();
    assert!(matches!(store.opening(), Opening::NewEpoch { .. }), "{:?}", store.opening());
    let lobby = room(&store, "lobby");
    assert_eq!(kept_of_eve(&lobby).await, 0);
    assert_eq!(
        read_all(&lobby).await.len(),
        201,
        "the messages of others, and the places of the deleted ones"
    );
    let all = entries(&lobby).await;
    let deletion = of_type(&all, "changed").pop().expect("the single deletion");
    let deleted = all.iter().find(|entry| entry["seq"] == 5).expect("its message");
    assert_eq!(deleted["deleted"]["by"]["id"], "mod", "the purge does not replace it: {deleted}");
    assert_eq!(deleted["rev"], deletion["seq"], "{deleted}");
    let texts: Vec<_> = (0..150).map(word).collect();
    wait_until(async || files_with(&dir.path(), &texts).is_empty()).await;
    drop(lobby);
    store.close_blocking();
    assert!(SqliteStore::check(dir.path(), |_| ()).expect("a report").is_sound());
    let (mut export, moved) = (Vec::new(), StoreDir::new());
    SqliteStore::export_all(dir.path(), &mut export).expect("exported");
    SqliteStore::import(moved.path(), &*export, |_| ()).expect("imported");
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_removes_purged_messages_and_their_purge() {
    let (dir, store, lobby) = open_lobby_with(|options| {
        options.retain_messages = Some(10);
        options.sweep_interval = Duration::from_millis(20);
    });
    fill_fast(&lobby, 300).await;
    let purged = lobby.purge(purge("eve")).await.expect("purged").seq.expect("an entry");
    let rows = || {
        let rows = "SELECT count(*) FROM changes WHERE kind = 6 AND id & 0xffffffff = ?1";
        dir.database().query_row(rows, [purged], |row| row.get::<_, u64>(0)).expect("a number")
    };
    assert_eq!(rows(), 1, "the purge is stored");
    for _ in 0..60 {
        append(&lobby, "later").await.expect("appended");
    }
    wait_until(async || lobby.bounds().await.is_ok_and(|bounds| bounds.first > purged)).await;
    wait_until(async || rows() == 0).await;
    assert_eq!(kept_of_eve(&lobby).await, 0);
    store.close_blocking();
    let report = SqliteStore::check(dir.path(), |_| ()).expect("a report");
    assert!(report.is_sound(), "{report:?}");
}
