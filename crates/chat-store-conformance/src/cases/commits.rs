use std::collections::BTreeSet;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use chat_core::{Commit, CommitSink};
use futures_util::future::{BoxFuture, FutureExt};
use tokio::sync::mpsc;
use tokio::task::yield_now;
use tokio::time::{Duration, sleep, timeout};

use super::{ann, body, check, concurrently, same, seqs};
use crate::{Case, Failure, OpenRoom, Reports, Stage, Verdict};

/// The time after which an append that is not polled counts as not committed.
const UNPOLLED_WAIT: Duration = Duration::from_millis(500);

chat_suite::cases!(
    /// The sink hears of each answered entry within the limit, before or after the answer.
    async fn an_answered_entry_is_reported(stage: Stage, room: OpenRoom) -> Verdict {
        concurrently(6, room, |room, _| async move {
            for _ in 0..20 {
                let seq = room.say("hi").await?.seq;
                room.reports.cover(seq..=seq).await?;
            }
            Ok(())
        })
        .await
    }

    /// The sink hears of each entry of eight concurrent writers at least once, and of no other entry.
    async fn each_entry_is_reported_at_least_once(stage: Stage, room: OpenRoom) -> Verdict {
        concurrently(8, room.clone(), |room, _| async move { room.say_all(25).await }).await?;
        room.check_reports(1..=200).await
    }

    /// An entry has the same bytes in the report and in every page, however often it is read.
    async fn a_reported_entry_is_the_entry_that_is_read(stage: Stage, room: OpenRoom) -> Verdict {
        room.append(&ann(), Some("k"), r#"{ "text" : "\u00e9" , "n":1.50 }"#).await?;
        room.say_all(9).await?;
        let reported = room.reported(1..=10).await?;
        for _ in 0..2 {
            same(&room.read_after(0).await?, &reported)?;
        }
        Ok(())
    }

    /// Reports and receipts name the epoch of the log.
    #[source = "chat_core::Room, Epochs"]
    async fn reports_and_receipts_name_the_epoch(stage: Stage) -> Verdict {
        let room = stage.open("lobby").await?;
        let mut receipts = Vec::new();
        for number in 1..=12 {
            receipts.push(room.say(&number.to_string()).await?);
        }
        receipts.push(room.append(&ann(), Some("k"), &body("hi")).await?);
        receipts.push(room.repeat(&ann(), "k", &body("hi")).await?);
        room.check_reports(1..=13).await?;
        let epoch = room.bounds().await?.epoch;
        for receipt in &receipts {
            check(receipt.epoch == epoch, format!("the epoch {epoch} in each receipt"), receipt)?;
        }
        same(&room.reports.epochs(), &BTreeSet::from([epoch]))
    }

    /// An entry is committed before it is reported: a reader that hears of it finds it in the log.
    async fn a_reported_entry_can_be_read_at_once(stage: Stage) -> Verdict {
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let sink = CommitSink::new(move |commit| {
            let sent = match commit {
                Commit::Entry { stored, .. } => sender.send((stored.seq, Some(stored.clone()))),
                Commit::Head { head, .. } => sender.send((head, None)),
                _ => Ok(()),
            };
            drop(sent);
        });
        let room = stage.try_open(0, "lobby", Reports::default(), sink).await?;
        let room = room.map_err(|unavailable| Failure::new("a room that can be opened", unavailable))?;
        let writer = room.clone();
        let writing = tokio::spawn(async move { writer.say_all(100).await });
        let mut heard = 0;
        while heard < 100 {
            let reported = timeout(crate::TIME_LIMIT, receiver.recv()).await;
            let Ok(Some((seq, stored))) = reported else {
                return Err(Failure::new("reports of 100 entries", format!("reports up to {heard}")));
            };
            heard = heard.max(seq);
            let read = room.read_after(seq.saturating_sub(1)).await?;
            let is_there = match &stored {
                Some(stored) => read.first() == Some(stored),
                None => seq == 0 || read.first().is_some_and(|read| read.seq == seq),
            };
            check(is_there, format!("the entry {seq} in the log"), seqs(&read))?;
        }
        writing.await.map_err(|panic| Failure::new("a writer that does not fail", panic))?
    }

    /// The sink hears of no other entry after a repeat.
    async fn a_duplicate_is_not_reported(stage: Stage, room: OpenRoom) -> Verdict {
        room.append(&ann(), Some("k"), &body("hi")).await?;
        room.repeat(&ann(), "k", &body("hi")).await?;
        room.say("more").await?;
        room.check_reports(1..=2).await
    }

    /// The sink does not hear of a message whose key was used for another body.
    async fn a_conflict_is_not_reported(stage: Stage, room: OpenRoom) -> Verdict {
        room.append(&ann(), Some("k"), &body("hi")).await?;
        let conflict = room.try_append(&ann(), Some("k"), &body("ho")).await?;
        check(conflict.is_err(), "a conflict", conflict)?;
        room.say("more").await?;
        room.check_reports(1..=2).await
    }

    /// The sink of a room hears of the entries of that room only.
    async fn a_sink_hears_of_its_own_room_only(stage: Stage) -> Verdict {
        let (lobby, hall) = (stage.open("lobby").await?, stage.open("hall").await?);
        lobby.say_all(3).await?;
        hall.say_all(2).await?;
        lobby.say("more").await?;
        lobby.check_reports(1..=4).await?;
        hall.check_reports(1..=2).await?;
        same(&lobby.reported(1..=4).await?, &lobby.read_after(0).await?)?;
        same(&hall.reported(1..=2).await?, &hall.read_after(0).await?)
    }

    /// Each entry that a dropped append has left in the log is reported, or the sink hears of the new head.
    async fn a_dropped_append_is_reported_if_it_is_committed(stage: Stage, room: OpenRoom) -> Verdict {
        for polls in 0..60_usize {
            let (writer, text) = (room.clone(), format!("dropped after {polls}"));
            let mut append = async move { writer.say(&text).await.map(drop) }.boxed();
            poll_times(&mut append, polls % 12).await;
            drop(append);
            if polls % 7 == 0 {
                room.say("kept").await?;
            }
        }
        // Appends that are in flight are ahead of this one.
        let last = room.say("the last").await?.seq;
        same(&seqs(&room.read_after(0).await?), &(1..=last).collect())?;
        room.check_reports(1..=last).await
    }

    /// An entry that an append has left in the log is reported although nothing polls the append any more.
    async fn an_append_that_is_not_polled_is_reported_if_it_is_committed(stage: Stage) -> Verdict {
        let room = stage.open("lobby").await?;
        let mut waiting = Vec::new();
        for polls in 1..=3 {
            let (writer, before) = (room.clone(), room.bounds().await?.head);
            let mut append = async move { writer.say("hi").await.map(drop) }.boxed();
            poll_times(&mut append, polls).await;
            // It stays unpolled until the end of the case.
            waiting.push(append);
            let committed = async {
                while room.bounds().await?.head == before {
                    sleep(Duration::from_millis(1)).await;
                }
                Ok::<_, Failure>(before + 1)
            };
            // The room may need further polls to commit it.
            if let Ok(seq) = timeout(UNPOLLED_WAIT, committed).await {
                let seq = seq?;
                room.reports.cover(seq..=seq).await?;
            }
        }
        Ok(())
    }

    /// A room goes on after the tasks that append to it were aborted.
    async fn aborted_appends_do_not_stop_the_room(stage: Stage, room: OpenRoom) -> Verdict {
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
        room.check_reports(1..=last).await
    }

    /// A repeat of an append that was dropped after its commit answers the entry that the sink hears of.
    #[source = "chat_core::Room, Keys"]
    async fn a_repeat_of_a_dropped_append_answers_a_reported_entry(stage: Stage, room: OpenRoom) -> Verdict {
        for polls in 0..24_usize {
            let (writer, key) = (room.clone(), format!("k{polls}"));
            let first = key.clone();
            let mut append =
                async move { writer.append(&ann(), Some(&first), &body("hi")).await.map(drop) }.boxed();
            poll_times(&mut append, polls % 12).await;
            drop(append);
            let answer = room.try_append(&ann(), Some(&key), &body("hi")).await?;
            let seq = answer.map_err(|error| Failure::new("the first append or a new one", error))?.seq;
            room.reports.cover(seq..=seq).await?;
        }
        let last = room.say("the last").await?.seq;
        same(&last, &25)?;
        room.check_reports(1..=last).await
    }
);

/// Polls this number of times, with a turn for other tasks between, and not again.
async fn poll_times<T>(future: &mut BoxFuture<'_, T>, polls: usize) {
    for _ in 0..polls {
        if let Poll::Ready(_done) = future.poll_unpin(&mut Context::from_waker(Waker::noop())) {
            return;
        }
        yield_now().await;
    }
}
