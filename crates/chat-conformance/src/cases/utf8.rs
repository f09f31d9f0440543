use super::{Frame, Group, breach, case, expect_pong_event, packet, ping};
use crate::{Stage, Verdict};

pub(super) fn group() -> Group {
    let cases = vec![
        case(
            "text_of_every_length_of_code_point_passes",
            "Code points of one to four bytes, at the edges of each length, arrive as they were sent.",
            "RFC 3629 section 3; RFC 6455 section 5.6",
            |stage| async move {
                let mut ann = stage.member("ann").await?;
                for text in ["a~", "\u{a0}\u{7ff}", "\u{800}\u{d7ff}\u{e000}", "\u{10000}\u{10fffd}", "κόσμε"]
                {
                    round_trip(&stage, &mut ann, text).await?;
                }
                Ok(())
            },
        ),
        case(
            "noncharacters_pass",
            "U+FFFE, U+FFFF and U+10FFFF are no characters, and valid UTF-8.",
            "RFC 3629 section 3; RFC 6455 section 8.1",
            |stage| async move {
                let mut ann = stage.member("ann").await?;
                round_trip(&stage, &mut ann, "x\u{fffe}\u{ffff}\u{10ffff}\u{fdd0}").await
            },
        ),
        case(
            "the_replacement_character_passes",
            "U+FFFD that a client sends is a character like others, and no sign of an error.",
            "RFC 3629 section 3",
            |stage| async move {
                let mut ann = stage.member("ann").await?;
                round_trip(&stage, &mut ann, "\u{fffd}").await
            },
        ),
        case(
            "a_code_point_may_be_cut_by_fragments",
            "A code point whose bytes come in different fragments is one code point.",
            "RFC 6455 section 5.6",
            |stage| async move {
                let mut ann = stage.client("ann").await?;
                let text = r#"{"type":"ping","ref":"𐍈한é"}"#.as_bytes();
                let start = text.iter().position(|byte| *byte >= 0x80).unwrap_or_default();
                for cut in start..start + 10 {
                    ann.send_all(&[
                        Frame::text(&text[..cut]).unfinished(),
                        Frame::continuation(&text[cut..]),
                    ])
                    .await?;
                    expect_pong_event(&mut ann, "𐍈한é").await?;
                }
                Ok(())
            },
        ),
        case(
            "a_code_point_may_be_cut_by_packets",
            "A code point whose bytes come in different packets of one frame is one code point.",
            "RFC 6455 section 5.6",
            |stage| async move {
                let mut ann = stage.client("ann").await?;
                ann.trickle(&Frame::text(ping("𐍈한é")).encode()).await?;
                expect_pong_event(&mut ann, "𐍈한é").await
            },
        ),
        case(
            "a_code_point_cut_by_a_ping_is_still_one",
            "A ping between the fragments that cut a code point changes nothing.",
            "RFC 6455 sections 5.4 and 5.6",
            |stage| async move {
                let mut ann = stage.client("ann").await?;
                let text = ping("한");
                let cut = text.find('한').unwrap_or_default() + 1;
                ann.send_all(&[
                    Frame::text(&text.as_bytes()[..cut]).unfinished(),
                    Frame::ping([0xff]),
                    Frame::continuation(&text.as_bytes()[cut..]),
                ])
                .await?;
                ann.expect_pong(&[0xff]).await?;
                expect_pong_event(&mut ann, "한").await
            },
        ),
        case(
            "a_lone_continuation_byte_is_refused",
            "A byte that only continues a code point cannot begin one: 1007.",
            "RFC 3629 section 3; RFC 6455 section 8.1",
            |stage| async move { refused(&stage, &[b"\x80", b"\xbf", b"a\x80b"]).await },
        ),
        case(
            "a_start_byte_without_its_rest_is_refused",
            "A code point that breaks off within a message is 1007.",
            "RFC 3629 section 3; RFC 6455 section 8.1",
            |stage| async move {
                refused(&stage, &[b"\xc3(", b"\xe1\x80(", b"\xf0\x90\x8d(", b"\xe2\x28\xa1"]).await
            },
        ),
        case(
            "a_code_point_cut_off_by_the_end_is_refused",
            "A message that ends within a code point is 1007.",
            "RFC 3629 section 3; RFC 6455 section 8.1",
            |stage| async move { refused(&stage, &[b"ab\xc3", b"\xe1\x80", b"\xf0\x90\x8d"]).await },
        ),
        case(
            "a_code_point_cut_off_by_the_last_fragment_is_refused",
            "A message whose last fragment ends within a code point is 1007.",
            "RFC 6455 section 8.1",
            |stage| async move {
                let frames = [Frame::text("{\"x\":\"").unfinished(), Frame::continuation(b"\xed\x95")];
                breach(&stage, packet(&frames), 1007).await
            },
        ),
        case(
            "overlong_forms_are_refused",
            "A code point in more bytes than it needs could slip past a check: 1007.",
            "RFC 3629 sections 3 and 10",
            |stage| async move {
                refused(
                    &stage,
                    &[b"\xc0\xaf", b"\xc1\xbf", b"\xe0\x80\xaf", b"\xe0\x9f\xbf", b"\xf0\x80\x80\xaf"],
                )
                .await
            },
        ),
        case(
            "surrogates_are_refused",
            "U+D800 to U+DFFF, alone or as a pair (CESU-8), are not UTF-8: 1007.",
            "RFC 3629 section 3",
            |stage| async move {
                refused(&stage, &[b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xed\xa0\x80\xed\xb0\x80"]).await
            },
        ),
        case(
            "code_points_over_10ffff_are_refused",
            "There is nothing above U+10FFFF: 1007.",
            "RFC 3629 section 3",
            |stage| async move { refused(&stage, &[b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80"]).await },
        ),
        case(
            "bytes_that_never_occur_in_utf_8_are_refused",
            "F8 to FF never occur, nor do the five- and six-byte forms of old: 1007.",
            "RFC 3629 section 3",
            |stage| async move {
                refused(&stage, &[b"\xfe", b"\xff", b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80"])
                    .await
            },
        ),
        case(
            "bad_bytes_inside_json_are_refused",
            "Text that is not UTF-8 is 1007 even where the rest of it is a command.",
            "RFC 6455 section 8.1",
            |stage| async move {
                let text = [&br#"{"type":"ping","ref":""#[..], b"\xed\xa0\x80", br#""}"#].concat();
                breach(&stage, Frame::text(text).encode(), 1007).await
            },
        ),
        case(
            "bad_bytes_in_a_later_fragment_are_refused",
            "The fragment in which the bad bytes stand does not matter.",
            "RFC 6455 section 8.1",
            |stage| async move {
                let frames = [
                    Frame::text("{\"x\":").unfinished(),
                    Frame::continuation(b"\xc0\xaf").unfinished(),
                    Frame::continuation("}"),
                ];
                breach(&stage, packet(&frames), 1007).await
            },
        ),
        case(
            "bad_bytes_are_found_in_the_fragment_where_they_stand",
            "A fragment that cannot become UTF-8 is 1007 at once, without the rest of its message.",
            "RFC 6455 section 8.1",
            |stage| async move { breach(&stage, Frame::text(b"\xff").unfinished().encode(), 1007).await },
        ),
        case(
            "a_ping_need_not_be_utf_8",
            "Only text, and the reason of a close, are UTF-8; a ping may carry anything.",
            "RFC 6455 section 5.5.2",
            |stage| async move {
                let mut ann = stage.client("ann").await?;
                ann.send(Frame::ping(b"\xed\xa0\x80\xff\xc0")).await?;
                ann.expect_pong(b"\xed\xa0\x80\xff\xc0").await
            },
        ),
    ];
    Group {
        name: "utf8",
        look: "Connection::poll_receive of the mechanism: when and how its codec checks text",
        cases,
    }
}

/// Each of these texts closes with 1007.
async fn refused(stage: &Stage, texts: &[&[u8]]) -> Verdict {
    for text in texts {
        breach(stage, Frame::text(text).encode(), 1007).await?;
    }
    Ok(())
}

/// A message with this text arrives with this text.
async fn round_trip(stage: &Stage, client: &mut crate::client::Client, text: &str) -> Verdict {
    client.command(super::send(&stage.room(), text)).await?;
    loop {
        let event = client.event().await?;
        if event["type"] == "message" {
            client.check(super::text_of(&event) == text, format!("the text {text:?}"), &event)?;
            return client.so_far().await.map(drop);
        }
        client.check(event["type"] == "sent", "`message` or `sent`", &event)?;
    }
}
