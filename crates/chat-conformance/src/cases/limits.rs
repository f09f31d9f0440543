use super::{Frame, Group, breach, case, expect_pong_event, fail, packet, ping};
use crate::client::Message;

pub(super) fn group() -> Group {
    let cases = vec![
        case(
            "a_message_of_exactly_the_limit_is_served",
            "A message of exactly `max_frame` bytes passes.",
            "PROTOCOL.md, section 2",
            |stage| async move {
                let mut ann = stage.client("ann").await?;
                ann.text(padded(stage.limits().wire.max_frame_bytes)).await?;
                expect_pong_event(&mut ann, "1").await
            },
        ),
        case(
            "a_message_of_one_byte_more_is_refused",
            "A message of `max_frame` bytes and one more closes with 1009.",
            "RFC 6455 section 7.4.1; PROTOCOL.md, section 2",
            |stage| async move {
                breach(&stage, Frame::text(padded(stage.limits().wire.max_frame_bytes + 1)).encode(), 1009)
                    .await
            },
        ),
        case(
            "a_fragmented_message_of_exactly_the_limit_is_served",
            "The limit counts the message, not its frames: in fragments too, exactly that many bytes pass.",
            "PROTOCOL.md, section 2",
            |stage| async move {
                let text = padded(stage.limits().wire.max_frame_bytes);
                let (first, rest) = text.split_at(100);
                let (second, third) = rest.split_at(rest.len() / 2);
                let frames = [
                    Frame::text(first).unfinished(),
                    Frame::continuation(second).unfinished(),
                    Frame::continuation(third),
                ];
                let mut ann = stage.client("ann").await?;
                ann.send_all(&frames).await?;
                expect_pong_event(&mut ann, "1").await
            },
        ),
        case(
            "a_fragmented_message_of_one_byte_more_is_refused",
            "Fragments that are each small close with 1009 once together they are over the limit.",
            "RFC 6455 section 7.4.1; PROTOCOL.md, section 2",
            |stage| async move {
                let text = padded(stage.limits().wire.max_frame_bytes + 1);
                let (first, second) = text.split_at(text.len() / 2);
                let frames = [Frame::text(first).unfinished(), Frame::continuation(second)];
                breach(&stage, packet(&frames), 1009).await
            },
        ),
        case(
            "the_limit_counts_for_each_message_anew",
            "Three messages of exactly the limit, one after the other, pass.",
            "PROTOCOL.md, section 2",
            |stage| async move {
                let mut ann = stage.client("ann").await?;
                for _ in 0..3 {
                    ann.text(padded(stage.limits().wire.max_frame_bytes)).await?;
                    expect_pong_event(&mut ann, "1").await?;
                }
                Ok(())
            },
        ),
        case(
            "a_tebibyte_is_refused_at_its_announcement",
            "A header that announces 2^40 bytes closes with 1009, and nothing is waited for or allocated.",
            "RFC 6455 section 10.4",
            |stage| async move {
                let header = Frame::text("").announcing(1 << 40).encode();
                breach(&stage, header, 1009).await
            },
        ),
        case(
            "one_byte_over_the_limit_is_refused_at_its_announcement",
            "A header that announces one byte too many is enough.",
            "RFC 6455 section 10.4",
            |stage| async move {
                let announced = stage.limits().wire.max_frame_bytes as u64 + 1;
                breach(&stage, Frame::text("").announcing(announced).encode(), 1009).await
            },
        ),
        case(
            "a_length_with_the_highest_bit_is_refused",
            "A length of 2^63 or more is no length: 1002, or 1009.",
            "RFC 6455 section 5.2",
            |stage| async move {
                for length in [1 << 63, u64::MAX] {
                    let mut ann = stage.client("ann").await?;
                    ann.write(&Frame::text("").announcing(length).encode()).await?;
                    ann.expect_closed_with(&[1002, 1009]).await?;
                }
                Ok(())
            },
        ),
        case(
            "a_continuation_of_a_tebibyte_is_refused_at_its_announcement",
            "A continuation that announces 2^40 bytes is refused at its header like a first frame: 1009.",
            "RFC 6455 section 10.4",
            |stage| async move {
                let frames = [Frame::text("{").unfinished(), Frame::continuation("").announcing(1 << 40)];
                breach(&stage, packet(&frames), 1009).await
            },
        ),
        case(
            "a_sender_in_the_middle_of_too_much_can_read_why",
            "A client that is still sending when it is closed finds the close frame, not a reset.",
            "RFC 6455 section 7.1.1",
            |stage| async move {
                let mut ann = stage.client("ann").await?;
                let much = Frame::text(" ".repeat(60_000)).encode();
                ann.pour(&much).await?;
                let code = ann.expect_close_frame().await?;
                fail(code == Some(1009), "a close frame with code 1009", Message::Close(code))
            },
        ),
        case(
            "a_ping_inside_a_big_message_is_answered",
            "Control frames do not count towards the message that they interrupt.",
            "RFC 6455 section 5.4",
            |stage| async move {
                let text = padded(stage.limits().wire.max_frame_bytes);
                let (first, second) = text.split_at(text.len() - 1);
                let mut ann = stage.client("ann").await?;
                ann.send_all(&[
                    Frame::text(first).unfinished(),
                    Frame::ping([b'p'; 125]),
                    Frame::continuation(second),
                ])
                .await?;
                ann.expect_pong(&[b'p'; 125]).await?;
                expect_pong_event(&mut ann, "1").await
            },
        ),
        case(
            "the_welcome_says_the_limit_that_holds",
            "`limits.wire.max_frame_bytes` of the welcome is the limit that closes, to the byte.",
            "PROTOCOL.md, sections 2 and 4",
            |stage| async move {
                let request = stage.handshake("ann");
                let mut ann = stage.connect("ann").await?;
                ann.write(&request.encode()).await?;
                stage.expect_101(&mut ann, &request).await?;
                let welcome = ann.expect_welcome().await?;
                let announced = welcome["limits"]["max_frame"].as_u64().and_then(|n| usize::try_from(n).ok());
                let announced =
                    announced.ok_or_else(|| ann.failure("`limits.wire.max_frame_bytes`", &welcome))?;
                ann.text(padded(announced)).await?;
                expect_pong_event(&mut ann, "1").await?;
                ann.text(padded(announced + 1)).await?;
                ann.expect_closed(1009).await
            },
        )
        .with(|limits| limits.wire.max_frame_bytes = 1_000),
    ];
    Group {
        name: "limits",
        look: "Connection::poll_receive and the limits of the mechanism's codec (chat-websocket, Guard)",
        cases,
    }
}

/// A ping command of exactly so many bytes.
fn padded(length: usize) -> String {
    format!("{:<length$}", ping("1"))
}
