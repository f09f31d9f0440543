use chat_core::SearchError;

use super::{ann, body, check, same};
use crate::{Capability, Case, Failure, OpenRoom, Stage, Verdict};

chat_suite::cases!(
    /// Either all searches of a room are supported, or all are unsupported.
    async fn every_search_is_supported_or_none(stage: Stage, room: OpenRoom) -> Verdict {
        let empty = room.try_search("apple", 9, None).await;
        let can = match &empty {
            Ok(found) => {
                same(&(found.messages.len(), found.more), &(0, false))?;
                true
            }
            Err(SearchError::Unsupported) => false,
            Err(error) => return Err(Failure::new("a page of matches or `Unsupported`", error)),
        };
        room.say("an apple").await?;
        for query in ["apple", "사과", "x"] {
            let again = room.try_search(query, 9, None).await;
            let supported = again != Err(SearchError::Unsupported);
            check(supported == can, "the same for every query", (query, again))?;
        }
        Ok(())
    }

    /// The messages that have each word of the query, in any order, are found newest first.
    #[with(needs(Capability::Search))]
    async fn all_words_match_newest_first(stage: Stage) -> Verdict {
        let texts = ["red apple", "green apple", "red pear", "an apple that is red", "pear"];
        let queries: &[(&str, &[u64])] = &[
            ("apple", &[4, 2, 1]),
            ("red apple", &[4, 1]),
            ("apple red", &[4, 1]),
            ("  apple\t red ", &[4, 1]),
            ("pear", &[5, 3]),
            ("plum", &[]),
            ("plum apple", &[]),
            ("redapple", &[]),
        ];
        finds(&stage, &texts, queries).await
    }

    /// Upper and lower case match each other, and so do characters with the same NFKC form.
    #[with(needs(Capability::Search))]
    async fn case_and_width_are_ignored(stage: Stage) -> Verdict {
        let texts = ["An APPLE", "an apple", "ａｐｐｌｅ", "CAFÉ", "cafe\u{301}"];
        let queries: &[(&str, &[u64])] =
            &[("apple", &[3, 2, 1]), ("ApPlE", &[3, 2, 1]), ("ａｐｐｌｅ", &[3, 2, 1]), ("café", &[5, 4])];
        finds(&stage, &texts, queries).await
    }

    /// Part of a Korean word matches at the beginning, in the middle and at the end, as endings follow words.
    #[with(needs(Capability::Search))]
    async fn part_of_a_korean_word_matches(stage: Stage) -> Verdict {
        let texts = ["여러분, 안녕하세요!", "안녕", "감사합니다", "모두들안녕"];
        let queries: &[(&str, &[u64])] = &[
            ("안녕", &[4, 2, 1]),
            ("하세", &[1]),
            ("감사", &[3]),
            ("합니다", &[3]),
            ("여러분 안녕하", &[1]),
            ("안", &[4, 2, 1]),
        ];
        finds(&stage, &texts, queries).await
    }

    /// Part of a word matches in any script, with or without spaces between words.
    #[with(needs(Capability::Search))]
    async fn part_of_any_word_matches(stage: Stage) -> Verdict {
        let texts = ["日本語の文章です", "pineapple", "здравствуйте", "year2025"];
        let queries: &[(&str, &[u64])] =
            &[("文章", &[1]), ("日本", &[1]), ("apple", &[2]), ("равств", &[3]), ("2025", &[4])];
        finds(&stage, &texts, queries).await
    }

    /// The words of a query match in all strings of a body, at any depth, and in several strings.
    #[with(needs(Capability::Search))]
    async fn every_string_of_a_body_is_searched(stage: Stage, room: OpenRoom) -> Verdict {
        for body in [
            r#"{"text":"apple","tags":["red",{"x":["pl\u0075m"]}],"n":4711,"yes":true}"#,
            r#"{"question":"apple","answers":{"a":"pear"}}"#,
        ] {
            room.append(&ann(), None, body).await?;
        }
        for (query, expected) in [
            ("apple", vec![2, 1]),
            ("red apple", vec![1]),
            ("plum", vec![1]),
            ("pear apple", vec![2]),
            ("pear red", vec![]),
            ("tags", vec![]),
            ("4711", vec![]),
            ("true", vec![]),
        ] {
            let found = room.find(query).await?;
            check(found == expected, format!("for {query:?} the messages {expected:?}"), found)?;
        }
        Ok(())
    }

    /// The room, user, type, key and `seq` of the event do not match.
    #[with(needs(Capability::Search))]
    async fn fields_of_the_event_do_not_match(stage: Stage, room: OpenRoom) -> Verdict {
        room.append(&super::guest("Zoe"), Some("kilo"), &body("hi")).await?;
        for query in ["zoe", "lobby", "kilo", "message", "seq", "text"] {
            same(&room.find(query).await?, &vec![])?;
        }
        Ok(())
    }

    /// OR, NOT, NEAR and AND are words without a special meaning.
    #[with(needs(Capability::Search))]
    async fn a_query_has_no_operators(stage: Stage) -> Verdict {
        let texts = ["an apple", "war or peace", "do not disturb"];
        let queries: &[(&str, &[u64])] = &[
            ("apple OR pear", &[]),
            ("NOT pear", &[]),
            ("apple NOT pear", &[]),
            ("apple AND an", &[]),
            ("apple NEAR an", &[]),
            ("or", &[2]),
            ("NOT", &[3]),
        ];
        finds(&stage, &texts, queries).await
    }

    /// Queries of quotes, wildcards, brackets, NULs and 256 bytes are answered, and the room goes on.
    #[with(needs(Capability::Search))]
    async fn hostile_queries_are_answered(stage: Stage, room: OpenRoom) -> Verdict {
        room.say("an apple").await?;
        let long = ["x".repeat(256), "안".repeat(85), "a ".repeat(128), "\"".repeat(256), "(".repeat(256)];
        let queries = [
            "\"",
            "\"\"",
            "'",
            "\" OR * NEAR( ' ; -- \0",
            "*",
            "a*",
            "%",
            "_%_",
            "((((",
            ")",
            "{apple}",
            "[a-z]+",
            "text:apple",
            "-apple",
            "^apple",
            "apple + pear",
            "\\",
            "\\\"",
            "\0",
            "\u{feff}",
            "\u{202e}apple",
            "\u{301}",
            "😀",
            "NEAR(apple an, 2)",
            "$1 ?1 :a @b",
            "..",
            "/",
            ",",
            "\u{1f3f4}\u{e0067}",
        ];
        for query in queries.into_iter().chain(long.iter().map(String::as_str)) {
            let found = room.try_search(query, 9, None).await;
            let answered = matches!(&found, Ok(_) | Err(SearchError::BadQuery));
            check(answered, "a page of matches or `BadQuery`", (query, found))?;
        }
        same(&room.find("apple").await?, &vec![1])?;
        same(&room.say("more").await?.seq, &2)
    }

    /// Characters that are not letters match literally.
    #[with(needs(Capability::Search))]
    async fn punctuation_matches_literally(stage: Stage) -> Verdict {
        let texts = ["price: 100%", "100 apples", "a_b", "it's \"quoted\"", "C++ and C#"];
        let queries: &[(&str, &[u64])] = &[
            ("100%", &[1]),
            ("a_b", &[3]),
            ("it's", &[4]),
            ("\"quoted\"", &[4]),
            ("c++", &[5]),
            ("c#", &[5]),
        ];
        finds(&stage, &texts, queries).await
    }
);

/// Checks that each query finds these messages among the texts.
async fn finds(stage: &Stage, texts: &[&str], queries: &[(&str, &[u64])]) -> Verdict {
    let room = stage.open("lobby").await?;
    for text in texts {
        room.say(text).await?;
    }
    for (query, expected) in queries {
        let found = room.find(query).await?;
        check(found == *expected, format!("for {query:?} the messages {expected:?}"), found)?;
    }
    Ok(())
}
