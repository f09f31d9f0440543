use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chat_core::User;
use serde_json::json;

use super::{ann, at_once, body, check, event, guest, same, seqs};
use crate::Failure;
use crate::case::{Group, case};

/// How far the clocks of a store and of this machine may be apart.
const SKEW: Duration = Duration::from_secs(60);

/// What an append gives a message: its place and its time.
pub(super) fn group() -> Group {
    let cases = vec![
        case(
            "messages_are_numbered_from_one",
            "The first message is 1, the next 2, and so on.",
            |stage| async move {
                let room = stage.open("lobby")?;
                for seq in 1..=5 {
                    same(&room.say("hi").await?.seq, &seq)?;
                }
                same(&seqs(&room.read_after(0).await?), &(1..=5).collect())
            },
        ),
        case(
            "concurrent_appends_leave_no_hole",
            "Eight writers at once get 1 to 200 among them, each number once.",
            |stage| async move {
                let room = stage.open("lobby")?;
                let writer = room.clone();
                at_once(8, move |_| {
                    let room = writer.clone();
                    async move { room.say_all(25).await }
                })
                .await?;
                same(&seqs(&room.read_after(0).await?), &(1..=200).collect())
            },
        ),
        case(
            "every_answer_is_the_message_that_was_sent",
            "Under each `seq` that an append answered stands the message of that append.",
            |stage| async move {
                let room = stage.open("lobby")?;
                let writer = room.clone();
                at_once(6, move |number| {
                    let room = writer.clone();
                    async move {
                        for turn in 0..15 {
                            let text = format!("{number} {turn}");
                            let seq = room.say(&text).await?.seq;
                            let mine = room.read_after(seq - 1).await?;
                            let mine = mine.first().ok_or_else(|| Failure::new(&text, "nothing"))?;
                            same(&event(mine)?["body"]["text"], &json!(text))?;
                        }
                        Ok(())
                    }
                })
                .await
            },
        ),
        case(
            "a_writers_messages_keep_their_order",
            "What one writer appends after another answer gets a higher `seq`, whoever else writes.",
            |stage| async move {
                let room = stage.open("lobby")?;
                at_once(6, move |number| {
                    let room = room.clone();
                    async move {
                        let (user, mut last) = (guest(&format!("writer-{number}")), 0);
                        for _ in 0..20 {
                            let seq = room.append(&user, None, &body("hi")).await?.seq;
                            check(seq > last, format!("a `seq` above {last}"), seq)?;
                            last = seq;
                        }
                        Ok(())
                    }
                })
                .await
            },
        ),
        case(
            "a_message_says_who_what_and_when",
            "The frame is the `message` event: room, seq, user, at, key and body, and nothing else.",
            |stage| async move {
                let room = stage.open("로비")?;
                let clerk =
                    User::new("service:7", "The Clerk").map_err(|error| Failure::new("a user", error))?;
                let at = room.append(&clerk, Some("k-1"), r#"{"text":"hi"}"#).await?.at;
                let expected = json!({"type": "message", "room": "로비", "seq": 1,
                    "user": {"id": "service:7", "name": "The Clerk"}, "at": at, "key": "k-1", "body": {"text": "hi"}});
                let stored = room.read_after(0).await?;
                same(&stored.first().map(event).transpose()?, &Some(expected))
            },
        ),
        case(
            "a_message_without_a_key_has_none",
            "A message that was sent without a key has no `key`, not an empty one.",
            |stage| async move {
                let room = stage.open("lobby")?;
                let at = room.say("hi").await?.at;
                let expected = json!({"type": "message", "room": "lobby", "seq": 1,
                    "user": {"id": "Ann", "name": "Ann"}, "at": at, "body": {"text": "hi"}});
                let stored = room.read_after(0).await?;
                same(&stored.first().map(event).transpose()?, &Some(expected))
            },
        ),
        case(
            "a_message_is_of_now",
            "`at` is the time of the append in milliseconds since 1970, and the same in answer and message.",
            |stage| async move {
                let room = stage.open("lobby")?;
                let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                let before = now().saturating_sub(SKEW).as_millis();
                let appended = room.append(&ann(), Some("k"), &body("hi")).await?;
                let after = (now() + SKEW).as_millis();
                let at = u128::from(appended.at);
                check((before..=after).contains(&at), format!("a time from {before} to {after}"), at)?;
                let stored = room.read_after(0).await?;
                same(
                    &stored.first().map(event).transpose()?.map(|event| event["at"].clone()),
                    &Some(json!(appended.at)),
                )
            },
        ),
    ];
    Group { name: "numbers", promise: "Numbers", cases }
}
