use super::changed::{change, delete, edit, expect_entries, messages_at, page, pin, react, with};
use super::*;

chat_suite::cases!(
    /// An edit is an entry of the log: members get `changed` with the new body, and the message has it from then on.
    async fn an_edit_replaces_the_body(stage: Stage, mut ann: Member, mut bob: Member) -> Verdict {
        ann.post(&stage.room(), "helo").await?;
        let seq = change(&mut ann, edit(&stage.room(), 1, "hello")).await?;
        check(seq == 2, "the entry 2", seq)?;
        let entries = expect_entries(&mut bob, 1..=2).await?;
        let [message, changed] = &entries[..] else { return Ok(()) };
        let fits = changed["type"] == "changed"
            && changed["what"] == "edited"
            && changed["target"] == 1
            && changed["by"] == message["user"]
            && changed["at"].as_u64() >= message["at"].as_u64()
            && text_of(changed) == "hello";
        bob.check(fits, "a `changed` with target, what, by, at and body", changed)?;
        let history = stage.history().await?;
        let fits = history.len() == 1
            && history[0]["rev"] == 2
            && text_of(&history[0]) == "hello"
            && history[0]["edited"] == json!({"at": changed["at"]});
        check(fits, "the message with its new body, `rev` 2 and `edited`", Events(&history))
    }

    /// The body of an edit is delivered byte for byte, as the body of a message is.
    async fn an_edited_body_is_delivered_unchanged(stage: Stage, mut ann: Member) -> Verdict {
        const BODY: &str = r#"{"b": 1.50, "a":[ ], "text":"\u0068i"}"#;
        ann.post(&stage.room(), "hi").await?;
        ann.text(format!(r#"{{"type":"edit","room":"{}","seq":1,"body":{BODY},"ref":"e"}}"#, stage.room()))
            .await?;
        ann.reply(&json!("e")).await?;
        let asked = messages_at(&stage.room(), [1]);
        let history = ann.ask_for("history", asked).await?;
        let expected: Value = serde_json::from_str(BODY).unwrap_or_default();
        ann.check(history["messages"][0]["body"] == expected, format!("the body {BODY}"), &history)
    }

    /// Messages and changes take their `seq`s from one sequence, and `joined` counts both.
    #[source = "PROTOCOL.md, section 5.1"]
    #[with(race("the other member may get an entry before or after the deletion"))]
    async fn changes_and_messages_share_one_sequence(stage: Stage, mut ann: Member) -> Verdict {
        let room = stage.room();
        let one = ann.post(&room, "one").await?;
        let two = change(&mut ann, react(&room, one, "+1", true)).await?;
        let three = ann.post(&room, "three").await?;
        let four = change(&mut ann, edit(&room, three, "3")).await?;
        let five = change(&mut ann, delete(&room, one)).await?;
        let seqs = [one, two, three, four, five];
        check(seqs == [1, 2, 3, 4, 5], "the entries 1 to 5", format!("{seqs:?}"))?;
        let joined = ann.join(&room).await?;
        ann.check(joined["seq"] == 5, "the newest entry 5", &joined)
    }

    /// A change of an entry that does not exist, or that is a change itself, is `no_message`.
    async fn a_change_of_no_message_is_refused(stage: Stage, mut ann: Member, mut bob: Member) -> Verdict {
        let room = stage.room();
        ann.post(&room, "one").await?;
        change(&mut ann, edit(&room, 1, "two")).await?;
        for (client, seq) in [(&mut ann, 2), (&mut bob, 99)] {
            for command in [
                edit(&room, seq, "x"),
                delete(&room, seq),
                react(&room, seq, "+1", true),
                pin(&room, seq, true),
            ] {
                client.ask_for_error("no_message", command).await?;
            }
        }
        let joined = ann.join(&room).await?;
        ann.check(joined["seq"] == 2, "no entry of a refused change", &joined)
    }

    /// A missing field of a change, a field of a wrong type, and a `seq` out of range are `bad_command`.
    async fn a_change_with_bad_fields_is_refused(stage: Stage, mut ann: Member) -> Verdict {
        let room = stage.room();
        ann.post(&room, "hi").await?;
        let mut commands = Vec::new();
        for valid in [edit(&room, 1, "x"), delete(&room, 1), react(&room, 1, "+1", true), pin(&room, 1, true)]
        {
            let bad = [json!(null), json!(0), json!(-1), json!(1.5), json!("1"), json!(1_u64 << 53)];
            commands.extend(bad.map(|bad| with(valid.clone(), "seq", bad)));
        }
        for bad in [json!(null), json!(1), json!("true")] {
            commands.push(with(react(&room, 1, "+1", true), "on", bad.clone()));
            commands.push(with(pin(&room, 1, true), "on", bad));
        }
        commands.push(with(react(&room, 1, "+1", true), "reaction", json!(1)));
        commands.push(with(react(&room, 1, "+1", true), "rev", json!("1")));
        commands.push(with(edit(&room, 1, "x"), "rev", json!(-1)));
        commands.push(with(edit(&room, 1, "x"), "body", json!("x")));
        commands.push(with(edit(&room, 1, "x"), "body", json!(null)));
        commands.push(with(delete(&room, 1), "reason", json!(1)));
        expect_bad_commands(&stage, commands).await?;
        let history = stage.history().await?;
        check(history.len() == 1 && history[0]["rev"].is_null(), "an unchanged message", Events(&history))
    }

    /// A reaction has 1 to 64 bytes in NFC, which can be printed and seen. Otherwise it is `bad_command`.
    async fn a_reaction_that_breaks_a_rule_is_refused(stage: Stage, mut ann: Member) -> Verdict {
        let room = stage.room();
        ann.post(&room, "hi").await?;
        let long = "x".repeat(65);
        let bad = ["", long.as_str(), "e\u{301}", "\u{1b}", "\u{200b}", "\u{202e}x", " ", "a\u{200d}"];
        expect_bad_commands(&stage, bad.map(|bad| react(&room, 1, bad, true)).into()).await?;
        let longest = "x".repeat(64);
        for (index, good) in
            ["+1", "é", "👍🏽", "❤\u{fe0f}", "👩\u{200d}🚀", longest.as_str()].into_iter().enumerate()
        {
            let seq = change(&mut ann, react(&room, 1, good, true)).await?;
            check(seq == index as u64 + 2, format!("an entry for the reaction {good}"), seq)?;
        }
        Ok(())
    }

    /// The body of an edit is checked as the body of a message.
    async fn the_body_of_an_edit_is_checked(stage: Stage, mut ann: Member) -> Verdict {
        let room = stage.room();
        ann.post(&room, "hi").await?;
        ann.ask_for_error("empty_body", edit(&room, 1, "")).await?;
        ann.ask_for_error("empty_body", edit(&room, 1, " \n")).await?;
        let long = "x".repeat(stage.limits().wire.max_body_bytes + 1);
        ann.ask_for_error("body_too_large", edit(&room, 1, &long)).await?;
        ann.ask_for_error("bad_body", with(edit(&room, 1, ""), "body", json!({"text": 1}))).await?;
        ann.ask_for_error("bad_body", edit(&room, 1, "a\u{1b}b")).await?;
        let history = stage.history().await?;
        check(text_of(&history[0]) == "hi", "the old body", Events(&history))
    }

    /// A reason of a deletion has at most as many bytes as the limit, and can be printed.
    async fn a_reason_that_breaks_a_rule_is_refused(stage: Stage, mut ann: Member) -> Verdict {
        ann.post(&stage.room(), "hi").await?;
        let long = "x".repeat(stage.limits().wire.max_reason_bytes + 1);
        for bad in [long.as_str(), "a\u{1b}b", "\u{202e}"] {
            ann.ask_for_error("bad_command", with(delete(&stage.room(), 1), "reason", bad)).await?;
        }
        change(&mut ann, with(delete(&stage.room(), 1), "reason", "off topic")).await?;
        let changed = ann.expect("changed").await?;
        ann.check(changed["reason"] == "off topic", "the reason", &changed)
    }

    /// Of two edits with the same `rev`, the second is a `conflict`. With the `rev` of the first, it is allowed.
    async fn a_second_edit_with_the_same_rev_is_a_conflict(stage: Stage, mut ann: Member) -> Verdict {
        let room = stage.room();
        ann.post(&room, "one").await?;
        change(&mut ann, with(edit(&room, 1, "two"), "rev", 1)).await?;
        ann.ask_for_error("conflict", with(edit(&room, 1, "three"), "rev", 1)).await?;
        ann.ask_for_error("conflict", with(react(&room, 1, "+1", true), "rev", 1)).await?;
        change(&mut ann, with(edit(&room, 1, "three"), "rev", 2)).await?;
        let history = stage.history().await?;
        let fits = text_of(&history[0]) == "three" && history[0]["rev"] == 3;
        check(fits, "the body of the allowed edit", Events(&history))
    }

    /// A reaction after `rev` is no conflict for an edit: it has not changed the body.
    async fn a_reaction_does_not_conflict_with_an_edit(stage: Stage, mut ann: Member) -> Verdict {
        let room = stage.room();
        ann.post(&room, "one").await?;
        change(&mut ann, react(&room, 1, "+1", true)).await?;
        change(&mut ann, with(edit(&room, 1, "two"), "rev", 1)).await.map(drop)
    }

    /// An edit repeated with its key is a duplicate with the first `seq`. With another body or for a message, the key
    /// is a `key_conflict`.
    #[source = "PROTOCOL.md, section 5.3"]
    async fn an_edit_with_a_repeated_key_is_a_duplicate(stage: Stage, mut ann: Member) -> Verdict {
        let room = stage.room();
        ann.post(&room, "one").await?;
        let keyed = |text| with(edit(&room, 1, text), "key", "k");
        change(&mut ann, keyed("two")).await?;
        change(&mut ann, edit(&room, 1, "three")).await?;
        let again = ann.ask_for("done", keyed("two")).await?;
        ann.check(again["seq"] == 2 && again["duplicate"] == true, "a duplicate of 2", &again)?;
        ann.ask_for_error("key_conflict", keyed("other")).await?;
        ann.ask_for_error("key_conflict", with(send(&room, "two"), "key", "k")).await?;
        ann.ask_for_error("bad_key", with(keyed("two"), "key", "")).await?;
        let history = stage.history().await?;
        check(text_of(&history[0]) == "three", "the body of the newer edit", Events(&history))
    }

    /// A `history` with `seqs` has the messages at these positions, oldest first and once. Changes and positions
    /// without an entry are left out.
    async fn single_messages_are_read_by_their_seqs(stage: Stage, mut ann: Member) -> Verdict {
        let room = stage.room();
        ann.post(&room, "one").await?;
        change(&mut ann, edit(&room, 1, "1")).await?;
        for text in ["three", "four"] {
            ann.post(&room, text).await?;
        }
        let read = page(&mut ann, messages_at(&room, [4, 1, 2, 1, 99, 0])).await?;
        let fits = seqs(&read) == [1, 4] && text_of(&read[0]) == "1" && read[0]["rev"] == 2;
        check(fits, "the messages 1 and 4 in their present state", Events(&read))?;
        let none = page(&mut ann, messages_at(&room, json!([]))).await?;
        check(none.is_empty(), "no message", Events(&none))
    }

    /// Too many `seqs`, `seqs` beside a position, and `seqs` that are no list of positions are `bad_command`.
    async fn bad_seqs_are_refused(stage: Stage, mut ann: Member) -> Verdict {
        let room = stage.room();
        let most = stage.limits().wire.max_seqs as u64;
        page(&mut ann, messages_at(&room, (1..=most).collect::<Vec<_>>())).await?;
        let mut commands = vec![messages_at(&room, (1..=most + 1).collect::<Vec<_>>())];
        commands.extend(["before", "after"].map(|field| with(messages_at(&room, [1]), field, 2)));
        let bad = [json!(1), json!("1"), json!([-1]), json!(["1"]), json!([1.5]), json!({})];
        commands.extend(bad.map(|bad| messages_at(&room, bad)));
        expect_bad_commands(&stage, commands).await
    }

    /// Changes and `seqs` are for members: from other connections they are `not_joined`.
    async fn a_change_by_a_connection_that_did_not_join_is_refused(stage: Stage, mut ann: Member) -> Verdict {
        let room = stage.room();
        ann.post(&room, "hi").await?;
        let mut bob = stage.client("bob").await?;
        for command in [
            edit(&room, 1, "x"),
            delete(&room, 1),
            react(&room, 1, "+1", true),
            pin(&room, 1, true),
            messages_at(&room, [1]),
        ] {
            bob.ask_for_error("not_joined", command).await?;
        }
        ann.expect_no_events().await
    }
);

/// Expects that each of these commands of a member is `bad_command`. Ten errors would close the connection.
pub(super) async fn expect_bad_commands(stage: &Stage, commands: Vec<Value>) -> Verdict {
    for (index, commands) in commands.chunks(stage.limits().connection.max_errors - 1).enumerate() {
        let mut client = stage.member(&format!("member{index}")).await?;
        for command in commands {
            client.ask_for_error("bad_command", command.clone()).await?;
        }
    }
    Ok(())
}
