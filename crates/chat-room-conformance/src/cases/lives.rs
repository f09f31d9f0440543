use chat_core::AppendError;
use tokio::task::yield_now;

use super::{ann, body, check, same, seqs};
use crate::Ability;
use crate::case::{Group, case};
use crate::shown::Shown;

/// What a restart leaves.
pub(super) fn group() -> Group {
    let cases = vec![
        case(
            "a_new_life_is_the_same_log_or_says_that_it_is_not",
            "After a restart the epoch is another one, or everything is there.",
            |stage| async move {
                let room = stage.open("lobby")?;
                room.say_all(3).await?;
                let before = (room.bounds().await?, room.read_after(0).await?);
                drop(room);
                let room = stage.restart().await.open("lobby")?;
                let after = (room.bounds().await?, room.read_after(0).await?);
                let holds = before.0.epoch != after.0.epoch || before == after;
                check(holds, format!("another epoch, or {}", before.shown()), after)
            },
        ),
        case(
            "a_new_life_can_be_written",
            "After a restart a room takes messages, tells them and has them.",
            |stage| async move {
                let room = stage.open("lobby")?;
                room.say_all(3).await?;
                drop(room);
                let room = stage.restart().await.open("lobby")?;
                let head = room.bounds().await?.head;
                same(&room.say("hi").await?.seq, &(head + 1))?;
                same(&room.told.seqs(), &vec![head + 1])?;
                same(&room.read_after(head).await?, &room.told.all())
            },
        ),
        case(
            "a_restart_keeps_every_message",
            "After a restart every room has the same messages, byte for byte, the same bounds and epoch.",
            |stage| async move {
                let names = ["lobby", "로비", "a-b", "0"];
                let mut before = Vec::new();
                for (number, name) in (1..).zip(names) {
                    let room = stage.open(name)?;
                    room.append(&ann(), Some("k"), r#"{ "text":"\u00e9\u0000", "n":1.50 }"#).await?;
                    room.say_all(number * 3).await?;
                    before.push((room.bounds().await?, room.read_after(0).await?));
                }
                let stage = stage.restart().await;
                for (name, before) in names.into_iter().zip(before) {
                    let room = stage.open(name)?;
                    same(&(room.bounds().await?, room.read_after(0).await?), &before)?;
                }
                Ok(())
            },
        )
        .needs(Ability::Lasting),
        case(
            "a_restart_keeps_the_keys",
            "After a restart a repeat answers the first message, and another body is a conflict.",
            |stage| async move {
                let room = stage.open("lobby")?;
                room.say("hi").await?;
                let first = room.append(&ann(), Some("k"), &body("hi")).await?;
                drop(room);
                let room = stage.restart().await.open("lobby")?;
                let again = room.repeat(&ann(), "k", &body("hi")).await?;
                same(&(again.seq, again.at), &(first.seq, first.at))?;
                same(
                    &room.try_append(&ann(), Some("k"), &body("ho")).await?,
                    &Err(AppendError::KeyConflict),
                )?;
                same(&room.told.seqs(), &vec![])
            },
        )
        .needs(Ability::Lasting),
        case(
            "numbers_go_on_after_a_restart",
            "The first message of a new life comes after the last of the one before, restart by restart.",
            |mut stage| async move {
                for life in 0..4 {
                    let room = stage.open("lobby")?;
                    same(&room.bounds().await?.head, &(life * 2))?;
                    same(&room.say("hi").await?.seq, &(life * 2 + 1))?;
                    same(&room.say("hi").await?.seq, &(life * 2 + 2))?;
                    drop(room);
                    stage = stage.restart().await;
                }
                same(&seqs(&stage.open("lobby")?.read_after(0).await?), &(1..=8).collect())
            },
        )
        .needs(Ability::Lasting),
        case(
            "a_new_outlet_hears_only_what_is_new",
            "After a restart the outlet is not told again of what the log has.",
            |stage| async move {
                let room = stage.open("lobby")?;
                room.say_all(3).await?;
                drop(room);
                let room = stage.restart().await.open("lobby")?;
                same(&seqs(&room.read_after(0).await?), &vec![1, 2, 3])?;
                room.say("new").await?;
                same(&room.told.seqs(), &vec![4])
            },
        )
        .needs(Ability::Lasting),
        case(
            "a_resume_reaches_across_a_restart",
            "A member that saw a message before a restart gets what came after it, and nothing else.",
            |stage| async move {
                let room = stage.open("lobby")?;
                room.say_all(5).await?;
                let seen = room.bounds().await?;
                drop(room);
                let stage = stage.restart().await;
                let room = stage.open("lobby")?;
                room.say_all(2).await?;
                let bounds = room.bounds().await?;
                same(&bounds.epoch, &seen.epoch)?;
                let after = super::resume::resumed(&stage, &bounds, 4)?;
                same(&seqs(&room.read_after(after).await?), &vec![5, 6, 7])
            },
        )
        .needs(Ability::Lasting),
        case(
            "what_has_gone_stays_gone_after_a_restart",
            "A restart neither brings old messages back nor lets first go down.",
            |stage| async move {
                let room = stage.open("lobby")?;
                room.say_all(30).await?;
                super::retention::first_moves(&room).await?;
                let before = room.bounds().await?;
                drop(room);
                let room = stage.restart().await.open("lobby")?;
                let after = room.bounds().await?;
                same(&(&after.epoch, after.head), &(&before.epoch, 30))?;
                check(after.first >= before.first, format!("first {} or more", before.first), &after)?;
                same(&seqs(&room.read_after(0).await?), &(after.first..=30).collect())
            },
        )
        .with(|limits| limits.rooms.log_messages = 5)
        .needs(Ability::Lasting)
        .needs(Ability::Retention),
        case(
            "what_was_answered_before_a_restart_is_there_after",
            "Writers that are cut off lose nothing that was answered, and leave no hole.",
            |stage| async move {
                let room = stage.open("lobby")?;
                let tasks: Vec<_> = (0..4)
                    .map(|_| {
                        let room = room.clone();
                        tokio::spawn(async move { room.say_all(10_000).await })
                    })
                    .collect();
                while room.told.seqs().len() < 40 {
                    yield_now().await;
                }
                for task in &tasks {
                    task.abort();
                }
                for task in tasks {
                    let _aborted = task.await;
                }
                let told = room.told.all();
                drop(room);
                let read = stage.restart().await.open("lobby")?.read_after(0).await?;
                same(&seqs(&read), &(1..=read.len() as u64).collect())?;
                check(read.starts_with(&told), format!("at least {}", seqs(&told).shown()), seqs(&read))
            },
        )
        .with(|limits| {
            limits.rooms.log_messages = usize::MAX;
            limits.rooms.log_bytes = usize::MAX;
        })
        .needs(Ability::Lasting),
    ];
    Group { name: "lives", promise: "Lives", cases }
}
