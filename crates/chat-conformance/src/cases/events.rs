use super::*;

chat_suite::cases!(
    /// The first event is `welcome`, with connection, user, limits and the ping interval.
    async fn the_welcome_is_first_and_has_the_limits(stage: Stage) -> Verdict {
        let request = stage.handshake("ann");
        let mut ann = stage.connect("ann").await?;
        ann.write(&[request.encode(), Frame::text(ping("early")).encode()].concat()).await?;
        ann.expect_101(&request).await?;
        let welcome = ann.any_event().await?;
        ann.check(welcome["type"] == "welcome", "`welcome` first", &welcome)?;
        ann.check(welcome["connection"].is_string(), "a `connection`", &welcome)?;
        let name = stage.named("ann");
        let user = &welcome["user"];
        ann.check(user["id"] == *name && user["name"] == *name, format!("the user {name}"), &welcome)?;
        for limit in ["max_frame", "max_rooms", "max_body"] {
            ann.check(welcome["limits"][limit].is_u64(), format!("limits.{limit}"), &welcome)?;
        }
        ann.check(welcome["ping_interval"].is_u64(), "`ping_interval` in seconds", &welcome)
    }

    /// The field `connection` of `welcome` differs for each connection, also of one user.
    async fn each_connection_has_its_own_id(stage: Stage) -> Verdict {
        let mut names: Vec<Value> = Vec::new();
        for _ in 0..3 {
            let request = stage.handshake("ann");
            let mut ann = stage.send_request("ann", &request).await?;
            ann.expect_101(&request).await?;
            let name = ann.expect_welcome().await?["connection"].clone();
            check(!names.contains(&name), "another `connection`", &name)?;
            names.push(name);
        }
        Ok(())
    }

    /// The field `connection` does not count the connections: those of two that follow one another are not neighbours.
    #[source = "PROTOCOL.md, section 4"]
    async fn the_id_of_a_connection_is_no_count(stage: Stage) -> Verdict {
        let mut numbers = Vec::new();
        for _ in 0..3 {
            let request = stage.handshake("ann");
            let (_ann, welcome) = stage.welcomed("ann", &request).await?;
            let id = welcome["connection"].as_str().unwrap_or_default();
            let digits = id.rsplit(|c: char| !c.is_ascii_hexdigit()).next().unwrap_or_default();
            numbers.push(u128::from_str_radix(digits, 16).unwrap_or_default());
        }
        let are_near = numbers.windows(2).all(|pair| pair[0].abs_diff(pair[1]) < 256);
        check(!are_near, "ids that are not neighbours", format!("{numbers:x?}"))
    }

    /// The reply `joined` has epoch, head, oldest message, recovery and the number of members.
    async fn joined_has_the_bounds_of_the_log(stage: Stage, mut ann: Client) -> Verdict {
        let empty = ann.join(&stage.room()).await?;
        let fits = empty["seq"] == 0 && empty["first"] == 1 && empty["members"] == 1;
        ann.check(fits && empty["recovered"] == true, "seq 0, first 1, members 1", &empty)?;
        ann.post(&stage.room(), "one").await?;
        ann.post(&stage.room(), "two").await?;
        let mut bob = stage.client("bob").await?;
        let joined = bob.join(&stage.room()).await?;
        let fits = joined["seq"] == 2 && joined["first"] == 1 && joined["members"] == 2;
        bob.check(fits && joined["epoch"] == empty["epoch"], "seq 2, first 1, members 2", &joined)
    }

    /// The event `message` has room, seq, user, time and body, and the key if the command had one.
    async fn a_message_has_user_body_and_time(stage: Stage, mut ann: Member, mut bob: Member) -> Verdict {
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
    }

    /// The event `presence` tells other members about a user's first connection and about its last.
    async fn presence_announces_joins_and_leaves(stage: Stage, mut ann: Member, mut bob: Member) -> Verdict {
        presence(&stage, &mut ann, "bob", "joined").await?;
        bob.ask_for("left", json!({"type": "leave", "room": stage.room()})).await?;
        presence(&stage, &mut ann, "bob", "left").await?;
        bob.join(&stage.room()).await?;
        presence(&stage, &mut ann, "bob", "joined").await?;
        bob.close(1000).await?;
        presence(&stage, &mut ann, "bob", "left").await
    }

    /// A second connection of a user joins and leaves without `presence`.
    #[source = "PROTOCOL.md, sections 1 and 4"]
    async fn presence_ignores_further_connections_of_a_user(stage: Stage, mut ann: Member) -> Verdict {
        let mut first = stage.member("bob").await?;
        presence(&stage, &mut ann, "bob", "joined").await?;
        let mut second = stage.member("bob").await?;
        second.close(1000).await?;
        first.post(&stage.room(), "between").await?;
        let next = ann.any_event().await?;
        ann.check(next["type"] == "message", "no `presence` ahead of the message", &next)?;
        first.reset();
        presence(&stage, &mut ann, "bob", "left").await
    }

    /// A member gets `joined` for its own join, and no `presence`.
    async fn a_member_gets_no_presence_of_itself(stage: Stage, mut ann: Member) -> Verdict {
        let events = ann.events_so_far().await?;
        check(events.is_empty(), "nothing but the reply", Events(&events))
    }

    /// The event `typing` reaches the other members, with user and state, but not the user who types.
    async fn typing_reaches_the_other_members(stage: Stage, mut ann: Member, mut bob: Member) -> Verdict {
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
        let events = bob.events_so_far().await?;
        check(events.is_empty(), "nothing for the user who types", Events(&events))
    }

    /// An error of a room's command has code, message and `ref`, and names the room if it is valid.
    async fn an_error_names_its_room(stage: Stage, mut ann: Client) -> Verdict {
        let error = ann.ask_for_error("not_joined", send(&stage.room(), "hi")).await?;
        ann.check(error["message"].is_string(), "a `message`", &error)?;
        let named = error.get("room").is_none_or(|room| *room == *stage.room());
        ann.check(named, "the room, or none", &error)
    }
);

/// Expects this `presence` as the next event.
async fn presence(stage: &Stage, client: &mut Client, name: &str, state: &str) -> Verdict {
    let event = client.expect("presence").await?;
    let fits = event["user"]["id"] == *stage.named(name) && event["state"] == state;
    client.check(fits, format!("`presence` of {name}: {state}"), &event)
}
