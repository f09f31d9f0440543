use std::collections::BTreeSet;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use chat_core::AppendError;

use super::bounds::{append_and_check, check_bounds};
use super::members::{post_concurrently, seqs_of};
use super::numbers::check_times;
use super::{ann, body, check, concurrently, same, seqs};
use crate::{Case, Failure, OpenRoom, Stage, Verdict};

chat_suite::cases!(
    /// The sink on one node hears of an entry that another node has appended, within the limit.
    #[source = "chat_core::Room, Commits"]
    async fn an_entry_of_one_node_is_reported_on_the_other(stage: Stage) -> Verdict {
        let (a, b) = both(&stage).await?;
        same(&a.bounds().await?.epoch, &b.bounds().await?.epoch)?;
        a.say_all(5).await?;
        b.say_all(5).await?;
        for room in [&a, &b] {
            room.check_reports(1..=10).await?;
            same(&room.reported(1..=10).await?, &a.read_after(0).await?)?;
        }
        Ok(())
    }

    /// The other node hears of the last entry although no later entry shows that a report was lost.
    #[source = "chat_core::Room, Commits"]
    async fn a_lost_last_report_is_repaired(stage: Stage) -> Verdict {
        let (a, b) = both(&stage).await?;
        for number in 1..=20 {
            let (writer, reader) = if number % 2 == 0 { (&a, &b) } else { (&b, &a) };
            same(&writer.say("hi").await?.seq, &number)?;
            reader.reports.cover(number..=number).await?;
        }
        Ok(())
    }

    /// On each node the head is never below a `seq` that an answer of any node or a report has named.
    #[source = "chat_core::Room, Bounds"]
    async fn bounds_never_go_back_on_any_node(stage: Stage) -> Verdict {
        let (a, b) = both(&stage).await?;
        let answered = Arc::new(AtomicU64::new(0));
        let shared = ([a.clone(), b.clone()], Arc::clone(&answered));
        let writing = tokio::spawn(concurrently(4, shared, |(rooms, answered), number| async move {
            append_and_check(&rooms[number % 2], &rooms[1 - number % 2], &answered, 50).await
        }));
        tokio::try_join!(check_bounds(&a, &answered, 200), check_bounds(&b, &answered, 200))?;
        writing.await.map_err(|panic| Failure::new("writers that do not fail", panic))?
    }

    /// An append on one node, after an answer on another node, gets a higher `seq`.
    #[source = "chat_core::Room, Numbers"]
    async fn an_append_after_an_answer_on_another_node_gets_a_higher_seq(stage: Stage) -> Verdict {
        let (a, b) = both(&stage).await?;
        let mut last = 0;
        for room in [&a, &b, &b, &a].into_iter().cycle().take(40) {
            let seq = room.say("hi").await?.seq;
            check(seq > last, format!("a `seq` above {last}"), seq)?;
            last = seq;
        }
        Ok(())
    }

    /// Concurrent appends on two nodes get the numbers 1 to 200, each once, and their times do not decrease.
    #[source = "chat_core::Room, Numbers"]
    async fn concurrent_appends_on_two_nodes_leave_no_hole(stage: Stage) -> Verdict {
        let (a, b) = both(&stage).await?;
        let answered = Arc::new(Mutex::new(BTreeSet::new()));
        let shared = ([a.clone(), b.clone()], Arc::clone(&answered));
        concurrently(8, shared, |(rooms, answered), number| async move {
            for _ in 0..25 {
                let seq = rooms[number % 2].say("hi").await?.seq;
                let is_new = answered.lock().is_ok_and(|mut answered| answered.insert(seq));
                check(is_new, "a `seq` that no other append got", seq)?;
            }
            Ok(())
        })
        .await?;
        let log = a.read_after(0).await?;
        same(&seqs(&log), &(1..=200).collect())?;
        check(answered.lock().is_ok_and(|answered| answered.len() == 200), "200 answers", &answered)?;
        same(&b.read_after(0).await?, &log)?;
        check_times(&log)
    }

    /// A key that was used on one node is known on another: a repeat there answers the first append.
    #[source = "chat_core::Room, Keys"]
    async fn a_repeat_on_another_node_answers_the_first_append(stage: Stage) -> Verdict {
        let (a, b) = both(&stage).await?;
        for number in 1..=10 {
            let (room, other) = if number % 2 == 0 { (&a, &b) } else { (&b, &a) };
            let key = format!("k{number}");
            let first = room.append(&ann(), Some(&key), &body("hi")).await?;
            let again = other.repeat(&ann(), &key, &body("hi")).await?;
            same(&(again.seq, again.at), &(first.seq, first.at))?;
        }
        same(&seqs(&b.read_after(0).await?), &(1..=10).collect())
    }

    /// A key that was used on one node is a conflict on another node with another body.
    #[source = "chat_core::Room, Keys"]
    async fn another_body_on_another_node_is_a_conflict(stage: Stage) -> Verdict {
        let (a, b) = both(&stage).await?;
        a.append(&ann(), Some("k"), &body("hi")).await?;
        same(&b.try_append(&ann(), Some("k"), &body("ho")).await?, &Err(AppendError::KeyConflict))?;
        same(&b.append(&ann(), Some("other"), &body("ho")).await?.seq, &2)?;
        a.check_reports(1..=2).await?;
        b.check_reports(1..=2).await
    }

    /// Of concurrent repeats on two nodes one is stored.
    #[source = "chat_core::Room, Keys"]
    async fn concurrent_repeats_on_two_nodes_are_stored_once(stage: Stage) -> Verdict {
        let (a, b) = both(&stage).await?;
        for round in 1..=10 {
            let (key, text) = (format!("k{round}"), body("hi"));
            let ann = ann();
            let (one, two) = tokio::try_join!(
                a.try_append(&ann, Some(&key), &text),
                b.try_append(&ann, Some(&key), &text)
            )?;
            let answers = [one, two].map(|answer| answer.map(|receipt| (receipt.seq, receipt.duplicate)));
            let holds = answers.contains(&Ok((round, false))) && answers.contains(&Ok((round, true)));
            check(holds, format!("the entry {round} and its duplicate"), answers)?;
        }
        Ok(())
    }

    /// The members of two chats, each on its own node, get the messages of both in one order, without holes.
    #[source = "chat_core::Room, Commits"]
    async fn members_on_two_nodes_get_one_order(stage: Stage) -> Verdict {
        let (a, b) = (stage.chat_on(0)?, stage.chat_on(1)?);
        let (mut on_a, mut on_b) = (a.subscribe("lobby").await?, b.subscribe("lobby").await?);
        tokio::try_join!(post_concurrently(&a, 4, 20), post_concurrently(&b, 4, 20))?;
        let (of_a, of_b) = tokio::try_join!(on_a.messages(160), on_b.messages(160))?;
        same(&seqs_of(&of_a), &(1..=160).collect())?;
        same(&of_b, &of_a)
    }
);

/// Opens the lobby on two nodes.
async fn both(stage: &Stage) -> Result<(OpenRoom, OpenRoom), Failure> {
    Ok((stage.open_on(0, "lobby").await?, stage.open_on(1, "lobby").await?))
}
