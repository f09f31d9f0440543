use super::changed::resume;
use super::governed::{create, owner, present, user};
use super::host::with_tokens;
use super::unread::{mark, read};
use super::*;

/// Messages, and commands `read`, of the case about many of them.
const MANY: u64 = 30;

chat_suite::cases!(
    /// In a room with receipts, a `read` that moves the marker of a user goes to the other users of the room. The other
    /// connections of the user get it once.
    #[with(identify(with_tokens))]
    async fn the_other_users_see_a_read(stage: Stage) -> Verdict {
        let room = stage.room();
        let mut ann = owner(&stage, json!({"receipts": true})).await?;
        let (mut bob, mut second) = (present(&stage, "2", "Bob").await?, present(&stage, "2", "Bob").await?);
        ann.post(&room, "hi").await?;
        for client in [&mut bob, &mut second] {
            client.until("message").await?;
        }
        mark(&mut bob, &room, 2, 2).await?;
        mark(&mut bob, &room, 1, 2).await?;
        for client in [&mut ann, &mut second] {
            let event = client.until("read").await?;
            let fits = event["ref"].is_null() && event["room"] == room && event["seq"] == 2;
            client.check(fits && event["user"]["id"] == "2", "a `read` of Bob without a `ref`", &event)?;
        }
        for client in [&mut ann, &mut bob, &mut second] {
            client.expect_no_events().await?;
        }
        Ok(())
    }

    /// The rules of a room say if it has receipts.
    #[with(identify(with_tokens))]
    async fn the_rules_have_receipts(stage: Stage) -> Verdict {
        let room = stage.room();
        let mut ann = owner(&stage, json!({"receipts": true})).await?;
        ann.ask_for_error("bad_command", json!({"type": "create", "room": room, "receipts": "yes"})).await?;
        ann.ask_for("done", create(&room)).await?;
        let mut bob = user(&stage, "2", "Bob").await?;
        let joined = bob.join(&room).await?;
        bob.ask_for("joined", resume(&room, &joined["epoch"], 0)).await?;
        for receipts in [json!(true), Value::Null] {
            let entry = bob.until("settings").await?;
            bob.check(entry["receipts"] == receipts, format!("`receipts` {receipts}"), &entry)?;
        }
        Ok(())
    }

    /// Other rooms show a `read` to no other user.
    #[with(identify(with_tokens))]
    async fn a_room_without_receipts_shows_none(stage: Stage) -> Verdict {
        let room = stage.room();
        let mut ann = owner(&stage, json!({"title": "Quiet"})).await?;
        let mut bob = present(&stage, "2", "Bob").await?;
        ann.until("presence").await?;
        mark(&mut bob, &room, 1, 1).await?;
        ann.expect_no_events().await?;
        bob.expect_no_events().await
    }

    /// A user gets at most one `read` per second about another one, and the last one has the last position.
    #[with(identify(with_tokens))]
    #[with(race("the receipts of a user are sent over time"))]
    async fn receipts_come_at_most_once_per_second(stage: Stage) -> Verdict {
        let room = stage.room();
        let mut ann = owner(&stage, json!({"receipts": true})).await?;
        let mut bob = present(&stage, "2", "Bob").await?;
        for number in 1..MANY {
            ann.post(&room, &number.to_string()).await?;
        }
        let (start, mut count, mut last) = (Instant::now(), 0, 0);
        let reads: Vec<_> = (1..=MANY).map(|seq| Frame::text(read(&room, seq).to_string())).collect();
        bob.send_all_while_reading(&reads).await?;
        while last < MANY {
            let event = ann.until("read").await?;
            let seq = event["seq"].as_u64().unwrap_or_default();
            ann.check(seq > last, "a later position", &event)?;
            (count, last) = (count + 1, seq);
        }
        let most = start.elapsed().as_secs() + 2;
        check(count <= most, format!("at most {most} events"), count)
    }
);
