use chat_core::{Page, Range};

use super::{asked, at_once, check, check_page, same, seqs};
use crate::case::{Group, case};
use crate::shown::Part;
use crate::stage::Opened;
use crate::{Failure, Verdict};

/// Which part of the log a read returns.
pub(super) fn group() -> Group {
    let cases = vec![
        case(
            "an_empty_room_reads_as_nothing",
            "Whatever is asked of an empty room, there is nothing, and no more.",
            |stage| async move {
                let room = stage.open("lobby")?;
                let epoch = room.bounds().await?.epoch;
                for seq in [0, 1, 2, 1 << 53, u64::MAX] {
                    for range in [Range::Before { seq, limit: 5 }, Range::After { seq, limit: 5 }] {
                        let nothing = Page { epoch: epoch.clone(), messages: Vec::new(), more: false };
                        same(&room.read(range).await?, &nothing)?;
                    }
                }
                Ok(())
            },
        ),
        case(
            "before_is_right_at_every_position",
            "`Before` reads the newest below every position, in pages of every size, oldest first.",
            |stage| async move {
                let room = stage.open("lobby")?;
                room.say_all(7).await?;
                every_page(
                    &room,
                    |seq, limit| Range::Before { seq, limit },
                    stage.limits().wire.max_batch_bytes,
                )
                .await
            },
        ),
        case(
            "after_is_right_at_every_position",
            "`After` reads the oldest above every position, in pages of every size, oldest first.",
            |stage| async move {
                let room = stage.open("lobby")?;
                room.say_all(7).await?;
                every_page(
                    &room,
                    |seq, limit| Range::After { seq, limit },
                    stage.limits().wire.max_batch_bytes,
                )
                .await
            },
        ),
        case("a_limit_of_none_is_no_error", "A page of 0 messages has one at most.", |stage| async move {
            let room = stage.open("lobby")?;
            room.say_all(3).await?;
            for range in [Range::Before { seq: 9, limit: 0 }, Range::After { seq: 0, limit: 0 }] {
                let page = room.read(range).await?;
                check(page.messages.len() <= 1 && page.more, "at most one message, and more", page)?;
            }
            Ok(())
        }),
        case(
            "a_page_is_bounded_by_bytes",
            "The messages of a page have `max_batch` bytes at most, if they are several.",
            |stage| async move {
                let room = stage.open("lobby")?;
                for number in 0..24 {
                    room.say(&"x".repeat(number * 53 % 400)).await?;
                }
                let log = room.told.all();
                let max_batch = stage.limits().wire.max_batch_bytes;
                for seq in 0..=25 {
                    let limit = usize::MAX;
                    let back = check_page(&room, &log, Range::Before { seq, limit }, max_batch).await?;
                    let on = check_page(&room, &log, Range::After { seq, limit }, max_batch).await?;
                    check(back < 24 && on < 24, "less than all at once", (back, on))?;
                }
                Ok(())
            },
        )
        .with(|limits| limits.wire.max_batch_bytes = 1_500),
        case(
            "a_message_longer_than_a_page_comes_alone",
            "A message of more than `max_batch` bytes is a page by itself, from both sides.",
            |stage| async move {
                let room = stage.open("lobby")?;
                for text in ["short", &"x".repeat(3_000), "short", &"y".repeat(4_000)] {
                    room.say(text).await?;
                }
                for (range, expected, more) in [
                    (Range::After { seq: 1, limit: 9 }, 2, true),
                    (Range::Before { seq: 3, limit: 9 }, 2, true),
                    (Range::After { seq: 3, limit: 9 }, 4, false),
                    (Range::Before { seq: 9, limit: 9 }, 4, true),
                    (Range::After { seq: 0, limit: 9 }, 1, true),
                ] {
                    let page = room.read(range).await?;
                    same(&Part(seqs(&page.messages), page.more), &Part(vec![expected], more))?;
                }
                Ok(())
            },
        )
        .with(|limits| limits.wire.max_batch_bytes = 1_500),
        case(
            "paging_back_meets_every_message_once",
            "Who asks `Before` the first one it has, as long as there is more, has all in the end.",
            |stage| async move {
                let room = stage.open("lobby")?;
                for number in 1..=60 {
                    room.say(&"x".repeat(number * 31 % 300)).await?;
                }
                let (mut seen, mut before) = (Vec::new(), u64::MAX);
                loop {
                    let page = room.read(Range::Before { seq: before, limit: 7 }).await?;
                    before = page.messages.first().map_or(0, |first| first.seq);
                    seen.splice(0..0, page.messages);
                    if !page.more {
                        break;
                    }
                    check(before > 0, "messages, where there is more", seqs(&seen))?;
                }
                same(&seqs(&seen), &(1..=60).collect())?;
                same(&seen, &room.told.all())
            },
        )
        .with(|limits| limits.wire.max_batch_bytes = 1_000),
        case(
            "reading_on_while_others_write_misses_nothing",
            "Who reads on from its last message while others write meets every message once, in order.",
            |stage| async move {
                let room = stage.open("lobby")?;
                let writer = room.clone();
                let writing = tokio::spawn(at_once(4, move |_| {
                    let room = writer.clone();
                    async move { room.say_all(50).await }
                }));
                let mut seen = Vec::new();
                while seen.len() < 200 {
                    let after = seen.last().copied().unwrap_or(0);
                    let page = room.read(Range::After { seq: after, limit: 9 }).await?;
                    seen.extend(seqs(&page.messages));
                    if page.messages.is_empty() {
                        check(!page.more, "messages, where there is more", &page)?;
                        let alive = !writing.is_finished() || room.bounds().await?.head > after;
                        check(alive, "200 messages", seen.len())?;
                        tokio::task::yield_now().await;
                    }
                }
                writing.await.map_err(|panic| Failure::new("writers that end", panic))??;
                same(&seen, &(1..=200).collect())
            },
        ),
        case(
            "a_position_of_the_future_is_no_error",
            "`After` a position that is not reached there is nothing; `Before` it are the newest.",
            |stage| async move {
                let room = stage.open("lobby")?;
                room.say_all(3).await?;
                for seq in [3, 4, 1 << 53, u64::MAX] {
                    let page = room.read(Range::After { seq, limit: 5 }).await?;
                    same(&Part(seqs(&page.messages), page.more), &Part(vec![], false))?;
                }
                for seq in [4, 5, 1 << 53, u64::MAX] {
                    let page = room.read(Range::Before { seq, limit: 2 }).await?;
                    same(&Part(seqs(&page.messages), page.more), &Part(vec![2, 3], true))?;
                }
                Ok(())
            },
        ),
    ];
    Group { name: "pages", promise: "Pages", cases }
}

/// All pages of a room with a few short messages: each has as many as were asked for.
async fn every_page(room: &Opened, range: impl Fn(u64, usize) -> Range, max_batch: usize) -> Verdict {
    let log = room.told.all();
    for seq in (0..=9).chain([1 << 53, u64::MAX - 1, u64::MAX]) {
        for limit in [1, 2, 3, 6, 7, 8, 200, usize::MAX] {
            let range = range(seq, limit);
            let there = log.iter().filter(|stored| match range {
                Range::Before { .. } => stored.seq < seq,
                Range::After { .. } => stored.seq > seq,
            });
            let expected = there.count().min(limit);
            let got = check_page(room, &log, range, max_batch).await?;
            check(got == expected, format!("{expected} messages for {}", asked(range)), got)?;
        }
    }
    Ok(())
}
