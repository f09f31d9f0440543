use chat_core::AppendError;

use super::{ann, body, check, same, seqs};
use crate::{Capability, Case, OpenRoom, Stage, Verdict};

chat_suite::cases!(
    /// After a restart everything is there, or the epoch is another one.
    async fn a_restarted_log_is_the_same_or_has_another_epoch(stage: Stage, room: OpenRoom) -> Verdict {
        room.say_all(3).await?;
        let before = (room.bounds().await?, room.read_after(0).await?);
        drop(room);
        let room = stage.restart().await.open("lobby").await?;
        let after = (room.bounds().await?, room.read_after(0).await?);
        let holds = before.0.epoch != after.0.epoch || before == after;
        check(holds, format!("another epoch, or {before:?}"), after)
    }

    /// After a restart a room accepts messages, reports them and returns them.
    async fn a_restarted_log_accepts_messages(stage: Stage, room: OpenRoom) -> Verdict {
        room.say_all(3).await?;
        drop(room);
        let room = stage.restart().await.open("lobby").await?;
        let head = room.bounds().await?.head;
        same(&room.say("hi").await?.seq, &(head + 1))?;
        room.check_reports(head + 1..=head + 1).await?;
        same(&seqs(&room.read_after(head).await?), &vec![head + 1])
    }

    /// After a restart every room has the same entries, byte for byte, the same bounds and the same epoch.
    #[with(needs(Capability::Persistence))]
    async fn a_restart_keeps_every_entry(stage: Stage) -> Verdict {
        let names = ["lobby", "로비", "a-b", "0"];
        let mut before = Vec::new();
        for (number, name) in (1..).zip(names) {
            let room = stage.open(name).await?;
            room.append(&ann(), Some("k"), r#"{ "text":"\u00e9\u0000", "n":1.50 }"#).await?;
            room.say_all(number * 3).await?;
            before.push((room.bounds().await?, room.read_after(0).await?));
        }
        let stage = stage.restart().await;
        for (name, before) in names.into_iter().zip(before) {
            let room = stage.open(name).await?;
            same(&(room.bounds().await?, room.read_after(0).await?), &before)?;
        }
        Ok(())
    }

    /// After a restart a repeat answers the first append, and another body is a conflict.
    #[with(needs(Capability::Persistence))]
    async fn a_restart_keeps_the_keys(stage: Stage, room: OpenRoom) -> Verdict {
        room.say("hi").await?;
        let first = room.append(&ann(), Some("k"), &body("hi")).await?;
        drop(room);
        let room = stage.restart().await.open("lobby").await?;
        let again = room.repeat(&ann(), "k", &body("hi")).await?;
        same(&(again.seq, again.at), &(first.seq, first.at))?;
        same(&room.try_append(&ann(), Some("k"), &body("ho")).await?, &Err(AppendError::KeyConflict))?;
        same(&room.say("more").await?.seq, &3)?;
        room.check_reports(3..=3).await
    }

    /// The first message after each restart gets the `seq` after the last one.
    #[with(needs(Capability::Persistence))]
    async fn numbers_continue_after_a_restart(stage: Stage) -> Verdict {
        let mut stage = stage;
        for life in 0..4 {
            let room = stage.open("lobby").await?;
            same(&room.bounds().await?.head, &(life * 2))?;
            same(&room.say("hi").await?.seq, &(life * 2 + 1))?;
            same(&room.say("hi").await?.seq, &(life * 2 + 2))?;
            drop(room);
            stage = stage.restart().await;
        }
        same(&seqs(&stage.open("lobby").await?.read_after(0).await?), &(1..=8).collect())
    }

    /// After a restart the sink hears of each new entry, and of no entry that the log does not have.
    #[with(needs(Capability::Persistence))]
    async fn a_sink_opened_after_a_restart_hears_of_new_entries(stage: Stage, room: OpenRoom) -> Verdict {
        room.say_all(3).await?;
        drop(room);
        let room = stage.restart().await.open("lobby").await?;
        same(&seqs(&room.read_after(0).await?), &vec![1, 2, 3])?;
        room.say("new").await?;
        room.check_reports(4..=4).await
    }

    /// A member with a position from before a restart gets the later entries and no others.
    #[with(needs(Capability::Persistence))]
    async fn a_position_from_before_a_restart_recovers(stage: Stage, room: OpenRoom) -> Verdict {
        room.say_all(5).await?;
        let seen = room.bounds().await?;
        drop(room);
        let stage = stage.restart().await;
        let room = stage.open("lobby").await?;
        room.say_all(2).await?;
        let bounds = room.bounds().await?;
        same(&bounds.epoch, &seen.epoch)?;
        let after = super::resume::resumed(&stage, &bounds, 4)?;
        same(&seqs(&room.read_after(after).await?), &vec![5, 6, 7])
    }

    /// A restart does not bring removed entries back, and first does not go back.
    #[with(limits(|limits| limits.rooms.log_messages = 5))]
    #[with(needs(Capability::Persistence))]
    #[with(needs(Capability::Retention))]
    async fn removed_entries_stay_removed_after_a_restart(stage: Stage, room: OpenRoom) -> Verdict {
        room.say_all(30).await?;
        super::retention::first_moves(&room).await?;
        let before = room.bounds().await?;
        drop(room);
        let room = stage.restart().await.open("lobby").await?;
        let after = room.bounds().await?;
        same(&(&after.epoch, after.head), &(&before.epoch, 30))?;
        check(after.first >= before.first, format!("first {} or more", before.first), &after)?;
        super::retention::while_it_stays(&room, async |first| {
            same(&seqs(&room.read_after(0).await?), &(first..=30).collect())
        })
        .await
    }

    /// Writers that are aborted lose no answered entry, and leave no hole.
    #[with(limits(|limits| {
            limits.rooms.log_messages = usize::MAX;
            limits.rooms.log_bytes = usize::MAX;
        }))]
    #[with(needs(Capability::Persistence))]
    async fn answered_entries_survive_a_restart(stage: Stage, room: OpenRoom) -> Verdict {
        let tasks: Vec<_> = (0..4)
            .map(|_| {
                let room = room.clone();
                tokio::spawn(async move { room.say_all(10_000).await })
            })
            .collect();
        room.reports.cover(1..=40).await?;
        for task in &tasks {
            task.abort();
        }
        for task in tasks {
            let _aborted = task.await;
        }
        let reported = room.reports.entries();
        drop(room);
        let read = stage.restart().await.open("lobby").await?.read_after(0).await?;
        same(&seqs(&read), &(1..=read.len() as u64).collect())?;
        let is_there = |stored| read.contains(stored);
        check(reported.iter().all(is_there), format!("at least {:?}", seqs(&reported)), seqs(&read))
    }
);
