use chat_core::{ErrorCode, LogBounds};
use chat_proto::command::JoinFrom;
use chat_proto::{Gap, resume};

use super::{check, same, seqs};
use crate::case::{Group, case};
use crate::{Failure, Stage};

/// What a member gets who comes back, as the protocol decides it from what the room says.
pub(super) fn group() -> Group {
    let cases = vec![
        case(
            "a_resume_at_every_position_gets_exactly_the_rest",
            "Whatever a member last saw, it gets what comes after that, and all of it.",
            |stage| async move {
                let room = stage.open("lobby")?;
                room.say_all(12).await?;
                let bounds = room.bounds().await?;
                for seq in 0..=12 {
                    let after = resumed(&stage, &bounds, seq)?;
                    same(&seqs(&room.read_after(after).await?), &(seq + 1..=12).collect())?;
                }
                Ok(())
            },
        ),
        case(
            "a_position_that_is_not_reached_is_refused",
            "A position beyond the head was never given out in this epoch.",
            |stage| async move {
                let room = stage.open("lobby")?;
                for head in 0..3 {
                    let bounds = room.bounds().await?;
                    let from = JoinFrom::After { epoch: bounds.epoch.clone(), seq: head + 1 };
                    same(&resume(&from, &bounds, stage.limits()).err(), &Some(ErrorCode::BadCursor))?;
                    room.say("hi").await?;
                }
                Ok(())
            },
        ),
        case(
            "a_member_of_another_room_is_not_taken_for_one_of_this",
            "A position that was seen in another room recovers nothing here.",
            |stage| async move {
                let (lobby, hall) = (stage.open("lobby")?, stage.open("hall")?);
                lobby.say_all(3).await?;
                hall.say_all(3).await?;
                let seen = lobby.bounds().await?;
                let from = JoinFrom::After { epoch: seen.epoch, seq: 2 };
                let resumption = resume(&from, &hall.bounds().await?, stage.limits());
                let resumption = resumption.map_err(|error| Failure::new("a resumption", error))?;
                check(!resumption.recovered, "nothing recovered", resumption)
            },
        ),
        case(
            "a_join_while_others_write_misses_nothing",
            "What a member reads up to the head, and what the outlet tells beyond it, is everything.",
            |stage| async move {
                let room = stage.open("lobby")?;
                let writer = room.clone();
                let writing = tokio::spawn(async move { writer.say_all(150).await });
                let mut reached = 0;
                while reached < 150 {
                    let bounds = room.bounds().await?;
                    check(bounds.head >= reached, format!("a head of {reached} or more"), &bounds)?;
                    reached = bounds.head;
                    let read = seqs(&room.read_after(0).await?);
                    let whole =
                        read == (1..=read.len() as u64).collect::<Vec<_>>() && read.len() as u64 >= reached;
                    check(whole, format!("1 to {reached} at least"), read)?;
                    let dead = writing.is_finished() && room.bounds().await?.head < 150;
                    check(!dead, "150 messages", reached)?;
                }
                writing.await.map_err(|panic| Failure::new("a writer that ends", panic))??;
                same(&room.told.seqs(), &(1..=150).collect())
            },
        ),
        case(
            "a_hole_is_told_where_the_log_no_longer_reaches_back",
            "A member that was away for too long is told exactly which messages are gone.",
            |stage| async move {
                let room = stage.open("lobby")?;
                room.say_all(30).await?;
                super::retention::first_moves(&room).await?;
                let bounds = room.bounds().await?;
                let from = JoinFrom::After { epoch: bounds.epoch.clone(), seq: 1 };
                let resumption = resume(&from, &bounds, stage.limits());
                let resumption = resumption.map_err(|error| Failure::new("a resumption", error))?;
                let gap = Gap { from: 2, to: resumption.after };
                same(&(resumption.recovered, resumption.gap), &(false, Some(gap)))?;
                let rest = seqs(&room.read_after(resumption.after).await?);
                same(&rest, &(resumption.after + 1..=30).collect())
            },
        )
        .with(|limits| limits.rooms.log_messages = 5)
        .needs(crate::Ability::Retention),
    ];
    Group { name: "resume", promise: "Pages", cases }
}

/// Where a member goes on that has seen `seq` and misses nothing.
pub(super) fn resumed(stage: &Stage, bounds: &LogBounds, seq: u64) -> Result<u64, Failure> {
    let from = JoinFrom::After { epoch: bounds.epoch.clone(), seq };
    let resumption = resume(&from, bounds, stage.limits());
    let resumption = resumption.map_err(|error| Failure::new("a resumption", error))?;
    check(resumption.recovered && resumption.gap.is_none(), "all recovered", &resumption)?;
    Ok(resumption.after)
}
