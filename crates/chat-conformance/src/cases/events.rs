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
            expect_typing(&stage, &mut ann, "bob", active).await?;
        }
        let events = bob.events_so_far().await?;
        check(events.is_empty(), "nothing for the user who types", Events(&events))
    }

    /// Of many states of `typing` within 2 s, the other members get the first one at once and the last one later.
    #[source = "PROTOCOL.md, section 4"]
    async fn many_states_of_typing_are_two_events(stage: Stage) -> Verdict {
        let (mut ann, mut bob) = (stage.member("ann").await?, stage.member("bob").await?);
        let start = Instant::now();
        for active in [true, false, true, true, false, true, false] {
            bob.command(json!({"type": "typing", "room": stage.room(), "active": active})).await?;
        }
        expect_typing(&stage, &mut ann, "bob", true).await?;
        expect_typing(&stage, &mut ann, "bob", false).await?;
        let elapsed = start.elapsed();
        check(elapsed >= millis(2_000), "the last state after 2 s", format!("{elapsed:?}"))?;
        let events = ann.events_so_far().await?;
        check(events.is_empty(), "no further event", Events(&events))
    }

    /// A user whose connection is cut, or leaves, no longer types, although another connection of the user is in the
    /// room. A user who does not repeat `typing` no longer types after 8 s.
    #[source = "PROTOCOL.md, section 4"]
    #[with(race("either end can be first"))]
    async fn typing_ends_with_its_connection_and_by_itself(stage: Stage) -> Verdict {
        let mut ann = stage.member("ann").await?;
        let mut users = Vec::new();
        let start = Instant::now();
        // The typing of eve would end by itself before that of the others.
        for name in ["eve", "bob", "dan"] {
            let laptop = stage.member(name).await?;
            let mut phone = stage.member(name).await?;
            phone.command(json!({"type": "typing", "room": stage.room(), "active": true})).await?;
            expect_typing(&stage, &mut ann, name, true).await?;
            users.push((phone, laptop));
        }
        let (mut dan, _laptop) = users.remove(2);
        dan.ask_for("left", json!({"type": "leave", "room": stage.room()})).await?;
        let (bob, _other) = users.remove(1);
        drop(bob);
        let mut ended = Vec::new();
        while ended.len() < 3 {
            let event = ann.until("typing").await?;
            ann.check(event["active"] == false, "the end of typing", &event)?;
            ended.push(event["user"]["id"].clone());
        }
        let elapsed = start.elapsed();
        ann.check(ended[2] == *stage.named("eve"), "the end of eve's typing last", &json!(ended))?;
        check(elapsed >= millis(8_000), "the end by itself after 8 s", format!("{elapsed:?}"))
    }

    /// An error of a room's command has code, message and `ref`, and names the room if it is valid.
    async fn an_error_names_its_room(stage: Stage, mut ann: Client) -> Verdict {
        let error = ann.ask_for_error("not_joined", send(&stage.room(), "hi")).await?;
        ann.check(error["message"].is_string(), "a `message`", &error)?;
        let named = error.get("room").is_none_or(|room| *room == *stage.room());
        ann.check(named, "the room, or none", &error)
    }
);

/// Expects this `typing` as the next event, except for `presence`.
async fn expect_typing(stage: &Stage, client: &mut Client, name: &str, active: bool) -> Verdict {
    let event = loop {
        let event = client.any_event().await?;
        if event["type"] != "presence" {
            break event;
        }
    };
    let fits =
        event["type"] == "typing" && event["user"]["id"] == *stage.named(name) && event["active"] == active;
    client.check(fits, format!("`typing` of {name}, active: {active}"), &event)
}

/// Expects this `presence` as the next event.
async fn presence(stage: &Stage, client: &mut Client, name: &str, state: &str) -> Verdict {
    let event = client.expect("presence").await?;
    let fits = event["user"]["id"] == *stage.named(name) && event["state"] == state;
    client.check(fits, format!("`presence` of {name}: {state}"), &event)
}
