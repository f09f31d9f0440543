use std::time::Instant;

use super::{Frame, Group, case, fail, millis, ping, send};
use crate::client::{Client, Message};
use crate::{Stage, Verdict};

pub(super) fn group() -> Group {
    let cases = vec![
        case(
            "an_idle_connection_is_pinged",
            "A connection that says nothing gets a ping, and another later, as long as it answers.",
            "PROTOCOL.md, section 2; RFC 6455 section 5.5.2",
            |stage| async move {
                let mut ann = patient(&stage).await?;
                for _ in 0..2 {
                    expect_ping(&mut ann).await?;
                }
                ann.expect_quiet().await
            },
        )
        .with(|limits| {
            limits.connection.ping_interval = millis(200);
            limits.connection.ping_timeout = millis(3_000);
        }),
        case(
            "a_silent_client_is_given_up",
            "A client that does not answer the ping is closed with 4001.",
            "PROTOCOL.md, section 2 (4001)",
            |stage| async move {
                let mut ann = patient(&stage).await?;
                ann.ignore_pings();
                expect_ping(&mut ann).await?;
                ann.expect_closed(4001).await
            },
        )
        .with(hurried),
        case(
            "half_a_frame_and_silence_is_silence",
            "A client that stops in the middle of a frame is closed with 4001 like one that says nothing.",
            "PROTOCOL.md, section 2 (4001)",
            |stage| async move {
                let mut ann = patient(&stage).await?;
                ann.ignore_pings();
                let frame = Frame::text(ping("1")).encode();
                ann.write(&frame[..frame.len() / 2]).await?;
                ann.expect_closed(4001).await
            },
        )
        .with(hurried),
        case(
            "half_a_header_and_silence_is_silence",
            "A client that stops in the middle of a frame's header is closed with 4001.",
            "PROTOCOL.md, section 2 (4001)",
            |stage| async move {
                let mut ann = patient(&stage).await?;
                ann.ignore_pings();
                ann.write(&Frame::text(" ".repeat(1_000)).encode()[..3]).await?;
                ann.expect_closed(4001).await
            },
        )
        .with(hurried),
        case(
            "half_a_message_and_silence_is_silence",
            "A client that stops between the fragments of a message is closed with 4001.",
            "PROTOCOL.md, section 2 (4001)",
            |stage| async move {
                let mut ann = patient(&stage).await?;
                ann.ignore_pings();
                ann.send(Frame::text("{").unfinished()).await?;
                ann.expect_closed(4001).await
            },
        )
        .with(hurried),
        case(
            "a_silent_member_leaves_its_rooms",
            "Others hear that a silent member has left, once it is given up.",
            "PROTOCOL.md, sections 2 and 4",
            |stage| async move {
                let mut bob = patient(&stage).await?;
                bob.join(&stage.room()).await?;
                let mut ann = stage.member("silent").await?;
                ann.ignore_pings();
                loop {
                    let event = bob.any_event().await?;
                    if event["type"] == "presence" && event["state"] == "left" {
                        let name = stage.named("silent");
                        return bob.check(
                            event["user"]["id"] == *name,
                            format!("that {name} has left"),
                            &event,
                        );
                    }
                }
            },
        )
        .with(hurried),
        case(
            "commands_are_a_sign_of_life",
            "A client that sends commands and ignores pings is not given up.",
            "PROTOCOL.md, section 2",
            |stage| async move {
                let mut ann = patient(&stage).await?;
                ann.ignore_pings();
                alive(&stage, &mut ann, |n| Frame::text(ping(&n.to_string()))).await
            },
        )
        .with(hurried),
        case(
            "pings_are_a_sign_of_life",
            "A client that sends pings of its own and ignores those of the server is not given up.",
            "PROTOCOL.md, section 2",
            |stage| async move {
                let mut ann = patient(&stage).await?;
                ann.ignore_pings();
                alive(&stage, &mut ann, |_| Frame::ping("alive")).await
            },
        )
        .with(hurried),
        case(
            "any_pong_is_a_sign_of_life",
            "A pong with another payload than the ping's is a sign of life too.",
            "RFC 6455 section 5.5.3",
            |stage| async move {
                let mut ann = patient(&stage).await?;
                ann.ignore_pings();
                alive(&stage, &mut ann, |_| Frame::pong("unasked")).await
            },
        )
        .with(hurried),
        case(
            "a_listener_that_answers_pings_stays",
            "A member who only listens, and answers pings, is still there after many intervals.",
            "PROTOCOL.md, section 2",
            |stage| async move {
                let mut ann = patient(&stage).await?;
                ann.join(&stage.room()).await?;
                for _ in 0..8 {
                    expect_ping(&mut ann).await?;
                }
                let mut bob = stage.member("bob").await?;
                bob.post(&stage.room(), "still there?").await?;
                super::expect_messages(&mut ann, [1]).await
            },
        )
        .with(|limits| {
            limits.connection.ping_interval = millis(100);
            limits.connection.ping_timeout = millis(3_000);
        })
        .needs(crate::Needs::Limits),
        case(
            "events_are_delivered_while_a_ping_is_unanswered",
            "Between the ping and the giving up, a member gets its messages.",
            "PROTOCOL.md, section 5.4",
            |stage| async move {
                let mut ann = patient(&stage).await?;
                ann.ignore_pings();
                ann.join(&stage.room()).await?;
                expect_ping(&mut ann).await?;
                let mut bob = stage.member("bob").await?;
                bob.command(send(&stage.room(), "meanwhile")).await?;
                super::expect_messages(&mut ann, [1]).await
            },
        )
        .with(|limits| {
            limits.connection.ping_interval = millis(200);
            limits.connection.ping_timeout = millis(4_000);
        }),
        case(
            "a_silent_client_is_given_up_in_time",
            "From the last sign of life to the end it takes ping interval and timeout, and not much more.",
            "PROTOCOL.md, section 2",
            |stage| async move {
                let limits = stage.limits();
                let due = limits.connection.ping_interval + limits.connection.ping_timeout;
                let mut ann = patient(&stage).await?;
                ann.ignore_pings();
                let started = Instant::now();
                ann.expect_closed(4001).await?;
                let took = started.elapsed();
                let in_time = took + millis(100) > due && took < due + millis(5_000);
                fail(in_time, &format!("the end after about {due:?}"), format!("{took:?}"))
            },
        )
        .with(hurried),
    ];
    Group {
        name: "liveness",
        look: "Session::handle_timer in crates/chat-proto/src/session.rs; poll_timer in crates/chat-core/src/driver/mod.rs",
        cases,
    }
}

fn hurried(limits: &mut chat_core::Limits) {
    limits.connection.ping_interval = millis(400);
    limits.connection.ping_timeout = millis(400);
}

/// A client that waits as long as the server may take.
async fn patient(stage: &Stage) -> Result<Client, crate::Failure> {
    let mut client = stage.client("ann").await?;
    let limits = stage.limits();
    client.be_patient_for(limits.connection.ping_interval + limits.connection.ping_timeout + millis(5_000));
    Ok(client)
}

async fn expect_ping(client: &mut Client) -> Verdict {
    loop {
        match client.message().await? {
            Message::Ping(_) => return Ok(()),
            Message::Event(_) | Message::Pong(_) => {}
            other => return Err(client.failure("a ping", other)),
        }
    }
}

/// Sends this for longer than a silent client is borne, and is still served.
async fn alive(stage: &Stage, client: &mut Client, sign: impl Fn(usize) -> Frame) -> Verdict {
    let limits = stage.limits();
    let pause = (limits.connection.ping_interval + limits.connection.ping_timeout) / 4;
    for n in 0..6 {
        client.send(sign(n)).await?;
        // That time passes is what this is about.
        tokio::time::sleep(pause).await;
    }
    client.so_far().await.map(drop)
}
