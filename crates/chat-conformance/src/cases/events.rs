use serde_json::{Value, json};

use super::{Group, case, fail};
use crate::client::{Client, Events};
use crate::{Stage, Verdict};

pub(super) fn group() -> Group {
    let cases = vec![
        case(
            "the_welcome_comes_first_and_says_what_holds",
            "The first event is `welcome`, with connection, user, limits and the ping interval.",
            "PROTOCOL.md, section 4",
            |stage| async move {
                let request = stage.handshake("ann");
                let mut ann = stage.connect("ann").await?;
                ann.write(&[request.encode(), super::Frame::text(super::ping("early")).encode()].concat())
                    .await?;
                stage.expect_101(&mut ann, &request).await?;
                let welcome = ann.any_event().await?;
                ann.check(welcome["type"] == "welcome", "`welcome` first", &welcome)?;
                ann.check(welcome["connection"].is_string(), "a `connection`", &welcome)?;
                let name = stage.named("ann");
                let user = &welcome["user"];
                ann.check(
                    user["id"] == *name && user["name"] == *name,
                    format!("the user {name}"),
                    &welcome,
                )?;
                for limit in ["max_frame", "max_rooms", "max_body"] {
                    ann.check(welcome["limits"][limit].is_u64(), format!("limits.{limit}"), &welcome)?;
                }
                ann.check(welcome["ping_interval"].is_u64(), "`ping_interval` in seconds", &welcome)
            },
        ),
        case(
            "every_connection_has_a_name_of_its_own",
            "`connection` of the welcome is another one for each connection, of one user too.",
            "PROTOCOL.md, section 4",
            |stage| async move {
                let mut names: Vec<Value> = Vec::new();
                for _ in 0..3 {
                    let request = stage.handshake("ann");
                    let mut ann = stage.connect("ann").await?;
                    ann.write(&request.encode()).await?;
                    stage.expect_101(&mut ann, &request).await?;
                    let name = ann.expect_welcome().await?["connection"].clone();
                    fail(!names.contains(&name), "another `connection`", &name)?;
                    names.push(name);
                }
                Ok(())
            },
        ),
        case(
            "joined_says_where_the_room_stands",
            "`joined` has epoch, head, oldest message, whether all was recovered, and the number of members.",
            "PROTOCOL.md, section 4",
            |stage| async move {
                let mut ann = stage.client("ann").await?;
                let empty = ann.join(&stage.room()).await?;
                let fits = empty["seq"] == 0 && empty["first"] == 1 && empty["members"] == 1;
                ann.check(fits && empty["recovered"] == true, "seq 0, first 1, members 1", &empty)?;
                ann.post(&stage.room(), "one").await?;
                ann.post(&stage.room(), "two").await?;
                let mut bob = stage.client("bob").await?;
                let joined = bob.join(&stage.room()).await?;
                let fits = joined["seq"] == 2 && joined["first"] == 1 && joined["members"] == 2;
                bob.check(fits && joined["epoch"] == empty["epoch"], "seq 2, first 1, members 2", &joined)
            },
        ),
        case(
            "a_message_says_who_what_and_when",
            "`message` has room, seq, user, time and body, and the key if there was one.",
            "PROTOCOL.md, section 4",
            |stage| async move {
                let (mut ann, mut bob) = (stage.member("ann").await?, stage.member("bob").await?);
                let body = json!({"text": "hi"});
                let command = json!({"type": "send", "room": stage.room(), "key": "k1", "body": body});
                ann.ask_for("sent", command).await?;
                let message = bob.expect("message").await?;
                let ann_user = json!({"id": stage.named("ann"), "name": stage.named("ann")});
                let fits = message["room"] == *stage.room()
                    && message["seq"] == 1
                    && message["user"] == ann_user
                    && message["key"] == "k1"
                    && message["body"] == body;
                bob.check(fits, "room, seq 1, ann, key k1 and the body", &message)?;
                let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
                let now = u64::try_from(now.unwrap_or_default().as_millis()).unwrap_or(u64::MAX);
                let close = message["at"].as_u64().is_some_and(|at| at.abs_diff(now) < 60_000);
                bob.check(close, format!("`at` in ms, about {now}"), &message)
            },
        ),
        case(
            "coming_and_going_is_told",
            "`presence` tells the others of a user's first connection and of its last.",
            "PROTOCOL.md, section 4",
            |stage| async move {
                let mut ann = stage.member("ann").await?;
                let mut bob = stage.member("bob").await?;
                presence(&stage, &mut ann, "bob", "joined").await?;
                bob.ask_for("left", json!({"type": "leave", "room": stage.room()})).await?;
                presence(&stage, &mut ann, "bob", "left").await?;
                bob.join(&stage.room()).await?;
                presence(&stage, &mut ann, "bob", "joined").await?;
                bob.close(1000).await?;
                presence(&stage, &mut ann, "bob", "left").await
            },
        ),
        case(
            "only_a_users_first_and_last_connection_are_told",
            "A second connection of a user comes and goes without `presence`.",
            "PROTOCOL.md, sections 1 and 4",
            |stage| async move {
                let mut ann = stage.member("ann").await?;
                let mut first = stage.member("bob").await?;
                presence(&stage, &mut ann, "bob", "joined").await?;
                let mut second = stage.member("bob").await?;
                second.close(1000).await?;
                first.post(&stage.room(), "between").await?;
                let next = ann.any_event().await?;
                ann.check(next["type"] == "message", "no `presence` ahead of the message", &next)?;
                first.reset();
                presence(&stage, &mut ann, "bob", "left").await
            },
        ),
        case(
            "who_joins_is_not_told_of_itself",
            "A member's own coming is `joined`, and no `presence`.",
            "PROTOCOL.md, section 4",
            |stage| async move {
                let mut ann = stage.member("ann").await?;
                let came = ann.so_far().await?;
                fail(came.is_empty(), "nothing but the reply", Events(&came))
            },
        ),
        case(
            "typing_is_told_to_the_others",
            "`typing` reaches the other members, with user and state, and not the one who types.",
            "PROTOCOL.md, section 4",
            |stage| async move {
                let (mut ann, mut bob) = (stage.member("ann").await?, stage.member("bob").await?);
                for active in [true, false] {
                    bob.command(json!({"type": "typing", "room": stage.room(), "active": active})).await?;
                    let typing = loop {
                        let event = ann.any_event().await?;
                        if event["type"] != "presence" {
                            break event;
                        }
                    };
                    let fits = typing["type"] == "typing"
                        && typing["active"] == active
                        && typing["user"]["id"] == *stage.named("bob");
                    ann.check(fits, format!("`typing` of bob, active: {active}"), &typing)?;
                }
                let came = bob.so_far().await?;
                fail(came.is_empty(), "nothing for who types", Events(&came))
            },
        ),
        case(
            "an_error_says_which_room",
            "An error of a room's command has code, message and `ref`, and names the room if it knows it.",
            "PROTOCOL.md, section 4",
            |stage| async move {
                let mut ann = stage.client("ann").await?;
                let error = ann.ask_in_vain("not_joined", super::send(&stage.room(), "hi")).await?;
                ann.check(error["message"].is_string(), "a `message`", &error)?;
                let named = error.get("room").is_none_or(|room| *room == *stage.room());
                ann.check(named, "the room, or none", &error)
            },
        ),
    ];
    Group {
        name: "events",
        look: "crates/chat-proto/src/event.rs and roster.rs; crates/chat-core/src/live.rs",
        cases,
    }
}

/// The next event tells of this.
async fn presence(stage: &Stage, client: &mut Client, name: &str, state: &str) -> Verdict {
    let event = client.expect("presence").await?;
    let fits = event["user"]["id"] == *stage.named(name) && event["state"] == state;
    client.check(fits, format!("`presence` of {name}: {state}"), &event)
}
