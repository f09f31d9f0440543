use super::{Frame, Group, breach, case, expect_pong_event, fail, packet, ping, send};
use crate::client::Events;

pub(super) fn group() -> Group {
    let cases = vec![
        case(
            "every_form_of_the_length_is_read",
            "Payloads around the borders of 7, 16 and 64 bits of length are read whole.",
            "RFC 6455 section 5.2",
            |stage| async move {
                let mut ann = stage.client("ann").await?;
                for length in [60, 125, 126, 127, 128, 255, 256, 4_096, 16_384] {
                    let text = format!("{:<length$}", ping(&length.to_string()));
                    ann.text(text).await?;
                    expect_pong_event(&mut ann, &length.to_string()).await?;
                }
                Ok(())
            },
        ),
        case(
            "the_server_writes_the_shortest_length",
            "The server's own lengths are in the shortest form, whatever their size.",
            "RFC 6455 section 5.2",
            |stage| async move {
                let mut ann = stage.member("ann").await?;
                // The client refuses any other form; the sizes go past both borders.
                for length in (1..300).step_by(3).chain([4_000]) {
                    ann.post(&stage.room(), &"x".repeat(length)).await?;
                }
                ann.ask_for("history", serde_json::json!({"type": "history", "room": stage.room()})).await?;
                Ok(())
            },
        ),
        case(
            "a_length_in_more_bytes_than_needed_is_no_trap",
            "A short payload with a long form of length is served, or closes with 1002; never misread.",
            "RFC 6455 section 5.2",
            |stage| async move {
                for frame in
                    [Frame::text(ping("1")).in_sixteen_bits(), Frame::text(ping("1")).in_sixty_four_bits()]
                {
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
            },
        ),
        case(
            "any_mask_is_taken_off",
            "A payload is masked with any four bytes, zeros among them, and another for each frame.",
            "RFC 6455 section 5.3",
            |stage| async move {
                let mut ann = stage.client("ann").await?;
                for mask in [[0; 4], [0xff; 4], [1, 2, 3, 4], [0x80, 0, 0, 0x7f]] {
                    ann.send(Frame::text(ping("1")).masked_with(mask)).await?;
                    expect_pong_event(&mut ann, "1").await?;
                }
                Ok(())
            },
        ),
        case(
            "an_unmasked_text_is_refused",
            "A client masks; text without a mask closes with 1002, and is not carried out.",
            "RFC 6455 section 5.1",
            |stage| async move {
                let mut bob = stage.member("bob").await?;
                let mut ann = stage.member("ann").await?;
                ann.send(Frame::text(send(&stage.room(), "unmasked").to_string()).unmasked()).await?;
                ann.expect_closed(1002).await?;
                bob.expect_quiet().await
            },
        ),
        case(
            "rsv1_without_an_extension_is_refused",
            "RSV1 means compression, which was not agreed on: 1002.",
            "RFC 6455 section 5.2",
            |stage| async move { breach(&stage, Frame::text(ping("1")).reserved(4).encode(), 1002).await },
        ),
        case(
            "rsv2_and_rsv3_are_refused",
            "RSV2 and RSV3, alone or together, mean nothing here: 1002.",
            "RFC 6455 section 5.2",
            |stage| async move {
                for bits in [2, 1, 3, 7] {
                    breach(&stage, Frame::text(ping("1")).reserved(bits).encode(), 1002).await?;
                }
                Ok(())
            },
        ),
        case(
            "reserved_bits_on_a_continuation_are_refused",
            "A reserved bit on a later fragment closes with 1002.",
            "RFC 6455 section 5.2",
            |stage| async move {
                let frames = [Frame::text("{").unfinished(), Frame::continuation("}").reserved(4)];
                breach(&stage, packet(&frames), 1002).await
            },
        ),
        case(
            "reserved_data_opcodes_are_refused",
            "Opcodes 3 to 7 mean nothing: 1002.",
            "RFC 6455 section 5.2",
            |stage| async move {
                for opcode in 3..=7 {
                    breach(&stage, Frame::new(opcode, "").encode(), 1002).await?;
                }
                breach(&stage, Frame::new(3, ping("1")).encode(), 1002).await
            },
        ),
        case(
            "frames_may_come_byte_by_byte",
            "Where packets are cut says nothing: text, ping and text one byte at a time are served.",
            "RFC 6455 section 5.2",
            |stage| async move {
                let mut ann = stage.client("ann").await?;
                let frames = [Frame::text(ping("1")), Frame::ping("between"), Frame::text(ping("2"))];
                ann.trickle(&packet(&frames)).await?;
                ann.expect_pong(b"between").await?;
                expect_pong_event(&mut ann, "1").await?;
                expect_pong_event(&mut ann, "2").await
            },
        ),
        case(
            "a_frame_may_be_cut_anywhere",
            "A frame cut in two packets at each of its places is one frame.",
            "RFC 6455 section 5.2",
            |stage| async move {
                let mut ann = stage.client("ann").await?;
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
            },
        ),
        case(
            "many_frames_in_one_packet_are_served_in_order",
            "Two hundred commands in one packet get two hundred replies in their order.",
            "RFC 6455 section 5.4; PROTOCOL.md, section 3",
            |stage| async move {
                let mut ann = stage.client("ann").await?;
                let frames: Vec<_> = (0..200).map(|n| Frame::text(ping(&n.to_string()))).collect();
                ann.pour(&packet(&frames)).await?;
                for n in 0..200 {
                    expect_pong_event(&mut ann, &n.to_string()).await?;
                }
                Ok(())
            },
        ),
        case(
            "what_is_ahead_of_a_breach_is_served",
            "Valid commands ahead of a bad frame in one packet are answered before the close.",
            "RFC 6455 section 7.1.7",
            |stage| async move {
                let mut ann = stage.client("ann").await?;
                let frames = [Frame::text(ping("1")), Frame::text(ping("2")), Frame::new(3, "")];
                ann.send_all(&frames).await?;
                expect_pong_event(&mut ann, "1").await?;
                expect_pong_event(&mut ann, "2").await?;
                ann.expect_closed(1002).await
            },
        ),
        case(
            "a_message_ahead_of_a_breach_is_acknowledged",
            "A message ahead of a bad frame is stored, and its sender is told so before the close.",
            "PROTOCOL.md, section 5.2",
            |stage| async move {
                let mut ann = stage.member("ann").await?;
                let first = send(&stage.room(), "before the breach").to_string();
                ann.send_all(&[Frame::text(first), Frame::text("x").reserved(4)]).await?;
                ann.expect_closed(1002).await?;
                let told = ann.held().iter().any(|event| event["type"] == "sent" && event["seq"] == 1);
                fail(told, "`sent` ahead of the close", Events(ann.held()))?;
                let history = stage.history().await?;
                fail(history.len() == 1, "the message in the log", Events(&history))
            },
        ),
        case(
            "what_is_behind_a_breach_is_not_served",
            "Nothing behind a bad frame is carried out, however valid it is.",
            "RFC 6455 section 7.1.7",
            |stage| async move {
                let mut ann = stage.member("ann").await?;
                let late = send(&stage.room(), "behind the breach").to_string();
                ann.send_all(&[Frame::new(7, ""), Frame::text(late)]).await?;
                ann.expect_closed(1002).await?;
                let history = stage.history().await?;
                fail(history.is_empty(), "no message in the log", Events(&history))
            },
        ),
        case(
            "a_breach_harms_nobody_else",
            "While one connection breaks the protocol, another in the same room is served on.",
            "PROTOCOL.md, section 5",
            |stage| async move {
                let mut bob = stage.member("bob").await?;
                let breaches = [&[0xff; 14][..], b"GET / HTTP/1.1\r\n\r\n", b"\x81\x01x"];
                for (number, bytes) in breaches.iter().enumerate() {
                    let mut ann = stage.member("ann").await?;
                    ann.write(bytes).await?;
                    ann.expect_closed_with(&[1002, 1009]).await?;
                    bob.post(&stage.room(), &format!("still here {number}")).await?;
                }
                Ok(())
            },
        ),
        case(
            "a_binary_message_is_refused",
            "The chat speaks text: a binary message, even of JSON, closes with 1003.",
            "RFC 6455 section 7.4.1; PROTOCOL.md, section 2",
            |stage| async move {
                breach(&stage, Frame::binary(ping("1")).encode(), 1003).await?;
                breach(&stage, Frame::binary("").encode(), 1003).await
            },
        ),
        case(
            "a_fragmented_binary_message_is_refused",
            "A binary message in fragments closes with 1003 too.",
            "RFC 6455 section 7.4.1; PROTOCOL.md, section 2",
            |stage| async move {
                let frames = [Frame::binary([0, 1]).unfinished(), Frame::continuation([2, 3])];
                breach(&stage, packet(&frames), 1003).await
            },
        ),
    ];
    Group {
        name: "framing",
        look: "Connection::poll_receive (crates/chat-websocket/src/websocket.rs, or the adapter's context.rs)",
        cases,
    }
}
