use serde_json::{Value, json};

use super::{fail, seqs};
use crate::case::{Group, case};
use crate::client::{Client, Events};
use crate::{Failure, Stage};

/// What is found in a room, if its log can search.
pub(super) fn group() -> Group {
    let cases = vec![
        case(
            "a_search_is_found_or_unsupported",
            "A search is answered with `found`, or every search of the room is `unsupported`.",
            "PROTOCOL.md, section 3",
            |stage| async move {
                let mut ann = stage.member("ann").await?;
                let searches = search(&stage, &mut ann, json!({"query": "x"})).await?.is_some();
                for query in ["y", "안녕", "two words"] {
                    let again = search(&stage, &mut ann, json!({"query": query})).await?.is_some();
                    fail(again == searches, "the same for every query", format!("{query}: found: {again}"))?;
                }
                Ok(())
            },
        ),
        case(
            "every_word_is_looked_for_newest_first",
            "A log that can search finds the messages with every word, in any order and case, newest first.",
            "PROTOCOL.md, sections 3 and 4",
            |stage| async move {
                let mut ann = stage.member("ann").await?;
                post(
                    &stage,
                    &mut ann,
                    &["red apple", "green apple", "red pear", "An APPLE that is red", "pear"],
                )
                .await?;
                for (query, expected) in [
                    ("apple", vec![4, 2, 1]),
                    ("red apple", vec![4, 1]),
                    ("  APPLE   red ", vec![4, 1]),
                    ("pear", vec![5, 3]),
                    ("plum", vec![]),
                    ("plum apple", vec![]),
                ] {
                    expect(&stage, &mut ann, json!({"query": query}), &expected, false).await?;
                }
                Ok(())
            },
        ),
        case(
            "a_search_is_paged_with_limit_and_before",
            "At most `limit` messages before `before` are found, and `more` says whether there are older ones.",
            "PROTOCOL.md, sections 3 and 4",
            |stage| async move {
                let mut ann = stage.member("ann").await?;
                post(&stage, &mut ann, &["apple", "apple", "pear", "apple", "apple"]).await?;
                for (mut fields, expected, more) in [
                    (json!({"limit": 2}), vec![5, 4], true),
                    (json!({"limit": 2, "before": 4}), vec![2, 1], false),
                    (json!({"limit": 1, "before": 4}), vec![2], true),
                    (json!({"limit": 4}), vec![5, 4, 2, 1], false),
                    (json!({"limit": 0}), vec![5], true),
                    (json!({"before": 1}), vec![], false),
                    (json!({"before": 0}), vec![], false),
                    (json!({"before": 1_000_000}), vec![5, 4, 2, 1], false),
                ] {
                    fields["query"] = json!("apple");
                    expect(&stage, &mut ann, fields, &expected, more).await?;
                }
                Ok(())
            },
        ),
        case(
            "a_search_is_bounded",
            "`limit` is clamped to 100, 20 without one, and `more` says that there is more.",
            "PROTOCOL.md, section 3",
            |stage| async move {
                let mut ann = stage.member("ann").await?;
                let sends: Vec<_> = (0..110)
                    .map(|_| super::Frame::text(super::send(&stage.room(), "apple").to_string()))
                    .collect();
                ann.pour(&super::packet(&sends)).await?;
                ann.so_far().await?;
                for (mut fields, count) in [
                    (json!({}), 20),
                    (json!({"limit": 100}), 100),
                    (json!({"limit": 101}), 100),
                    (json!({"limit": 1_000_000_000_u64}), 100),
                ] {
                    fields["query"] = json!("apple");
                    let newest: Vec<u64> = (1..=110).rev().take(count).collect();
                    expect(&stage, &mut ann, fields, &newest, true).await?;
                }
                Ok(())
            },
        ),
        case(
            "what_is_found_is_what_was_delivered",
            "What `found` shows is what `message` said, field by field, and it is of this room alone.",
            "PROTOCOL.md, section 4",
            |stage| async move {
                let mut ann = stage.member("ann").await?;
                let hall = stage.named("hall");
                ann.join(&hall).await?;
                ann.post(&hall, "an apple elsewhere").await?;
                let body = json!({"text": "사과 apple"});
                ann.command(json!({"type": "send", "room": stage.room(), "key": "k", "body": body})).await?;
                let events = ann.so_far().await?;
                let message = events.iter().find(|event| event["type"] == "message");
                let message = message.ok_or_else(|| ann.failure("the message", Events(&events)))?.clone();
                for query in ["apple", "사과"] {
                    let Some(found) = search(&stage, &mut ann, json!({"query": query})).await? else {
                        return Ok(());
                    };
                    let mut messages = found["messages"].clone();
                    messages[0]["type"] = json!("message");
                    ann.check(messages == json!([message]), format!("[{message}]"), &found)?;
                    ann.check(found["room"] == stage.room(), "the room", &found)?;
                }
                Ok(())
            },
        ),
        case(
            "hostile_searches_are_answered",
            "A search for quotes, wildcards, brackets or NULs is `found`, `unsupported` or `bad_query`.",
            "PROTOCOL.md, section 3",
            |stage| async move {
                let mut ann = stage.member("ann").await?;
                ann.post(&stage.room(), "an apple").await?;
                for query in [
                    "\" OR 1=1 --",
                    "a* NEAR(b)",
                    "(((((",
                    "\u{0}",
                    "'; DROP TABLE messages; --",
                    "%_%",
                    "text:apple",
                    "-apple",
                    "\\",
                    "^apple$",
                    "{apple}",
                ] {
                    search(&stage, &mut ann, json!({"query": query})).await?;
                }
                ann.expect_quiet().await
            },
        ),
        case(
            "a_query_has_no_operators",
            "OR, NOT and NEAR are words like any other: a message that lacks them is not found.",
            "PROTOCOL.md, section 3",
            |stage| async move {
                let mut ann = stage.member("ann").await?;
                ann.post(&stage.room(), "an apple").await?;
                for query in ["apple OR pear", "apple NOT pear", "NOT pear", "apple NEAR an", "apple AND an"]
                {
                    expect(&stage, &mut ann, json!({"query": query}), &[], false).await?;
                }
                Ok(())
            },
        ),
        case(
            "a_query_says_something_in_256_bytes",
            "An empty query, white space and more than 256 bytes are `bad_query`.",
            "PROTOCOL.md, sections 3 and 7.1",
            |stage| async move {
                let mut ann = stage.member("ann").await?;
                let long = "a".repeat(257);
                for query in ["", " ", "\n\t", "\u{3000}\u{a0}", &long] {
                    let command = json!({"type": "search", "room": stage.room(), "query": query});
                    let error = ann.ask_for("error", command).await?;
                    let fits = error["code"] == "bad_query" || error["code"] == "unsupported";
                    ann.check(fits, "`bad_query` (or `unsupported`)", &error)?;
                }
                search(&stage, &mut ann, json!({"query": "a".repeat(256)})).await.map(drop)
            },
        ),
    ];
    Group { name: "search", look: "crates/chat-proto/src/search.rs and the room's log", cases }
}

/// Searches the case's room. `None` if its log cannot search, or can make nothing of the query.
async fn search(stage: &Stage, client: &mut Client, mut fields: Value) -> Result<Option<Value>, Failure> {
    fields["type"] = json!("search");
    fields["room"] = json!(stage.room());
    let reply = client.ask(fields).await?;
    if reply["type"] == "found" {
        return Ok(Some(reply));
    }
    let refused = reply["type"] == "error"
        && (reply["code"] == "unsupported" || reply["code"] == "bad_query")
        && reply["room"] == stage.room();
    client.check(refused, "`found`, `unsupported` or `bad_query`", &reply)?;
    Ok(None)
}

/// A log that can search finds these messages.
async fn expect(
    stage: &Stage,
    client: &mut Client,
    fields: Value,
    expected: &[u64],
    more: bool,
) -> Result<(), Failure> {
    let asked = fields.to_string();
    let Some(found) = search(stage, client, fields).await? else {
        return Ok(());
    };
    let got = seqs(found["messages"].as_array().map_or(&[], Vec::as_slice));
    let fits = got == expected && found["more"] == more;
    client.check(fits, format!("for {asked} the messages {expected:?}, more: {more}"), &found)
}

async fn post(stage: &Stage, client: &mut Client, texts: &[&str]) -> Result<(), Failure> {
    for text in texts {
        client.post(&stage.room(), text).await?;
    }
    Ok(())
}
