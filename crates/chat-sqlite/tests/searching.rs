//! What can be found in a room.

mod support;

use std::sync::Arc;

use chat_core::{Room, Scan, Search, SearchError};
use chat_sqlite::Store;
use proptest::prelude::*;
use support::{Home, all, limits, name, room, say, seqs, until};

fn asked(query: &str, limit: usize, before: u64) -> Search {
    Search { query: query.to_owned(), limit, before }
}

async fn find(room: &Arc<dyn Room>, query: &str) -> Vec<u64> {
    let found =
        room.search(asked(query, 100, u64::MAX)).await.unwrap_or_else(|error| panic!("{query}: {error}"));
    assert!(!found.more);
    seqs(&found.messages)
}

/// A store in which all is in the index: what is new would be looked at one by one for a while.
async fn indexed(home: &Home) -> Store {
    // Of what it finds, a store indexes all at once.
    let store = home.open();
    let lacks = "SELECT count(*) FROM rooms WHERE indexed < head";
    until(async || home.database().query_row(lacks, (), |row| row.get(0)) == Ok(0)).await;
    store
}

#[tokio::test(flavor = "multi_thread")]
async fn words_of_every_script_are_found_newest_first() {
    let home = Home::new();
    let store = home.open();
    let lobby = room(&store, "lobby");
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
        say(&lobby, text).await.expect("appended");
    }
    store.close();
    let store = indexed(&home).await;
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
async fn what_is_found_is_of_this_room_paged_and_bounded() {
    let home = Home::new();
    let store = home.open();
    let (lobby, hall) = (room(&store, "lobby"), room(&store, "hall"));
    for _ in 0..7 {
        say(&hall, "apple").await.expect("appended");
        say(&lobby, "an apple").await.expect("appended");
        say(&lobby, "a pear").await.expect("appended");
    }
    for (limit, before, expected, more) in [
        (3, u64::MAX, vec![13, 11, 9], true),
        (3, 9, vec![7, 5, 3], true),
        (3, 3, vec![1], false),
        (7, u64::MAX, vec![13, 11, 9, 7, 5, 3, 1], false),
        (7, 1, vec![], false),
        (7, 0, vec![], false),
    ] {
        let found = lobby.search(asked("apple", limit, before)).await.expect("found");
        assert_eq!((seqs(&found.messages), found.more), (expected, more), "{limit} {before}");
    }
    assert_eq!(find(&room(&store, "never"), "apple").await, [0; 0]);
    let page = lobby.read(chat_core::Range::After { seq: 12, limit: 1 }).await.expect("a page");
    let found = lobby.search(asked("apple", 1, u64::MAX)).await.expect("found");
    assert_eq!(found.messages, page.messages, "byte for byte");
    let small = Arc::new((*limits()).clone().with(|limits| {
        limits.wire.max_batch_bytes = page.messages[0].frame.len() * 2;
    }));
    let small = store.room(name("lobby"), small, support::deaf());
    let found = small.search(asked("apple", 9, u64::MAX)).await.expect("found");
    assert_eq!((seqs(&found.messages), found.more), (vec![13, 11], true));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_indexed_and_what_is_not_yet_are_found_as_one() {
    let home = Home::new();
    let store = home.open();
    let lobby = room(&store, "lobby");
    let count = "SELECT count(*) FROM search_docsize";
    let indexed = || home.database().query_row(count, (), |row| row.get::<_, u64>(0)).expect("counted");
    for n in 1..=800 {
        say(&lobby, if n % 100 == 0 { "an apple" } else { "a pear" }).await.expect("appended");
    }
    until(async || indexed() == 800).await;
    // What comes now is indexed when nothing has come for a while.
    for _ in 801..=802 {
        say(&lobby, "an apple").await.expect("appended");
    }
    let apples = [802, 801, 800, 700, 600, 500, 400, 300, 200, 100];
    assert_eq!(find(&lobby, "apple").await, apples);
    let found = lobby.search(asked("apple", 2, 802)).await.expect("found");
    assert_eq!((seqs(&found.messages), found.more), (vec![801, 800], true), "from both");
    until(async || indexed() == 802).await;
    assert_eq!(find(&lobby, "apple").await, apples);
    say(&lobby, "one apple more").await.expect("appended");
    store.close();
    assert_eq!(
        find(&room(&home.open(), "lobby"), "apple").await[..2],
        [803, 802],
        "closed before it was indexed"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_words_or_too_many_is_a_bad_query() {
    let home = Home::new();
    let store = home.open();
    let lobby = room(&store, "lobby");
    say(&lobby, "... \u{1f600} !").await.expect("appended");
    for query in ["", " \t", "\u{3000}", &"a ".repeat(33)] {
        assert_eq!(lobby.search(asked(query, 9, u64::MAX)).await, Err(SearchError::BadQuery), "{query:?}");
    }
    for query in ["\u{1f600}", "!", "..", "... !"] {
        assert_eq!(find(&lobby, query).await, [1], "{query:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_that_takes_too_long_is_stopped_and_the_next_one_is_not() {
    let home = Home::new();
    let store = home.open();
    let lobby = room(&store, "lobby");
    for n in 0..300 {
        say(&lobby, &format!("a{n} b{n} c{n}")).await.expect("appended");
    }
    let hasty = Arc::new((*limits()).clone().with(|limits| {
        limits.rooms.call_timeout = std::time::Duration::ZERO;
    }));
    let hasty = store.room(name("lobby"), hasty, support::deaf());
    let found = hasty.search(asked("a b c", 300, u64::MAX)).await;
    assert!(matches!(found, Err(SearchError::Unavailable(_))), "{found:?}");
    assert_eq!(find(&lobby, "a299 b").await, [300]);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 12, ..ProptestConfig::default() })]

    /// The index finds neither more nor less than who looks at every message, and no query breaks it.
    #[test]
    fn a_search_finds_what_a_scan_does(
        texts in prop::collection::vec("(\\PC|[a-c한글東 \"'*():^{}-]){1,24}", 1..12),
        queries in prop::collection::vec(
            "(\\PC|[a-c한글東\"'*():^{}\0-]){1,3}|(\\PC|[a-c \"'*():^{}\0-]){0,24}|NEAR\\(a b\\)|terms ?: ?a|-a|a OR|\\{a",
            1..12,
        ),
    ) {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let home = Home::new();
            let store = home.open();
            let lobby = room(&store, "lobby");
            for text in &texts {
                say(&lobby, text).await.expect("appended");
            }
            store.close();
            let store = indexed(&home).await;
            let lobby = room(&store, "lobby");
            let messages = all(&lobby).await;
            for query in queries.iter().chain(&texts) {
                let search = asked(query, 9, u64::MAX);
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
            store.close();
        });
    }
}
