use super::*;

chat_suite::cases!(
    /// A text in two fragments is served once, when it is complete.
    async fn a_text_in_two_fragments_is_one_message(stage: Stage, mut ann: Client) -> Verdict {
        let text = ping("1");
        ann.send(Frame::text(&text[..10]).unfinished()).await?;
        ann.send(Frame::continuation(&text[10..])).await?;
        expect_pong_event(&mut ann, "1").await?;
        ann.expect_no_events().await
    }

    /// A text in one-byte fragments is one message.
    async fn a_text_in_fragments_of_one_byte_is_one_message(stage: Stage, mut ann: Client) -> Verdict {
        let text = ping("1");
        let mut frames: Vec<_> = text.bytes().map(|byte| Frame::continuation([byte]).unfinished()).collect();
        frames[0] = Frame::text(&text[..1]).unfinished();
        frames.push(Frame::continuation(""));
        ann.send_all(&frames).await?;
        expect_pong_event(&mut ann, "1").await
    }

    /// A message may begin with, contain and end with empty fragments.
    async fn empty_fragments_are_accepted(stage: Stage, mut ann: Client) -> Verdict {
        let text = ping("1");
        ann.send_all(&[
            Frame::text("").unfinished(),
            Frame::continuation(&text[..5]).unfinished(),
            Frame::continuation("").unfinished(),
            Frame::continuation(&text[5..]).unfinished(),
            Frame::continuation(""),
        ])
        .await?;
        expect_pong_event(&mut ann, "1").await
    }

    /// Fragments that are all empty are one empty message: the error is `bad_json`, once.
    async fn empty_fragments_alone_are_one_empty_message(stage: Stage, mut ann: Client) -> Verdict {
        ann.send_all(&[Frame::text("").unfinished(), Frame::continuation("")]).await?;
        let error = ann.expect("error").await?;
        ann.check(error["code"] == "bad_json", "the error `bad_json`", &error)?;
        ann.expect_no_events().await
    }

    /// A ping and a pong between fragments are served at once, and the message is still one.
    async fn control_frames_between_fragments_are_served(stage: Stage, mut ann: Client) -> Verdict {
        let text = ping("1");
        ann.send(Frame::text(&text[..10]).unfinished()).await?;
        ann.send(Frame::ping("between")).await?;
        ann.expect_pong(b"between").await?;
        ann.send(Frame::pong("also")).await?;
        ann.send(Frame::continuation(&text[10..])).await?;
        expect_pong_event(&mut ann, "1").await
    }

    /// A client may close in the middle of a message, which is then dropped.
    async fn a_close_between_fragments_is_echoed(stage: Stage, mut ann: Member) -> Verdict {
        let text = send(&stage.room(), "half").to_string();
        ann.send(Frame::text(&text[..20]).unfinished()).await?;
        ann.close(1000).await?;
        let history = stage.history().await?;
        check(history.is_empty(), "no message in the log", Events(&history))
    }

    /// A continuation, final or not, without a message that it continues closes with 1002.
    async fn a_continuation_without_a_message_is_refused(stage: Stage) -> Verdict {
        expect_refused(&stage, Frame::continuation(ping("1")).encode(), 1002).await?;
        expect_refused(&stage, Frame::continuation("").unfinished().encode(), 1002).await
    }

    /// The last fragment ends a message: another continuation closes with 1002.
    async fn a_continuation_of_a_finished_message_is_refused(stage: Stage, mut ann: Client) -> Verdict {
        let text = ping("1");
        ann.send_all(&[
            Frame::text(&text[..5]).unfinished(),
            Frame::continuation(&text[5..]),
            Frame::continuation("more"),
        ])
        .await?;
        expect_pong_event(&mut ann, "1").await?;
        ann.expect_closed(1002).await
    }

    /// A new text before the end of a fragmented message closes with 1002.
    async fn a_text_inside_a_fragmented_message_is_refused(stage: Stage) -> Verdict {
        expect_refused(&stage, packet(&[Frame::text("{").unfinished(), Frame::text(ping("1"))]), 1002).await
    }

    /// A binary message inside a fragmented text violates the fragmentation first: the close code is 1002.
    async fn a_binary_message_inside_a_fragmented_text_is_refused(stage: Stage) -> Verdict {
        let frames = [Frame::text("{").unfinished(), Frame::binary([1]).unfinished()];
        expect_refused(&stage, packet(&frames), 1002).await
    }

    /// Whole and fragmented messages in one packet are served in order.
    async fn whole_and_fragmented_messages_are_served_in_order(stage: Stage, mut ann: Client) -> Verdict {
        let (one, three) = (ping("1"), ping("3"));
        ann.send_all(&[
            Frame::text(&one[..3]).unfinished(),
            Frame::continuation(&one[3..]),
            Frame::text(ping("2")),
            Frame::text(&three[..3]).unfinished(),
            Frame::continuation(&three[3..]),
        ])
        .await?;
        for reference in ["1", "2", "3"] {
            expect_pong_event(&mut ann, reference).await?;
        }
        Ok(())
    }

    /// Each connection has its own unfinished message.
    async fn fragments_of_two_clients_do_not_mix(stage: Stage, mut ann: Client, mut bob: Client) -> Verdict {
        let (one, two) = (ping("ann"), ping("bob"));
        ann.send(Frame::text(&one[..9]).unfinished()).await?;
        bob.send(Frame::text(&two[..12]).unfinished()).await?;
        ann.send(Frame::continuation(&one[9..])).await?;
        bob.send(Frame::continuation(&two[12..])).await?;
        expect_pong_event(&mut ann, "ann").await?;
        expect_pong_event(&mut bob, "bob").await
    }

    /// A client in the middle of its own message gets the messages of others.
    #[source = "RFC 6455 section 5.4; PROTOCOL.md, section 5.1"]
    async fn events_arrive_while_a_message_is_unfinished(stage: Stage) -> Verdict {
        let (mut ann, mut bob) = (stage.member("ann").await?, stage.member("bob").await?);
        let text = ping("1");
        ann.send(Frame::text(&text[..9]).unfinished()).await?;
        bob.post(&stage.room(), "meanwhile").await?;
        expect_messages(&mut ann, [1]).await?;
        ann.send(Frame::continuation(&text[9..])).await?;
        expect_pong_event(&mut ann, "1").await
    }

    /// A message of one-byte fragments that does not end is closed with 1009 at the limit, or with 1008 before.
    #[source = "RFC 6455 section 10.4"]
    async fn endless_one_byte_fragments_are_refused(stage: Stage) -> Verdict {
        let mut bytes = Frame::text("x").unfinished().encode();
        bytes.extend(Frame::continuation("x").unfinished().encode().repeat(20_000));
        let mut ann = stage.client("ann").await?;
        ann.write_while_reading(&bytes).await?;
        ann.expect_close_code(&[1008, 1009]).await
    }

    /// Endless empty fragments do not use memory, and are closed with 1008 or 1009.
    #[source = "RFC 6455 section 10.4"]
    async fn endless_empty_fragments_are_refused(stage: Stage) -> Verdict {
        let mut bytes = Frame::text("").unfinished().encode();
        bytes.extend(Frame::continuation("").unfinished().encode().repeat(100_000));
        bytes.extend(Frame::ping("through").encode());
        let mut ann = stage.client("ann").await?;
        ann.write_while_reading(&bytes).await?;
        match ann.message().await? {
            Message::Event(event) => {
                ann.check(event["type"] == "closing", "`closing`", &event)?;
                ann.expect_close_code(&[1008, 1009]).await
            }
            other => Err(ann.failure("a close of a message that does not end", other)),
        }
    }
);
