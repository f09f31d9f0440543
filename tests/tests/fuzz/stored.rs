use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, ensure};
use chat_core::{CommitSink, Limits, NewMessage, RoomName, Scan, Search, SearchError, StoredMessage, User};
use chat_proto::{fold, search_text};
use chat_sqlite::{Options, SqliteStore};
use chat_tests::fuzz::check_inputs;
use serde_json::Value;
use serde_json::value::RawValue;

/// The largest number of messages of a page.
const LIMIT: usize = 5;

#[test]
fn folding_twice_is_folding_once_and_a_message_is_found_by_its_words() -> Result<()> {
    check_inputs("search", 20_000, |input| {
        let Some((query, body)) = query_and_body(input) else { return Ok(()) };
        for text in [query, body] {
            let folded = fold(text);
            ensure!(fold(&folded) == folded, "{text:?} is {folded:?}, then {:?}", fold(&folded));
            // Without an order of marks, the upper case of this one joins another letter.
            if !text.contains('\u{345}') {
                ensure!(fold(&text.to_uppercase()) == folded, "{text:?} in upper case");
            }
        }
        let Some(message) = message(body) else { return Ok(()) };
        let stored = message.into_stored("lobby".parse()?, 1, 0);
        let text = search_text(&stored.frame).unwrap_or_default();
        for word in text.split_whitespace().take(20) {
            let part: String = word.chars().skip(1).take(40).collect();
            for query in [word, &part] {
                let search = Search::new(query, LIMIT);
                if search.is_valid(&Limits::default()) {
                    ensure!(found(&search, &stored) == 1, "{query:?} does not find {text:?}");
                }
            }
        }
        Ok(())
    })
}

#[test]
fn a_store_searches_as_a_scan_does_and_exports_a_message_as_one_line() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let store = SqliteStore::open(dir.path(), Options::default())?;
    let rooms = AtomicU64::new(0);
    let check = |query: &str, body: &str| -> Result<()> {
        let Some(message) = message(body) else { return Ok(()) };
        let name: RoomName = format!("r{}", rooms.fetch_add(1, Ordering::Relaxed)).parse()?;
        let room = store.room(name.clone(), Arc::new(Limits::default()), CommitSink::new(|_| {}));
        let seq = runtime.block_on(room.append(message.clone())).context("append")?.seq;
        let mut exported = Vec::new();
        let count = SqliteStore::export(dir.path(), &name, &mut exported)?;
        ensure!(count.messages == 1 && count.unreadable == 0, "{count:?}");
        let line = String::from_utf8(exported)?;
        let ends = ['\r', '\u{85}', '\u{2028}', '\u{2029}'];
        ensure!(line.matches('\n').count() == 1 && line.ends_with('\n') && !line.contains(ends), "{line:?}");
        let exported: RawMessage<'_> = serde_json::from_str(&line)?;
        ensure!(same_json(exported.body.get(), body)?, "{line} is not {body}");
        let search = Search::new(query, LIMIT);
        if search.is_valid(&Limits::default()) {
            let expected = found(&search, &message.into_stored(name, seq, 0));
            match runtime.block_on(room.search(search)) {
                Ok(page) => ensure!(page.messages.len() == expected, "found {page:?}, expected {expected}"),
                Err(SearchError::BadQuery) => ensure!(fold(query).split_whitespace().count() > 32, "refused"),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    };
    check_inputs("search", 3_000, |input| {
        let Some((query, body)) = query_and_body(input) else { return Ok(()) };
        check(query, body)
    })?;
    check_inputs("export", 3_000, |input| match std::str::from_utf8(input) {
        Ok(body) => check("text", body),
        Err(_) => Ok(()),
    })?;
    ensure!(store.close_blocking() && SqliteStore::check(dir.path(), |_| {})?.is_sound(), "not sound");
    Ok(())
}

/// An exported message.
#[derive(serde::Deserialize)]
struct RawMessage<'a> {
    #[serde(borrow)]
    body: &'a RawValue,
}

/// Returns the query in the first line, and the body in the rest.
fn query_and_body(input: &[u8]) -> Option<(&str, &str)> {
    std::str::from_utf8(input).ok()?.split_once('\n')
}

/// Returns a message with a body, if the body is an object.
fn message(body: &str) -> Option<NewMessage> {
    let is_object = body.trim_start().starts_with('{');
    let body = RawValue::from_string(body.to_owned()).ok().filter(|_| is_object)?;
    Some(NewMessage::new(User::guest("Ann").ok()?, body))
}

fn found(search: &Search, stored: &StoredMessage) -> usize {
    let mut scan = Scan::new(search, &Limits::default());
    scan.look(stored);
    scan.finish().messages.len()
}

/// Returns true if two texts are the same JSON value. A text that is too deep for the parser, or has half a surrogate
/// pair, is compared without white space.
fn same_json(a: &str, b: &str) -> Result<bool> {
    let value = |text: &str| serde_json::from_str::<Value>(text);
    match (value(a), value(b)) {
        (Ok(a), Ok(b)) => Ok(a == b),
        (Err(_), Err(_)) => {
            let bare = |text: &str| {
                let text = text.replace('\u{85}', "\\u0085").replace('\u{2028}', "\\u2028");
                let text = text.replace('\u{2029}', "\\u2029");
                text.split([' ', '\t', '\r', '\n']).collect::<String>()
            };
            Ok(bare(a) == bare(b))
        }
        _ => Ok(false),
    }
}
