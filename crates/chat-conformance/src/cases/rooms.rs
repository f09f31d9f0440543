use super::*;

chat_suite::cases!(
    /// The letters and digits of every script, `-` and `_` are valid in a room's name.
    async fn a_room_name_of_any_script_is_accepted(stage: Stage, mut ann: Client) -> Verdict {
        for name in ["로비", "team-7", "a_b", "7", "комната", "部屋", "ñandú", "١٢"] {
            ann.join(&stage.named(name)).await?;
        }
        Ok(())
    }

    /// Marks are valid after a letter of their script: Thai, Devanagari and others are not written without them.
    #[source = "PROTOCOL.md, section 6"]
    async fn a_room_name_with_marks_is_accepted(stage: Stage) -> Verdict {
        let mut ann = stage.client("ann").await?;
        for name in ["ทั่วไป", "น้ำ", "हिन्दी", "தமிழ்", "ខ្មែរ", "עִבְרִית", "ㅋㅋ"]
        {
            let joined = ann.join(&stage.named(name)).await?;
            ann.check(joined["room"] == stage.named(name), format!("the room {name}"), &joined)?;
        }
        bad(&stage, &["\u{e31}ก", "7\u{e31}", "a\u{e31}", "a-\u{301}"]).await
    }

    /// A name has one spelling: full-width, styled and other compatibility characters are `bad_room`.
    #[source = "PROTOCOL.md, section 6"]
    async fn a_room_name_of_compatibility_characters_is_refused(stage: Stage) -> Verdict {
        bad(&stage, &["ｌｏｂｂｙ", "lobby７", "ｶﾅ", "ﬁ", "\u{1d4c1}obby"]).await
    }

    /// A name has 1 to 64 bytes, not characters: 65 and none are `bad_room`.
    async fn a_room_name_of_64_bytes_is_the_longest(stage: Stage, mut ann: Client) -> Verdict {
        let tag = stage.named("");
        ann.join(&format!("{}{tag}", "x".repeat(64 - tag.len()))).await?;
        bad(&stage, &["", &"x".repeat(65), &"가".repeat(22)]).await
    }

    /// Dots, slashes and percent signs in a name are `bad_room`.
    async fn a_room_name_with_path_characters_is_refused(stage: Stage) -> Verdict {
        bad(&stage, &[".", "..", "a/b", "a\\b", "%2e", "a.b", "~", "c:"]).await
    }

    /// Wildcards and the separators of message brokers in a name are `bad_room`.
    async fn a_room_name_with_wildcards_is_refused(stage: Stage) -> Verdict {
        bad(&stage, &["*", ">", "a*", "$js", "$JS.API", "a b", "#", "?"]).await
    }

    /// A name has one spelling: upper case and title case, in every script, are `bad_room`.
    async fn a_room_name_in_upper_case_is_refused(stage: Stage) -> Verdict {
        bad(&stage, &["Lobby", "LOBBY", "Ñ", "Комната", "ǅ"]).await
    }

    /// A name has one spelling: decomposed Korean or accents are `bad_room`.
    async fn a_room_name_that_is_not_nfc_is_refused(stage: Stage) -> Verdict {
        bad(&stage, &["\u{1105}\u{1169}\u{1107}\u{1175}", "n\u{303}", "e\u{301}"]).await
    }

    /// Emoji, controls, zero-width and bidirectional characters in a name are `bad_room`.
    async fn a_room_name_with_invisible_characters_is_refused(stage: Stage) -> Verdict {
        bad(&stage, &["😀", "a\0", "a\n", "a\u{200b}", "\u{202e}a", "\u{feff}a", "\u{3164}"]).await
    }

    /// The characters `-` and `_` are valid inside a name, but not at its start.
    async fn a_room_name_starts_with_a_letter_or_digit(stage: Stage) -> Verdict {
        bad(&stage, &["-a", "_a", "-", "--help"]).await
    }

    /// A bad name is `bad_room` in every command, not `not_joined`.
    async fn every_command_checks_the_room_name(stage: Stage, mut ann: Client) -> Verdict {
        for command in [
            json!({"type": "leave", "room": "../x"}),
            json!({"type": "send", "room": "../x", "body": {"text": "hi"}}),
            json!({"type": "history", "room": "../x"}),
            json!({"type": "members", "room": "../x"}),
            json!({"type": "typing", "room": "../x", "active": true}),
        ] {
            ann.ask_for_error("bad_room", command).await?;
        }
        Ok(())
    }

    /// A join above `max_rooms` is `too_many_rooms`; after a `leave`, another join is accepted.
    #[source = "PROTOCOL.md, section 7.1"]
    #[with(limits(without_rates))]
    async fn joining_too_many_rooms_is_refused(stage: Stage, mut ann: Client) -> Verdict {
        let max = stage.limits().connection.max_rooms;
        for n in 0..max {
            ann.join(&stage.named(&format!("room{n}"))).await?;
        }
        let one_more = json!({"type": "join", "room": stage.named("more")});
        ann.ask_for_error("too_many_rooms", one_more.clone()).await?;
        ann.join(&stage.named("room0")).await?;
        ann.ask_for("left", json!({"type": "leave", "room": stage.named("room0")})).await?;
        ann.ask_for("joined", one_more).await.map(drop)
    }

    /// A member who joins again gets `joined`, is counted once, and gets nothing twice.
    #[source = "PROTOCOL.md, section 3"]
    async fn joining_twice_is_accepted(stage: Stage, mut ann: Member) -> Verdict {
        ann.post(&stage.room(), "one").await?;
        let joined = ann.join(&stage.room()).await?;
        ann.check(joined["members"] == 1 && joined["seq"] == 1, "1 member, `seq` 1", &joined)?;
        let mut bob = stage.member("bob").await?;
        bob.post(&stage.room(), "two").await?;
        expect_messages(&mut ann, [2]).await?;
        ann.expect_no_events().await
    }

    /// A user who is in too many rooms without a message, over all connections, gets `too_many_rooms`. Another user can
    /// join that room, and a `leave` makes space.
    #[source = "PROTOCOL.md, section 7.1"]
    #[with(limits(|limits| limits.rooms.max_blank_per_user = 3))]
    #[with(needs(Needs::Limits))]
    #[with(one_node(LIMIT))]
    async fn joining_too_many_rooms_without_a_message_is_refused(stage: Stage) -> Verdict {
        let (mut phone, mut laptop) = (stage.client("ann").await?, stage.client("ann").await?);
        for (client, rooms) in [(&mut phone, ["a", "b"]), (&mut laptop, ["b", "c"])] {
            for room in rooms {
                client.join(&stage.named(room)).await?;
            }
        }
        let one_more = json!({"type": "join", "room": stage.named("d")});
        for client in [&mut phone, &mut laptop] {
            client.ask_for_error("too_many_rooms", one_more.clone()).await?;
        }
        stage.client("bob").await?.join(&stage.named("d")).await?;
        phone.ask_for("left", json!({"type": "leave", "room": stage.named("a")})).await?;
        phone.join(&stage.named("d")).await?;
        laptop.post(&stage.named("c"), "hi").await?;
        laptop.join(&stage.named("e")).await.map(drop)
    }

    /// A user who sends the first message of too many rooms in an hour gets `rate_limited`, with a time of minutes.
    /// Rooms that have messages stay open to that user, and another user can send the first message.
    #[source = "PROTOCOL.md, section 8"]
    #[with(limits(|limits| limits.rooms.max_created_per_hour = 2))]
    #[with(needs(Needs::Limits))]
    async fn creating_too_many_rooms_is_refused(stage: Stage, mut ann: Client, mut bob: Client) -> Verdict {
        for room in ["a", "b", "c"] {
            ann.join(&stage.named(room)).await?;
        }
        ann.post(&stage.named("a"), "hi").await?;
        ann.post(&stage.named("b"), "hi").await?;
        let error = ann.ask_for_error("rate_limited", send(&stage.named("c"), "hi")).await?;
        let is_long = error["retry_after_ms"].as_u64().is_some_and(|wait| wait > 60_000);
        ann.check(is_long, "`retry_after_ms` of minutes", &error)?;
        ann.post(&stage.named("a"), "again").await?;
        bob.join(&stage.named("c")).await?;
        let seq = bob.post(&stage.named("c"), "hi").await?;
        check(seq == 1, "the refused message was not stored", seq)?;
        expect_first(&mut ann, &stage.named("c")).await?;
        ann.post(&stage.named("c"), "now it has a message").await.map(drop)
    }

    /// A message reaches only the members of its room, and each room has its own `seq`.
    #[source = "PROTOCOL.md, section 5.1"]
    #[with(one_node(ORDER))]
    async fn rooms_are_independent(stage: Stage) -> Verdict {
        let (left, right) = (stage.named("left"), stage.named("right"));
        let (mut ann, mut bob) = (stage.client("ann").await?, stage.client("bob").await?);
        ann.join(&left).await?;
        bob.join(&right).await?;
        let mut both = stage.client("both").await?;
        both.join(&left).await?;
        both.join(&right).await?;
        for n in 1..=3 {
            check(ann.post(&left, "l").await? == n, "a `seq` of the room's own", n)?;
            check(bob.post(&right, "r").await? == n, "a `seq` of the room's own", n)?;
        }
        let events = both.events_so_far().await?;
        let count = events.iter().filter(|event| event["type"] == "message").count();
        check(count == 6, "six messages for the member of both rooms", count)?;
        ann.expect_no_events().await?;
        bob.expect_no_events().await
    }

    /// No event of the room arrives after `left`, not even one that was on its way.
    #[source = "PROTOCOL.md, section 3"]
    async fn a_client_that_left_gets_no_more_events(stage: Stage) -> Verdict {
        let (mut ann, mut bob) = (stage.member("ann").await?, stage.member("bob").await?);
        ann.ask_for("left", json!({"type": "leave", "room": stage.room()})).await?;
        ann.events_so_far().await?;
        for n in 0..5 {
            bob.post(&stage.room(), &n.to_string()).await?;
        }
        let events = ann.events_so_far().await?;
        check(events.is_empty(), "nothing of the room", Events(&events))
    }

    /// The reply `members` lists users by name, each once for any number of connections.
    #[source = "PROTOCOL.md, section 4"]
    #[with(one_node(ORDER))]
    async fn members_are_sorted_and_listed_once(stage: Stage) -> Verdict {
        let mut ann = stage.member("bea").await?;
        let _others = (stage.member("cid").await?, stage.member("ann").await?, stage.member("cid").await?);
        let members = ann.ask_for("members", json!({"type": "members", "room": stage.room()})).await?;
        let names: Vec<_> = ["ann", "bea", "cid"].map(|name| json!(stage.named(name))).into();
        let got: Vec<_> = members["members"].as_array().into_iter().flatten().collect();
        let fits = got.len() == 3 && got.iter().zip(&names).all(|(user, name)| user["name"] == *name);
        ann.check(fits, format!("the users {names:?}"), &members)
    }

    /// The command `members` is paged: after the last user of a page, also if that user has left, come the others. Each
    /// page has the number of all.
    #[source = "PROTOCOL.md, section 3"]
    #[with(one_node(ORDER))]
    async fn members_are_paged(stage: Stage) -> Verdict {
        let mut ann = stage.member("ann").await?;
        let (mut bob, _others) =
            (stage.member("bob").await?, (stage.member("cid").await?, stage.member("dan").await?));
        let names = |page: &Value| -> Vec<Value> {
            page["members"].as_array().into_iter().flatten().map(|user| user["name"].clone()).collect()
        };
        let ask = json!({"type": "members", "room": stage.room(), "limit": 2});
        let first = ann.ask_for("members", ask.clone()).await?;
        let fits = names(&first) == ["ann", "bob"].map(|name| stage.named(name));
        ann.check(fits && first["more"] == true && first["total"] == 4, "ann and bob of 4", &first)?;
        bob.ask_for("left", json!({"type": "leave", "room": stage.room()})).await?;
        let mut ask = ask;
        ask["after"] = first["members"][1].clone();
        let second = ann.ask_for("members", ask).await?;
        let fits = names(&second) == ["cid", "dan"].map(|name| stage.named(name));
        ann.check(fits && second["more"] == false && second["total"] == 3, "cid and dan of 3", &second)?;
        for after in [json!("ann"), json!({"id": "ann"}), json!(["ann", "ann"])] {
            let ask = json!({"type": "members", "room": stage.room(), "after": after});
            ann.ask_for_error("bad_command", ask).await?;
        }
        Ok(())
    }
);

/// Waits for the first message of a room.
async fn expect_first(client: &mut Client, room: &str) -> Verdict {
    let message = client.until("message").await?;
    client.check(message["room"] == room && message["seq"] == 1, format!("message 1 of {room}"), &message)
}

/// Expects `bad_room` for each of these names.
async fn bad(stage: &Stage, names: &[&str]) -> Verdict {
    let mut client = stage.client("ann").await?;
    for name in names {
        client.ask_for_error("bad_room", json!({"type": "join", "room": name})).await?;
    }
    client.expect_no_events().await
}
