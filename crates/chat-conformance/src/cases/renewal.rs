use super::*;

chat_suite::cases!(
    /// A log that begins another life closes the members of its room with 4003, and no other connection.
    #[source = "PROTOCOL.md, section 7.2 (4003)"]
    #[with(renewable_logs())]
    async fn a_renewed_log_closes_its_members(stage: Stage, mut ann: Member, mut bob: Client) -> Verdict {
        ann.post(&stage.room(), "old").await?;
        stage.renew_logs().await;
        let closing = ann.expect("closing").await?;
        let fits = closing["code"] == 4003 && closing["reason"] == "log_renewed";
        ann.check(fits, "`closing` with 4003, log_renewed", &closing)?;
        ann.expect_close_code(&[4003]).await?;
        ann.send(Frame::close(4003, "")).await?;
        ann.expect_disconnect().await?;
        bob.expect_no_events().await
    }

    /// A resume in a renewed log is not recovered: `joined` names the new epoch, whose `seq`s begin again.
    #[source = "PROTOCOL.md, sections 5.4 and 7.2"]
    #[with(renewable_logs())]
    async fn a_renewed_log_is_resumed_without_its_old_entries(stage: Stage) -> Verdict {
        let room = stage.room();
        let mut ann = stage.client("ann").await?;
        let old = ann.join(&room).await?["epoch"].clone();
        for text in ["1", "2", "3"] {
            ann.post(&room, text).await?;
        }
        stage.renew_logs().await;
        ann.expect_closed(4003).await?;
        let mut bob = stage.member("bob").await?;
        bob.post(&room, "new").await?;
        let mut ann = stage.client("ann").await?;
        let after = json!({"type": "join", "room": room, "after": {"epoch": old, "seq": 3}});
        let joined = ann.ask_for("joined", after).await?;
        let fits = joined["recovered"] == false && joined["epoch"] != old && joined["seq"] == 1;
        ann.check(fits, "`recovered: false`, another epoch, and `seq` 1", &joined)?;
        expect_messages(&mut ann, [1]).await?;
        ann.expect_no_events().await
    }
);
