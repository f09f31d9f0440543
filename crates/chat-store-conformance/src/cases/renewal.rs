use std::collections::BTreeSet;

use serde_json::json;

use super::{check, same, seqs};
use crate::{Case, OpenRoom, Stage, TestChat, Verdict};

chat_suite::cases!(
    /// An open room whose log begins another life tells its sink, and has another epoch and no entries.
    async fn a_renewed_log_is_reported_and_empty(stage: Stage, room: OpenRoom) -> Verdict {
        room.say_all(3).await?;
        let before = room.bounds().await?;
        stage.renew().await?;
        room.reports.renewed().await?;
        let after = room.bounds().await?;
        check(after.epoch != before.epoch, format!("another epoch than {}", before.epoch), &after)?;
        same(&(after.head, after.first), &(0, 1))?;
        same(&room.say("hi").await?.seq, &1)?;
        same(&seqs(&room.read_after(0).await?), &vec![1])?;
        room.check_reports(1..=1).await
    }

    /// The reports and the receipts after a renewal name the new epoch.
    #[source = "chat_core::Room, Epochs"]
    async fn reports_after_a_renewal_name_the_new_epoch(stage: Stage) -> Verdict {
        let room = stage.open("lobby").await?;
        room.say_all(3).await?;
        stage.renew().await?;
        room.reports.renewed().await?;
        let receipt = room.say("hi").await?;
        room.check_reports(1..=1).await?;
        let epoch = room.bounds().await?.epoch;
        same(&receipt.epoch, &epoch)?;
        same(&room.reports.epochs(), &BTreeSet::from([epoch]))
    }

    /// A key of the earlier life is unknown in the new one.
    #[source = "chat_core::Room, Keys"]
    async fn a_renewed_log_has_no_keys(stage: Stage, room: OpenRoom) -> Verdict {
        room.append(&super::ann(), Some("k"), &super::body("hi")).await?;
        stage.renew().await?;
        room.reports.renewed().await?;
        room.append(&super::ann(), Some("k"), &super::body("ho")).await.map(drop)
    }

    /// Members are closed with 4003 when the log is renewed.
    async fn members_are_closed_with_4003(stage: Stage, chat: TestChat) -> Verdict {
        let (mut ann, _) = chat.join("Ann", "lobby", &json!({})).await?;
        let (mut bo, _) = chat.join("Bo", "lobby", &json!({})).await?;
        chat.post_all("lobby", 3).await?;
        stage.renew().await?;
        same(&ann.closed().await?, &4003)?;
        same(&bo.closed().await?, &4003)
    }

    /// A member that resumes after a renewal is not recovered, and gets the messages of the new life.
    async fn a_resume_after_a_renewal_is_not_recovered(stage: Stage, chat: TestChat) -> Verdict {
        let (mut ann, joined) = chat.join("Ann", "lobby", &json!({})).await?;
        chat.post_all("lobby", 3).await?;
        stage.renew().await?;
        same(&ann.closed().await?, &4003)?;
        let from = json!({"after": {"epoch": joined["epoch"], "seq": 2}});
        let (mut ann, again) = chat.join("Ann", "lobby", &from).await?;
        check(again["recovered"] == false, "`recovered` is false", &again)?;
        check(again["epoch"] != joined["epoch"], "another epoch", &again)?;
        same(&chat.post("lobby", "hi").await?, &1)?;
        same(&ann.event("message").await?["seq"], &json!(1))
    }

    /// A subscription ends when the log is renewed, and a new one gets the messages of the new life.
    async fn a_subscription_ends_with_the_life_of_the_log(stage: Stage, chat: TestChat) -> Verdict {
        let mut subscriber = chat.subscribe("lobby").await?;
        chat.post_all("lobby", 2).await?;
        subscriber.messages(2).await?;
        stage.renew().await?;
        same(&subscriber.next().await?, &None)?;
        let mut again = chat.subscribe("lobby").await?;
        chat.post("lobby", "hi").await?;
        same(&super::members::seqs_of(&again.messages(1).await?), &vec![1])
    }
);
