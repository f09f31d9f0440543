use serde_json::json;

use super::{Frame, Group, case, expect_messages, fail, packet, ping, send, seqs, text_of};
use crate::client::Events;

pub(super) fn group() -> Group {
    let cases = vec![
        case(
            "messages_are_numbered_without_holes",
            "A room's messages are 1, 2, 3, ...: no hole, whoever sends and whatever is refused between.",
            "PROTOCOL.md, section 5.1",
            |stage| async move {
                let (mut ann, mut bob) = (stage.member("ann").await?, stage.member("bob").await?);
                for n in 0..5 {
                    fail(ann.post(&stage.room(), "a").await? == 2 * n + 1, "the next `seq`", n)?;
                    ann.ask_in_vain("empty_body", send(&stage.room(), "")).await?;
                    fail(bob.post(&stage.room(), "b").await? == 2 * n + 2, "the next `seq`", n)?;
                }
                Ok(())
            },
        ),
        case(
            "all_members_see_one_order",
            "Of two who send at once, all members see the same interleaving, without holes.",
            "PROTOCOL.md, section 5.1",
            |stage| async move {
                let room = stage.room();
                let mut clients = Vec::new();
                for name in ["ann", "bob", "cid", "dan"] {
                    clients.push(stage.member(name).await?);
                }
                let batch = |name: &str| {
                    let frames: Vec<_> = (0..50)
                        .map(|n| Frame::text(send(&room, &format!("{name} {n}")).to_string()))
                        .collect();
                    packet(&frames)
                };
                let [ann, bob, ..] = &mut clients[..] else { return Ok(()) };
                let (from_ann, from_bob) = (batch("ann"), batch("bob"));
                let (one, two) = tokio::join!(ann.pour(&from_ann), bob.pour(&from_bob));
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
                fail(same, "one order for all", format!("{orders:?}"))?;
                for name in ["ann", "bob"] {
                    let own: Vec<_> = orders[0].iter().filter(|text| text.starts_with(name)).collect();
                    let kept = own.iter().enumerate().all(|(n, text)| **text == format!("{name} {n}"));
                    fail(kept, "each sender's own order", format!("{own:?}"))?;
                }
                Ok(())
            },
        )
        .race("who is first of two is open"),
        case(
            "what_is_sent_in_one_packet_keeps_its_order",
            "A hundred sends in one packet are numbered in the order in which they were sent.",
            "PROTOCOL.md, section 5.1",
            |stage| async move {
                let mut ann = stage.member("ann").await?;
                let room = stage.room();
                let frames: Vec<_> =
                    (1..=100).map(|n| Frame::text(send(&room, &n.to_string()).to_string())).collect();
                ann.pour(&packet(&frames)).await?;
                let (mut sent, mut told) = (0, 0);
                while told < 100 || sent < 100 {
                    let event = ann.event().await?;
                    if event["type"] == "sent" {
                        sent += 1;
                        ann.check(event["seq"] == sent, format!("`sent` {sent}"), &event)?;
                    } else {
                        told += 1;
                        let fits = event["seq"] == told && text_of(&event) == told.to_string();
                        ann.check(fits, format!("the message {told}"), &event)?;
                    }
                }
                Ok(())
            },
        ),
        case(
            "replies_keep_the_order_of_the_commands",
            "Commands of one connection are answered in the order in which they came.",
            "PROTOCOL.md, sections 3 and 4",
            |stage| async move {
                let mut ann = stage.client("ann").await?;
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
                        Frame::text(command.to_string())
                    })
                    .collect();
                ann.pour(&packet(&frames)).await?;
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
            },
        ),
        case(
            "what_is_acknowledged_is_in_the_log",
            "When `sent` has come, whoever looks finds the message in the history.",
            "PROTOCOL.md, section 5.2",
            |stage| async move {
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
            },
        ),
        case(
            "what_is_acknowledged_survives_its_sender",
            "A message is there after its sender is gone without a word.",
            "PROTOCOL.md, section 5.2",
            |stage| async move {
                let mut ann = stage.member("ann").await?;
                ann.ask_for("sent", send(&stage.room(), "kept")).await?;
                ann.reset();
                let history = stage.history().await?;
                let kept = history.len() == 1 && text_of(&history[0]) == "kept";
                fail(kept, "the message", Events(&history))
            },
        ),
        case(
            "what_a_member_sees_is_in_the_log",
            "No member sees a message that the history does not have, with the same `seq`.",
            "PROTOCOL.md, section 5.2",
            |stage| async move {
                let (mut ann, mut bob) = (stage.member("ann").await?, stage.member("bob").await?);
                for n in 1..=10_u64 {
                    ann.command(send(&stage.room(), &format!("text {n}"))).await?;
                    let message = bob.expect("message").await?;
                    let history =
                        bob.ask_for("history", json!({"type": "history", "room": stage.room()})).await?;
                    let messages = history["messages"].as_array().cloned().unwrap_or_default();
                    let stored = messages.iter().any(|stored| {
                        stored["seq"] == message["seq"] && text_of(stored) == text_of(&message)
                    });
                    bob.check(stored, format!("{message} in the history"), &history)?;
                }
                Ok(())
            },
        ),
        case(
            "what_happened_before_a_command_is_told_before_its_reply",
            "A member who asks after another's `sent` is told of the message before its own reply.",
            "PROTOCOL.md, section 5.1",
            |stage| async move {
                let (mut ann, mut bob) = (stage.member("ann").await?, stage.member("bob").await?);
                for n in 1..=20_u64 {
                    ann.ask_for("sent", send(&stage.room(), "x")).await?;
                    bob.command(json!({"type": "ping", "ref": "after"})).await?;
                    expect_messages(&mut bob, [n]).await?;
                    super::expect_pong_event(&mut bob, "after").await?;
                }
                Ok(())
            },
        ),
        case(
            "joined_comes_before_the_rooms_events",
            "`joined` is the first that a member hears of the room.",
            "PROTOCOL.md, section 5.4",
            |stage| async move {
                let mut ann = stage.member("ann").await?;
                for n in 0..10 {
                    let mut bob = stage.client(&format!("bob{n}")).await?;
                    bob.command(json!({"type": "join", "room": stage.room(), "last": 5})).await?;
                    ann.command(send(&stage.room(), "x")).await?;
                    let first = bob.any_event().await?;
                    bob.check(first["type"] == "joined", "`joined` first", &first)?;
                }
                Ok(())
            },
        )
        .race("the joins meet the flood anywhere"),
        case(
            "a_member_misses_nothing_from_joined_on",
            "From `joined` on every message comes, in order, however the join and the sends overlap.",
            "PROTOCOL.md, section 5.4",
            |stage| async move {
                let mut ann = stage.member("ann").await?;
                let room = stage.room();
                let frames: Vec<_> =
                    (0..60).map(|n| Frame::text(send(&room, &n.to_string()).to_string())).collect();
                let (first, second) = frames.split_at(30);
                ann.pour(&packet(first)).await?;
                let mut bob = stage.client("bob").await?;
                bob.command(json!({"type": "join", "room": room})).await?;
                ann.pour(&packet(second)).await?;
                let joined = bob.expect("joined").await?;
                let head = joined["seq"].as_u64().unwrap_or_default();
                expect_messages(&mut bob, head + 1..=60).await
            },
        )
        .race("the join meets the flood anywhere"),
        case(
            "a_leave_and_a_send_at_once_are_one_after_the_other",
            "A member that leaves and sends in one packet is told `left`, then `not_joined`.",
            "PROTOCOL.md, sections 3 and 5.1",
            |stage| async move {
                let mut ann = stage.member("ann").await?;
                let leave = json!({"type": "leave", "room": stage.room()}).to_string();
                let frames = [
                    Frame::text(leave),
                    Frame::text(send(&stage.room(), "late").to_string()),
                    Frame::text(ping("1")),
                ];
                ann.send_all(&frames).await?;
                ann.expect("left").await?;
                let error = ann.expect("error").await?;
                ann.check(error["code"] == "not_joined", "the error `not_joined`", &error)?;
                super::expect_pong_event(&mut ann, "1").await
            },
        ),
    ];
    Group {
        name: "guarantees",
        look: "crates/chat-core/src/driver/ and live.rs, crates/chat-proto/src/tail.rs",
        cases,
    }
}
