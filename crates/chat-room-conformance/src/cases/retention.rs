use chat_core::Range;

use super::{ann, body, check, eventually, same, seqs};
use crate::case::{Group, case};
use crate::shown::{Part, Shown};
use crate::stage::Opened;
use crate::{Ability, Case, Verdict};

/// How many messages the rooms of these cases keep.
const KEPT: u64 = 5;

/// What becomes of old messages.
pub(super) fn group() -> Group {
    let cases = vec![
        case(
            "first_moves_and_head_stays",
            "When old messages go, first is the oldest that is left, and head the newest as before.",
            |stage| async move {
                let room = stage.open("lobby")?;
                room.say_all(30).await?;
                first_moves(&room).await?;
                while_it_stays(&room, async |first| {
                    same(&room.bounds().await?.head, &30)?;
                    same(&seqs(&room.read_after(0).await?), &(first..=30).collect())
                })
                .await
            },
        ),
        case(
            "the_newest_stay",
            "As many messages as `log_messages` says stay, however many there were.",
            |stage| async move {
                let room = stage.open("lobby")?;
                for round in 1..=6 {
                    room.say_all(10).await?;
                    let head = round * 10;
                    let read = seqs(&room.read_after(0).await?);
                    let newest: Vec<_> = (head - KEPT + 1..=head).collect();
                    check(read.ends_with(&newest), format!("at least {}", newest.shown()), read)?;
                }
                first_moves(&room).await
            },
        ),
        case(
            "numbers_go_on_when_all_that_is_old_has_gone",
            "A number is never given out again, whatever has gone.",
            |stage| async move {
                let room = stage.open("lobby")?;
                room.say_all(20).await?;
                first_moves(&room).await?;
                same(&room.say("more").await?.seq, &21)?;
                same(&room.told.seqs(), &(1..=21).collect())
            },
        ),
        case(
            "what_has_gone_is_not_read",
            "Pages from before first on begin at first, and back from first there is nothing, and no more.",
            |stage| async move {
                let room = stage.open("lobby")?;
                room.say_all(30).await?;
                first_moves(&room).await?;
                while_it_stays(&room, async |first| {
                    for seq in 0..first {
                        let page = room.read(Range::After { seq, limit: 2 }).await?;
                        same(&Part(seqs(&page.messages), page.more), &Part(vec![first, first + 1], true))?;
                    }
                    for seq in 0..=first {
                        let page = room.read(Range::Before { seq, limit: 2 }).await?;
                        same(&Part(seqs(&page.messages), page.more), &Part(vec![], false))?;
                    }
                    let page = room.read(Range::Before { seq: first + 2, limit: 2 }).await?;
                    same(&Part(seqs(&page.messages), page.more), &Part(vec![first, first + 1], false))
                })
                .await
            },
        ),
        case(
            "a_key_outlives_its_message",
            "A repeat of a message that has gone answers its `seq`, and stores nothing.",
            |stage| async move {
                let room = stage.open("lobby")?;
                room.append(&ann(), Some("k"), &body("hi")).await?;
                room.say_all(30).await?;
                first_moves(&room).await?;
                same(&room.repeat(&ann(), "k", &body("hi")).await?.seq, &1)?;
                same(&room.bounds().await?.head, &31)
            },
        ),
    ];
    Group { name: "retention", promise: "Retention", cases: cases.into_iter().map(few).collect() }
}

fn few(case: Case) -> Case {
    case.with(|limits| limits.rooms.log_messages = 5).needs(Ability::Retention)
}

/// Waits until old messages have gone.
pub(super) async fn first_moves(room: &Opened) -> Verdict {
    eventually("old messages gone", || async { Ok(room.bounds().await?.first > 1) }).await
}

/// Looks at a room again and again until first has not moved meanwhile.
async fn while_it_stays(room: &Opened, look: impl AsyncFn(u64) -> Verdict) -> Verdict {
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
