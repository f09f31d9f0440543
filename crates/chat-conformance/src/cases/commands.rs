use super::*;

chat_suite::cases!(
    /// Each command is answered with its own event and its `ref`, and with nothing else.
    async fn each_command_gets_its_own_reply(stage: Stage) -> Verdict {
        let room = stage.room();
        let mut ann = stage.client("ann").await?;
        for (command, reply) in [
            (json!({"type": "ping"}), "pong"),
            (json!({"type": "join", "room": room}), "joined"),
            (json!({"type": "history", "room": room}), "history"),
            (json!({"type": "members", "room": room}), "members"),
            (json!({"type": "leave", "room": room}), "left"),
        ] {
            ann.ask_for(reply, command).await?;
            ann.expect_no_events().await?;
        }
        Ok(())
    }

    /// A command without a `ref` is answered without one.
    async fn a_reply_without_a_ref_has_none(stage: Stage, mut ann: Client) -> Verdict {
        for command in [json!({"type": "ping"}), json!({"type": "join", "room": stage.room()})] {
            ann.command(command).await?;
            let reply = ann.event().await?;
            ann.check(reply.get("ref").is_none(), "a reply without `ref`", &reply)?;
        }
        ann.command(json!({"type": "dance"})).await?;
        let error = ann.expect("error").await?;
        ann.check(error.get("ref").is_none(), "an error without `ref`", &error)
    }

    /// A `ref` has at most 64 bytes, not characters; a longer one is `bad_command`.
    async fn a_ref_of_64_bytes_is_the_longest(stage: Stage, mut ann: Client) -> Verdict {
        for reference in ["x".repeat(64), "é".repeat(32), String::new()] {
            ann.text(ping(&reference)).await?;
            expect_pong_event(&mut ann, &reference).await?;
        }
        for reference in ["x".repeat(65), "é".repeat(33)] {
            ann.text_for_error(&["bad_command"], ping(&reference)).await?;
        }
        Ok(())
    }

    /// A `ref` is a string; a number, null or an object is `bad_command`.
    async fn a_ref_that_is_no_string_is_a_bad_command(stage: Stage, mut ann: Client) -> Verdict {
        for reference in [json!(1), json!({}), json!(["x"]), json!(true)] {
            let text = json!({"type": "ping", "ref": reference}).to_string();
            ann.text_for_error(&["bad_command"], text).await?;
        }
        Ok(())
    }

    /// The server does not interpret a `ref`: two commands with the same one get two replies.
    async fn a_ref_can_be_used_again(stage: Stage, mut ann: Client) -> Verdict {
        for _ in 0..3 {
            ann.text(ping("same")).await?;
        }
        for _ in 0..3 {
            expect_pong_event(&mut ann, "same").await?;
        }
        ann.expect_no_events().await
    }

    /// A `hello` on a connection that already has a user is `already_identified`.
    #[source = "PROTOCOL.md, section 7.1"]
    async fn a_second_hello_is_refused(stage: Stage, mut ann: Client) -> Verdict {
        ann.ask_for_error("already_identified", json!({"type": "hello", "token": ""})).await?;
        ann.ask_for_error("already_identified", json!({"type": "hello", "token": "x"})).await?;
        ann.expect_no_events().await
    }

    /// The commands `leave`, `send`, `history`, `members`, `search` and `typing` are `not_joined` for a client
    /// outside the room.
    async fn room_commands_of_a_stranger_are_refused(stage: Stage) -> Verdict {
        let room = stage.room();
        let mut ann = stage.client("ann").await?;
        for command in [
            json!({"type": "leave", "room": room}),
            send(&room, "hi"),
            json!({"type": "history", "room": room}),
            json!({"type": "members", "room": room}),
            json!({"type": "search", "room": room, "query": "x"}),
            json!({"type": "typing", "room": room, "active": true}),
        ] {
            ann.ask_for_error("not_joined", command).await?;
        }
        let history = stage.history().await?;
        check(history.is_empty(), "no message in the log", Events(&history))
    }

    /// The room's commands, `leave` too, are `not_joined` again after `left`.
    async fn room_commands_after_leaving_are_refused(stage: Stage, mut ann: Member) -> Verdict {
        ann.ask_for("left", json!({"type": "leave", "room": stage.room()})).await?;
        ann.ask_for_error("not_joined", send(&stage.room(), "hi")).await?;
        ann.ask_for_error("not_joined", json!({"type": "leave", "room": stage.room()})).await.map(drop)
    }

    /// A command without a required field is `bad_command`.
    async fn a_missing_field_is_a_bad_command(stage: Stage) -> Verdict {
        let room = stage.room();
        let mut ann = stage.member("ann").await?;
        for command in [
            json!({"type": "hello"}),
            json!({"type": "join"}),
            json!({"type": "send", "room": room}),
            json!({"type": "send", "body": {"text": "hi"}}),
            json!({"type": "typing", "room": room}),
            json!({"type": "search", "room": room}),
            json!({"type": "join", "room": room, "after": {"seq": 1}}),
            json!({"type": "join", "room": room, "after": {"epoch": "x"}}),
        ] {
            ann.ask_for_error("bad_command", command).await?;
        }
        Ok(())
    }

    /// The `limit` of `history` is clamped to 200 and is 50 by default, and `more` says that there are more messages.
    #[with(limits(without_rates))]
    async fn a_history_limit_is_clamped(stage: Stage) -> Verdict {
        let room = stage.room();
        let mut ann = stage.member("ann").await?;
        let sends = sends(&room, 0..210);
        ann.send_all_while_reading(&sends).await?;
        ann.events_so_far().await?;
        for (limit, count) in [(json!(null), 50), (json!(200), 200), (json!(1_000_000_000_u64), 200)] {
            let mut command = json!({"type": "history", "room": room, "limit": limit});
            if limit.is_null() {
                command = json!({"type": "history", "room": room});
            }
            let history = ann.ask_for("history", command).await?;
            let got = history["messages"].as_array().map_or(0, Vec::len);
            ann.check(
                got == count && history["more"] == true,
                format!("{count} messages, more"),
                &json!(got),
            )?;
        }
        Ok(())
    }

    /// A client pages back with `before` and on with `after`, oldest first both ways, until there is no more.
    #[source = "PROTOCOL.md, sections 3 and 4"]
    async fn a_history_is_paged_in_both_directions(stage: Stage) -> Verdict {
        let room = stage.room();
        let mut ann = stage.member("ann").await?;
        for n in 1..=7 {
            ann.post(&room, &n.to_string()).await?;
        }
        for (cursor, expected, more) in [
            (json!({"before": 6}), vec![3, 4, 5], true),
            (json!({"before": 3}), vec![1, 2], false),
            (json!({"before": 1}), vec![], false),
            (json!({"after": 0}), vec![1, 2, 3], true),
            (json!({"after": 4}), vec![5, 6, 7], false),
            (json!({"after": 7}), vec![], false),
            (json!({}), vec![5, 6, 7], true),
            (json!({"before": 1_000_000}), vec![5, 6, 7], true),
            (json!({"after": 1_000_000}), vec![], false),
        ] {
            let mut command = json!({"type": "history", "room": room, "limit": 3});
            for (name, value) in cursor.as_object().into_iter().flatten() {
                command[name] = value.clone();
            }
            let history = ann.ask_for("history", command).await?;
            let got = seqs(history["messages"].as_array().map_or(&[], Vec::as_slice));
            ann.check(
                got == expected && history["more"] == more,
                format!("{expected:?}, more: {more}"),
                &history,
            )?;
        }
        Ok(())
    }

    /// A `history` with `before` and `after`, with a negative `limit` or with a string is refused.
    async fn a_history_with_two_directions_is_refused(stage: Stage, mut ann: Member) -> Verdict {
        let history = |more: &str| format!(r#"{{"type":"history","room":"{}",{more}}}"#, stage.room());
        ann.text_for_error(&["bad_cursor", "bad_command"], history(r#""before":9,"after":1"#)).await?;
        ann.text_for_error(&["bad_command"], history(r#""limit":-1"#)).await?;
        ann.text_for_error(&["bad_command"], history(r#""limit":"1""#)).await?;
        ann.text_for_error(&["bad_command"], history(r#""before":1.5"#)).await.map(drop)
    }

    /// A `limit` of 0 is no error and brings at most one message.
    async fn a_history_limit_of_zero_is_accepted(stage: Stage, mut ann: Member) -> Verdict {
        ann.post(&stage.room(), "one").await?;
        ann.post(&stage.room(), "two").await?;
        let asked = json!({"type": "history", "room": stage.room(), "limit": 0});
        let history = ann.ask_for("history", asked).await?;
        let few = history["messages"].as_array().is_some_and(|messages| messages.len() <= 1);
        ann.check(few, "at most one message", &history)
    }

    /// The messages in `history` equal the delivered `message` events, field by field.
    #[source = "PROTOCOL.md, section 4"]
    async fn a_history_shows_messages_as_they_were_delivered(stage: Stage, mut ann: Member) -> Verdict {
        ann.command(json!({"type": "send", "room": stage.room(), "key": "k", "body": {"text": "hi"}}))
            .await?;
        let events = ann.events_so_far().await?;
        let message = events.iter().find(|event| event["type"] == "message");
        let message = message.ok_or_else(|| ann.failure("the message", Events(&events)))?.clone();
        let history = ann.ask_for("history", json!({"type": "history", "room": stage.room()})).await?;
        let mut stored = history["messages"][0].clone();
        stored["type"] = json!("message");
        ann.check(stored == message, format!("{message}"), &history)?;
        ann.check(history["epoch"].is_string(), "an `epoch`", &history)
    }

    /// The command `typing` gets no reply, unless it is wrong; the error then has its `ref`.
    async fn typing_gets_no_reply(stage: Stage, mut ann: Member) -> Verdict {
        for active in [true, false] {
            let typing = json!({"type": "typing", "room": stage.room(), "active": active, "ref": "t"});
            ann.command(typing).await?;
        }
        let events = ann.events_so_far().await?;
        check(events.is_empty(), "nothing", Events(&events))?;
        let typing = json!({"type": "typing", "room": stage.room(), "active": "yes"});
        ann.ask_for_error("bad_command", typing).await.map(drop)
    }
);
