use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chat_core::{StoredMessage, User};
use serde_json::json;

use super::{ann, body, check, concurrently, event, guest, same, seqs};
use crate::{Case, Failure, OpenRoom, Stage, Verdict};

/// The largest difference between the clocks of a store and of this machine.
const SKEW: Duration = Duration::from_secs(60);

chat_suite::cases!(
    /// The first message gets `seq` 1, the next one 2, and so on.
    async fn messages_are_numbered_from_one(stage: Stage, room: OpenRoom) -> Verdict {
        for seq in 1..=5 {
            same(&room.say("hi").await?.seq, &seq)?;
        }
        same(&seqs(&room.read_after(0).await?), &(1..=5).collect())
    }

    /// Eight concurrent writers get the numbers 1 to 200, each once.
    async fn concurrent_appends_leave_no_hole(stage: Stage, room: OpenRoom) -> Verdict {
        concurrently(8, room.clone(), |room, _| async move { room.say_all(25).await }).await?;
        same(&seqs(&room.read_after(0).await?), &(1..=200).collect())
    }

    /// The entry at the `seq` that an append answers is the message of that append.
    async fn an_answered_seq_holds_the_appended_message(stage: Stage, room: OpenRoom) -> Verdict {
        concurrently(6, room.clone(), |room, number| async move {
            for turn in 0..15 {
                let text = format!("{number} {turn}");
                let seq = room.say(&text).await?.seq;
                let mine = room.read_after(seq - 1).await?;
                let mine = mine.first().ok_or_else(|| Failure::new(&text, "nothing"))?;
                same(&event(mine)?["body"]["text"], &json!(text))?;
            }
            Ok(())
        })
        .await
    }

    /// An append that starts after another one was answered gets a higher `seq`, whatever other writers do.
    async fn sequential_appends_get_increasing_seqs(stage: Stage, room: OpenRoom) -> Verdict {
        concurrently(6, room, |room, number| async move {
            let (user, mut last) = (guest(&format!("writer-{number}")), 0);
            for _ in 0..20 {
                let seq = room.append(&user, None, &body("hi")).await?.seq;
                check(seq > last, format!("a `seq` above {last}"), seq)?;
                last = seq;
            }
            Ok(())
        })
        .await
    }

    /// Messages whose appends are polled in an order are committed in this order, if the store says so.
    async fn messages_in_flight_keep_their_order(stage: Stage, room: OpenRoom) -> Verdict {
        if !stage.store(0)?.keeps_order() {
            return Ok(());
        }
        concurrently(2, room, |room, number| async move {
            for _ in 0..10 {
                let receipts = room.append_together(&guest(&format!("writer-{number}")), 32).await?;
                let seqs: Vec<u64> = receipts.iter().map(|receipt| receipt.seq).collect();
                check(seqs.is_sorted_by(|earlier, later| earlier < later), "increasing numbers", seqs)?;
            }
            Ok(())
        })
        .await
    }

    /// The frame is the `message` event with room, seq, user, at, key and body, and nothing else.
    async fn a_frame_has_all_fields_of_the_message(stage: Stage) -> Verdict {
        let room = stage.open("로비").await?;
        let clerk = User::new("service:7", "The Clerk").map_err(|error| Failure::new("a user", error))?;
        let at = room.append(&clerk, Some("k-1"), r#"{"text":"hi"}"#).await?.at;
        let expected = json!({"type": "message", "room": "로비", "seq": 1,
                    "user": {"id": "service:7", "name": "The Clerk"}, "at": at, "key": "k-1", "body": {"text": "hi"}});
        let stored = room.read_after(0).await?;
        same(&stored.first().map(event).transpose()?, &Some(expected))
    }

    /// A message without a key has no `key` field, not an empty one.
    async fn a_message_without_a_key_has_no_key_field(stage: Stage, room: OpenRoom) -> Verdict {
        let at = room.say("hi").await?.at;
        let expected = json!({"type": "message", "room": "lobby", "seq": 1,
                    "user": {"id": "Ann", "name": "Ann"}, "at": at, "body": {"text": "hi"}});
        let stored = room.read_after(0).await?;
        same(&stored.first().map(event).transpose()?, &Some(expected))
    }

    /// `at` is the time of the append in milliseconds since 1970, in the answer and in the frame.
    async fn at_is_the_time_of_the_append(stage: Stage, room: OpenRoom) -> Verdict {
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
    }

    /// The times of entries never decrease in the order of their `seq`.
    async fn times_never_decrease(stage: Stage, room: OpenRoom) -> Verdict {
        concurrently(6, room.clone(), |room, _| async move { room.say_all(25).await }).await?;
        check_times(&room.read_after(0).await?)
    }
);

/// Checks that no entry is older than the one before it.
pub(super) fn check_times(entries: &[StoredMessage]) -> Verdict {
    let mut last = 0;
    for stored in entries {
        let at = event(stored)?["at"].as_u64().unwrap_or_default();
        check(at >= last, format!("a time of {last} or later for the entry {}", stored.seq), at)?;
        last = at;
    }
    Ok(())
}
