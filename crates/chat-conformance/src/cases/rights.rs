use super::host::{DETAIL, FAILING, HANGING, SPAM, STAFF, with_rights};
use super::*;

chat_suite::cases!(
    /// A `join` that the rights do not allow is answered with `forbidden`. The user is no member, and is still served.
    #[source = "PROTOCOL.md, sections 3 and 7.1 (`forbidden`)"]
    #[with(authorize(with_rights))]
    async fn a_join_without_the_right_is_forbidden(stage: Stage, mut boss: Client) -> Verdict {
        boss.join(STAFF).await?;
        let mut ann = stage.member("ann").await?;
        let error = ann.ask_for_error("forbidden", json!({"type": "join", "room": STAFF})).await?;
        ann.check(error["room"] == STAFF, "the error's room", &error)?;
        ann.ask_for_error("not_joined", send(STAFF, "hi")).await?;
        boss.post(STAFF, "secret").await?;
        let seen = boss.events_so_far().await?;
        check(seen.is_empty(), "no event about a user who may not join", Events(&seen))?;
        ann.post(&stage.room(), "still here").await?;
        ann.expect_no_events().await
    }

    /// A message that the host rejects is answered with `rejected` and `detail`. It is not stored, and has no `seq`.
    #[source = "PROTOCOL.md, sections 5.2 and 7.1 (`rejected`)"]
    #[with(authorize(with_rights))]
    async fn a_rejected_message_is_not_stored(stage: Stage, mut ann: Member, mut bob: Member) -> Verdict {
        let room = stage.room();
        let error = ann.ask_for_error("rejected", send(&room, SPAM)).await?;
        ann.check(error["detail"] == DETAIL, format!("the detail \"{DETAIL}\""), &error)?;
        ann.expect_no_events().await?;
        let seq = ann.post(&room, "hi").await?;
        check(seq == 1, "the `seq` 1 for the first accepted message", seq)?;
        expect_messages(&mut bob, [1]).await?;
        bob.expect_no_events().await?;
        let history = stage.history().await?;
        check(seqs(&history) == [1], "one message in the history", Events(&history))
    }

    /// A rejected message does not use its key: another message can have it.
    #[source = "PROTOCOL.md, sections 5.3 and 7.1 (`rejected`)"]
    #[with(authorize(with_rights))]
    async fn a_rejected_message_does_not_use_its_key(stage: Stage, mut ann: Member) -> Verdict {
        let keyed = |text| json!({"type": "send", "room": stage.room(), "key": "k1", "body": {"text": text}});
        ann.ask_for_error("rejected", keyed(SPAM)).await?;
        let sent = ann.ask_for("sent", keyed("hi")).await?;
        ann.check(sent["duplicate"].is_null() && sent["seq"] == 1, "a first message with this key", &sent)
    }

    /// A refusal by the host is an error like others: ten within ten seconds close the connection with 4500.
    #[source = "PROTOCOL.md, section 7.1 (`too_many_errors`)"]
    #[with(authorize(with_rights))]
    async fn ten_refusals_close_the_connection(stage: Stage, mut ann: Member) -> Verdict {
        let refused = [json!({"type": "join", "room": STAFF}), send(&stage.room(), SPAM)];
        let count = stage.limits().connection.max_errors;
        for (index, command) in refused.iter().cycle().take(count).enumerate() {
            let code = ["forbidden", "rejected"][index % 2];
            ann.ask_for_error(code, command.clone()).await?;
        }
        ann.expect_closed(4500).await
    }

    /// A host that fails, or that does not answer in time, allows nothing: the error is `unavailable`.
    #[source = "PROTOCOL.md, section 7.1 (`unavailable`)"]
    #[with(authorize(with_rights))]
    #[with(limits(|limits| limits.rooms.call_timeout = millis(300)))]
    async fn a_host_without_an_answer_allows_nothing(stage: Stage, mut ann: Member) -> Verdict {
        for subject in [FAILING, HANGING] {
            ann.ask_for_error("unavailable", json!({"type": "join", "room": subject})).await?;
            ann.ask_for_error("not_joined", send(subject, "hi")).await?;
            ann.ask_for_error("unavailable", send(&stage.room(), subject)).await?;
        }
        let history = stage.history().await?;
        check(history.is_empty(), "an empty history", Events(&history))
    }
);
