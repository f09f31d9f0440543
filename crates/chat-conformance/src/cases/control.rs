use super::*;

chat_suite::cases!(
    /// Pings and closes are masked like every frame: without a mask the close code is 1002.
    #[source = "RFC 6455 section 5.1"]
    async fn an_unmasked_control_frame_is_refused(stage: Stage) -> Verdict {
        expect_refused(&stage, Frame::ping("x").unmasked().encode(), 1002).await?;
        let mut ann = stage.client("ann").await?;
        ann.send(Frame::close(1000, "").unmasked()).await?;
        ann.expect_close_code(&[1002]).await
    }

    /// A control frame with a reserved bit closes with 1002, and gets no pong.
    #[source = "RFC 6455 section 5.2"]
    async fn reserved_bits_on_control_frames_are_refused(stage: Stage) -> Verdict {
        expect_refused(&stage, Frame::ping("x").reserved(4).encode(), 1002).await?;
        expect_refused(&stage, Frame::pong("x").reserved(1).encode(), 1002).await
    }

    /// The opcodes 11 to 15 have no meaning: the close code is 1002.
    #[source = "RFC 6455 section 5.2"]
    async fn reserved_control_opcodes_are_refused(stage: Stage) -> Verdict {
        for opcode in 11..=15 {
            expect_refused(&stage, Frame::new(opcode, "x").encode(), 1002).await?;
        }
        Ok(())
    }

    /// A ping is answered with a pong of the same payload: none, text, bytes, and 125 bytes.
    #[source = "RFC 6455 section 5.5.3; PROTOCOL.md, section 2"]
    async fn a_ping_is_answered_with_its_payload(stage: Stage, mut ann: Client) -> Verdict {
        for payload in [&b""[..], b"hello", b"\0\xff\xfe\xed\xa0\x80", &[b'x'; 125]] {
            ann.send(Frame::ping(payload)).await?;
            ann.expect_pong(payload).await?;
        }
        Ok(())
    }

    /// Ten pings in one packet get their pongs in order. The last ping always gets one.
    async fn pings_in_one_packet_are_answered_in_order(stage: Stage, mut ann: Client) -> Verdict {
        let pings: Vec<_> = (0..10_u8).map(|n| Frame::ping([n])).collect();
        ann.send_all(&pings).await?;
        let mut last = None;
        while last != Some(9) {
            match ann.message().await? {
                Message::Pong(payload) if payload.len() == 1 => {
                    let number = payload[0];
                    let fits = last.is_none_or(|last| number > last);
                    check(fits, "pongs in the order of the pings", format!("{number} after {last:?}"))?;
                    last = Some(number);
                }
                other => return Err(ann.failure("a pong", other)),
            }
        }
        Ok(())
    }

    /// A ping behind a hundred commands is answered with its payload, between whole frames.
    async fn a_ping_behind_many_commands_is_answered(stage: Stage, mut ann: Member) -> Verdict {
        let room = stage.room();
        let mut frames: Vec<_> = (0..100).map(|n| Frame::json(&send(&room, &format!("{n}")))).collect();
        frames.push(Frame::ping([7; 125]));
        ann.send_all_while_reading(&frames).await?;
        ann.expect_pong(&[7; 125]).await
    }

    /// Unsolicited pongs, with and without payload, get no answer.
    async fn an_unsolicited_pong_is_ignored(stage: Stage, mut ann: Client) -> Verdict {
        ann.send_all(&[Frame::pong(""), Frame::pong("x"), Frame::pong([0xff; 125])]).await?;
        ann.text(ping("1")).await?;
        match ann.message().await? {
            Message::Event(event) if event["ref"] == "1" => Ok(()),
            other => Err(ann.failure("only the reply to the ping command", other)),
        }
    }

    /// A control frame carries at most 125 bytes: a longer one closes with 1002.
    #[source = "RFC 6455 section 5.5"]
    async fn a_control_frame_over_125_bytes_is_refused(stage: Stage) -> Verdict {
        expect_refused(&stage, Frame::ping([b'x'; 126]).encode(), 1002).await?;
        expect_refused(&stage, Frame::pong([b'x'; 200]).encode(), 1002).await
    }

    /// The header of a ping of 2^40 bytes closes with 1002 or 1009, before any payload arrives.
    #[source = "RFC 6455 sections 5.5 and 10.4"]
    async fn a_control_frame_that_announces_a_tebibyte_is_refused_at_once(stage: Stage) -> Verdict {
        let mut ann = stage.client("ann").await?;
        ann.write(&Frame::ping("").announcing(1 << 40).encode()).await?;
        ann.expect_closed_with(&[1002, 1009]).await
    }

    /// A fragmented ping, pong or close is refused with 1002.
    #[source = "RFC 6455 section 5.5"]
    async fn a_fragmented_control_frame_is_refused(stage: Stage) -> Verdict {
        expect_refused(&stage, Frame::ping("x").unfinished().encode(), 1002).await?;
        expect_refused(&stage, Frame::pong("x").unfinished().encode(), 1002).await?;
        let mut ann = stage.client("ann").await?;
        ann.send(Frame::close(1000, "").unfinished()).await?;
        ann.expect_close_code(&[1002]).await
    }
);
