use chat_core::SearchError;

use super::{ann, body, check, same, seqs};
use crate::case::{Group, case};
use crate::shown::{Part, Shown};
use crate::{Ability, Failure};

/// What a search finds.
pub(super) fn group() -> Group {
    let cases = vec![
        case(
            "a_log_can_search_or_says_that_it_cannot",
            "Every search of a room is found, or every one is unsupported.",
            |stage| async move {
                let room = stage.open("lobby")?;
                let empty = room.try_search("apple", 9, u64::MAX).await;
                let can = match &empty {
                    Ok(found) => {
                        same(&(found.messages.len(), found.more), &(0, false))?;
                        true
                    }
                    Err(SearchError::Unsupported) => false,
                    Err(error) => return Err(Failure::new("found or unsupported", error)),
                };
                room.say("an apple").await?;
                for query in ["apple", "사과", "x"] {
                    let again = room.try_search(query, 9, u64::MAX).await;
                    let supported = again != Err(SearchError::Unsupported);
                    check(supported == can, "the same for every query", (query, again))?;
                }
                Ok(())
            },
        ),
        finds(
            "every_word_is_looked_for_newest_first",
            "The messages that have every word of the query are found, in any order, the newest first.",
            &["red apple", "green apple", "red pear", "an apple that is red", "pear"],
            &[
                ("apple", &[4, 2, 1]),
                ("red apple", &[4, 1]),
                ("apple red", &[4, 1]),
                ("  apple\t red ", &[4, 1]),
                ("pear", &[5, 3]),
                ("plum", &[]),
                ("plum apple", &[]),
                ("redapple", &[]),
            ],
        ),
        finds(
            "case_and_width_make_no_difference",
            "Upper and lower case are alike, and so is what NFKC makes one.",
            &["An APPLE", "an apple", "ａｐｐｌｅ", "CAFÉ", "cafe\u{301}"],
            &[("apple", &[3, 2, 1]), ("ApPlE", &[3, 2, 1]), ("ａｐｐｌｅ", &[3, 2, 1]), ("café", &[5, 4])],
        ),
        finds(
            "a_part_of_a_korean_word_is_found",
            "Korean words carry endings: 안녕 finds 안녕하세요, from the front, the middle and the end.",
            &["여러분, 안녕하세요!", "안녕", "감사합니다", "모두들안녕"],
            &[
                ("안녕", &[4, 2, 1]),
                ("하세", &[1]),
                ("감사", &[3]),
                ("합니다", &[3]),
                ("여러분 안녕하", &[1]),
                ("안", &[4, 2, 1]),
            ],
        ),
        finds(
            "a_part_of_any_word_is_found",
            "Other scripts too are searched by parts of words, spaces between them or not.",
            &["日本語の文章です", "pineapple", "здравствуйте", "year2025"],
            &[("文章", &[1]), ("日本", &[1]), ("apple", &[2]), ("равств", &[3]), ("2025", &[4])],
        ),
        case(
            "every_string_of_a_body_is_looked_through",
            "The words of a query may stand in any strings of a body, at any depth, and in several.",
            |stage| async move {
                let room = stage.open("lobby")?;
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
                    check(
                        found == expected,
                        format!("for {query:?} the messages {}", expected.shown()),
                        found,
                    )?;
                }
                Ok(())
            },
        )
        .needs(Ability::Search),
        case(
            "limit_and_before_page_through_what_fits",
            "At most `limit` messages below `before`, and `more` where there are older ones that fit.",
            |stage| async move {
                let room = stage.open("lobby")?;
                for text in ["apple", "apple", "pear", "apple", "apple", "pear"] {
                    room.say(text).await?;
                }
                for (limit, before, expected, more) in [
                    (2, u64::MAX, vec![5, 4], true),
                    (2, 4, vec![2, 1], false),
                    (1, 4, vec![2], true),
                    (2, 5, vec![4, 2], true),
                    (4, u64::MAX, vec![5, 4, 2, 1], false),
                    (5, u64::MAX, vec![5, 4, 2, 1], false),
                    (3, 6, vec![5, 4, 2], true),
                    (9, 1 << 53, vec![5, 4, 2, 1], false),
                    (9, 1, vec![], false),
                    (9, 0, vec![], false),
                ] {
                    let (found, found_more) = room.search("apple", limit, before).await?;
                    same(&Part(found, found_more), &Part(expected, more))?;
                }
                Ok(())
            },
        )
        .needs(Ability::Search),
        case(
            "paging_through_a_search_meets_each_once",
            "Who asks before the last one found, as long as there is more, has all in the end.",
            |stage| async move {
                let room = stage.open("lobby")?;
                for number in 1..=90 {
                    room.say(if number % 3 == 0 { "apple" } else { "pear" }).await?;
                }
                let (mut seen, mut before) = (Vec::new(), u64::MAX);
                loop {
                    let (found, more) = room.search("apple", 7, before).await?;
                    before = found.last().copied().unwrap_or(0);
                    seen.extend(found);
                    if !more {
                        break;
                    }
                    check(before > 0, "messages, where there is more", &seen)?;
                }
                same(&seen, &(1..=30).rev().map(|number| number * 3).collect())
            },
        )
        .needs(Ability::Search),
        case(
            "what_is_found_is_bounded_by_bytes",
            "What is found has `max_batch` bytes at most, or is one message that is longer.",
            |stage| async move {
                let room = stage.open("lobby")?;
                let max_batch = stage.limits().wire.max_batch_bytes;
                for size in [300, 300, 300, 300, 300, 3_000, 300] {
                    room.say(&format!("apple {}", "x".repeat(size))).await?;
                }
                let (mut seen, mut before) = (Vec::new(), u64::MAX);
                loop {
                    let found = room.try_search("apple", 100, before).await;
                    let found = found.map_err(|error| Failure::new("what was searched for", error))?;
                    let bytes: usize = found.messages.iter().map(|stored| stored.frame.len()).sum();
                    let fits = found.messages.len() == 1 || bytes <= max_batch;
                    check(fits && !found.messages.is_empty(), format!("{max_batch} bytes"), (bytes, &seen))?;
                    seen.extend(seqs(&found.messages));
                    before = seen.last().copied().unwrap_or(0);
                    if !found.more {
                        break;
                    }
                }
                same(&seen, &(1..=7).rev().collect())
            },
        )
        .with(|limits| limits.wire.max_batch_bytes = 1_500)
        .needs(Ability::Search),
        case(
            "what_is_found_is_what_was_told",
            "A message that is found is the bytes that the outlet was told.",
            |stage| async move {
                let room = stage.open("lobby")?;
                room.append(&ann(), Some("k"), r#"{ "text":"\u0061pple \u0000 1.50", "n": 1.50 }"#).await?;
                let found = room.try_search("apple", 9, u64::MAX).await;
                let found = found.map_err(|error| Failure::new("what was searched for", error))?;
                same(&found.messages, &room.told.all())
            },
        )
        .needs(Ability::Search),
        case(
            "a_message_is_found_as_soon_as_it_is_answered",
            "What an append has answered, the next search finds.",
            |stage| async move {
                let room = stage.open("lobby")?;
                for number in 1..=30 {
                    let word = format!("word{number}word");
                    let seq = room.say(&word).await?.seq;
                    same(&room.find(&word).await?, &vec![seq])?;
                }
                Ok(())
            },
        )
        .needs(Ability::Search),
        case("a_search_is_of_one_room", "Messages of other rooms are not found.", |stage| async move {
            let (lobby, hall) = (stage.open("lobby")?, stage.open("lobby-2")?);
            hall.say("apple").await?;
            lobby.say("pear").await?;
            hall.say("apple").await?;
            lobby.say("apple").await?;
            same(&lobby.find("apple").await?, &vec![2])?;
            same(&hall.find("apple").await?, &vec![2, 1])
        })
        .needs(Ability::Search),
        case(
            "names_and_numbers_of_the_log_are_not_text",
            "The words of the event itself, its room, user, type or `seq`, are not found.",
            |stage| async move {
                let room = stage.open("lobby")?;
                room.append(&super::guest("Zoe"), Some("kilo"), &body("hi")).await?;
                for query in ["zoe", "lobby", "kilo", "message", "seq", "text"] {
                    same(&room.find(query).await?, &vec![])?;
                }
                Ok(())
            },
        )
        .needs(Ability::Search),
        finds(
            "a_query_has_no_operators",
            "OR, NOT, NEAR and AND are words like any other.",
            &["an apple", "war or peace", "do not disturb"],
            &[
                ("apple OR pear", &[]),
                ("NOT pear", &[]),
                ("apple NOT pear", &[]),
                ("apple AND an", &[]),
                ("apple NEAR an", &[]),
                ("or", &[2]),
                ("NOT", &[3]),
            ],
        ),
        case(
            "hostile_queries_are_answered",
            "Quotes, wildcards, brackets, NULs and 256 bytes are found or a bad query, and the room goes on.",
            |stage| async move {
                let room = stage.open("lobby")?;
                room.say("an apple").await?;
                let long =
                    ["x".repeat(256), "안".repeat(85), "a ".repeat(128), "\"".repeat(256), "(".repeat(256)];
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
                    let found = room.try_search(query, 9, u64::MAX).await;
                    let answered = matches!(&found, Ok(_) | Err(SearchError::BadQuery));
                    check(answered, "found, or a bad query", (query, found))?;
                }
                same(&room.find("apple").await?, &vec![1])?;
                same(&room.say("more").await?.seq, &2)
            },
        )
        .needs(Ability::Search),
        finds(
            "punctuation_is_looked_for_as_it_is",
            "What is no letter is part of a word too.",
            &["price: 100%", "100 apples", "a_b", "it's \"quoted\"", "C++ and C#"],
            &[
                ("100%", &[1]),
                ("a_b", &[3]),
                ("it's", &[4]),
                ("\"quoted\"", &[4]),
                ("c++", &[5]),
                ("c#", &[5]),
            ],
        ),
        case(
            "what_has_gone_is_not_found",
            "A message that the log no longer holds is not found.",
            |stage| async move {
                let room = stage.open("lobby")?;
                for _ in 0..30 {
                    room.say("apple").await?;
                }
                super::retention::first_moves(&room).await?;
                let first = room.bounds().await?.first;
                same(&room.find("apple").await?, &(first..=30).rev().collect())
            },
        )
        .with(|limits| limits.rooms.log_messages = 5)
        .needs(Ability::Search)
        .needs(Ability::Retention),
    ];
    Group { name: "search", promise: "Search", cases }
}

/// A case of texts, and of queries with the messages that each finds.
fn finds(
    name: &'static str,
    statement: &'static str,
    texts: &'static [&'static str],
    queries: &'static [(&'static str, &'static [u64])],
) -> crate::Case {
    let finds = case(name, statement, move |stage| async move {
        let room = stage.open("lobby")?;
        for text in texts {
            room.say(text).await?;
        }
        for (query, expected) in queries {
            let found = room.find(query).await?;
            check(found == *expected, format!("for {query:?} the messages {}", expected.shown()), found)?;
        }
        Ok(())
    });
    finds.needs(Ability::Search)
}
