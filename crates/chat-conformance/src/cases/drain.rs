use serde_json::json;

use super::{Frame, Group, Needs, case, fail, send};
use crate::Verdict;
use crate::client::{Client, Events, Message};

pub(super) fn group() -> Group {
    let cases = vec![
        case(
            "everybody_is_told_of_a_restart",
            "A drain sends each client `closing` with 1012 and when to come back, then the close frame.",
            "PROTOCOL.md, section 5.6",
            |stage| async move {
                let mut clients = Vec::new();
                for name in ["ann", "bob", "cid"] {
                    clients.push(stage.member(name).await?);
                }
                let drained = stage.drain();
                for client in &mut clients {
                    let closing = client.expect("closing").await?;
                    let fits = closing["code"] == 1012 && closing["reason"] == "restarting";
                    client.check(fits, "`closing` with 1012, restarting", &closing)?;
                    client.check(closing["reconnect_in_ms"].is_u64(), "`reconnect_in_ms`", &closing)?;
                    expect_restart(client).await?;
                }
                fail(drained.await, "a drain that cuts nobody off", "one that does, or does not end")
            },
        ),
        case(
            "no_new_connections_are_let_in",
            "While the server drains, a handshake is 503 with `Retry-After`, or the door is closed.",
            "PROTOCOL.md, sections 1 and 5.6 (`draining`)",
            |stage| async move {
                let mut ann = stage.client("ann").await?;
                let mut late = stage.connect("late").await?;
                let drained = stage.drain();
                ann.expect("closing").await?;
                late.write(&stage.handshake("late").encode()).await?;
                let answer = late.expect_refusal(503, "draining").await?;
                let advice = answer.header("retry-after").and_then(|value| value.parse::<u64>().ok());
                fail(advice.is_some(), "`Retry-After` in seconds", answer.head())?;
                expect_restart(&mut ann).await?;
                drop((ann, late));
                drained.await;
                Ok(())
            },
        ),
        case(
            "a_command_in_hand_is_finished",
            "Of messages sent right before a drain, each that is stored is acknowledged, and each \
             acknowledged one was stored.",
            "PROTOCOL.md, sections 5.2 and 5.6",
            |stage| async move {
                let (mut ann, mut bob) = (stage.member("ann").await?, stage.member("bob").await?);
                let room = stage.room();
                let frames: Vec<_> =
                    (0..50).map(|n| Frame::text(send(&room, &n.to_string()).to_string())).collect();
                ann.send_all(&frames).await?;
                let drained = stage.drain();
                let count = |client: &Client, kind: &str| {
                    client.held().iter().filter(|event| event["type"] == kind).count()
                };
                for client in [&mut ann, &mut bob] {
                    let code = client.expect_close_frame().await?;
                    fail(code == Some(1012), "a close frame with code 1012", Message::Close(code))?;
                    client.send(Frame::close(1012, "")).await?;
                    client.expect_gone().await?;
                }
                let (sent, told) = (count(&ann, "sent"), count(&ann, "message"));
                let seen = count(&bob, "message");
                fail(
                    seen <= sent,
                    "no message shown that was not acknowledged",
                    format!("{seen} of {sent}"),
                )?;
                fail(
                    told <= sent,
                    "no message shown that was not acknowledged",
                    format!("{told} of {sent}"),
                )?;
                fail(drained.await, "a drain that cuts nobody off", "one that does, or does not end")
            },
        )
        .race("the drain meets the commands anywhere"),
        case(
            "a_client_that_does_not_answer_does_not_hold_up_a_drain",
            "A client that ignores the close frame is let go, and the drain ends.",
            "PROTOCOL.md, section 5.6",
            |stage| async move {
                let (mut ann, mut bob) = (stage.member("ann").await?, stage.member("bob").await?);
                let drained = stage.drain();
                expect_restart(&mut bob).await?;
                let code = ann.expect_close_frame().await?;
                fail(code == Some(1012), "a close frame with code 1012", Message::Close(code))?;
                ann.expect_gone().await?;
                fail(drained.await, "a drain that ends in time", "one that does not")
            },
        ),
        case(
            "a_drain_in_the_middle_of_a_message_is_clean",
            "A client in the middle of sending a fragmented message is closed with 1012 like others.",
            "PROTOCOL.md, section 5.6; RFC 6455 section 5.4",
            |stage| async move {
                let mut ann = stage.member("ann").await?;
                ann.send(Frame::text("{\"type\":").unfinished()).await?;
                ann.send(Frame::ping("synced")).await?;
                ann.expect_pong(b"synced").await?;
                let drained = stage.drain();
                expect_restart(&mut ann).await?;
                fail(drained.await, "a drain that cuts nobody off", "one that does, or does not end")
            },
        ),
        case(
            "a_client_that_closes_while_draining_is_answered",
            "A close of the client and one of the server may cross: the stream ends well.",
            "RFC 6455 section 7.1; PROTOCOL.md, section 5.6",
            |stage| async move {
                let mut ann = stage.member("ann").await?;
                let drained = stage.drain();
                ann.send(Frame::close(1000, "")).await?;
                let code = ann.expect_close_frame().await?;
                let crossed = matches!(code, Some(1000 | 1012));
                fail(crossed, "a close frame with code 1000 or 1012", Message::Close(code))?;
                ann.expect_gone().await?;
                fail(drained.await, "a drain that cuts nobody off", "one that does, or does not end")
            },
        )
        .race("which close is first is open"),
        case(
            "commands_after_closing_are_not_begun",
            "What comes behind `closing` is not carried out: no reply, and no message for others.",
            "PROTOCOL.md, section 5.6",
            |stage| async move {
                let mut ann = stage.member("ann").await?;
                let mut bob = stage.member("bob").await?;
                let drained = stage.drain();
                ann.expect("closing").await?;
                ann.command(json!({"type": "send", "room": stage.room(), "body": {"text": "late"}})).await?;
                expect_restart(&mut ann).await?;
                expect_restart(&mut bob).await?;
                let late = bob.held().iter().any(|event| event["type"] == "message");
                fail(!late, "no message after `closing`", Events(bob.held()))?;
                fail(drained.await, "a drain that cuts nobody off", "one that does, or does not end")
            },
        ),
        case(
            "a_drain_without_clients_ends_at_once",
            "A server that nobody is connected to ends right away.",
            "PROTOCOL.md, section 5.6",
            |stage| async move {
                stage.client("ann").await?.close(1000).await?;
                let started = std::time::Instant::now();
                fail(stage.drain().await, "a drain that ends", "one that does not")?;
                let took = started.elapsed();
                fail(took < super::millis(4_000), "an end within 4 s", format!("{took:?}"))
            },
        ),
    ];
    let cases = cases.into_iter().map(|case| case.needs(Needs::Drain)).collect();
    Group {
        name: "drain",
        look: "Chat::drain and crates/chat-core/src/serve.rs; poll_close of the mechanism",
        cases,
    }
}

/// The close frame of a restart, answered, and the end.
async fn expect_restart(client: &mut Client) -> Verdict {
    match client.expect_close_frame().await? {
        Some(1012) => {}
        other => return Err(client.failure("a close frame with code 1012", Message::Close(other))),
    }
    client.send(Frame::close(1012, "")).await?;
    client.expect_gone().await
}
