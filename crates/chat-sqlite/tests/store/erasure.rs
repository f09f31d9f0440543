//! A deleted body is in no file of the store.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use chat_core::Room;
use chat_sqlite::SqliteStore;
use futures_util::future::join_all;

use crate::changes::{delete, edit, known};
use crate::support::{StoreDir, draft, name, read_all, room, wait_until};

/// The files of a directory that contain one of these texts.
pub(crate) fn files_with(dir: &Path, texts: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for file in fs::read_dir(dir).expect("a directory") {
        let path = file.expect("a file").path();
        let bytes = fs::read(&path).unwrap_or_default();
        for text in texts {
            if bytes.windows(text.len()).any(|window| window == text.as_bytes()) {
                found.push(format!("{}: {text}", path.display()));
            }
        }
    }
    found
}

/// A body of varying length that contains a word of its own.
fn body(number: u64, version: u64) -> String {
    format!(
        "secret{number:06}v{version} {}",
        "x".repeat(usize::try_from(number * 37 % 300).expect("a length"))
    )
}

fn word(number: u64, version: u64) -> String {
    format!("secret{number:06}v{version}")
}

/// Two rooms grow at the same time, so that rows move among pages, and every third message was edited.
async fn fill(rooms: &[Arc<dyn Room>; 2]) {
    let ann = known("ann");
    for number in 1..=150 {
        for room in rooms {
            let key = word(number, 0);
            room.append(draft(&ann, Some(&key), &body(number, 0))).await.expect("appended");
        }
    }
    for number in (3..=150).step_by(3) {
        for room in rooms {
            room.change(edit(&ann, number, &body(number + 1_000, 1))).await.expect("edited");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_body_is_in_no_file() {
    let dir = StoreDir::new();
    let store = dir.open();
    let rooms = ["lobby", "hall"].map(|name| room(&store, name));
    fill(&rooms).await;
    let deleted: Vec<u64> = (1..=150).filter(|number| number % 7 < 4).collect();
    let texts: Vec<_> =
        deleted.iter().flat_map(|number| [word(*number, 0), word(*number + 1_000, 1)]).collect();
    assert!(!files_with(&dir.path(), &texts[..2]).is_empty(), "the test finds a body that is there");
    let [lobby, hall] = &rooms;
    for number in &deleted {
        lobby.change(delete(&known("bob"), *number)).await.expect("deleted");
    }
    // Many deletions in one commit rewrite one window of rows.
    let bob = known("bob");
    let at_once = join_all(deleted.iter().map(|number| hall.change(delete(&bob, *number)))).await;
    assert!(at_once.iter().all(Result::is_ok), "{at_once:?}");
    wait_until(async || files_with(&dir.path(), &texts).is_empty()).await;
    // The terms of the index are no words, but parts of them.
    wait_until(async || {
        let index = dir.index();
        let must_erase = "SELECT must_erase FROM source";
        let indexed = "SELECT min(indexed) FROM progress";
        let number = |sql| index.query_row(sql, (), |row| row.get::<_, u64>(0)).expect("a number");
        number(indexed) == 150 + 50 + deleted.len() as u64 && number(must_erase) == 0
    })
    .await;
    let kept = read_all(lobby).await;
    assert_eq!(kept.len(), 150, "a deleted message has a place");
    store.close_blocking();
    assert_eq!(files_with(&dir.path(), &texts), [""; 0], "after a restart");
    let store = dir.open();
    for query in ["secret000001v0", "secret001003v1"] {
        let found = room(&store, "lobby").search(chat_core::Search::new(query, 9)).await.expect("found");
        assert_eq!(found.messages, [], "{query}");
    }
    let mut exported = Vec::new();
    SqliteStore::export(dir.path(), &name("lobby"), &mut exported).expect("exported");
    let exported = String::from_utf8(exported).expect("text");
    assert_eq!(exported.lines().count(), 150);
    assert_eq!(texts.iter().filter(|text| exported.contains(*text)).count(), 0);
    store.close_blocking();
    assert!(SqliteStore::check(dir.path(), |_| ()).expect("a report").is_sound());
    SqliteStore::compact(dir.path()).expect("compacted");
    assert_eq!(files_with(&dir.path(), &texts), [""; 0], "after a compaction");
}

/// Returns true if a block of the index contains a term.
fn index_has(dir: &StoreDir, term: &str) -> bool {
    let sql = "SELECT group_concat(hex(block), '') FROM search_data";
    let blocks: String = dir.index().query_row(sql, (), |row| row.get(0)).expect("blocks");
    let hex: String = term.bytes().map(|byte| format!("{byte:02X}")).collect();
    blocks.contains(&hex)
}

/// The last entry that the index has, of all rooms.
fn indexed(dir: &StoreDir) -> u64 {
    let sql = "SELECT coalesce(max(indexed), 0) FROM progress";
    dir.index().query_row(sql, (), |row| row.get(0)).expect("a number")
}

/// The terms of a deleted message are not in the index, but those of another message are.
#[tokio::test(flavor = "multi_thread")]
async fn the_terms_of_a_deleted_message_are_erased_from_the_index() {
    let dir = StoreDir::new();
    let store = dir.open();
    let lobby = room(&store, "lobby");
    let ann = known("ann");
    for text in ["abcdef", "common"] {
        lobby.append(draft(&ann, None, text)).await.expect("appended");
    }
    wait_until(async || index_has(&dir, "bcd")).await;
    lobby.change(delete(&ann, 1)).await.expect("deleted");
    wait_until(async || !index_has(&dir, "bcd")).await;
    assert!(index_has(&dir, "mmo"));
    drop(lobby);
    store.close_blocking();
}

/// An edit must not cost a merge of the whole index. The next deletion erases the terms of earlier bodies too.
#[tokio::test(flavor = "multi_thread")]
async fn an_edit_erases_nothing_from_the_index_and_the_next_deletion_does() {
    let dir = StoreDir::new();
    let store = dir.open();
    let lobby = room(&store, "lobby");
    let ann = known("ann");
    for text in ["abcdef", "common"] {
        lobby.append(draft(&ann, None, text)).await.expect("appended");
    }
    wait_until(async || indexed(&dir) == 2).await;
    lobby.change(edit(&ann, 1, "uvwxyz")).await.expect("edited");
    wait_until(async || indexed(&dir) == 3).await;
    lobby.append(draft(&ann, None, "later")).await.expect("appended");
    // A merge would have ended before the next step.
    wait_until(async || indexed(&dir) == 4).await;
    assert!(index_has(&dir, "bcd"), "the edit has started no merge");
    for (query, count) in [("abcdef", 0), ("uvwxyz", 1)] {
        let found = lobby.search(chat_core::Search::new(query, 9)).await.expect("found");
        assert_eq!(found.messages.len(), count, "{query}");
    }
    lobby.change(delete(&ann, 2)).await.expect("deleted");
    wait_until(async || !["bcd", "mmo"].into_iter().any(|term| index_has(&dir, term))).await;
    assert!(index_has(&dir, "vwx"));
    drop(lobby);
    store.close_blocking();
}
