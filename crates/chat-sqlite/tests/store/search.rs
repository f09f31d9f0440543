//! Full-text search.

use std::sync::Arc;

use std::time::Duration;

use crate::changes::{delete, known};
use crate::support::{
    StoreDir, TEST_TIMEOUT, append, append_all, limits, lobby_with, open_lobby, read_all, room, seqs,
    set_file_length, wait_until,
};
use chat_core::{Room, Scan, Search, SearchError};
use chat_sqlite::{Options, SqliteStore};
use futures_util::future::join_all;
use proptest::prelude::*;

fn search_for(query: &str, limit: usize, before: Option<u64>) -> Search {
    Search::new(query, limit).before(before)
}

async fn find(room: &Arc<dyn Room>, query: &str) -> Vec<u64> {
    let found =
        room.search(search_for(query, 100, None)).await.unwrap_or_else(|error| panic!("{query}: {error}"));
    assert!(!found.more);
    seqs(&found.messages)
}

/// Opens a store and waits until its index contains all messages.
async fn open_indexed(dir: &StoreDir) -> SqliteStore {
    // After opening, a store indexes its backlog without delay.
    let store = dir.open();
    let (rooms, indexed) = ("SELECT sum(head) FROM rooms", "SELECT sum(indexed) FROM progress");
    let sum = |database: rusqlite::Connection, sql: &str| {
        database.query_row(sql, (), |row| row.get::<_, Option<u64>>(0)).expect("a number")
    };
    wait_until(async || sum(dir.database(), rooms) == sum(dir.index(), indexed)).await;
    store
}

#[tokio::test(flavor = "multi_thread")]
async fn words_of_all_scripts_are_found_newest_first() {
    let (dir, store, lobby) = open_lobby();
    for text in [
        "Hello World",
        "여러분, 안녕하세요!",
        "東京都に行きました",
        "สวัสดีครับ",
        "hello again, ＷＯＲＬＤ",
        "don't panic: iPhone을 샀다",
        "한국어 검색 테스트",
        "ΟΔΟΣ Straße",
    ] {
        append(&lobby, text).await.expect("appended");
    }
    store.close_blocking();
    let store = open_indexed(&dir).await;
    let lobby = room(&store, "lobby");
    for (query, expected) in [
        ("hello", vec![5, 1]),
        ("HELLO wor", vec![5, 1]),
        ("world again", vec![5]),
        ("안녕", vec![2]),
        ("녕하세", vec![2]),
        ("요", vec![2]),
        ("안", vec![2]),
        ("안요", vec![]),
        ("京都", vec![3]),
        ("都", vec![3]),
        ("都京", vec![]),
        ("สวัสดี", vec![4]),
        ("iphone", vec![6]),
        ("iphone을", vec![6]),
        ("don't", vec![6]),
        ("t'don", vec![]),
        ("검색", vec![7]),
        ("테스트 한국어", vec![7]),
        ("\u{1100}\u{1165}\u{11b7}\u{1109}\u{1162}\u{11a8}", vec![7]),
        ("οδος STRASSE", vec![8]),
        ("text", vec![]),
        ("hello OR 안녕", vec![]),
        ("hello NOT world", vec![]),
    ] {
        assert_eq!(find(&lobby, query).await, expected, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_finds_indexed_and_recent_messages() {
    let (dir, store, lobby) = open_lobby();
    let count = "SELECT count(*) FROM search_docsize";
    let indexed = || dir.index().query_row(count, (), |row| row.get::<_, u64>(0)).expect("counted");
    append_all(&lobby, (1..=800).map(|n| if n % 100 == 0 { "an apple" } else { "a pear" })).await;
    wait_until(async || indexed() == 800).await;
    // Later messages are indexed after a quiet time.
    append_all(&lobby, (801..=802).map(|_| "an apple")).await;
    let apples = [802, 801, 800, 700, 600, 500, 400, 300, 200, 100];
    assert_eq!(find(&lobby, "apple").await, apples);
    let found = lobby.search(search_for("apple", 2, Some(802))).await.expect("found");
    assert_eq!((seqs(&found.messages), found.more), (vec![801, 800], true), "from both");
    wait_until(async || indexed() == 802).await;
    assert_eq!(find(&lobby, "apple").await, apples);
    append(&lobby, "one apple more").await.expect("appended");
    store.close_blocking();
    assert_eq!(
        find(&room(&dir.open(), "lobby"), "apple").await[..2],
        [803, 802],
        "closed before it was indexed"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_without_words_or_with_too_many_is_rejected() {
    let (_dir, _store, lobby) = open_lobby();
    append(&lobby, "... \u{1f600} !").await.expect("appended");
    for query in ["", " \t", "\u{3000}", &"a ".repeat(33)] {
        assert_eq!(lobby.search(search_for(query, 9, None)).await, Err(SearchError::BadQuery), "{query:?}");
    }
    for query in ["\u{1f600}", "!", "..", "... !"] {
        assert_eq!(find(&lobby, query).await, [1], "{query:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_stops_at_its_time_limit_and_the_next_one_works() {
    let (_dir, store, lobby) = open_lobby();
    append_all(&lobby, (0..300).map(|n| format!("a{n} b{n} c{n}"))).await;
    let impatient = lobby_with(&store, |limits| limits.rooms.call_timeout = Duration::ZERO);
    let found = impatient.search(search_for("a b c", 300, None)).await;
    assert!(matches!(found, Err(SearchError::Unavailable(_))), "{found:?}");
    assert_eq!(find(&lobby, "a299 b").await, [300]);
}

#[tokio::test(flavor = "multi_thread")]
async fn appends_and_searches_do_not_wait_for_the_index() {
    let dir = StoreDir::new();
    let store = open_indexed(&dir).await;
    let lobby = room(&store, "lobby");
    let blocker = dir.index();
    blocker.execute_batch("BEGIN IMMEDIATE").expect("locked");
    for n in 1..=100 {
        append(&lobby, &format!("apple {n} {}", "x".repeat(2_000))).await.expect("appended");
    }
    assert_eq!(find(&lobby, "apple 42").await, [42]);
    let indexed = |database: &rusqlite::Connection| {
        database
            .query_row("SELECT count(*) FROM search_docsize", (), |row| row.get::<_, u64>(0))
            .expect("counted")
    };
    assert_eq!(indexed(&blocker), 0, "the index was locked all the time");
    blocker.execute_batch("ROLLBACK").expect("unlocked");
    wait_until(async || indexed(&blocker) == 100).await;
    assert_eq!(find(&lobby, "apple 42").await, [42]);
    drop(blocker);
    store.close_blocking();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_that_takes_too_long_is_an_error_of_its_client() {
    let dir = StoreDir::new();
    let store = dir.open_with(Options::default().with(|options| options.search_time_limit = Duration::ZERO));
    let lobby = room(&store, "lobby");
    for _ in 0..2 {
        append(&lobby, "an apple").await.expect("appended");
    }
    let found = lobby.search(search_for("pear", 9, None)).await;
    assert_eq!(found, Err(SearchError::TooExpensive));
    store.close_blocking();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_in_many_slices_finds_the_same_messages() {
    let dir = StoreDir::new();
    let store = dir.open_with(Options::default().with(|options| options.search_time_limit = TEST_TIMEOUT));
    let lobby = room(&store, "lobby");
    for n in 1..=300 {
        append(&lobby, if n % 7 == 0 { "an apple" } else { "a pear" }).await.expect("appended");
    }
    let expected: Vec<u64> = (1..=300).filter(|n| n % 7 == 0).rev().collect();
    assert_eq!(find(&lobby, "apple").await, expected);
    store.close_blocking();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_or_missing_search_index_is_built_again() {
    type Damage = fn(&StoreDir);
    let damages: [(&str, Damage); 5] = [
        ("garbage", |dir| std::fs::write(dir.file("chat.search"), [0xa5; 8_192]).expect("written")),
        ("empty", |dir| set_file_length(&dir.file("chat.search"), 0)),
        ("cut off", |dir| set_file_length(&dir.file("chat.search"), 5_000)),
        ("zeroed pages", |dir| {
            let path = dir.file("chat.search");
            let mut bytes = std::fs::read(&path).expect("a file");
            bytes[4_096..].fill(0);
            std::fs::write(&path, bytes).expect("written");
        }),
        ("missing", |dir| std::fs::remove_file(dir.file("chat.search")).expect("removed")),
    ];
    for (name, damage) in damages {
        let dir = StoreDir::new();
        let store = dir.open();
        let lobby = room(&store, "lobby");
        for n in 1..=50 {
            append(&lobby, &format!("apple {n}")).await.expect("appended");
        }
        store.close_blocking();
        open_indexed(&dir).await.close_blocking();
        damage(&dir);
        let store = open_indexed(&dir).await;
        assert_eq!(find(&room(&store, "lobby"), "apple 42").await, [42], "{name}");
        store.close_blocking();
        assert!(SqliteStore::check(dir.path(), |_| ()).expect("a report").is_sound(), "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 12, ..ProptestConfig::default() })]

    /// The index finds the same messages as a scan of all messages, for all queries.
    #[test]
    fn a_search_finds_the_same_messages_as_a_scan(
        texts in prop::collection::vec("(\\PC|[a-c한글東 \"'*():^{}-]){1,24}", 1..12),
        queries in prop::collection::vec(
            "(\\PC|[a-c한글東\"'*():^{}\0-]){1,3}|(\\PC|[a-c \"'*():^{}\0-]){0,24}|NEAR\\(a b\\)|terms ?: ?a|-a|a OR|\\{a",
            1..12,
        ),
    ) {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let (dir, store, lobby) = open_lobby();
            append_all(&lobby, &texts).await;
            store.close_blocking();
            let store = open_indexed(&dir).await;
            let lobby = room(&store, "lobby");
            let messages = read_all(&lobby).await;
            for query in queries.iter().chain(&texts) {
                let search = search_for(query, 9, None);
                let mut scan = Scan::new(&search, &limits());
                let _wanted = messages.iter().rev().all(|stored| scan.look(stored));
                match lobby.search(search).await {
                    Ok(found) => assert_eq!(found, scan.finish(), "{query:?}"),
                    Err(error) => {
                        assert_eq!(error, SearchError::BadQuery, "{query:?}");
                        assert!(query.trim().is_empty(), "{query:?}");
                    }
                }
            }
            store.close_blocking();
        });
    }
}

/// Returns the nice values of the threads of this process with a name.
#[cfg(target_os = "linux")]
fn niceness(name: &str) -> Vec<i32> {
    let threads = std::fs::read_dir("/proc/self/task").expect("the threads").flatten();
    // A thread may end meanwhile.
    let stats = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("stat")).ok());
    let nice = |stat: String| stat.split_once(&format!("({name}) "))?.1.split(' ').nth(16)?.parse().ok();
    stats.filter_map(nice).collect()
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn searches_run_at_a_lower_priority_than_appends() {
    let (_dir, _store, lobby) = open_lobby();
    append(&lobby, "an apple").await.expect("appended");
    assert_eq!(find(&lobby, "apple").await, [1]);
    let usual = niceness("chat-sqlite").into_iter().max().expect("a writer thread");
    let is_lower = || niceness("chat-sqlite-sea").iter().all(|nice| *nice > usual);
    wait_until(async || is_lower()).await;
    assert!(!niceness("chat-sqlite-sea").is_empty());
}

/// A step of the indexer applies a limited number of deletions.
#[tokio::test(flavor = "multi_thread")]
async fn more_deletions_than_one_step_of_the_index_are_all_applied() {
    const MESSAGES: u64 = 600;
    let (dir, store, lobby) = open_lobby();
    append_all(&lobby, (0..MESSAGES).map(|n| format!("apple {n}"))).await;
    append(&lobby, "the last apple").await.expect("appended");
    let number = |sql: &str| dir.index().query_row(sql, (), |row| row.get::<_, u64>(0)).expect("a number");
    let indexed = || number("SELECT coalesce(max(indexed), 0) FROM progress");
    wait_until(async || indexed() == MESSAGES + 1).await;
    let bob = known("bob");
    let lock = dir.lock();
    let deletions = join_all((1..=MESSAGES).map(|seq| lobby.change(delete(&bob, seq))));
    let unlock = async {
        wait_until(async || store.stats().queued >= MESSAGES).await;
        lock.execute_batch("ROLLBACK").expect("unlocked");
    };
    let (deleted, ()) = tokio::join!(deletions, unlock);
    assert!(deleted.iter().all(Result::is_ok), "{deleted:?}");
    wait_until(async || indexed() == 2 * MESSAGES + 1).await;
    assert_eq!(number("SELECT count(*) FROM search_docsize"), 1, "entries of the index");
    let found = lobby.search(search_for("apple", 9, None)).await.expect("found");
    assert_eq!(seqs(&found.messages), [MESSAGES + 1]);
}
