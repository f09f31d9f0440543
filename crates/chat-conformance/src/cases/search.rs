use super::*;

chat_suite::cases!(
    /// A search is answered with `found`, or every search of the room is `unsupported`.
    async fn a_search_is_answered_or_unsupported(stage: Stage, mut ann: Member) -> Verdict {
        let searches = search(&stage, &mut ann, json!({"query": "x"})).await?.is_some();
        for query in ["y", "안녕", "two words"] {
            let again = search(&stage, &mut ann, json!({"query": query})).await?.is_some();
            check(again == searches, "the same for every query", format!("{query}: found: {again}"))?;
        }
        Ok(())
    }

    /// A log that can search finds the messages that have every word, in any order and case, newest first.
    #[source = "PROTOCOL.md, sections 3 and 4"]
    async fn a_search_finds_messages_with_every_word(stage: Stage, mut ann: Member) -> Verdict {
        post(&stage, &mut ann, &["red apple", "green apple", "red pear", "An APPLE that is red", "pear"])
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
    }

    /// A search finds at most `limit` messages before `before`, and `more` says that there are older ones.
    #[source = "PROTOCOL.md, sections 3 and 4"]
    async fn a_search_is_paged_with_limit_and_before(stage: Stage, mut ann: Member) -> Verdict {
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
    }

    /// The `limit` of `search` is clamped to 100 and is 20 by default, and `more` says that there are more.
    async fn a_search_limit_is_clamped(stage: Stage, mut ann: Member) -> Verdict {
        let sends = vec![Frame::json(&send(&stage.room(), "apple")); 110];
        ann.send_all_while_reading(&sends).await?;
        ann.events_so_far().await?;
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
    }

    /// The messages in `found` equal the delivered `message` events, field by field, and are of this room.
    #[source = "PROTOCOL.md, section 4"]
    async fn a_search_shows_messages_as_they_were_delivered(stage: Stage, mut ann: Member) -> Verdict {
        let hall = stage.named("hall");
        ann.join(&hall).await?;
        ann.post(&hall, "an apple elsewhere").await?;
        let body = json!({"text": "사과 apple"});
        ann.command(json!({"type": "send", "room": stage.room(), "key": "k", "body": body})).await?;
        let events = ann.events_so_far().await?;
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
    }

    /// A search for quotes, wildcards, brackets or NULs is answered with `found`, `unsupported` or `bad_query`.
    async fn hostile_searches_are_answered(stage: Stage, mut ann: Member) -> Verdict {
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
        ann.expect_no_events().await
    }

    /// The words OR, NOT and NEAR have no special meaning: a message that does not have them is not found.
    async fn a_query_has_no_operators(stage: Stage, mut ann: Member) -> Verdict {
        ann.post(&stage.room(), "an apple").await?;
        for query in ["apple OR pear", "apple NOT pear", "NOT pear", "apple NEAR an", "apple AND an"] {
            expect(&stage, &mut ann, json!({"query": query}), &[], false).await?;
        }
        Ok(())
    }

    /// An empty query, white space and more than 256 bytes are `bad_query`.
    #[source = "PROTOCOL.md, sections 3 and 7.1"]
    async fn an_empty_or_long_query_is_refused(stage: Stage, mut ann: Member) -> Verdict {
        let long = "a".repeat(257);
        for query in ["", " ", "\n\t", "\u{3000}\u{a0}", &long] {
            let command = json!({"type": "search", "room": stage.room(), "query": query});
            let error = ann.ask_for("error", command).await?;
            let fits = error["code"] == "bad_query" || error["code"] == "unsupported";
            ann.check(fits, "`bad_query` (or `unsupported`)", &error)?;
        }
        search(&stage, &mut ann, json!({"query": "a".repeat(256)})).await.map(drop)
    }
);

/// Searches the case's room. Returns `None` if its log cannot search, or refuses the query.
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

/// Expects these messages, if the log can search.
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
