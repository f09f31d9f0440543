use chat_core::Range;

use super::{ann, body, check, same};
use crate::case::{Group, case};

/// How far the log says that it reaches.
pub(super) fn group() -> Group {
    let cases = vec![
        case(
            "an_empty_room_stands_at_nothing",
            "A room in which nothing was written has head 0, first 1 and an epoch.",
            |stage| async move {
                let bounds = stage.open("lobby")?.bounds().await?;
                same(&(bounds.head, bounds.first), &(0, 1))?;
                check(!bounds.epoch.is_empty(), "an epoch", bounds)
            },
        ),
        case(
            "the_head_is_the_newest_message",
            "After each append the head is its `seq`, and first stays where it is.",
            |stage| async move {
                let room = stage.open("lobby")?;
                for _ in 0..5 {
                    let seq = room.say("hi").await?.seq;
                    let bounds = room.bounds().await?;
                    same(&(bounds.head, bounds.first), &(seq, 1))?;
                }
                Ok(())
            },
        ),
        case(
            "the_epoch_stays_while_the_room_is_open",
            "Every bounds and every page of an open room names the same epoch.",
            |stage| async move {
                let room = stage.open("lobby")?;
                let epoch = room.bounds().await?.epoch;
                for _ in 0..3 {
                    room.say("hi").await?;
                    same(&room.bounds().await?.epoch, &epoch)?;
                    same(&room.read(Range::After { seq: 0, limit: 9 }).await?.epoch, &epoch)?;
                    same(&room.read(Range::Before { seq: 1, limit: 9 }).await?.epoch, &epoch)?;
                }
                Ok(())
            },
        ),
        case(
            "asking_changes_nothing",
            "A room that is only read, asked and searched stays empty, and keeps its epoch.",
            |stage| async move {
                let room = stage.open("lobby")?;
                let before = room.bounds().await?;
                room.read(Range::After { seq: 0, limit: 9 }).await?;
                room.read(Range::Before { seq: u64::MAX, limit: 9 }).await?;
                let _found = room.try_search("hi", 9, u64::MAX).await;
                same(&room.bounds().await?, &before)?;
                same(&room.say("hi").await?.seq, &1)
            },
        ),
        case(
            "what_is_refused_moves_nothing",
            "Neither a repeat nor a conflict moves the head.",
            |stage| async move {
                let room = stage.open("lobby")?;
                room.append(&ann(), Some("k"), &body("hi")).await?;
                let before = room.bounds().await?;
                room.repeat(&ann(), "k", &body("hi")).await?;
                let _conflict = room.try_append(&ann(), Some("k"), &body("ho")).await?;
                same(&room.bounds().await?, &before)?;
                same(&room.say("more").await?.seq, &2)
            },
        ),
        case(
            "an_epoch_can_be_told_to_a_client",
            "An epoch has 1 to 64 bytes of printable ASCII.",
            |stage| async move {
                let epoch = stage.open("lobby")?.bounds().await?.epoch;
                let fits =
                    (1..=64).contains(&epoch.len()) && epoch.bytes().all(|byte| byte.is_ascii_graphic());
                check(fits, "1 to 64 printable characters", epoch)
            },
        ),
    ];
    Group { name: "standing", promise: "Numbers", cases }
}
