use super::{Frame, Group, breach, case, fail, packet, ping, send};
use crate::client::Message;

pub(super) fn group() -> Group {
    let cases = vec![
        case(
            "an_unmasked_control_frame_is_refused",
            "Pings and closes are masked like everything: without a mask, 1002.",
            "RFC 6455 section 5.1",
            |stage| async move {
                breach(&stage, Frame::ping("x").unmasked().encode(), 1002).await?;
                let mut ann = stage.client("ann").await?;
                ann.send(Frame::close(1000, "").unmasked()).await?;
                let code = ann.expect_close_frame().await?;
                fail(code == Some(1002), "a close frame with code 1002", Message::Close(code))
            },
        ),
        case(
            "reserved_bits_on_control_frames_are_refused",
            "Control frames have no reserved bits either: 1002, and no pong.",
            "RFC 6455 section 5.2",
            |stage| async move {
                breach(&stage, Frame::ping("x").reserved(4).encode(), 1002).await?;
                breach(&stage, Frame::pong("x").reserved(1).encode(), 1002).await
            },
        ),
        case(
            "reserved_control_opcodes_are_refused",
            "Opcodes 11 to 15 mean nothing: 1002.",
            "RFC 6455 section 5.2",
            |stage| async move {
                for opcode in 11..=15 {
                    breach(&stage, Frame::new(opcode, "x").encode(), 1002).await?;
                }
                Ok(())
            },
        ),
        case(
            "a_ping_is_answered_with_its_payload",
            "A ping is answered with a pong of the same payload: none, text, bytes, 125 of them.",
            "RFC 6455 section 5.5.3; PROTOCOL.md, section 2",
            |stage| async move {
                let mut ann = stage.client("ann").await?;
                for payload in [&b""[..], b"hello", b"\0\xff\xfe\xed\xa0\x80", &[b'x'; 125]] {
                    ann.send(Frame::ping(payload)).await?;
                    ann.expect_pong(payload).await?;
                }
                Ok(())
            },
        ),
        case(
            "pings_in_one_packet_are_answered_in_order",
            "Ten pings at once get their pongs in order; at least the last has one.",
            "RFC 6455 section 5.5.3",
            |stage| async move {
                let mut ann = stage.client("ann").await?;
                let pings: Vec<_> = (0..10_u8).map(|n| Frame::ping([n])).collect();
                ann.send_all(&pings).await?;
                let mut last = None;
                while last != Some(9) {
                    match ann.message().await? {
                        Message::Pong(payload) if payload.len() == 1 => {
                            let number = payload[0];
                            let fits = last.is_none_or(|last| number > last);
                            fail(
                                fits,
                                "pongs in the order of the pings",
                                format!("{number} after {last:?}"),
                            )?;
                            last = Some(number);
                        }
                        other => return Err(ann.failure("a pong", other)),
                    }
                }
                Ok(())
            },
        ),
        case(
            "a_ping_is_answered_while_much_is_queued",
            "A ping behind a hundred commands is answered with its payload, between whole frames.",
            "RFC 6455 section 5.5.3",
            |stage| async move {
                let mut ann = stage.member("ann").await?;
                let room = stage.room();
                let mut frames: Vec<_> =
                    (0..100).map(|n| Frame::text(send(&room, &format!("{n}")).to_string())).collect();
                frames.push(Frame::ping([7; 125]));
                ann.pour(&packet(&frames)).await?;
                ann.expect_pong(&[7; 125]).await
            },
        ),
        case(
            "a_pong_that_nobody_asked_for_is_ignored",
            "Unsolicited pongs, with and without payload, are answered by nothing.",
            "RFC 6455 section 5.5.3",
            |stage| async move {
                let mut ann = stage.client("ann").await?;
                ann.send_all(&[Frame::pong(""), Frame::pong("x"), Frame::pong([0xff; 125])]).await?;
                ann.text(ping("1")).await?;
                match ann.message().await? {
                    Message::Event(event) if event["ref"] == "1" => Ok(()),
                    other => Err(ann.failure("only the reply to the ping command", other)),
                }
            },
        ),
        case(
            "a_control_frame_over_125_bytes_is_refused",
            "Control frames carry at most 125 bytes: more is 1002.",
            "RFC 6455 section 5.5",
            |stage| async move {
                breach(&stage, Frame::ping([b'x'; 126]).encode(), 1002).await?;
                breach(&stage, Frame::pong([b'x'; 200]).encode(), 1002).await
            },
        ),
        case(
            "a_control_frame_that_announces_a_tebibyte_is_refused_at_once",
            "The header of a ping of 2^40 bytes is enough: 1002 or 1009, and nothing is waited for.",
            "RFC 6455 sections 5.5 and 10.4",
            |stage| async move {
                let mut ann = stage.client("ann").await?;
                ann.write(&Frame::ping("").announcing(1 << 40).encode()).await?;
                ann.expect_closed_with(&[1002, 1009]).await
            },
        ),
        case(
            "a_fragmented_control_frame_is_refused",
            "Pings, pongs and closes are never fragmented: 1002.",
            "RFC 6455 section 5.5",
            |stage| async move {
                breach(&stage, Frame::ping("x").unfinished().encode(), 1002).await?;
                breach(&stage, Frame::pong("x").unfinished().encode(), 1002).await?;
                let mut ann = stage.client("ann").await?;
                ann.send(Frame::close(1000, "").unfinished()).await?;
                let code = ann.expect_close_frame().await?;
                fail(code == Some(1002), "a close frame with code 1002", Message::Close(code))
            },
        ),
    ];
    Group {
        name: "control",
        look: "Connection::poll_receive: pings and pongs (crates/chat-websocket/src/websocket.rs, or context.rs)",
        cases,
    }
}
