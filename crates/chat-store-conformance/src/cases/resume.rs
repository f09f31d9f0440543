use chat_core::{JoinError, LogBounds};
use chat_proto::command::JoinFrom;
use chat_proto::{Gap, resume};

use super::retention::{first_moves, while_it_stays};
use super::{check, same, seqs};
use crate::{Capability, Case, Failure, OpenRoom, Stage, Verdict};

chat_suite::cases!(
    /// A member that resumes at any position gets all later entries and no others.
    async fn a_resume_at_every_position_returns_exactly_the_rest(stage: Stage, room: OpenRoom) -> Verdict {
        room.say_all(12).await?;
        let bounds = room.bounds().await?;
        for seq in 0..=12 {
            let after = resumed(&stage, &bounds, seq)?;
            same(&seqs(&room.read_after(after).await?), &(seq + 1..=12).collect())?;
        }
        Ok(())
    }

    /// A position beyond the head is refused.
    async fn a_position_beyond_the_head_is_refused(stage: Stage, room: OpenRoom) -> Verdict {
        for head in 0..3 {
            let bounds = room.bounds().await?;
            let from = JoinFrom::After { epoch: bounds.epoch.clone(), seq: head + 1 };
            same(
                &resume(&from, &bounds, stage.limits().wire.default_page_messages as u64).err(),
                &Some(JoinError::BadCursor),
            )?;
            room.say("hi").await?;
        }
        Ok(())
    }

    /// A position of another room recovers nothing.
    async fn a_position_of_another_room_recovers_nothing(stage: Stage) -> Verdict {
        let (lobby, hall) = (stage.open("lobby").await?, stage.open("hall").await?);
        lobby.say_all(3).await?;
        hall.say_all(3).await?;
        let seen = lobby.bounds().await?;
        let from = JoinFrom::After { epoch: seen.epoch, seq: 2 };
        let resumption =
            resume(&from, &hall.bounds().await?, stage.limits().wire.default_page_messages as u64);
        let resumption = resumption.map_err(|error| Failure::new("a resumption", error))?;
        check(!resumption.recovered, "nothing recovered", resumption)
    }

    /// The entries up to the head of the bounds and the reported ones after it are all entries.
    async fn a_join_during_appends_skips_nothing(stage: Stage, room: OpenRoom) -> Verdict {
        let writer = room.clone();
        let writing = tokio::spawn(async move { writer.say_all(150).await });
        let mut reached = 0;
        while reached < 150 {
            let bounds = room.bounds().await?;
            check(bounds.head >= reached, format!("a head of {reached} or more"), &bounds)?;
            reached = bounds.head;
            let read = seqs(&room.read_after(0).await?);
            let whole = read == (1..=read.len() as u64).collect::<Vec<_>>() && read.len() as u64 >= reached;
            check(whole, format!("1 to {reached} at least"), read)?;
            let dead = writing.is_finished() && room.bounds().await?.head < 150;
            check(!dead, "150 messages", reached)?;
        }
        writing.await.map_err(|panic| Failure::new("a writer that does not fail", panic))??;
        room.check_reports(1..=150).await
    }

    /// A member whose position was removed gets the exact range of the removed entries.
    #[with(limits(|limits| limits.rooms.log_messages = 5))]
    #[with(needs(Capability::Retention))]
    async fn a_position_before_first_gets_the_exact_gap(stage: Stage, room: OpenRoom) -> Verdict {
        room.say_all(30).await?;
        first_moves(&room).await?;
        while_it_stays(&room, async |_| {
            let bounds = room.bounds().await?;
            let from = JoinFrom::After { epoch: bounds.epoch.clone(), seq: 1 };
            let resumption = resume(&from, &bounds, stage.limits().wire.default_page_messages as u64);
            let resumption = resumption.map_err(|error| Failure::new("a resumption", error))?;
            let gap = Gap { from: 2, to: resumption.after };
            same(&(resumption.recovered, resumption.gap), &(false, Some(gap)))?;
            let rest = seqs(&room.read_after(resumption.after).await?);
            same(&rest, &(resumption.after + 1..=30).collect())
        })
        .await
    }
);

/// Returns the position at which a member resumes that has seen `seq`, and checks that it misses nothing.
pub(super) fn resumed(stage: &Stage, bounds: &LogBounds, seq: u64) -> Result<u64, Failure> {
    let from = JoinFrom::After { epoch: bounds.epoch.clone(), seq };
    let resumption = resume(&from, bounds, stage.limits().wire.default_page_messages as u64);
    let resumption = resumption.map_err(|error| Failure::new("a resumption", error))?;
    check(resumption.recovered && resumption.gap.is_none(), "all recovered", &resumption)?;
    Ok(resumption.after)
}
