use super::*;

chat_suite::cases!(
    /// A client that resumes from any position gets each later message once and in order, and then the new ones.
    async fn a_resume_from_any_position_brings_the_rest(stage: Stage) -> Verdict {
        let (mut ann, epoch) = member_of_long_room(&stage, 20).await?;
        for seen in 0..=20_u64 {
            let mut bob = stage.client("bob").await?;
            let joined = bob.ask_for("joined", after(&stage.room(), &epoch, seen)).await?;
            bob.check(joined["recovered"] == true, "recovered: true", &joined)?;
            expect_messages(&mut bob, seen + 1..=20).await?;
            bob.expect_no_events().await?;
        }
        let mut bob = stage.client("bob").await?;
        bob.ask_for("joined", after(&stage.room(), &epoch, 18)).await?;
        ann.post(&stage.room(), "live").await?;
        expect_messages(&mut bob, 19..=21).await
    }

    /// A resume during a flood brings the old messages, then the live ones, and none twice.
    #[with(race("the resume can arrive between any two messages"))]
    #[with(limits(without_rates))]
    async fn a_resume_during_a_flood_has_no_gap(stage: Stage) -> Verdict {
        let (mut ann, epoch) = member_of_long_room(&stage, 50).await?;
        let mut bob = stage.client("bob").await?;
        let room = stage.room();
        let flood = vec![Frame::json(&send(&room, "x")); 150];
        let flood = packet(&flood);
        let (poured, joined) = tokio::join!(ann.write_while_reading(&flood), async {
            bob.command(after(&room, &epoch, 10)).await?;
            bob.expect("joined").await?;
            expect_messages(&mut bob, 11..=200).await
        });
        poured.and(joined)
    }

    /// The messages that were sent while a client was away arrive when it resumes.
    async fn a_client_that_reconnects_gets_the_missed_messages(stage: Stage) -> Verdict {
        let (mut ann, epoch) = member_of_long_room(&stage, 1).await?;
        let bob = stage.member("bob").await?;
        bob.reset();
        for n in 0..5 {
            ann.post(&stage.room(), &n.to_string()).await?;
        }
        let mut bob = stage.client("bob").await?;
        bob.command(after(&stage.room(), &epoch, 1)).await?;
        bob.expect("joined").await?;
        expect_messages(&mut bob, 2..=6).await
    }

    /// A join with `last` brings that number of newest messages, oldest first, or all if there are fewer; 0 brings
    /// none.
    #[source = "PROTOCOL.md, section 3"]
    async fn last_brings_the_newest_messages(stage: Stage) -> Verdict {
        let (mut ann, _) = member_of_long_room(&stage, 10).await?;
        for (last, first) in [(3, 8), (10, 1), (1_000, 1), (0, 11)] {
            let mut bob = stage.client("bob").await?;
            let join = json!({"type": "join", "room": stage.room(), "last": last});
            bob.ask_for("joined", join).await?;
            expect_messages(&mut bob, first..=10).await?;
            bob.expect_no_events().await?;
        }
        ann.expect_no_events().await
    }

    /// A join with a `last` above the size of a page brings one page.
    #[source = "PROTOCOL.md, section 3"]
    #[with(limits(without_rates))]
    async fn last_is_clamped_to_a_page(stage: Stage) -> Verdict {
        member_of_long_room(&stage, 210).await?;
        for last in [201_u64, (1 << 53) - 1] {
            let mut bob = stage.client("bob").await?;
            let join = json!({"type": "join", "room": stage.room(), "last": last});
            bob.ask_for("joined", join).await?;
            expect_messages(&mut bob, 11..=210).await?;
            bob.expect_no_events().await?;
        }
        Ok(())
    }

    /// A join without `after` and `last` brings only later messages.
    #[source = "PROTOCOL.md, section 3"]
    async fn a_join_without_a_position_brings_only_new_messages(stage: Stage) -> Verdict {
        let (mut ann, _) = member_of_long_room(&stage, 5).await?;
        let mut bob = stage.client("bob").await?;
        bob.command(json!({"type": "join", "room": stage.room()})).await?;
        bob.expect("joined").await?;
        ann.post(&stage.room(), "new").await?;
        expect_messages(&mut bob, [6]).await
    }

    /// A member who joins again with `after` or `last` gets those messages again, then the live ones.
    #[source = "PROTOCOL.md, section 3"]
    async fn a_member_can_join_again_from_another_position(stage: Stage) -> Verdict {
        let (mut ann, epoch) = member_of_long_room(&stage, 6).await?;
        ann.command(after(&stage.room(), &epoch, 4)).await?;
        ann.expect("joined").await?;
        expect_messages(&mut ann, 5..=6).await?;
        ann.command(json!({"type": "join", "room": stage.room(), "last": 1})).await?;
        ann.expect("joined").await?;
        expect_messages(&mut ann, [6]).await?;
        ann.post(&stage.room(), "live").await?;
        ann.expect_no_events().await
    }

    /// A `seq` that this epoch has not reached is `bad_cursor`, and the client does not become a member.
    #[source = "PROTOCOL.md, section 7.1"]
    async fn a_position_after_the_head_is_refused(stage: Stage) -> Verdict {
        let (_ann, epoch) = member_of_long_room(&stage, 3).await?;
        let mut bob = stage.client("bob").await?;
        for seq in [4, 1_000_000, (1 << 53) - 1] {
            bob.ask_for_error("bad_cursor", after(&stage.room(), &epoch, seq)).await?;
        }
        bob.ask_for_error("not_joined", send(&stage.room(), "hi")).await.map(drop)
    }

    /// A position of another epoch, or of another room, is not recovered: the newest messages follow.
    async fn another_epoch_is_not_recovered(stage: Stage) -> Verdict {
        let (mut ann, _) = member_of_long_room(&stage, 3).await?;
        let elsewhere = ann.join(&stage.named("other")).await?["epoch"].clone();
        for epoch in [json!("another"), json!(""), elsewhere] {
            let mut bob = stage.client("bob").await?;
            let joined = bob.ask_for("joined", after(&stage.room(), &epoch, 2)).await?;
            bob.check(joined["recovered"] == false, "recovered: false", &joined)?;
            expect_messages(&mut bob, 1..=3).await?;
            bob.expect_no_events().await?;
        }
        Ok(())
    }

    /// A join with `after` and `last` is `bad_command`.
    #[source = "PROTOCOL.md, section 3"]
    async fn after_and_last_together_are_refused(stage: Stage) -> Verdict {
        let (_ann, epoch) = member_of_long_room(&stage, 1).await?;
        let mut bob = stage.client("bob").await?;
        let mut join = after(&stage.room(), &epoch, 0);
        join["last"] = json!(1);
        bob.ask_for_error("bad_command", join).await.map(drop)
    }

    /// A resume from before the oldest message has `recovered` false, and `gap` names the missing range.
    #[with(limits(|limits| limits.rooms.log_messages = 10))]
    #[with(needs(Needs::Limits))]
    async fn a_gap_is_announced(stage: Stage) -> Verdict {
        let kept = stage.limits().rooms.log_messages as u64;
        let head = kept + 20;
        let (_ann, epoch) = member_of_long_room(&stage, head).await?;
        let mut bob = stage.client("bob").await?;
        bob.command(after(&stage.room(), &epoch, 5)).await?;
        let joined = bob.expect("joined").await?;
        let first = joined["first"].as_u64().unwrap_or_default();
        bob.check(joined["recovered"] == false && first > 6, "recovered: false, first > 6", &joined)?;
        let gap = bob.expect("gap").await?;
        let to = gap["to"].as_u64().unwrap_or_default();
        let fits = gap["from"] == 6 && to + 1 >= first && gap["epoch"] == epoch;
        bob.check(fits, format!("a gap from 6 to {} or later", first - 1), &gap)?;
        expect_messages(&mut bob, to + 1..=head).await
    }

    /// A resume from the oldest position that the log still reaches is recovered; one before it has a gap.
    #[with(limits(|limits| limits.rooms.log_messages = 10))]
    async fn a_resume_from_the_oldest_position_is_recovered(stage: Stage) -> Verdict {
        let kept = stage.limits().rooms.log_messages as u64;
        let head = kept + 5;
        let (_ann, epoch) = member_of_long_room(&stage, head).await?;
        let mut bob = stage.client("bob").await?;
        let first = bob.join(&stage.room()).await?["first"].as_u64().unwrap_or_default();
        let mut cid = stage.client("cid").await?;
        cid.command(after(&stage.room(), &epoch, first - 1)).await?;
        let joined = cid.expect("joined").await?;
        cid.check(joined["recovered"] == true, "recovered: true", &joined)?;
        expect_messages(&mut cid, first..=head).await
    }

    /// A history before the oldest message is what the log still has, and `more` is false.
    #[source = "PROTOCOL.md, section 4"]
    #[with(limits(|limits| limits.rooms.log_messages = 10))]
    #[with(needs(Needs::Limits))]
    async fn a_history_ends_at_the_oldest_message(stage: Stage) -> Verdict {
        let kept = stage.limits().rooms.log_messages as u64;
        let (mut ann, _) = member_of_long_room(&stage, kept + 5).await?;
        let asked = json!({"type": "history", "room": stage.room(), "before": 6, "limit": 10});
        let history = ann.ask_for("history", asked).await?;
        let none = history["messages"].as_array().is_some_and(Vec::is_empty);
        ann.check(none && history["more"] == false, "no messages, more: false", &history)
    }

    /// A replay of more messages than the room holds in memory is read from the log, in order.
    #[with(limits(|limits| {
        limits.rooms.tail_events = 16;
        without_rates(limits);
    }))]
    async fn a_replay_longer_than_the_tail_is_complete(stage: Stage) -> Verdict {
        let (mut ann, epoch) = member_of_long_room(&stage, 400).await?;
        let mut bob = stage.client("bob").await?;
        bob.command(after(&stage.room(), &epoch, 0)).await?;
        bob.expect("joined").await?;
        ann.post(&stage.room(), "live").await?;
        expect_messages(&mut bob, 1..=401).await
    }
);

/// A member, and the epoch of its room, which has this number of messages.
async fn member_of_long_room(stage: &Stage, count: u64) -> Result<(Client, Value), Failure> {
    let mut ann = stage.client("ann").await?;
    let epoch = ann.join(&stage.room()).await?["epoch"].clone();
    let (room, batch) = (stage.room(), 100);
    for start in (1..=count).step_by(batch) {
        let end = count.min(start + batch as u64 - 1);
        let frames: Vec<_> = (start..=end).map(|n| Frame::json(&send(&room, &n.to_string()))).collect();
        ann.send_all_while_reading(&frames).await?;
        ann.events_so_far().await?;
    }
    Ok((ann, epoch))
}

fn after(room: &str, epoch: &Value, seq: u64) -> Value {
    json!({"type": "join", "room": room, "after": {"epoch": epoch, "seq": seq}})
}
