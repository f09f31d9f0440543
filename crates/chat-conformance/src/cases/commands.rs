use serde_json::json;

use super::{Group, case, fail, send};
use crate::client::Events;

pub(super) fn group() -> Group {
    let cases = vec![
        case(
            "every_command_gets_its_own_reply",
            "Each command is answered by its own event, with its `ref`, and by nothing else.",
            "PROTOCOL.md, section 3",
            |stage| async move {
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
                    ann.expect_quiet().await?;
                }
                Ok(())
            },
        ),
        case(
            "a_reply_to_no_ref_has_none",
            "A command without a `ref` is answered without one.",
            "PROTOCOL.md, section 3",
            |stage| async move {
                let mut ann = stage.client("ann").await?;
                for command in [json!({"type": "ping"}), json!({"type": "join", "room": stage.room()})] {
                    ann.command(command).await?;
                    let reply = ann.event().await?;
                    ann.check(reply.get("ref").is_none(), "a reply without `ref`", &reply)?;
                }
                ann.command(json!({"type": "dance"})).await?;
                let error = ann.expect("error").await?;
                ann.check(error.get("ref").is_none(), "an error without `ref`", &error)
            },
        ),
        case(
            "a_ref_of_64_bytes_is_the_longest",
            "A `ref` has at most 64 bytes, not characters; a longer one is `bad_command`.",
            "PROTOCOL.md, section 3",
            |stage| async move {
                let mut ann = stage.client("ann").await?;
                for reference in ["x".repeat(64), "é".repeat(32), String::new()] {
                    ann.text(super::ping(&reference)).await?;
                    super::expect_pong_event(&mut ann, &reference).await?;
                }
                for reference in ["x".repeat(65), "é".repeat(33)] {
                    ann.say_in_vain(&["bad_command"], super::ping(&reference)).await?;
                }
                Ok(())
            },
        ),
        case(
            "a_ref_that_is_no_string_is_a_bad_command",
            "A `ref` is a string; a number, null or an object is `bad_command`.",
            "PROTOCOL.md, section 3",
            |stage| async move {
                let mut ann = stage.client("ann").await?;
                for reference in [json!(1), json!({}), json!(["x"]), json!(true)] {
                    let text = json!({"type": "ping", "ref": reference}).to_string();
                    ann.say_in_vain(&["bad_command"], text).await?;
                }
                Ok(())
            },
        ),
        case(
            "one_ref_may_be_used_again",
            "The server does not judge a `ref`: two commands with the same one get two replies.",
            "PROTOCOL.md, section 3",
            |stage| async move {
                let mut ann = stage.client("ann").await?;
                for _ in 0..3 {
                    ann.text(super::ping("same")).await?;
                }
                for _ in 0..3 {
                    super::expect_pong_event(&mut ann, "same").await?;
                }
                ann.expect_quiet().await
            },
        ),
        case(
            "a_second_hello_is_refused",
            "A connection that speaks for a user already is told so: `already_identified`.",
            "PROTOCOL.md, section 7.1",
            |stage| async move {
                let mut ann = stage.client("ann").await?;
                ann.ask_in_vain("already_identified", json!({"type": "hello", "name": "Ann"})).await?;
                ann.ask_in_vain("already_identified", json!({"type": "hello", "token": "x"})).await?;
                ann.expect_quiet().await
            },
        ),
        case(
            "commands_of_a_room_are_for_its_members",
            "`leave`, `send`, `history`, `members`, `search` and `typing` are `not_joined` for others.",
            "PROTOCOL.md, section 3",
            |stage| async move {
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
                    ann.ask_in_vain("not_joined", command).await?;
                }
                let history = stage.history().await?;
                fail(history.is_empty(), "no message in the log", Events(&history))
            },
        ),
        case(
            "a_member_who_left_is_no_member",
            "After `left`, the room's commands are `not_joined` again, `leave` among them.",
            "PROTOCOL.md, section 3",
            |stage| async move {
                let mut ann = stage.member("ann").await?;
                ann.ask_for("left", json!({"type": "leave", "room": stage.room()})).await?;
                ann.ask_in_vain("not_joined", send(&stage.room(), "hi")).await?;
                ann.ask_in_vain("not_joined", json!({"type": "leave", "room": stage.room()})).await.map(drop)
            },
        ),
        case(
            "a_missing_field_is_a_bad_command",
            "A command without a field that it must have is `bad_command`.",
            "PROTOCOL.md, section 3",
            |stage| async move {
                let room = stage.room();
                let mut ann = stage.member("ann").await?;
                for command in [
                    json!({"type": "join"}),
                    json!({"type": "send", "room": room}),
                    json!({"type": "send", "body": {"text": "hi"}}),
                    json!({"type": "typing", "room": room}),
                    json!({"type": "search", "room": room}),
                    json!({"type": "join", "room": room, "after": {"seq": 1}}),
                    json!({"type": "join", "room": room, "after": {"epoch": "x"}}),
                ] {
                    ann.ask_in_vain("bad_command", command).await?;
                }
                Ok(())
            },
        ),
        case(
            "a_history_is_bounded",
            "`limit` is clamped to 200, 50 without one, and `more` says that there is more.",
            "PROTOCOL.md, section 3",
            |stage| async move {
                let room = stage.room();
                let mut ann = stage.member("ann").await?;
                let sends: Vec<_> =
                    (0..210).map(|n| super::Frame::text(send(&room, &format!("{n}")).to_string())).collect();
                ann.pour(&super::packet(&sends)).await?;
                ann.so_far().await?;
                for (limit, count) in [(json!(null), 50), (json!(200), 200), (json!(1_000_000_000_u64), 200)]
                {
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
            },
        ),
        case(
            "a_history_is_paged_in_both_directions",
            "`before` pages back, `after` pages on, oldest first both ways, until there is no more.",
            "PROTOCOL.md, sections 3 and 4",
            |stage| async move {
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
                    let got = super::seqs(history["messages"].as_array().map_or(&[], Vec::as_slice));
                    ann.check(
                        got == expected && history["more"] == more,
                        format!("{expected:?}, more: {more}"),
                        &history,
                    )?;
                }
                Ok(())
            },
        ),
        case(
            "a_history_has_one_direction",
            "`before` and `after` at once, a negative `limit` or a string are refused.",
            "PROTOCOL.md, section 3",
            |stage| async move {
                let mut ann = stage.member("ann").await?;
                let history =
                    |more: &str| format!(r#"{{"type":"history","room":"{}",{more}}}"#, stage.room());
                ann.say_in_vain(&["bad_cursor", "bad_command"], history(r#""before":9,"after":1"#)).await?;
                ann.say_in_vain(&["bad_command"], history(r#""limit":-1"#)).await?;
                ann.say_in_vain(&["bad_command"], history(r#""limit":"1""#)).await?;
                ann.say_in_vain(&["bad_command"], history(r#""before":1.5"#)).await.map(drop)
            },
        ),
        case(
            "a_history_of_no_messages_asks_for_little",
            "`limit` 0 is no error and brings at most one message.",
            "PROTOCOL.md, section 3",
            |stage| async move {
                let mut ann = stage.member("ann").await?;
                ann.post(&stage.room(), "one").await?;
                ann.post(&stage.room(), "two").await?;
                let asked = json!({"type": "history", "room": stage.room(), "limit": 0});
                let history = ann.ask_for("history", asked).await?;
                let few = history["messages"].as_array().is_some_and(|messages| messages.len() <= 1);
                ann.check(few, "at most one message", &history)
            },
        ),
        case(
            "a_history_holds_messages_as_they_were_delivered",
            "What `history` shows is what `message` said, field by field.",
            "PROTOCOL.md, section 4",
            |stage| async move {
                let mut ann = stage.member("ann").await?;
                ann.command(
                    json!({"type": "send", "room": stage.room(), "key": "k", "body": {"text": "hi"}}),
                )
                .await?;
                let events = ann.so_far().await?;
                let message = events.iter().find(|event| event["type"] == "message");
                let message = message.ok_or_else(|| ann.failure("the message", Events(&events)))?.clone();
                let history =
                    ann.ask_for("history", json!({"type": "history", "room": stage.room()})).await?;
                let mut stored = history["messages"][0].clone();
                stored["type"] = json!("message");
                ann.check(stored == message, format!("{message}"), &history)?;
                ann.check(history["epoch"].is_string(), "an `epoch`", &history)
            },
        ),
        case(
            "typing_has_no_reply",
            "`typing` is answered by nothing, unless it is wrong; then with its `ref`.",
            "PROTOCOL.md, section 3",
            |stage| async move {
                let mut ann = stage.member("ann").await?;
                for active in [true, false] {
                    let typing =
                        json!({"type": "typing", "room": stage.room(), "active": active, "ref": "t"});
                    ann.command(typing).await?;
                }
                let came = ann.so_far().await?;
                fail(came.is_empty(), "nothing", Events(&came))?;
                let typing = json!({"type": "typing", "room": stage.room(), "active": "yes"});
                ann.ask_in_vain("bad_command", typing).await.map(drop)
            },
        ),
    ];
    Group {
        name: "commands",
        look: "crates/chat-proto/src/command.rs and crates/chat-proto/src/session.rs",
        cases,
    }
}
