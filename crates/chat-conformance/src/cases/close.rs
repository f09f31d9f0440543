use super::*;

chat_suite::cases!(
    /// A close frame is answered with one of the same code, and then the server ends the stream.
    #[source = "RFC 6455 section 5.5.1; PROTOCOL.md, section 2"]
    async fn a_client_close_is_echoed(stage: Stage) -> Verdict {
        stage.client("ann").await?.close(1000).await
    }

    /// The codes of the RFC, of libraries (3000) and of applications (4000 to 4999) are echoed.
    #[source = "RFC 6455 section 7.4"]
    async fn every_valid_close_code_is_echoed(stage: Stage) -> Verdict {
        let codes = [1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4321, 4999];
        for code in codes {
            stage.client("ann").await?.close(code).await?;
        }
        Ok(())
    }

    /// A close frame without a code is answered with one without a code or with 1000, and the end of the stream.
    async fn a_close_without_a_code_is_answered(stage: Stage, mut ann: Client) -> Verdict {
        ann.send(Frame::new(8, "")).await?;
        let code = ann.expect_close_frame().await?;
        check(matches!(code, None | Some(1000)), "a close frame without a code", Message::Close(code))?;
        ann.expect_end().await
    }

    /// A reason of up to 123 bytes does not change the answer.
    async fn a_close_with_a_reason_is_echoed(stage: Stage) -> Verdict {
        for reason in ["enough", "한국어로도", &"x".repeat(123)] {
            let mut ann = stage.client("ann").await?;
            ann.send(Frame::close(1001, reason)).await?;
            ann.expect_close_code(&[1001]).await?;
            ann.expect_end().await?;
        }
        Ok(())
    }

    /// A close code has two bytes: a close frame with one byte is answered with 1002.
    async fn a_close_of_one_byte_is_refused(stage: Stage) -> Verdict {
        expect_answer(&stage, Frame::new(8, [3]), &[1002]).await
    }

    /// The codes 999, 1004, 1005, 1006, 1015 and those above 4999 are answered with 1002, and not echoed.
    #[source = "RFC 6455 section 7.4"]
    async fn reserved_close_codes_are_refused(stage: Stage) -> Verdict {
        for code in [0, 999, 1004, 1005, 1006, 1015, 5000, 65_535] {
            expect_answer(&stage, Frame::close(code, ""), &[1002]).await?;
        }
        Ok(())
    }

    /// Codes in the protocol's own range that are not defined are answered with 1002.
    #[source = "RFC 6455 section 7.4.2"]
    async fn unassigned_close_codes_are_refused(stage: Stage) -> Verdict {
        for code in [1016, 1100, 2000, 2999] {
            expect_answer(&stage, Frame::close(code, ""), &[1002]).await?;
        }
        Ok(())
    }

    /// A close reason that is not UTF-8 is answered with 1007 or 1002.
    async fn a_close_reason_that_is_not_utf_8_is_refused(stage: Stage) -> Verdict {
        for reason in [&b"\xff"[..], b"\xed\xa0\x80", b"ok\xc3"] {
            expect_answer(&stage, Frame::close(1000, reason), &[1002, 1007]).await?;
        }
        Ok(())
    }

    /// A close frame is a control frame: over 125 bytes it is answered with 1002.
    #[source = "RFC 6455 section 5.5"]
    async fn a_close_over_125_bytes_is_refused(stage: Stage) -> Verdict {
        expect_answer(&stage, Frame::close(1000, "x".repeat(124)), &[1002]).await
    }

    /// A message before the close frame, in one packet with it, is stored. Then comes the echo.
    async fn a_message_before_a_close_is_stored(stage: Stage, mut ann: Member) -> Verdict {
        let last = Frame::json(&send(&stage.room(), "last words"));
        ann.send_all(&[last, Frame::text(ping("1")), Frame::close(1000, "")]).await?;
        ann.expect_close_code(&[1000]).await?;
        ann.expect_end().await?;
        let history = stage.history().await?;
        check(history.len() == 1, "the message in the log", Events(&history))
    }

    /// Commands before the close frame, in one packet with it, get their replies before the echo.
    #[source = "PROTOCOL.md, section 3; RFC 6455 section 5.5.1"]
    async fn commands_before_a_close_are_answered(stage: Stage, mut ann: Member) -> Verdict {
        let mut last = send(&stage.room(), "last words");
        last["ref"] = json!("1");
        let last = Frame::json(&last);
        ann.send_all(&[last, Frame::text(ping("2")), Frame::close(1000, "")]).await?;
        let sent = ann.reply(&json!("1")).await?;
        ann.check(sent["type"] == "sent", "the reply `sent`", &sent)?;
        let pong = ann.reply(&json!("2")).await?;
        ann.check(pong["type"] == "pong", "the reply `pong`", &pong)?;
        ann.expect_close_code(&[1000]).await?;
        ann.expect_end().await
    }

    /// A command behind a close frame is not run and not answered.
    async fn commands_after_a_close_are_ignored(stage: Stage, mut ann: Member) -> Verdict {
        ann.send_all(&[
            Frame::close(1000, ""),
            Frame::json(&send(&stage.room(), "from beyond")),
            Frame::ping("x"),
            Frame::close(1001, ""),
        ])
        .await?;
        match ann.message().await? {
            Message::Close(Some(1000)) => {}
            other => return Err(ann.failure("a close frame with code 1000", other)),
        }
        ann.expect_disconnect().await?;
        let history = stage.history().await?;
        check(history.is_empty(), "no message in the log", Events(&history))
    }

    /// A client that sends frames behind its close frame still gets the echo and a clean end.
    #[source = "RFC 6455 section 7.1.1"]
    async fn a_client_that_sends_after_its_close_can_read_the_echo(stage: Stage, mut ann: Client) -> Verdict {
        ann.send_all(&[Frame::close(1000, ""), Frame::text(" ".repeat(10_000))]).await?;
        ann.expect_close_code(&[1000]).await?;
        ann.expect_end().await
    }

    /// A violation ends with a FIN, not with a reset, after the client has answered the close.
    #[source = "RFC 6455 section 7.1.1; PROTOCOL.md, section 2"]
    async fn a_violation_ends_with_a_fin(stage: Stage, mut ann: Client) -> Verdict {
        ann.send(Frame::new(3, "")).await?;
        ann.expect_close_code(&[1002]).await?;
        ann.send(Frame::close(1002, "")).await?;
        ann.expect_end().await
    }

    /// The server ends the connection in time if the client does not answer the close frame.
    #[source = "RFC 6455 section 7.1.1; PROTOCOL.md, section 2"]
    async fn a_client_that_does_not_answer_a_close_is_disconnected(stage: Stage, mut ann: Client) -> Verdict {
        ann.set_patience(stage.limits().connection.close_timeout + millis(4_000));
        ann.send(Frame::binary("")).await?;
        ann.expect_close_code(&[1003]).await?;
        ann.expect_disconnect().await
    }

    /// The event `closing`, with the code and its reason, is the last event before a close that the server starts.
    #[source = "PROTOCOL.md, sections 4 and 7.1"]
    async fn a_server_close_is_announced_by_an_event(stage: Stage, mut ann: Client) -> Verdict {
        ann.send(Frame::binary("")).await?;
        let closing = ann.expect("closing").await?;
        let fits = closing["code"] == 1003 && closing["reason"] == "unsupported_data";
        ann.check(fits, "`closing` with code 1003 and reason unsupported_data", &closing)?;
        match ann.message().await? {
            Message::Close(Some(1003)) => Ok(()),
            other => Err(ann.failure("the close frame directly after `closing`", other)),
        }
    }

    /// A client that ends its writing side behind its commands still gets every reply, and then the end of the
    /// stream.
    #[source = "RFC 9293 section 3.6"]
    #[with(limits(without_rates))]
    async fn replies_arrive_after_a_half_close(stage: Stage) -> Verdict {
        // A server that loses replies does so only if it reads the end early enough: so the case repeats.
        for round in 0..30 {
            let mut ann = stage.client("ann").await?;
            let commands = pings(0..=round);
            ann.send_all(&commands).await?;
            ann.half_close().await?;
            expect_pongs(&mut ann, 0..=round).await?;
            ann.expect_disconnect_after_events().await?;
        }
        Ok(())
    }

    /// A command that a client sent in full before it ended its writing side is run.
    #[source = "RFC 9293 section 3.6"]
    async fn a_message_before_a_half_close_is_stored(stage: Stage, mut bob: Member) -> Verdict {
        let mut ann = stage.member("ann").await?;
        ann.command(send(&stage.room(), "last words")).await?;
        ann.half_close().await?;
        let message = bob.expect("message").await?;
        bob.check(text_of(&message) == "last words", "the last message", &message)
    }

    /// A client that ends its stream without a close frame leaves its rooms, and other members get `presence`.
    #[source = "RFC 6455 section 7.1.5"]
    async fn a_fin_without_a_close_frame_ends_the_session(stage: Stage, mut bob: Member) -> Verdict {
        let mut ann = stage.member("ann").await?;
        ann.half_close().await?;
        ann.expect_disconnect_after_events().await?;
        expect_ann_left(&stage, &mut bob).await
    }

    /// A client whose connection is reset leaves its rooms; other members get `presence` and are still served.
    #[source = "PROTOCOL.md, section 4 (`presence`)"]
    async fn a_reset_ends_the_session(stage: Stage, mut bob: Member) -> Verdict {
        stage.member("ann").await?.reset();
        expect_ann_left(&stage, &mut bob).await?;
        bob.post(&stage.room(), "bye").await.map(drop)
    }

    /// A client that ends its stream inside a frame leaves its rooms, and the partial frame is no message.
    #[source = "RFC 6455 section 7.1.5"]
    async fn a_fin_inside_a_frame_ends_the_session(stage: Stage, mut bob: Member) -> Verdict {
        let mut ann = stage.member("ann").await?;
        let frame = Frame::json(&send(&stage.room(), "half of a message")).encode();
        ann.write(&frame[..frame.len() / 2]).await?;
        ann.half_close().await?;
        ann.expect_disconnect_after_events().await?;
        expect_ann_left(&stage, &mut bob).await?;
        bob.expect_no_events().await
    }

    /// A hundred clients that disappear at any moment leave a server that still serves others.
    #[source = "PROTOCOL.md, section 5"]
    async fn a_hundred_resets_leave_no_connection(stage: Stage) -> Verdict {
        for number in 0..100_usize {
            let mut ann = stage.connect("ann").await?;
            let head = stage.handshake("ann").encode();
            let join = json!({"type": "join", "room": stage.room()}).to_string();
            let all = [head, Frame::text(join).encode()].concat();
            ann.write(&all[..all.len() * (number + 1) / 100]).await?;
            ann.reset();
        }
        // The server may not have read the heads of those, so members follow.
        for _ in 0..10 {
            stage.member("ann").await?.reset();
        }
        stage.expect_served().await
    }
);

/// Expects that this close frame is answered with one of these codes.
async fn expect_answer(stage: &Stage, frame: Frame, codes: &[u16]) -> Verdict {
    let mut client = stage.client("ann").await?;
    client.send(frame).await?;
    client.expect_close_code(codes).await?;
    client.expect_disconnect().await
}

/// Expects the `presence` that ann has left.
async fn expect_ann_left(stage: &Stage, client: &mut Client) -> Verdict {
    loop {
        let event = client.any_event().await?;
        if event["type"] == "presence" && event["state"] == "left" {
            let ann = stage.named("ann");
            return client.check(event["user"]["id"] == *ann, format!("that {ann} has left"), &event);
        }
    }
}
