use chat_core::{Page, Range};

use super::{check, check_page, concurrently, same, seqs};
use crate::{Case, Failure, OpenRoom, Stage, Verdict};

chat_suite::cases!(
    /// Every page of an empty room is empty and has no more.
    async fn an_empty_room_has_empty_pages(stage: Stage, room: OpenRoom) -> Verdict {
        let epoch = room.bounds().await?.epoch;
        for seq in [0, 1, 2, 1 << 53, u64::MAX] {
            for range in [Range::Before { seq, limit: 5 }, Range::After { seq, limit: 5 }] {
                let nothing = Page::new(epoch.clone(), Vec::new());
                same(&room.read(range).await?, &nothing)?;
            }
        }
        Ok(())
    }

    /// `Before` reads the newest entries below each position, in pages of each size, oldest first.
    async fn before_is_correct_at_every_position(stage: Stage, room: OpenRoom) -> Verdict {
        room.say_all(7).await?;
        every_page(&room, |_, limit| Range::newest(limit), stage.limits().wire.max_batch_bytes).await?;
        every_page(&room, |seq, limit| Range::Before { seq, limit }, stage.limits().wire.max_batch_bytes)
            .await
    }

    /// `After` reads the oldest entries above each position, in pages of each size, oldest first.
    async fn after_is_correct_at_every_position(stage: Stage, room: OpenRoom) -> Verdict {
        room.say_all(7).await?;
        every_page(&room, |seq, limit| Range::After { seq, limit }, stage.limits().wire.max_batch_bytes).await
    }

    /// A page with a limit of 0 has at most one entry.
    async fn a_limit_of_0_is_no_error(stage: Stage, room: OpenRoom) -> Verdict {
        room.say_all(3).await?;
        for range in [Range::newest(0), Range::Before { seq: 9, limit: 0 }, Range::After { seq: 0, limit: 0 }]
        {
            let page = room.read(range).await?;
            check(page.messages.len() <= 1 && page.more, "at most one message, and more", page)?;
        }
        Ok(())
    }

    /// A page of several entries has at most `max_batch_bytes` bytes.
    #[with(limits(|limits| limits.wire.max_batch_bytes = 1_500))]
    async fn a_page_is_bounded_by_bytes(stage: Stage, room: OpenRoom) -> Verdict {
        for number in 0..24 {
            room.say(&"x".repeat(number * 53 % 400)).await?;
        }
        let log = room.reported(1..=24).await?;
        let max_batch = stage.limits().wire.max_batch_bytes;
        for seq in 0..=25 {
            let limit = usize::MAX;
            let back = check_page(&room, &log, Range::Before { seq, limit }, max_batch).await?;
            let on = check_page(&room, &log, Range::After { seq, limit }, max_batch).await?;
            check(back < 24 && on < 24, "a page with fewer than all entries", (back, on))?;
        }
        Ok(())
    }

    /// An entry of more than `max_batch_bytes` bytes is a page alone, in both directions.
    #[with(limits(|limits| limits.wire.max_batch_bytes = 1_500))]
    async fn an_entry_longer_than_a_page_is_a_page_alone(stage: Stage, room: OpenRoom) -> Verdict {
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
            same(&(seqs(&page.messages), page.more), &(vec![expected], more))?;
        }
        Ok(())
    }

    /// A reader that asks `Before` its first entry while there is more gets each entry once.
    #[with(limits(|limits| limits.wire.max_batch_bytes = 1_000))]
    async fn paging_back_returns_every_entry_once(stage: Stage, room: OpenRoom) -> Verdict {
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
            check(before > 0, "entries, as `more` is true", seqs(&seen))?;
        }
        same(&seqs(&seen), &(1..=60).collect())?;
        same(&seen, &room.reported(1..=60).await?)
    }

    /// A reader that reads on from its last entry during appends gets each entry once, in order.
    async fn reading_during_appends_skips_nothing(stage: Stage, room: OpenRoom) -> Verdict {
        let writing =
            tokio::spawn(concurrently(4, room.clone(), |room, _| async move { room.say_all(50).await }));
        let mut seen = Vec::new();
        while seen.len() < 200 {
            let after = seen.last().copied().unwrap_or(0);
            let page = room.read(Range::After { seq: after, limit: 9 }).await?;
            seen.extend(seqs(&page.messages));
            if page.messages.is_empty() {
                check(!page.more, "entries, as `more` is true", &page)?;
                let alive = !writing.is_finished() || room.bounds().await?.head > after;
                check(alive, "200 messages", seen.len())?;
                tokio::task::yield_now().await;
            }
        }
        writing.await.map_err(|panic| Failure::new("writers that do not fail", panic))??;
        same(&seen, &(1..=200).collect())
    }

    /// `After` a position beyond the head is empty, and `Before` it are the newest entries.
    async fn a_position_beyond_the_head_is_no_error(stage: Stage, room: OpenRoom) -> Verdict {
        room.say_all(3).await?;
        for seq in [3, 4, 1 << 53, u64::MAX] {
            let page = room.read(Range::After { seq, limit: 5 }).await?;
            same(&(seqs(&page.messages), page.more), &(vec![], false))?;
        }
        for seq in [4, 5, 1 << 53, u64::MAX] {
            let page = room.read(Range::Before { seq, limit: 2 }).await?;
            same(&(seqs(&page.messages), page.more), &(vec![2, 3], true))?;
        }
        Ok(())
    }
);

/// Checks all pages of a room with a few short messages. Each page has as many entries as were requested.
async fn every_page(room: &OpenRoom, range: impl Fn(u64, usize) -> Range, max_batch: usize) -> Verdict {
    let log = room.reported(1..=7).await?;
    for seq in (0..=9).chain([1 << 53, u64::MAX - 1, u64::MAX]) {
        for limit in [1, 2, 3, 6, 7, 8, 200, usize::MAX] {
            let range = range(seq, limit);
            let there = log.iter().filter(|stored| match range {
                Range::Before { .. } => stored.seq < seq,
                Range::After { .. } => stored.seq > seq,
                _ => true,
            });
            let expected = there.count().min(limit);
            let got = check_page(room, &log, range, max_batch).await?;
            check(got == expected, format!("{expected} entries for {range:?}"), got)?;
        }
    }
    Ok(())
}
