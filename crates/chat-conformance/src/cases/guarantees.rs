use super::*;

chat_suite::cases!(
    /// The messages of a room are 1, 2, 3, ...: refused commands and different senders leave no gap.
    async fn messages_are_numbered_without_gaps(stage: Stage, mut ann: Member, mut bob: Member) -> Verdict {
        for n in 0..5 {
            check(ann.post(&stage.room(), "a").await? == 2 * n + 1, "the next `seq`", n)?;
            ann.ask_for_error("empty_body", send(&stage.room(), "")).await?;
            check(bob.post(&stage.room(), "b").await? == 2 * n + 2, "the next `seq`", n)?;
        }
        Ok(())
    }

    /// The messages of two clients that send at once arrive at all members in one order, without gaps.
    #[with(race("either sender can be first"))]
    async fn all_members_see_the_same_order(stage: Stage) -> Verdict {
        let room = stage.room();
        let mut clients = Vec::new();
        for name in ["ann", "bob", "cid", "dan"] {
            clients.push(stage.member(name).await?);
        }
        let batch = |name: &str| {
            let frames: Vec<_> = (0..50).map(|n| Frame::json(&send(&room, &format!("{name} {n}")))).collect();
            packet(&frames)
        };
        let [ann, bob, ..] = &mut clients[..] else { return Ok(()) };
        let (from_ann, from_bob) = (batch("ann"), batch("bob"));
        let (one, two) = tokio::join!(ann.write_while_reading(&from_ann), bob.write_while_reading(&from_bob));
        one.and(two)?;
        let mut orders = Vec::new();
        for client in &mut clients {
            let mut order = Vec::new();
            while order.len() < 100 {
                let event = client.event().await?;
                if event["type"] == "message" {
                    let next = order.len() as u64 + 1;
                    client.check(event["seq"] == next, format!("the message {next}"), &event)?;
                    order.push(text_of(&event).to_owned());
                }
            }
            orders.push(order);
        }
        let same = orders.iter().all(|order| *order == orders[0]);
        check(same, "the same order for all members", format!("{orders:?}"))?;
        for name in ["ann", "bob"] {
            let own: Vec<_> = orders[0].iter().filter(|text| text.starts_with(name)).collect();
            let kept = own.iter().enumerate().all(|(n, text)| **text == format!("{name} {n}"));
            check(kept, "each sender's own order", format!("{own:?}"))?;
        }
        Ok(())
    }

    /// A hundred messages in one packet are numbered in the order in which they were sent.
    async fn messages_in_one_packet_keep_their_order(stage: Stage, mut ann: Member) -> Verdict {
        let room = stage.room();
        let frames = sends(&room, 1..=100);
        ann.send_all_while_reading(&frames).await?;
        let (mut sent, mut received) = (0, 0);
        while received < 100 || sent < 100 {
            let event = ann.event().await?;
            if event["type"] == "sent" {
                sent += 1;
                ann.check(event["seq"] == sent, format!("`sent` {sent}"), &event)?;
            } else {
                received += 1;
                let fits = event["seq"] == received && text_of(&event) == received.to_string();
                ann.check(fits, format!("the message {received}"), &event)?;
            }
        }
        Ok(())
    }

    /// The commands of one connection are answered in the order in which they arrived.
    #[source = "PROTOCOL.md, sections 3 and 4"]
    async fn replies_keep_the_order_of_the_commands(stage: Stage, mut ann: Client) -> Verdict {
        let room = stage.room();
        let mut commands = vec![json!({"type": "join", "room": room})];
        for _ in 0..10 {
            commands.push(send(&room, "x"));
            commands.push(json!({"type": "ping"}));
            commands.push(json!({"type": "members", "room": room}));
            commands.push(json!({"type": "history", "room": room}));
        }
        let frames: Vec<_> = commands
            .iter()
            .enumerate()
            .map(|(n, command)| {
                let mut command = command.clone();
                command["ref"] = json!(n.to_string());
                Frame::json(&command)
            })
            .collect();
        ann.send_all_while_reading(&frames).await?;
        let mut next = 0;
        while next < frames.len() {
            let event = ann.event().await?;
            if event.get("ref").is_some() {
                let expected = json!(next.to_string());
                ann.check(event["ref"] == expected, format!("the reply {next}"), &event)?;
                next += 1;
            }
        }
        Ok(())
    }

    /// A message is in the history as soon as its sender has `sent`.
    #[source = "PROTOCOL.md, section 5.2"]
    async fn an_acknowledged_message_is_in_the_history(stage: Stage) -> Verdict {
        let (mut ann, mut bob) = (stage.member("ann").await?, stage.member("bob").await?);
        for n in 1..=10_u64 {
            let sent = ann.ask_for("sent", send(&stage.room(), &n.to_string())).await?;
            let asked = json!({"type": "history", "room": stage.room(), "after": n - 1});
            let history = bob.ask_for("history", asked).await?;
            let found = history["messages"].as_array().map_or(vec![], |messages| seqs(messages));
            let stored = sent["seq"] == n && found == [n];
            bob.check(stored, format!("the message {n} in the history"), &history)?;
        }
        Ok(())
    }

    /// A message stays in the history after the connection of its sender is reset.
    #[source = "PROTOCOL.md, section 5.2"]
    async fn an_acknowledged_message_outlives_its_sender(stage: Stage, mut ann: Member) -> Verdict {
        ann.ask_for("sent", send(&stage.room(), "kept")).await?;
        ann.0.reset();
        let history = stage.history().await?;
        let kept = history.len() == 1 && text_of(&history[0]) == "kept";
        check(kept, "the message", Events(&history))
    }

    /// A message that a member sees is in the history with the same `seq`.
    #[source = "PROTOCOL.md, section 5.2"]
    async fn a_delivered_message_is_in_the_history(stage: Stage) -> Verdict {
        let (mut ann, mut bob) = (stage.member("ann").await?, stage.member("bob").await?);
        for n in 1..=10_u64 {
            ann.command(send(&stage.room(), &format!("text {n}"))).await?;
            let message = bob.expect("message").await?;
            let history = bob.ask_for("history", json!({"type": "history", "room": stage.room()})).await?;
            let messages = history["messages"].as_array().cloned().unwrap_or_default();
            let stored = messages
                .iter()
                .any(|stored| stored["seq"] == message["seq"] && text_of(stored) == text_of(&message));
            bob.check(stored, format!("{message} in the history"), &history)?;
        }
        Ok(())
    }

    /// A member gets a message before the reply to a command that it sent after the `sent` of that message.
    #[with(one_node(ORDER))]
    async fn earlier_messages_arrive_before_a_reply(stage: Stage) -> Verdict {
        let (mut ann, mut bob) = (stage.member("ann").await?, stage.member("bob").await?);
        for n in 1..=20_u64 {
            ann.ask_for("sent", send(&stage.room(), "x")).await?;
            bob.command(json!({"type": "ping", "ref": "after"})).await?;
            expect_messages(&mut bob, [n]).await?;
            expect_pong_event(&mut bob, "after").await?;
        }
        Ok(())
    }

    /// The reply `joined` is the first event of the room that a member gets.
    #[source = "PROTOCOL.md, section 5.4"]
    #[with(race("a join can arrive between any two messages"))]
    async fn joined_precedes_the_rooms_events(stage: Stage, mut ann: Member) -> Verdict {
        for n in 0..10 {
            let mut bob = stage.client(&format!("bob{n}")).await?;
            bob.command(json!({"type": "join", "room": stage.room(), "last": 5})).await?;
            ann.command(send(&stage.room(), "x")).await?;
            let first = bob.any_event().await?;
            bob.check(first["type"] == "joined", "`joined` first", &first)?;
        }
        Ok(())
    }

    /// Every message after `joined` arrives, in order, however the join and the messages overlap.
    #[source = "PROTOCOL.md, section 5.4"]
    #[with(race("the join can arrive between any two messages"))]
    async fn a_member_gets_every_message_after_joined(stage: Stage, mut ann: Member) -> Verdict {
        let room = stage.room();
        let frames = sends(&room, 0..60);
        let (first, second) = frames.split_at(30);
        ann.send_all_while_reading(first).await?;
        let mut bob = stage.client("bob").await?;
        bob.command(json!({"type": "join", "room": room})).await?;
        ann.send_all_while_reading(second).await?;
        let joined = bob.expect("joined").await?;
        let head = joined["seq"].as_u64().unwrap_or_default();
        expect_messages(&mut bob, head + 1..=60).await
    }

    /// A member that leaves and sends in one packet gets `left`, then `not_joined`.
    #[source = "PROTOCOL.md, sections 3 and 5.1"]
    async fn a_send_after_a_leave_in_one_packet_is_refused(stage: Stage, mut ann: Member) -> Verdict {
        let leave = json!({"type": "leave", "room": stage.room()}).to_string();
        let frames = [Frame::text(leave), Frame::json(&send(&stage.room(), "late")), Frame::text(ping("1"))];
        ann.send_all(&frames).await?;
        ann.expect("left").await?;
        let error = ann.expect("error").await?;
        ann.check(error["code"] == "not_joined", "the error `not_joined`", &error)?;
        expect_pong_event(&mut ann, "1").await
    }
);
