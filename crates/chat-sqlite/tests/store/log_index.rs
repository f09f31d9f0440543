//! Tests of the index of a log that another store keeps.

use std::fs;
use std::path::Path;

use chat_core::StoredMessage;
use chat_sqlite::{IndexStep, LogIndex, OpenError};
use tempfile::TempDir;

/// An index of a log in which each record is at the place of ten times its first position.
struct Log {
    dir: TempDir,
    index: LogIndex,
}

impl Log {
    async fn new() -> Self {
        let dir = TempDir::new().expect("a directory");
        let index = LogIndex::open(dir.path(), "chat").expect("an index");
        assert_eq!(index.begin("a").await, Ok(0));
        Self { dir, index }
    }

    /// Closes the index and opens it again for a log. Returns the place up to which it has it.
    async fn reopen(&mut self, source: &str) -> u64 {
        self.index.close().await;
        self.index = LogIndex::open(self.dir.path(), "chat").expect("an index");
        self.index.begin(source).await.expect("a place")
    }

    async fn apply(&self, steps: &[IndexStep]) -> bool {
        let place = |step: &IndexStep| match step {
            IndexStep::Record { entries, id, .. } => {
                entries.first().map_or_else(|| (id - 1_000) * 10 + 5, |entry| entry.seq * 10)
            }
            IndexStep::Form { stored, .. } => stored.seq * 10 + 5,
        };
        let steps: Vec<_> = steps.iter().map(|step| (place(step), step.clone())).collect();
        let last = steps.iter().map(|(place, _)| *place).max().expect("a step");
        self.index.apply(steps, last).await.expect("an index that can be written")
    }

    /// Returns the positions of all candidates, newest first, and checks their places.
    async fn find(&self, query: &str, before: u64) -> Vec<u64> {
        let (mut found, mut end) = (Vec::new(), before);
        while end > 1 {
            let page = self.index.candidates("lobby", query, end, 3).await.expect("an answer");
            let page = page.expect("a room that is known");
            assert!(page.positions.len() <= 3 && page.down_to < end, "{page:?} before {end}");
            for (seq, place) in page.positions {
                assert!(
                    (1..=seq * 10).contains(&place) && (page.down_to..end).contains(&seq),
                    "{seq} at {place}"
                );
                found.push(seq);
            }
            end = page.down_to;
        }
        found
    }

    fn has(&self, term: &str) -> bool {
        let files = [".index", ".index-wal"].map(|end| self.dir.path().join(format!("chat{end}")));
        files.iter().any(|file| finds(file, term))
    }
}

fn finds(file: &Path, text: &str) -> bool {
    fs::read(file).is_ok_and(|bytes| bytes.windows(text.len()).any(|part| part == text.as_bytes()))
}

fn stored(seq: u64, text: &str) -> StoredMessage {
    StoredMessage::new(seq, format!(r#"{{"type":"message","body":{{"text":"{text}"}}}}"#))
}

/// A message without its text, as the copy of its record has it.
fn deleted(seq: u64) -> StoredMessage {
    StoredMessage::new(seq, r#"{"type":"message","deleted":{"at":1}}"#)
}

/// A record of the room, after the one that ends before it.
fn record(first: u64, texts: &[&str]) -> IndexStep {
    with_oldest(first, texts, 1)
}

fn with_oldest(first: u64, texts: &[&str], oldest: u64) -> IndexStep {
    let entries: Vec<_> = (first..).zip(texts).map(|(seq, text)| stored(seq, text)).collect();
    let (id, previous) = (entries.last().expect("an entry").seq + 1_000, first + 999);
    let previous = if first == 1 { 0 } else { previous };
    IndexStep::Record { room: "lobby".to_owned(), id, previous, oldest, entries, is_copy: false }
}

/// A copy of a record. A message without a text there is deleted.
fn copy(first: u64, texts: &[&str]) -> IndexStep {
    match record(first, texts) {
        IndexStep::Record { room, id, previous, oldest, mut entries, .. } => {
            for (entry, _) in entries.iter_mut().zip(texts).filter(|(_, text)| text.is_empty()) {
                *entry = deleted(entry.seq);
            }
            IndexStep::Record { room, id, previous, oldest, entries, is_copy: true }
        }
        form @ IndexStep::Form { .. } => form,
    }
}

fn form(seq: u64, text: &str, is_deleted: bool) -> IndexStep {
    IndexStep::Form { room: "lobby".to_owned(), stored: stored(seq, text), is_deleted }
}

#[tokio::test]
async fn messages_are_found_newest_first_and_in_pages() {
    let mut log = Log::new().await;
    let other = IndexStep::Record {
        room: "hall".to_owned(),
        id: 1,
        previous: 0,
        oldest: 1,
        entries: vec![stored(1, "an apple")],
        is_copy: false,
    };
    assert!(log.apply(&[other]).await);
    for first in (1..=40).step_by(2) {
        assert!(log.apply(&[record(first, &["a pear", "an apple"])]).await);
    }
    let even: Vec<u64> = (1..=20).rev().map(|number| number * 2).collect();
    assert_eq!(log.find("APPLE", 41).await, even);
    assert_eq!(log.find("apple", 11).await, [10, 8, 6, 4, 2]);
    assert_eq!(log.find("plum", 41).await, [] as [u64; 0]);
    assert_eq!(log.index.candidates("attic", "apple", 9, 9).await, Ok(None), "a room that is not known");
    assert_eq!(log.reopen("a").await, 390);
    assert_eq!(log.find("apple", 41).await, even);
}

#[tokio::test]
async fn positions_that_the_index_was_not_given_are_candidates_until_it_gets_a_copy() {
    let log = Log::new().await;
    assert!(log.apply(&[record(1, &["one", "two"]), record(5, &["five"]), record(9, &["nine"])]).await);
    assert_eq!(log.find("five", 10).await, [8, 7, 6, 5, 4, 3]);
    assert_eq!(log.find("x", 13).await, [12, 11, 10, 8, 7, 6, 4, 3], "those after the end too");
    assert!(log.apply(&[copy(7, &["seven"])]).await);
    assert_eq!(log.find("seven", 10).await, [8, 7, 6, 4, 3]);
    assert!(log.apply(&[copy(6, &["six"]), copy(8, &["eight"]), copy(3, &["three", "four"])]).await);
    assert_eq!(log.find("x", 10).await, [6]);
    assert_eq!(log.find("four", 10).await, [4]);
    assert!(log.apply(&[copy(10, &["ten"]), record(11, &["eleven"])]).await);
    assert_eq!(log.find("e", 12).await, [11, 10, 9, 8, 7, 5, 3, 1]);
}

#[tokio::test]
async fn an_edited_message_is_found_by_its_present_text_although_an_earlier_one_comes_later() {
    let log = Log::new().await;
    assert!(log.apply(&[record(1, &["pear"]), record(3, &["end"])]).await);
    // The record with 2 was replaced before the index has read it.
    assert!(log.apply(&[form(1, "plum", false), form(2, "cherry", false), copy(2, &["grape"])]).await);
    for (query, found) in [("pear", vec![]), ("plum", vec![1]), ("cherry", vec![2]), ("grape", vec![])] {
        assert_eq!(log.find(query, 4).await, found, "{query}");
    }
}

#[tokio::test]
async fn the_words_of_a_deleted_message_leave_the_files() {
    let log = Log::new().await;
    assert!(log.apply(&[record(1, &["xyz", "stays"]), record(3, &["jgh"])]).await);
    assert!(log.apply(&[form(1, "kvw", false)]).await);
    assert!(log.has("xyz") && log.has("kvw") && log.has("jgh"));
    let deleted = IndexStep::Form { room: "lobby".to_owned(), stored: deleted(1), is_deleted: true };
    assert!(log.apply(&[deleted]).await);
    assert_eq!(log.find("kvw", 4).await, [] as [u64; 0]);
    log.index.erase_deleted().await.expect("erased");
    assert!(!log.has("xyz") && !log.has("kvw") && log.has("jgh"));
    assert_eq!(log.find("stays", 4).await, [2]);
}

/// The index has the text of a message that was deleted before: only its copy says so.
#[tokio::test]
async fn a_copy_removes_the_words_of_a_message_that_was_deleted_before() {
    let log = Log::new().await;
    assert!(log.apply(&[record(1, &["xyz", "stays"])]).await);
    assert!(log.has("xyz"));
    assert!(log.apply(&[copy(1, &["", "stays"])]).await);
    log.index.erase_deleted().await.expect("erased");
    assert!(!log.has("xyz"));
    assert_eq!(log.find("stays", 3).await, [2]);
}

/// The copy has the first form of the message, which had no text.
#[tokio::test]
async fn a_message_that_got_its_first_text_by_an_edit_is_found_after_a_copy_of_its_record() {
    let log = Log::new().await;
    for number in [1, 3, 5] {
        let mut without = record(number, &["pear", "x"]);
        if let IndexStep::Record { entries, .. } = &mut without {
            entries[1] = StoredMessage::new(number + 1, r#"{"type":"message","body":{"votes":[1,2]}}"#);
        }
        let mut replaced = without.clone();
        if let IndexStep::Record { entries, is_copy, .. } = &mut replaced {
            (entries[0], *is_copy) = (deleted(number), true);
        }
        assert!(log.apply(&[without, form(number + 1, "plum", false)]).await);
        assert!(log.apply(&[replaced]).await);
    }
    assert_eq!(log.find("plum", 7).await, [6, 4, 2]);
    assert_eq!(log.find("pear", 7).await, [] as [u64; 0]);
}

/// The merge of the index takes many steps. The next run begins it again.
#[tokio::test]
async fn the_end_of_an_index_does_not_wait_for_the_erasure_of_deleted_words() {
    // On a busy machine, the merge may end before this thread goes on.
    for _ in 0..10 {
        let mut log = log_with_a_deletion().await;
        // The erasure has begun first.
        let (erased, ()) = tokio::join!(log.index.erase_deleted(), log.index.close());
        erased.expect("no failure");
        if log.has("qzx") {
            assert_eq!(log.reopen("a").await, 6_010);
            log.index.erase_deleted().await.expect("erased");
            assert!(!log.has("qzx"));
            return;
        }
    }
    panic!("the erasure was waited for");
}

async fn log_with_a_deletion() -> Log {
    let log = Log::new().await;
    let word = |number: u64| format!("{:x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let text = |seq: u64| (0..40).map(|part| word(seq * 40 + part)).collect::<Vec<_>>().join(" ");
    for first in (1..=601).step_by(100) {
        let texts: Vec<_> =
            (first..first + 100).map(|seq| if seq == 7 { "qzxjv".to_owned() } else { text(seq) }).collect();
        assert!(log.apply(&[record(first, &texts.iter().map(String::as_str).collect::<Vec<_>>())]).await);
    }
    let deletion = IndexStep::Form { room: "lobby".to_owned(), stored: deleted(7), is_deleted: true };
    assert!(log.apply(&[deletion]).await);
    log
}

#[tokio::test]
async fn messages_below_the_oldest_position_are_removed() {
    let log = Log::new().await;
    assert!(log.apply(&[record(1, &["one", "two"]), record(4, &["four", "five"])]).await);
    assert!(log.apply(&[with_oldest(6, &["six"], 5)]).await);
    assert_eq!(log.find("o", 7).await, [] as [u64; 0]);
    assert_eq!(log.find("i", 7).await, [6, 5]);
    assert!(log.apply(&[form(4, "late", false)]).await);
    assert_eq!(log.find("late", 7).await, [] as [u64; 0]);
}

/// A record without entries, after the one that ends with `last`. It has the id of that one.
fn trim(last: u64, oldest: u64) -> IndexStep {
    let (room, id, entries) = ("lobby".to_owned(), last + 1_000, Vec::new());
    IndexStep::Record { room, id, previous: id, oldest, entries, is_copy: false }
}

#[tokio::test]
async fn a_record_without_entries_removes_all_messages_below_the_oldest_position() {
    let log = Log::new().await;
    let count = 5_000;
    let steps: Vec<_> = (1..=count).map(|seq| record(seq, &["old"])).collect();
    assert!(log.apply(&steps).await);
    let words = || {
        let file = log.dir.path().join("chat.index");
        let index = rusqlite::Connection::open(file).expect("an index");
        let sql = "SELECT count(*) FROM search_docsize";
        index.query_row(sql, (), |row| row.get::<_, u64>(0)).expect("a number")
    };
    assert_eq!(words(), count);
    assert!(log.apply(&[trim(count, count - 1)]).await);
    assert_eq!(words(), 2);
    assert_eq!(log.find("old", count + 1).await, [count, count - 1]);
    assert!(log.apply(&[trim(count, count + 1), record(count + 1, &["new"])]).await);
    assert_eq!((words(), log.find("n", count + 2).await), (1, vec![count + 1]));
    assert!(log.apply(&[trim(count + 9, 1)]).await, "another end is not known, and changes nothing");
    assert_eq!(words(), 1);
}

#[tokio::test]
async fn an_index_that_contradicts_the_log_or_is_of_another_one_begins_again() {
    let mut log = Log::new().await;
    assert!(log.apply(&[record(1, &["one"]), record(2, &["two"])]).await);
    assert_eq!(log.reopen("a").await, 20);
    let IndexStep::Record { room, id, oldest, entries, is_copy, .. } = record(3, &["three"]) else { return };
    let foreign = IndexStep::Record { room, id, previous: 7, oldest, entries, is_copy };
    assert!(
        !log.apply(std::slice::from_ref(&foreign)).await,
        "it does not continue the record that the index has"
    );
    assert!(log.index.apply(Vec::new(), 40).await.is_err());
    assert_eq!(log.index.begin("a").await, Ok(0));
    // A log that contradicts itself is indexed as it is.
    assert!(log.apply(&[record(1, &["one"]), record(2, &["two"]), foreign]).await);
    assert_eq!(log.find("e", 4).await, [3, 1]);
    assert_eq!(log.reopen("a").await, 30);
    assert!(!log.apply(&[record(2, &["again"])]).await, "a position that the index has");
    assert_eq!(log.reopen("a").await, 30);
    assert_eq!(log.reopen("b").await, 0);
    assert_eq!(log.index.candidates("lobby", "one", 9, 9).await, Ok(None));
}

#[tokio::test]
async fn a_damaged_index_begins_again_and_a_used_one_is_refused() {
    let mut log = Log::new().await;
    let path = log.dir.path().join("chat.index");
    for damage in [vec![0xa5; 8_192], Vec::new()] {
        assert!(log.apply(&[record(1, &["one"])]).await);
        log.index.close().await;
        fs::write(&path, damage).expect("written");
        assert_eq!(log.reopen("a").await, 0);
    }
    let refused = LogIndex::open(log.dir.path(), "chat");
    assert!(matches!(refused, Err(OpenError::InUse(_))), "{refused:?}");
    log.index.close().await;
    assert!(log.index.begin("a").await.is_err(), "a closed index");
    LogIndex::open(log.dir.path(), "chat").expect("a free directory");
}
