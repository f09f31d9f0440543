use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chat_core::Range;
use tokio::task::yield_now;
use tokio::time::Instant;

use super::{ann, body, check, concurrently, same};
use crate::{Case, Failure, OpenRoom, Stage, TIME_LIMIT, Verdict};

chat_suite::cases!(
    /// A room without entries has head 0, first 1 and an epoch.
    async fn an_empty_room_has_head_0_and_first_1(stage: Stage) -> Verdict {
        let bounds = stage.open("lobby").await?.bounds().await?;
        same(&(bounds.head, bounds.first), &(0, 1))?;
        check(!bounds.epoch.is_empty(), "an epoch", bounds)
    }

    /// After each append the head is its `seq`, and first does not move.
    async fn the_head_is_the_newest_seq(stage: Stage, room: OpenRoom) -> Verdict {
        for _ in 0..5 {
            let seq = room.say("hi").await?.seq;
            let bounds = room.bounds().await?;
            same(&(bounds.head, bounds.first), &(seq, 1))?;
        }
        Ok(())
    }

    /// All bounds and pages of an open room have the same epoch.
    async fn the_epoch_stays_while_the_room_is_open(stage: Stage, room: OpenRoom) -> Verdict {
        let epoch = room.bounds().await?.epoch;
        for _ in 0..3 {
            room.say("hi").await?;
            same(&room.bounds().await?.epoch, &epoch)?;
            same(&room.read(Range::After { seq: 0, limit: 9 }).await?.epoch, &epoch)?;
            same(&room.read(Range::Before { seq: 1, limit: 9 }).await?.epoch, &epoch)?;
        }
        Ok(())
    }

    /// A room that is only read and searched stays empty and keeps its epoch.
    async fn reading_changes_nothing(stage: Stage, room: OpenRoom) -> Verdict {
        let before = room.bounds().await?;
        room.read(Range::After { seq: 0, limit: 9 }).await?;
        room.read(Range::newest(9)).await?;
        let _found = room.try_search("hi", 9, None).await;
        same(&room.bounds().await?, &before)?;
        same(&room.say("hi").await?.seq, &1)
    }

    /// Bounds that a log tells without a call are its bounds, once the sink has heard of the entries.
    async fn known_bounds_have_what_was_reported(stage: Stage, room: OpenRoom) -> Verdict {
        for _ in 0..5 {
            let seq = room.say("hi").await?.seq;
            room.reported(1..=seq).await?;
            if let Some(known) = room.known_bounds() {
                same(&known, &room.bounds().await?)?;
            }
        }
        Ok(())
    }

    /// A repeat or a conflict does not move the head.
    async fn repeats_and_conflicts_do_not_move_the_head(stage: Stage, room: OpenRoom) -> Verdict {
        room.append(&ann(), Some("k"), &body("hi")).await?;
        let before = room.bounds().await?;
        room.repeat(&ann(), "k", &body("hi")).await?;
        let _conflict = room.try_append(&ann(), Some("k"), &body("ho")).await?;
        same(&room.bounds().await?, &before)?;
        same(&room.say("more").await?.seq, &2)
    }

    /// An epoch has 1 to 64 bytes of printable ASCII.
    async fn an_epoch_is_short_printable_ascii(stage: Stage) -> Verdict {
        let epoch = stage.open("lobby").await?.bounds().await?.epoch;
        let fits = (1..=64).contains(&epoch.len()) && epoch.bytes().all(|byte| byte.is_ascii_graphic());
        check(fits, "1 to 64 printable characters", epoch)
    }

    /// The head is never below a `seq` that an answer or a report has named, and neither head nor first goes back.
    async fn bounds_never_go_back(stage: Stage, room: OpenRoom) -> Verdict {
        let answered = Arc::new(AtomicU64::new(0));
        let shared = (room.clone(), Arc::clone(&answered));
        let writing = tokio::spawn(concurrently(4, shared, |(room, answered), _| async move {
            append_and_check(&room, &room, &answered, 50).await
        }));
        check_bounds(&room, &answered, 200).await?;
        writing.await.map_err(|panic| Failure::new("writers that do not fail", panic))?
    }
);

/// Appends messages. After each answer the head that `reader` gets is not below it.
pub(super) async fn append_and_check(
    writer: &OpenRoom,
    reader: &OpenRoom,
    answered: &AtomicU64,
    count: usize,
) -> Verdict {
    for _ in 0..count {
        let seq = writer.say("hi").await?.seq;
        answered.fetch_max(seq, Ordering::SeqCst);
        let bounds = reader.bounds().await?;
        check(bounds.head >= seq, format!("a head of {seq} or more"), &bounds)?;
    }
    Ok(())
}

/// Reads the bounds until the head is `end`. No head is below what was answered or reported before, and first does not
/// go back.
pub(super) async fn check_bounds(room: &OpenRoom, answered: &AtomicU64, end: u64) -> Verdict {
    let (mut head, mut first) = (0, 0);
    let until = Instant::now() + TIME_LIMIT;
    while head < end {
        let named = head.max(answered.load(Ordering::SeqCst)).max(room.reports.head());
        let bounds = room.bounds().await?;
        let holds = bounds.head >= named && bounds.first >= first;
        check(holds, format!("a head of {named} or more and a first of {first} or more"), &bounds)?;
        check(Instant::now() < until, format!("a head of {end} within {TIME_LIMIT:?}"), &bounds)?;
        (head, first) = (bounds.head, bounds.first);
        yield_now().await;
    }
    Ok(())
}
