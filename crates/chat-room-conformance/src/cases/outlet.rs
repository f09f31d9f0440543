use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use chat_core::CommitSink;
use futures_util::future::{BoxFuture, FutureExt};
use tokio::sync::mpsc;
use tokio::task::yield_now;

use super::{ann, at_once, body, check, same, seqs};
use crate::case::{Group, case};
use crate::stage::Told;

/// What the outlet is told, and when.
pub(super) fn group() -> Group {
    let cases = vec![
        case(
            "the_outlet_hears_before_the_answer",
            "When an append answers, the outlet has been told of the message.",
            |stage| async move {
                let room = stage.open("lobby")?;
                at_once(6, move |_| {
                    let room = room.clone();
                    async move {
                        for _ in 0..20 {
                            let seq = room.say("hi").await?.seq;
                            let told = room.told.seqs();
                            check(told.contains(&seq), format!("{seq} told"), told)?;
                        }
                        Ok(())
                    }
                })
                .await
            },
        ),
        case(
            "the_outlet_hears_each_once_and_in_order",
            "However many write at once, the outlet hears 1, 2, 3, ..., each once.",
            |stage| async move {
                let room = stage.open("lobby")?;
                let writer = room.clone();
                at_once(8, move |_| {
                    let room = writer.clone();
                    async move { room.say_all(25).await }
                })
                .await?;
                same(&room.told.seqs(), &(1..=200).collect())
            },
        ),
        case(
            "what_is_told_is_what_is_read",
            "A message is the same bytes in the outlet and in every page, however often it is read.",
            |stage| async move {
                let room = stage.open("lobby")?;
                room.append(&ann(), Some("k"), r#"{ "text" : "\u00e9" , "n":1.50 }"#).await?;
                room.say_all(9).await?;
                for _ in 0..2 {
                    same(&room.read_after(0).await?, &room.told.all())?;
                }
                Ok(())
            },
        ),
        case(
            "what_is_told_can_be_read_at_once",
            "Who is told of a message finds it in the log: it is committed first.",
            |stage| async move {
                let (sender, mut receiver) = mpsc::unbounded_channel();
                let outlet = CommitSink::new(move |stored| drop(sender.send(stored.clone())));
                let room = stage.open_with("lobby", Told::default(), outlet)?;
                let writer = room.clone();
                let writing = tokio::spawn(async move { writer.say_all(100).await });
                for _ in 0..100 {
                    let Some(told) = receiver.recv().await else { break };
                    let read = room.read_after(told.seq - 1).await?;
                    check(
                        read.first() == Some(&told),
                        format!("the message {} in the log", told.seq),
                        seqs(&read),
                    )?;
                }
                writing.await.map_err(|panic| crate::Failure::new("a writer that ends", panic))?
            },
        ),
        case("a_duplicate_is_not_told", "The outlet hears nothing of a repeat.", |stage| async move {
            let room = stage.open("lobby")?;
            room.append(&ann(), Some("k"), &body("hi")).await?;
            room.repeat(&ann(), "k", &body("hi")).await?;
            room.say("more").await?;
            same(&room.told.seqs(), &vec![1, 2])
        }),
        case(
            "a_conflict_is_not_told",
            "The outlet hears nothing of a message whose key was used for another body.",
            |stage| async move {
                let room = stage.open("lobby")?;
                room.append(&ann(), Some("k"), &body("hi")).await?;
                let conflict = room.try_append(&ann(), Some("k"), &body("ho")).await?;
                check(conflict.is_err(), "a conflict", conflict)?;
                room.say("more").await?;
                same(&room.told.seqs(), &vec![1, 2])
            },
        ),
        case(
            "each_room_tells_its_own_outlet",
            "The outlet of a room hears of that room alone.",
            |stage| async move {
                let (lobby, hall) = (stage.open("lobby")?, stage.open("hall")?);
                lobby.say_all(3).await?;
                hall.say_all(2).await?;
                lobby.say("more").await?;
                same(&lobby.told.all(), &lobby.read_after(0).await?)?;
                same(&hall.told.all(), &hall.read_after(0).await?)?;
                same(&(lobby.told.seqs().len(), hall.told.seqs().len()), &(4, 2))
            },
        ),
        case(
            "a_dropped_append_is_stored_and_told_or_neither",
            "Appends that are dropped half-way leave no message that the outlet has not heard of.",
            |stage| async move {
                let room = stage.open("lobby")?;
                for polls in 0..60_usize {
                    let (writer, text) = (room.clone(), format!("dropped after {polls}"));
                    let mut append = async move { writer.say(&text).await.map(drop) }.boxed();
                    poll_and_drop(&mut append, polls % 12).await;
                    drop(append);
                    if polls % 7 == 0 {
                        room.say("kept").await?;
                    }
                }
                // What was on its way is ahead of this one.
                let last = room.say("the last").await?.seq;
                let stored = room.read_after(0).await?;
                same(&seqs(&stored), &(1..=last).collect())?;
                same(&seqs(&room.told.all()), &seqs(&stored))
            },
        ),
        case(
            "appends_that_are_dropped_at_once_do_not_stop_the_room",
            "A task that is aborted in the middle of its appends leaves a room that others write to.",
            |stage| async move {
                let room = stage.open("lobby")?;
                for _ in 0..10 {
                    let room = Arc::new(room.clone());
                    let tasks: Vec<_> = (0..8)
                        .map(|_| {
                            let room = Arc::clone(&room);
                            tokio::spawn(async move { room.say_all(1_000).await })
                        })
                        .collect();
                    room.say("meanwhile").await?;
                    tasks.iter().for_each(tokio::task::JoinHandle::abort);
                    for task in tasks {
                        let _aborted = task.await;
                    }
                }
                let last = room.say("the last").await?.seq;
                let told = room.told.seqs();
                check(told == (1..=last).collect::<Vec<_>>(), format!("1 to {last} told"), told)
            },
        ),
    ];
    Group { name: "outlet", promise: "Telling", cases }
}

/// Polls so many times, with time for others between, and no more.
async fn poll_and_drop<T>(future: &mut BoxFuture<'_, T>, polls: usize) {
    for _ in 0..polls {
        if let Poll::Ready(_done) = future.poll_unpin(&mut Context::from_waker(Waker::noop())) {
            return;
        }
        yield_now().await;
    }
}
