use super::{ann, check, same, seqs};
use crate::{Capability, Case, Failure, OpenRoom, Stage, Verdict};

chat_suite::cases!(
    /// A page has at most `limit` matches below `before`, and `more` is true if there are older ones.
    async fn limit_and_before_select_a_page(stage: Stage, room: OpenRoom) -> Verdict {
        for text in ["apple", "apple", "pear", "apple", "apple", "pear"] {
            room.say(text).await?;
        }
        for (limit, before, expected, more) in [
            (2, None, vec![5, 4], true),
            (2, Some(4), vec![2, 1], false),
            (1, Some(4), vec![2], true),
            (2, Some(5), vec![4, 2], true),
            (4, None, vec![5, 4, 2, 1], false),
            (5, Some(u64::MAX), vec![5, 4, 2, 1], false),
            (3, Some(6), vec![5, 4, 2], true),
            (9, Some(1 << 53), vec![5, 4, 2, 1], false),
            (9, Some(1), vec![], false),
            (9, Some(0), vec![], false),
        ] {
            let (found, found_more) = room.search("apple", limit, before).await?;
            same(&(found, found_more), &(expected, more))?;
        }
        Ok(())
    }

    /// A reader that asks before the last match while there is more gets each match once.
    async fn paging_returns_every_match_once(stage: Stage, room: OpenRoom) -> Verdict {
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
            check(before > 0, "entries, as `more` is true", &seen)?;
        }
        same(&seen, &(1..=30).rev().map(|number| number * 3).collect())
    }

    /// The matches of a page have at most `max_batch_bytes` bytes, or are one longer entry.
    #[with(limits(|limits| limits.wire.max_batch_bytes = 1_500))]
    async fn a_result_is_bounded_by_bytes(stage: Stage, room: OpenRoom) -> Verdict {
        let max_batch = stage.limits().wire.max_batch_bytes;
        for size in [300, 300, 300, 300, 300, 3_000, 300] {
            room.say(&format!("apple {}", "x".repeat(size))).await?;
        }
        let (mut seen, mut before) = (Vec::new(), u64::MAX);
        loop {
            let found = room.try_search("apple", 100, before).await;
            let found = found.map_err(|error| Failure::new("a page of matches", error))?;
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
    }

    /// An entry that is found has the same bytes as in the report.
    async fn a_found_entry_is_the_reported_entry(stage: Stage, room: OpenRoom) -> Verdict {
        room.append(&ann(), Some("k"), r#"{ "text":"\u0061pple \u0000 1.50", "n": 1.50 }"#).await?;
        let found = room.try_search("apple", 9, None).await;
        let found = found.map_err(|error| Failure::new("a page of matches", error))?;
        same(&found.messages, &room.reported(1..=1).await?)
    }

    /// The search after an append finds the appended message.
    async fn an_answered_message_is_found_at_once(stage: Stage, room: OpenRoom) -> Verdict {
        for number in 1..=30 {
            let word = format!("word{number}word");
            let seq = room.say(&word).await?.seq;
            same(&room.find(&word).await?, &vec![seq])?;
        }
        Ok(())
    }

    /// Messages of other rooms are not found.
    async fn a_search_covers_one_room(stage: Stage) -> Verdict {
        let (lobby, hall) = (stage.open("lobby").await?, stage.open("lobby-2").await?);
        hall.say("apple").await?;
        lobby.say("pear").await?;
        hall.say("apple").await?;
        lobby.say("apple").await?;
        same(&lobby.find("apple").await?, &vec![2])?;
        same(&hall.find("apple").await?, &vec![2, 1])
    }

    /// A message that the log no longer holds is not found.
    #[with(limits(|limits| limits.rooms.log_messages = 5))]
    #[with(needs(Capability::Retention))]
    async fn removed_entries_are_not_found(stage: Stage, room: OpenRoom) -> Verdict {
        for _ in 0..30 {
            room.say("apple").await?;
        }
        super::retention::first_moves(&room).await?;
        super::retention::while_it_stays(&room, async |first| {
            same(&room.find("apple").await?, &(first..=30).rev().collect())
        })
        .await
    }
);
