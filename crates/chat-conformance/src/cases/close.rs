use serde_json::json;

use super::{Frame, Group, case, fail, millis, ping, send};
use crate::client::{Events, Message, one_of};
use crate::{Stage, Verdict};

pub(super) fn group() -> Group {
    let cases = vec![
        case(
            "client_close_is_echoed",
            "A close frame is answered with one of the same code, and then the server ends the stream.",
            "RFC 6455 section 5.5.1; PROTOCOL.md, section 2",
            |stage| async move { stage.client("ann").await?.close(1000).await },
        ),
        case(
            "every_code_that_may_be_sent_is_echoed",
            "The codes of the RFC, of libraries (3000) and of applications (4000 to 4999) are echoed.",
            "RFC 6455 section 7.4",
            |stage| async move {
                let codes = [1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4321, 4999];
                for code in codes {
                    stage.client("ann").await?.close(code).await?;
                }
                Ok(())
            },
        ),
        case(
            "a_close_without_a_code_is_answered",
            "A close frame without a code is answered with one, without a code or with 1000, and the end.",
            "RFC 6455 section 5.5.1",
            |stage| async move {
                let mut ann = stage.client("ann").await?;
                ann.send(Frame::new(8, "")).await?;
                let code = ann.expect_close_frame().await?;
                fail(
                    matches!(code, None | Some(1000)),
                    "a close frame without a code",
                    Message::Close(code),
                )?;
                ann.expect_end().await
            },
        ),
        case(
            "a_close_may_have_a_reason",
            "A reason of up to 123 bytes does not change the answer.",
            "RFC 6455 section 5.5.1",
            |stage| async move {
                for reason in ["enough", "한국어로도", &"x".repeat(123)] {
                    let mut ann = stage.client("ann").await?;
                    ann.send(Frame::close(1001, reason)).await?;
                    let code = ann.expect_close_frame().await?;
                    fail(code == Some(1001), "a close frame with code 1001", Message::Close(code))?;
                    ann.expect_end().await?;
                }
                Ok(())
            },
        ),
        case(
            "a_close_of_one_byte_is_refused",
            "A code has two bytes: a close frame with a single one is 1002.",
            "RFC 6455 section 5.5.1",
            |stage| async move { answered(&stage, Frame::new(8, [3]), &[1002]).await },
        ),
        case(
            "codes_that_must_not_be_sent_are_refused",
            "999, 1004, 1005, 1006, 1015 and what is above 4999 must not be on the wire: 1002, no echo.",
            "RFC 6455 section 7.4",
            |stage| async move {
                for code in [0, 999, 1004, 1005, 1006, 1015, 5000, 65_535] {
                    answered(&stage, Frame::close(code, ""), &[1002]).await?;
                }
                Ok(())
            },
        ),
        case(
            "codes_that_are_not_assigned_are_refused",
            "Codes of the protocol's own range that nobody has defined are 1002.",
            "RFC 6455 section 7.4.2",
            |stage| async move {
                for code in [1016, 1100, 2000, 2999] {
                    answered(&stage, Frame::close(code, ""), &[1002]).await?;
                }
                Ok(())
            },
        ),
        case(
            "a_reason_that_is_not_utf_8_is_refused",
            "A reason is UTF-8: otherwise 1007, or 1002.",
            "RFC 6455 section 5.5.1",
            |stage| async move {
                for reason in [&b"\xff"[..], b"\xed\xa0\x80", b"ok\xc3"] {
                    answered(&stage, Frame::close(1000, reason), &[1002, 1007]).await?;
                }
                Ok(())
            },
        ),
        case(
            "a_close_over_125_bytes_is_refused",
            "A close frame is a control frame: over 125 bytes it is 1002.",
            "RFC 6455 section 5.5",
            |stage| async move { answered(&stage, Frame::close(1000, "x".repeat(124)), &[1002]).await },
        ),
        case(
            "what_is_ahead_of_a_close_is_carried_out",
            "A message ahead of the close frame, in one packet with it, is stored; then comes the echo.",
            "RFC 6455 section 5.5.1",
            |stage| async move {
                let mut ann = stage.member("ann").await?;
                let last = Frame::text(send(&stage.room(), "last words").to_string());
                ann.send_all(&[last, Frame::text(ping("1")), Frame::close(1000, "")]).await?;
                let code = ann.expect_close_frame().await?;
                fail(code == Some(1000), "a close frame with code 1000", Message::Close(code))?;
                ann.expect_end().await?;
                let history = stage.history().await?;
                fail(history.len() == 1, "the message in the log", Events(&history))
            },
        ),
        case(
            "what_is_ahead_of_a_close_is_answered",
            "Commands ahead of the close frame, in one packet with it, get their replies before the echo.",
            "PROTOCOL.md, section 3; RFC 6455 section 5.5.1",
            |stage| async move {
                let mut ann = stage.member("ann").await?;
                let mut last = send(&stage.room(), "last words");
                last["ref"] = json!("1");
                let last = Frame::text(last.to_string());
                ann.send_all(&[last, Frame::text(ping("2")), Frame::close(1000, "")]).await?;
                let sent = ann.reply(&json!("1")).await?;
                ann.check(sent["type"] == "sent", "the reply `sent`", &sent)?;
                let pong = ann.reply(&json!("2")).await?;
                ann.check(pong["type"] == "pong", "the reply `pong`", &pong)?;
                let code = ann.expect_close_frame().await?;
                fail(code == Some(1000), "a close frame with code 1000", Message::Close(code))?;
                ann.expect_end().await
            },
        ),
        case(
            "what_is_behind_a_close_is_ignored",
            "Nothing behind a close frame is carried out or answered.",
            "RFC 6455 section 5.5.1",
            |stage| async move {
                let mut ann = stage.member("ann").await?;
                ann.send_all(&[
                    Frame::close(1000, ""),
                    Frame::text(send(&stage.room(), "from beyond").to_string()),
                    Frame::ping("x"),
                    Frame::close(1001, ""),
                ])
                .await?;
                match ann.message().await? {
                    Message::Close(Some(1000)) => {}
                    other => return Err(ann.failure("a close frame with code 1000", other)),
                }
                ann.expect_gone().await?;
                let history = stage.history().await?;
                fail(history.is_empty(), "no message in the log", Events(&history))
            },
        ),
        case(
            "a_client_that_talks_on_after_its_close_can_read_the_echo",
            "Frames behind the close frame do not cost the client the echo and a clean end.",
            "RFC 6455 section 7.1.1",
            |stage| async move {
                let mut ann = stage.client("ann").await?;
                ann.send_all(&[Frame::close(1000, ""), Frame::text(" ".repeat(10_000))]).await?;
                let code = ann.expect_close_frame().await?;
                fail(code == Some(1000), "a close frame with code 1000", Message::Close(code))?;
                ann.expect_end().await
            },
        ),
        case(
            "a_breach_ends_in_a_clean_end_of_the_stream",
            "After a breach and the client's answer to the close comes a FIN, not a reset.",
            "RFC 6455 section 7.1.1; PROTOCOL.md, section 2",
            |stage| async move {
                let mut ann = stage.client("ann").await?;
                ann.send(Frame::new(3, "")).await?;
                let code = ann.expect_close_frame().await?;
                fail(code == Some(1002), "a close frame with code 1002", Message::Close(code))?;
                ann.send(Frame::close(1002, "")).await?;
                ann.expect_end().await
            },
        ),
        case(
            "a_client_that_never_answers_a_close_is_let_go",
            "A client that is closed and does not answer is let go in time.",
            "RFC 6455 section 7.1.1; PROTOCOL.md, section 2",
            |stage| async move {
                let mut ann = stage.client("ann").await?;
                ann.be_patient_for(stage.limits().connection.close_timeout + millis(4_000));
                ann.send(Frame::binary("")).await?;
                let code = ann.expect_close_frame().await?;
                fail(code == Some(1003), "a close frame with code 1003", Message::Close(code))?;
                ann.expect_gone().await
            },
        ),
        case(
            "a_server_close_is_announced_by_an_event",
            "`closing` with the code and its reason is the last event before a close that the server starts.",
            "PROTOCOL.md, sections 4 and 7.1",
            |stage| async move {
                let mut ann = stage.client("ann").await?;
                ann.send(Frame::binary("")).await?;
                let closing = ann.expect("closing").await?;
                let fits = closing["code"] == 1003 && closing["reason"] == "unsupported_data";
                ann.check(fits, "`closing` with code 1003 and reason unsupported_data", &closing)?;
                match ann.message().await? {
                    Message::Close(Some(1003)) => Ok(()),
                    other => Err(ann.failure("the close frame right behind `closing`", other)),
                }
            },
        ),
        case(
            "a_reply_still_arrives_after_a_half_close",
            "A client that ends its side behind its commands still gets every reply, and then the end.",
            "RFC 9293 section 3.6",
            |stage| async move {
                // Often, since a server that loses replies does so only if it sees the end soon enough.
                for round in 0..30 {
                    let mut ann = stage.client("ann").await?;
                    let commands: Vec<_> = (0..=round).map(|n| Frame::text(ping(&n.to_string()))).collect();
                    ann.send_all(&commands).await?;
                    ann.half_close().await?;
                    for n in 0..=round {
                        super::expect_pong_event(&mut ann, &n.to_string()).await?;
                    }
                    ann.expect_gone_after_all().await?;
                }
                Ok(())
            },
        ),
        case(
            "a_message_ahead_of_a_half_close_is_stored",
            "What a client sent whole before it ended its side is carried out.",
            "RFC 9293 section 3.6",
            |stage| async move {
                let mut bob = stage.member("bob").await?;
                let mut ann = stage.member("ann").await?;
                ann.command(send(&stage.room(), "last words")).await?;
                ann.half_close().await?;
                let message = bob.expect("message").await?;
                bob.check(super::text_of(&message) == "last words", "the last message", &message)
            },
        ),
        case(
            "a_fin_without_a_close_frame_ends_the_session",
            "A client that just ends its stream has left: others are told.",
            "RFC 6455 section 7.1.5",
            |stage| async move {
                let mut bob = stage.member("bob").await?;
                let mut ann = stage.member("ann").await?;
                ann.half_close().await?;
                ann.expect_gone_after_all().await?;
                left(&stage, &mut bob).await
            },
        ),
        case(
            "a_reset_ends_the_session",
            "A client whose connection is reset has left: others are told, and served on.",
            "PROTOCOL.md, section 4 (`presence`)",
            |stage| async move {
                let mut bob = stage.member("bob").await?;
                stage.member("ann").await?.reset();
                left(&stage, &mut bob).await?;
                bob.post(&stage.room(), "bye").await.map(drop)
            },
        ),
        case(
            "half_a_frame_and_an_end_is_a_clean_end",
            "A client that ends its stream within a frame is gone without harm; the half is no message.",
            "RFC 6455 section 7.1.5",
            |stage| async move {
                let mut bob = stage.member("bob").await?;
                let mut ann = stage.member("ann").await?;
                let frame = Frame::text(send(&stage.room(), "half of a message").to_string()).encode();
                ann.write(&frame[..frame.len() / 2]).await?;
                ann.half_close().await?;
                ann.expect_gone_after_all().await?;
                left(&stage, &mut bob).await?;
                bob.expect_quiet().await
            },
        ),
        case(
            "a_hundred_resets_leave_nothing",
            "A hundred clients that go without a word, at any moment, leave a server that serves.",
            "PROTOCOL.md, section 5",
            |stage| async move {
                for number in 0..100_usize {
                    let mut ann = stage.connect("ann").await?;
                    let head = stage.handshake("ann").encode();
                    let join = json!({"type": "join", "room": stage.room()}).to_string();
                    let all = [head, Frame::text(join).encode()].concat();
                    ann.write(&all[..all.len() * (number + 1) / 100]).await?;
                    ann.reset();
                }
                // Of those the server may not even have heard.
                for _ in 0..10 {
                    stage.member("ann").await?.reset();
                }
                stage.expect_alive().await
            },
        ),
    ];
    Group {
        name: "close",
        look: "Connection::poll_close and what poll_receive makes of a close frame; crates/chat-core/src/serve.rs",
        cases,
    }
}

/// A close frame that must not be echoed is answered with one of these codes.
async fn answered(stage: &Stage, frame: Frame, codes: &[u16]) -> Verdict {
    let mut client = stage.client("ann").await?;
    client.send(frame).await?;
    match client.expect_close_frame().await? {
        Some(code) if codes.contains(&code) => {}
        other => {
            return Err(
                client.failure(format!("a close frame with code {}", one_of(codes)), Message::Close(other))
            );
        }
    }
    client.expect_gone().await
}

/// The others hear that ann has left.
async fn left(stage: &Stage, client: &mut crate::client::Client) -> Verdict {
    loop {
        let event = client.any_event().await?;
        if event["type"] == "presence" && event["state"] == "left" {
            let ann = stage.named("ann");
            return client.check(event["user"]["id"] == *ann, format!("that {ann} has left"), &event);
        }
    }
}
