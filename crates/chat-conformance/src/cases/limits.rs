use super::*;

chat_suite::cases!(
    /// A message of exactly `max_frame` bytes is served.
    async fn a_message_of_exactly_the_limit_is_served(stage: Stage, mut ann: Client) -> Verdict {
        ann.text(padded(stage.limits().wire.max_frame_bytes)).await?;
        expect_pong_event(&mut ann, "1").await
    }

    /// A message of `max_frame` bytes and one more closes with 1009.
    #[source = "RFC 6455 section 7.4.1; PROTOCOL.md, section 2"]
    async fn a_message_of_one_byte_over_the_limit_is_refused(stage: Stage) -> Verdict {
        expect_refused(&stage, Frame::text(padded(stage.limits().wire.max_frame_bytes + 1)).encode(), 1009)
            .await
    }

    /// The limit applies to the message, not to its frames: exactly `max_frame` bytes in fragments are served.
    async fn a_fragmented_message_of_exactly_the_limit_is_served(stage: Stage) -> Verdict {
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
    }

    /// Small fragments close with 1009 when their sum is over the limit.
    #[source = "RFC 6455 section 7.4.1; PROTOCOL.md, section 2"]
    async fn a_fragmented_message_of_one_byte_over_the_limit_is_refused(stage: Stage) -> Verdict {
        let text = padded(stage.limits().wire.max_frame_bytes + 1);
        let (first, second) = text.split_at(text.len() / 2);
        let frames = [Frame::text(first).unfinished(), Frame::continuation(second)];
        expect_refused(&stage, packet(&frames), 1009).await
    }

    /// Three messages of exactly the limit, one after the other, are served.
    async fn the_limit_applies_to_each_message(stage: Stage, mut ann: Client) -> Verdict {
        for _ in 0..3 {
            ann.text(padded(stage.limits().wire.max_frame_bytes)).await?;
            expect_pong_event(&mut ann, "1").await?;
        }
        Ok(())
    }

    /// A header that announces 2^40 bytes closes with 1009. The server waits for nothing and allocates nothing.
    #[source = "RFC 6455 section 10.4"]
    async fn a_frame_that_announces_a_tebibyte_is_refused_at_once(stage: Stage) -> Verdict {
        let header = Frame::text("").announcing(1 << 40).encode();
        expect_refused(&stage, header, 1009).await
    }

    /// A header that announces one byte over the limit closes with 1009, before any payload arrives.
    #[source = "RFC 6455 section 10.4"]
    async fn a_frame_that_announces_one_byte_over_the_limit_is_refused_at_once(stage: Stage) -> Verdict {
        let announced = stage.limits().wire.max_frame_bytes as u64 + 1;
        expect_refused(&stage, Frame::text("").announcing(announced).encode(), 1009).await
    }

    /// A length of 2^63 or more is invalid: the close code is 1002 or 1009.
    #[source = "RFC 6455 section 5.2"]
    async fn a_length_with_the_highest_bit_is_refused(stage: Stage) -> Verdict {
        for length in [1 << 63, u64::MAX] {
            let mut ann = stage.client("ann").await?;
            ann.write(&Frame::text("").announcing(length).encode()).await?;
            ann.expect_closed_with(&[1002, 1009]).await?;
        }
        Ok(())
    }

    /// A continuation that announces 2^40 bytes closes with 1009 at its header, like a first frame.
    #[source = "RFC 6455 section 10.4"]
    async fn a_continuation_that_announces_a_tebibyte_is_refused_at_once(stage: Stage) -> Verdict {
        let frames = [Frame::text("{").unfinished(), Frame::continuation("").announcing(1 << 40)];
        expect_refused(&stage, packet(&frames), 1009).await
    }

    /// A client that is still sending when the server closes reads the close frame, and no reset before it.
    #[source = "RFC 6455 section 7.1.1"]
    async fn a_client_that_sends_too_much_can_read_the_close(stage: Stage, mut ann: Client) -> Verdict {
        let much = Frame::text(" ".repeat(60_000)).encode();
        ann.write_while_reading(&much).await?;
        ann.expect_close_code(&[1009]).await
    }

    /// Control frames do not count towards the message that they interrupt.
    #[source = "RFC 6455 section 5.4"]
    async fn a_ping_inside_a_big_message_is_answered(stage: Stage) -> Verdict {
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
    }

    /// The value `limits.max_frame` of `welcome` is the limit above which the server closes, to the byte.
    #[source = "PROTOCOL.md, sections 2 and 4"]
    #[with(limits(|limits| limits.wire.max_frame_bytes = 1_000))]
    async fn the_limit_in_the_welcome_is_the_limit_that_applies(stage: Stage) -> Verdict {
        let request = stage.handshake("ann");
        let (mut ann, welcome) = stage.welcomed("ann", &request).await?;
        let announced = welcome["limits"]["max_frame"].as_u64().and_then(|n| usize::try_from(n).ok());
        let announced = announced.ok_or_else(|| ann.failure("`limits.max_frame`", &welcome))?;
        ann.text(padded(announced)).await?;
        expect_pong_event(&mut ann, "1").await?;
        ann.text(padded(announced + 1)).await?;
        ann.expect_closed(1009).await
    }
);

/// A ping command of exactly this number of bytes.
fn padded(length: usize) -> String {
    format!("{:<length$}", ping("1"))
}
