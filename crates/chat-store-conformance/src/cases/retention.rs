use chat_core::Range;

use super::changes::react;
use super::{ann, body, check, eventually, same, seqs};
use crate::{Capability, Case, OpenRoom, Stage, Verdict};

/// The number of messages that the rooms of these cases keep.
const KEPT: u64 = 5;

chat_suite::cases!(
    /// After old entries are removed, first is the oldest one that is left, and head is the same.
    #[with(limits(|limits| limits.rooms.log_messages = 5))]
    async fn first_moves_and_head_stays(stage: Stage, room: OpenRoom) -> Verdict {
        room.say_all(30).await?;
        first_moves(&room).await?;
        while_it_stays(&room, async |first| {
            same(&room.bounds().await?.head, &30)?;
            same(&seqs(&room.read_after(0).await?), &(first..=30).collect())
        })
        .await
    }

    /// The newest `log_messages` messages stay, whatever the number of entries was.
    #[with(limits(|limits| limits.rooms.log_messages = 5))]
    async fn the_newest_entries_stay(stage: Stage, room: OpenRoom) -> Verdict {
        for round in 1..=6 {
            room.say_all(10).await?;
            let head = round * 10;
            let read = seqs(&room.read_after(0).await?);
            let newest: Vec<_> = (head - KEPT + 1..=head).collect();
            check(read.ends_with(&newest), format!("at least {newest:?}"), read)?;
        }
        first_moves(&room).await
    }

    /// Changes of messages remove no message, as long as there are at most 4 changes for each.
    #[with(limits(|limits| limits.rooms.log_messages = 5))]
    #[with(needs(Capability::Changes))]
    async fn changes_do_not_count_as_messages(stage: Stage, room: OpenRoom) -> Verdict {
        room.say_all(5).await?;
        for n in 0..20 {
            room.change(react(&ann(), 1, n % 2 == 0)).await?;
        }
        same(&seqs(&room.read_after(0).await?), &(1..=KEPT).collect())?;
        same(&room.bounds().await?.first, &1)
    }

    /// A `seq` is never given out again after its entry was removed.
    #[with(limits(|limits| limits.rooms.log_messages = 5))]
    async fn numbers_continue_after_removal(stage: Stage, room: OpenRoom) -> Verdict {
        room.say_all(20).await?;
        first_moves(&room).await?;
        same(&room.say("more").await?.seq, &21)?;
        room.check_reports(1..=21).await
    }

    /// Pages from before first begin at first, and back from first there is nothing and no more.
    #[with(limits(|limits| limits.rooms.log_messages = 5))]
    async fn removed_entries_are_not_read(stage: Stage, room: OpenRoom) -> Verdict {
        room.say_all(30).await?;
        first_moves(&room).await?;
        while_it_stays(&room, async |first| {
            for seq in 0..first {
                let page = room.read(Range::After { seq, limit: 2 }).await?;
                same(&(seqs(&page.messages), page.more), &(vec![first, first + 1], true))?;
            }
            for seq in 0..=first {
                let page = room.read(Range::Before { seq, limit: 2 }).await?;
                same(&(seqs(&page.messages), page.more), &(vec![], false))?;
            }
            let page = room.read(Range::Before { seq: first + 2, limit: 2 }).await?;
            same(&(seqs(&page.messages), page.more), &(vec![first, first + 1], false))
        })
        .await
    }

    /// A repeat of a message whose entry was removed answers its `seq`, and stores nothing.
    #[with(limits(|limits| limits.rooms.log_messages = 5))]
    async fn a_key_outlives_its_entry(stage: Stage, room: OpenRoom) -> Verdict {
        room.append(&ann(), Some("k"), &body("hi")).await?;
        room.say_all(30).await?;
        first_moves(&room).await?;
        same(&room.repeat(&ann(), "k", &body("hi")).await?.seq, &1)?;
        same(&room.bounds().await?.head, &31)
    }
);

/// Waits until old entries are removed.
pub(super) async fn first_moves(room: &OpenRoom) -> Verdict {
    eventually("old entries are removed", || async { Ok(room.bounds().await?.first > 1) }).await
}

/// Checks a room with the value of first, and again if first moved during the check.
pub(super) async fn while_it_stays(room: &OpenRoom, look: impl AsyncFn(u64) -> Verdict) -> Verdict {
    let mut first = room.bounds().await?.first;
    loop {
        let verdict = look(first).await;
        let now = room.bounds().await?.first;
        if now <= first {
            return verdict;
        }
        first = now;
    }
}
