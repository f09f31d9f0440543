use super::*;

chat_suite::cases!(
    /// Payloads around the borders of the 7-bit, 16-bit and 64-bit length are read in full.
    async fn every_length_encoding_is_read(stage: Stage, mut ann: Client) -> Verdict {
        for length in [60, 125, 126, 127, 128, 255, 256, 4_096, 16_384] {
            let text = format!("{:<length$}", ping(&length.to_string()));
            ann.text(text).await?;
            expect_pong_event(&mut ann, &length.to_string()).await?;
        }
        Ok(())
    }

    /// The server encodes the length of each frame in the shortest form.
    async fn the_server_writes_the_shortest_length(stage: Stage, mut ann: Member) -> Verdict {
        // The client refuses every other form, and the sizes pass both borders.
        for length in (1..300).step_by(3).chain([4_000]) {
            ann.post(&stage.room(), &"x".repeat(length)).await?;
        }
        ann.ask_for("history", json!({"type": "history", "room": stage.room()})).await?;
        Ok(())
    }

    /// A short payload with a long form of the length is served, or closes with 1002. It is never misread.
    async fn a_length_in_more_bytes_than_needed_is_not_misread(stage: Stage) -> Verdict {
        for frame in [Frame::text(ping("1")).in_sixteen_bits(), Frame::text(ping("1")).in_sixty_four_bits()] {
            let mut ann = stage.client("ann").await?;
            ann.send_all(&[frame, Frame::text(ping("2"))]).await?;
            let event = ann.event().await?;
            if event["type"] == "closing" {
                ann.check(event["code"] == 1002, "the code 1002", &event)?;
                continue;
            }
            ann.check(event["ref"] == "1", "the reply to the first ping", &event)?;
            expect_pong_event(&mut ann, "2").await?;
        }
        Ok(())
    }

    /// A payload is unmasked with any four bytes, also zeros, and each frame can have another mask.
    #[source = "RFC 6455 section 5.3"]
    async fn every_mask_is_removed(stage: Stage, mut ann: Client) -> Verdict {
        for mask in [[0; 4], [0xff; 4], [1, 2, 3, 4], [0x80, 0, 0, 0x7f]] {
            ann.send(Frame::text(ping("1")).masked_with(mask)).await?;
            expect_pong_event(&mut ann, "1").await?;
        }
        Ok(())
    }

    /// A text frame without a mask closes with 1002, and its command is not run.
    #[source = "RFC 6455 section 5.1"]
    async fn an_unmasked_text_is_refused(stage: Stage, mut bob: Member, mut ann: Member) -> Verdict {
        ann.send(Frame::json(&send(&stage.room(), "unmasked")).unmasked()).await?;
        ann.expect_closed(1002).await?;
        bob.expect_no_events().await
    }

    /// The bit RSV1 means compression, which was not negotiated: the close code is 1002.
    async fn rsv1_without_an_extension_is_refused(stage: Stage) -> Verdict {
        expect_refused(&stage, Frame::text(ping("1")).reserved(4).encode(), 1002).await
    }

    /// The bits RSV2 and RSV3, alone or together, have no meaning: the close code is 1002.
    async fn rsv2_and_rsv3_are_refused(stage: Stage) -> Verdict {
        for bits in [2, 1, 3, 7] {
            expect_refused(&stage, Frame::text(ping("1")).reserved(bits).encode(), 1002).await?;
        }
        Ok(())
    }

    /// A reserved bit on a later fragment closes with 1002.
    async fn reserved_bits_on_a_continuation_are_refused(stage: Stage) -> Verdict {
        let frames = [Frame::text("{").unfinished(), Frame::continuation("}").reserved(4)];
        expect_refused(&stage, packet(&frames), 1002).await
    }

    /// The opcodes 3 to 7 have no meaning: the close code is 1002.
    async fn reserved_data_opcodes_are_refused(stage: Stage) -> Verdict {
        for opcode in 3..=7 {
            expect_refused(&stage, Frame::new(opcode, "").encode(), 1002).await?;
        }
        expect_refused(&stage, Frame::new(3, ping("1")).encode(), 1002).await
    }

    /// Packet boundaries have no meaning: text, ping and text that arrive one byte at a time are served.
    async fn frames_that_arrive_byte_by_byte_are_served(stage: Stage, mut ann: Client) -> Verdict {
        let frames = [Frame::text(ping("1")), Frame::ping("between"), Frame::text(ping("2"))];
        ann.write_byte_by_byte(&packet(&frames)).await?;
        ann.expect_pong(b"between").await?;
        expect_pong_event(&mut ann, "1").await?;
        expect_pong_event(&mut ann, "2").await
    }

    /// A frame that is cut in two packets at any position is one frame.
    async fn a_frame_in_two_packets_is_served(stage: Stage, mut ann: Client) -> Verdict {
        let long = format!("{:<140}", ping("cut"));
        for frame in [Frame::text(ping("cut")).encode(), Frame::text(long).encode()] {
            for cut in 1..frame.len().min(24) {
                ann.write(&frame[..cut]).await?;
                tokio::task::yield_now().await;
                ann.write(&frame[cut..]).await?;
                expect_pong_event(&mut ann, "cut").await?;
            }
        }
        Ok(())
    }

    /// Two hundred commands in one packet get two hundred replies in the same order.
    #[source = "RFC 6455 section 5.4; PROTOCOL.md, section 3"]
    async fn many_frames_in_one_packet_are_served_in_order(stage: Stage, mut ann: Client) -> Verdict {
        let frames = pings(0..200);
        ann.send_all_while_reading(&frames).await?;
        expect_pongs(&mut ann, 0..200).await?;
        Ok(())
    }

    /// Valid commands before an invalid frame, in one packet with it, are answered before the close.
    #[source = "RFC 6455 section 7.1.7"]
    async fn commands_before_a_violation_are_answered(stage: Stage, mut ann: Client) -> Verdict {
        let frames = [Frame::text(ping("1")), Frame::text(ping("2")), Frame::new(3, "")];
        ann.send_all(&frames).await?;
        expect_pong_event(&mut ann, "1").await?;
        expect_pong_event(&mut ann, "2").await?;
        ann.expect_closed(1002).await
    }

    /// A message before an invalid frame is stored, and its sender gets `sent` before the close.
    #[source = "PROTOCOL.md, section 5.2"]
    async fn a_message_before_a_violation_is_acknowledged(stage: Stage, mut ann: Member) -> Verdict {
        let first = send(&stage.room(), "before the breach").to_string();
        ann.send_all(&[Frame::text(first), Frame::text("x").reserved(4)]).await?;
        ann.expect_closed(1002).await?;
        let is_acknowledged =
            ann.buffered_events().iter().any(|event| event["type"] == "sent" && event["seq"] == 1);
        check(is_acknowledged, "`sent` before the close", Events(ann.buffered_events()))?;
        let history = stage.history().await?;
        check(history.len() == 1, "the message in the log", Events(&history))
    }

    /// A command behind an invalid frame is not run, even if it is valid.
    #[source = "RFC 6455 section 7.1.7"]
    async fn commands_after_a_violation_are_not_run(stage: Stage, mut ann: Member) -> Verdict {
        let late = send(&stage.room(), "behind the breach").to_string();
        ann.send_all(&[Frame::new(7, ""), Frame::text(late)]).await?;
        ann.expect_closed(1002).await?;
        let history = stage.history().await?;
        check(history.is_empty(), "no message in the log", Events(&history))
    }

    /// A client that violates the protocol does not disturb another client in the same room.
    #[source = "PROTOCOL.md, section 5"]
    async fn a_violation_does_not_affect_other_connections(stage: Stage, mut bob: Member) -> Verdict {
        let breaches = [&[0xff; 14][..], b"GET / HTTP/1.1\r\n\r\n", b"\x81\x01x"];
        for (number, bytes) in breaches.iter().enumerate() {
            let mut ann = stage.member("ann").await?;
            ann.write(bytes).await?;
            ann.expect_closed_with(&[1002, 1009]).await?;
            bob.post(&stage.room(), &format!("still here {number}")).await?;
        }
        Ok(())
    }

    /// The chat uses text messages: a binary message, even one of JSON, closes with 1003.
    #[source = "RFC 6455 section 7.4.1; PROTOCOL.md, section 2"]
    async fn a_binary_message_is_refused(stage: Stage) -> Verdict {
        expect_refused(&stage, Frame::binary(ping("1")).encode(), 1003).await?;
        expect_refused(&stage, Frame::binary("").encode(), 1003).await
    }

    /// A binary message in fragments closes with 1003 too.
    #[source = "RFC 6455 section 7.4.1; PROTOCOL.md, section 2"]
    async fn a_fragmented_binary_message_is_refused(stage: Stage) -> Verdict {
        let frames = [Frame::binary([0, 1]).unfinished(), Frame::continuation([2, 3])];
        expect_refused(&stage, packet(&frames), 1003).await
    }
);
