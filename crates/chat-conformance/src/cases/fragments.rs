use super::{Frame, Group, breach, case, expect_pong_event, fail, packet, ping, send};
use crate::client::{Events, Message};

pub(super) fn group() -> Group {
    let cases = vec![
        case(
            "a_text_in_two_fragments_is_one_message",
            "A text in two fragments is served once, when it is whole.",
            "RFC 6455 section 5.4",
            |stage| async move {
                let mut ann = stage.client("ann").await?;
                let text = ping("1");
                ann.send(Frame::text(&text[..10]).unfinished()).await?;
                ann.send(Frame::continuation(&text[10..])).await?;
                expect_pong_event(&mut ann, "1").await?;
                ann.expect_quiet().await
            },
        ),
        case(
            "a_text_in_fragments_of_one_byte_is_one_message",
            "A text in as many fragments as bytes is one message.",
            "RFC 6455 section 5.4",
            |stage| async move {
                let mut ann = stage.client("ann").await?;
                let text = ping("1");
                let mut frames: Vec<_> =
                    text.bytes().map(|byte| Frame::continuation([byte]).unfinished()).collect();
                frames[0] = Frame::text(&text[..1]).unfinished();
                frames.push(Frame::continuation(""));
                ann.send_all(&frames).await?;
                expect_pong_event(&mut ann, "1").await
            },
        ),
        case(
            "empty_fragments_are_fragments",
            "A message may begin, go on and end with a fragment of nothing.",
            "RFC 6455 section 5.4",
            |stage| async move {
                let mut ann = stage.client("ann").await?;
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
            },
        ),
        case(
            "nothing_in_fragments_is_an_empty_message",
            "Fragments that hold nothing together are one empty message: `bad_json`, once.",
            "RFC 6455 section 5.4",
            |stage| async move {
                let mut ann = stage.client("ann").await?;
                ann.send_all(&[Frame::text("").unfinished(), Frame::continuation("")]).await?;
                let error = ann.expect("error").await?;
                ann.check(error["code"] == "bad_json", "the error `bad_json`", &error)?;
                ann.expect_quiet().await
            },
        ),
        case(
            "control_frames_may_stand_between_fragments",
            "A ping and a pong between fragments are handled at once, and the message is still one.",
            "RFC 6455 section 5.4",
            |stage| async move {
                let mut ann = stage.client("ann").await?;
                let text = ping("1");
                ann.send(Frame::text(&text[..10]).unfinished()).await?;
                ann.send(Frame::ping("between")).await?;
                ann.expect_pong(b"between").await?;
                ann.send(Frame::pong("also")).await?;
                ann.send(Frame::continuation(&text[10..])).await?;
                expect_pong_event(&mut ann, "1").await
            },
        ),
        case(
            "a_close_between_fragments_is_echoed",
            "A client may close in the middle of a message, which is then nobody's.",
            "RFC 6455 section 5.4",
            |stage| async move {
                let mut ann = stage.member("ann").await?;
                let text = send(&stage.room(), "half").to_string();
                ann.send(Frame::text(&text[..20]).unfinished()).await?;
                ann.close(1000).await?;
                let history = stage.history().await?;
                fail(history.is_empty(), "no message in the log", Events(&history))
            },
        ),
        case(
            "a_continuation_of_nothing_is_refused",
            "A continuation, last or not, without a message that it continues is 1002.",
            "RFC 6455 section 5.4",
            |stage| async move {
                breach(&stage, Frame::continuation(ping("1")).encode(), 1002).await?;
                breach(&stage, Frame::continuation("").unfinished().encode(), 1002).await
            },
        ),
        case(
            "a_continuation_of_a_finished_message_is_refused",
            "After its last fragment a message is over: another continuation is 1002.",
            "RFC 6455 section 5.4",
            |stage| async move {
                let mut ann = stage.client("ann").await?;
                let text = ping("1");
                ann.send_all(&[
                    Frame::text(&text[..5]).unfinished(),
                    Frame::continuation(&text[5..]),
                    Frame::continuation("more"),
                ])
                .await?;
                expect_pong_event(&mut ann, "1").await?;
                ann.expect_closed(1002).await
            },
        ),
        case(
            "a_text_inside_a_message_is_refused",
            "A new text while another is not finished is 1002.",
            "RFC 6455 section 5.4",
            |stage| async move {
                breach(&stage, packet(&[Frame::text("{").unfinished(), Frame::text(ping("1"))]), 1002).await
            },
        ),
        case(
            "a_binary_inside_a_text_is_refused",
            "A binary message inside a text breaks the fragmentation first: 1002.",
            "RFC 6455 section 5.4",
            |stage| async move {
                let frames = [Frame::text("{").unfinished(), Frame::binary([1]).unfinished()];
                breach(&stage, packet(&frames), 1002).await
            },
        ),
        case(
            "messages_follow_each_other_fragmented_or_not",
            "Whole and fragmented messages in one packet are served in their order.",
            "RFC 6455 section 5.4",
            |stage| async move {
                let mut ann = stage.client("ann").await?;
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
            },
        ),
        case(
            "fragments_of_two_clients_do_not_mix",
            "Each connection has its own unfinished message.",
            "RFC 6455 section 5.4",
            |stage| async move {
                let (mut ann, mut bob) = (stage.client("ann").await?, stage.client("bob").await?);
                let (one, two) = (ping("ann"), ping("bob"));
                ann.send(Frame::text(&one[..9]).unfinished()).await?;
                bob.send(Frame::text(&two[..12]).unfinished()).await?;
                ann.send(Frame::continuation(&one[9..])).await?;
                bob.send(Frame::continuation(&two[12..])).await?;
                expect_pong_event(&mut ann, "ann").await?;
                expect_pong_event(&mut bob, "bob").await
            },
        ),
        case(
            "events_arrive_while_a_message_is_half_sent",
            "A client in the middle of its own message gets those of others.",
            "RFC 6455 section 5.4; PROTOCOL.md, section 5.1",
            |stage| async move {
                let (mut ann, mut bob) = (stage.member("ann").await?, stage.member("bob").await?);
                let text = ping("1");
                ann.send(Frame::text(&text[..9]).unfinished()).await?;
                bob.post(&stage.room(), "meanwhile").await?;
                super::expect_messages(&mut ann, [1]).await?;
                ann.send(Frame::continuation(&text[9..])).await?;
                expect_pong_event(&mut ann, "1").await
            },
        ),
        case(
            "fragments_of_one_byte_without_end_are_refused",
            "A message of one-byte fragments that does not end is closed with 1009 at the limit, or before.",
            "RFC 6455 section 10.4",
            |stage| async move {
                let mut bytes = Frame::text("x").unfinished().encode();
                bytes.extend(Frame::continuation("x").unfinished().encode().repeat(20_000));
                let mut ann = stage.client("ann").await?;
                ann.pour(&bytes).await?;
                let code = ann.expect_close_frame().await?;
                fail(matches!(code, Some(1008 | 1009)), "the close code 1009", Message::Close(code))
            },
        ),
        case(
            "endless_empty_fragments_are_capped",
            "Empty fragments without end cost nothing, and are closed with 1008 or 1009 all the same.",
            "RFC 6455 section 10.4",
            |stage| async move {
                let mut bytes = Frame::text("").unfinished().encode();
                bytes.extend(Frame::continuation("").unfinished().encode().repeat(100_000));
                bytes.extend(Frame::ping("through").encode());
                let mut ann = stage.client("ann").await?;
                ann.pour(&bytes).await?;
                match ann.message().await? {
                    Message::Event(event) => {
                        ann.check(event["type"] == "closing", "`closing`", &event)?;
                        let code = ann.expect_close_frame().await?;
                        fail(matches!(code, Some(1008 | 1009)), "the close code 1009", Message::Close(code))
                    }
                    other => Err(ann.failure("a close of a message that does not end", other)),
                }
            },
        ),
    ];
    Group {
        name: "fragments",
        look: "Connection::poll_receive: how the codec joins fragments, and what bounds their number",
        cases,
    }
}
