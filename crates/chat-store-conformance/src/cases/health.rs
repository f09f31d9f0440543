use chat_core::{AppendError, Health};
use serde_json::json;

use super::{ann, body, check, eventually, same, seqs};
use crate::{Capability, Case, OpenRoom, Reports, Stage, Verdict};

chat_suite::cases!(
    /// A store that works is ready, before and after a room is written.
    #[source = "chat_core::Store, health"]
    async fn a_working_store_is_ready(stage: Stage) -> Verdict {
        same(&stage.store(0)?.health(), &Health::Ready)?;
        stage.open("lobby").await?.say("hi").await?;
        same(&stage.store(0)?.health(), &Health::Ready)
    }

    /// A room of a store that was closed refuses messages, and so does one that is opened later.
    #[source = "chat_core::Store, close"]
    async fn a_closed_store_refuses(stage: Stage, room: OpenRoom) -> Verdict {
        room.say_all(3).await?;
        same(&stage.store(0)?.close().await, &Ok(()))?;
        refuses(&room).await?;
        let reports = Reports::default();
        match stage.try_open(0, "hall", reports.clone(), reports.sink()).await? {
            Ok(room) => refuses(&room).await,
            Err(_) => Ok(()),
        }
    }

    /// A close loses no acknowledged entry.
    #[source = "chat_core::Store, close"]
    #[with(needs(Capability::Persistence))]
    async fn a_close_loses_no_acknowledged_entry(stage: Stage, room: OpenRoom) -> Verdict {
        room.say_all(50).await?;
        same(&stage.store(0)?.close().await, &Ok(()))?;
        drop(room);
        let room = stage.restart().await.open("lobby").await?;
        same(&seqs(&room.read_after(0).await?), &(1..=50).collect())
    }

    /// A store that is unreachable says so and opens no room, and works again when it is reachable.
    #[source = "chat_core::Store, open"]
    #[with(needs(Capability::Outage))]
    async fn an_open_that_fails_succeeds_after_the_outage(stage: Stage) -> Verdict {
        stage.set_reachable(false)?;
        check(stage.store(0)?.health() != Health::Ready, "a store that is not ready", Health::Ready)?;
        let reports = Reports::default();
        let refused = stage.try_open(0, "lobby", reports.clone(), reports.sink()).await?;
        let cause = refused.as_ref().map(drop).map_err(|unavailable| !unavailable.cause().is_empty());
        same(&cause, &Err(true))?;
        stage.set_reachable(true)?;
        is_ready(&stage).await?;
        let room = stage.open("lobby").await?;
        room.say_all(3).await?;
        room.check_reports(1..=3).await
    }

    /// A room that is open during an outage refuses messages, loses no answered message, and works again later.
    #[source = "chat_core::Store, health"]
    #[with(needs(Capability::Outage))]
    async fn an_open_room_survives_an_outage(stage: Stage, room: OpenRoom) -> Verdict {
        room.append(&ann(), Some("k"), &body("hi")).await?;
        let before = room.read_after(0).await?;
        stage.set_reachable(false)?;
        refuses(&room).await?;
        stage.set_reachable(true)?;
        is_ready(&stage).await?;
        same(&room.read_after(0).await?, &before)?;
        same(&room.repeat(&ann(), "k", &body("hi")).await?.seq, &1)?;
        same(&room.say("more").await?.seq, &2)?;
        room.check_reports(1..=2).await
    }

    /// A chat refuses a join during an outage, and accepts it in the same session later.
    #[source = "chat_core::Store, open"]
    #[with(needs(Capability::Outage))]
    async fn a_chat_refuses_a_join_during_an_outage(stage: Stage) -> Verdict {
        stage.set_reachable(false)?;
        let mut peer = stage.chat_on(0)?.connect("Ann")?;
        let join = json!({"type": "join", "room": "lobby"});
        peer.event("welcome").await?;
        peer.send(&join)?;
        match peer.next().await? {
            crate::Frame::Event(event) => same(&event["code"], &json!("unavailable"))?,
            close @ crate::Frame::Close(_) => check(false, "an error event", close)?,
        }
        stage.set_reachable(true)?;
        is_ready(&stage).await?;
        peer.send(&join)?;
        peer.event("joined").await.map(drop)
    }
);

async fn refuses(room: &OpenRoom) -> Verdict {
    let answer = room.append_or_refuse(&ann(), None, &body("refused")).await?;
    check(matches!(answer, Err(AppendError::Unavailable(_))), "an append that is refused", answer)
}

async fn is_ready(stage: &Stage) -> Verdict {
    eventually("a store that is ready", || async { Ok(stage.store(0)?.health() == Health::Ready) }).await
}
