use super::*;

chat_suite::cases!(
    /// Code points of one to four bytes, at the borders of each length, arrive as they were sent.
    #[source = "RFC 3629 section 3; RFC 6455 section 5.6"]
    async fn code_points_of_every_length_are_accepted(stage: Stage, mut ann: Member) -> Verdict {
        for text in ["a~", "\u{a0}\u{7ff}", "\u{800}\u{d7ff}\u{e000}", "\u{10000}\u{10fffd}", "κόσμε"] {
            round_trip(&stage, &mut ann, text).await?;
        }
        Ok(())
    }

    /// The noncharacters U+FFFE, U+FFFF and U+10FFFF are valid UTF-8.
    async fn noncharacters_are_accepted(stage: Stage, mut ann: Member) -> Verdict {
        round_trip(&stage, &mut ann, "x\u{fffe}\u{ffff}\u{10ffff}\u{fdd0}").await
    }

    /// The character U+FFFD from a client is delivered like every other character.
    #[source = "RFC 3629 section 3"]
    async fn the_replacement_character_is_accepted(stage: Stage, mut ann: Member) -> Verdict {
        round_trip(&stage, &mut ann, "\u{fffd}").await
    }

    /// A code point whose bytes are in different fragments is one code point.
    #[source = "RFC 6455 section 5.6"]
    async fn a_code_point_split_by_fragments_is_accepted(stage: Stage, mut ann: Client) -> Verdict {
        let text = r#"{"type":"ping","ref":"𐍈한é"}"#.as_bytes();
        let start = text.iter().position(|byte| *byte >= 0x80).unwrap_or_default();
        for cut in start..start + 10 {
            ann.send_all(&[Frame::text(&text[..cut]).unfinished(), Frame::continuation(&text[cut..])])
                .await?;
            expect_pong_event(&mut ann, "𐍈한é").await?;
        }
        Ok(())
    }

    /// A code point whose bytes are in different packets of one frame is one code point.
    #[source = "RFC 6455 section 5.6"]
    async fn a_code_point_split_by_packets_is_accepted(stage: Stage, mut ann: Client) -> Verdict {
        ann.write_byte_by_byte(&Frame::text(ping("𐍈한é")).encode()).await?;
        expect_pong_event(&mut ann, "𐍈한é").await
    }

    /// A ping between the fragments that split a code point changes nothing.
    #[source = "RFC 6455 sections 5.4 and 5.6"]
    async fn a_code_point_split_by_a_ping_is_accepted(stage: Stage, mut ann: Client) -> Verdict {
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
    }

    /// A continuation byte cannot begin a code point: the close code is 1007.
    async fn a_lone_continuation_byte_is_refused(stage: Stage) -> Verdict {
        refused(&stage, &[b"\x80", b"\xbf", b"a\x80b"]).await
    }

    /// An incomplete code point inside a message closes with 1007.
    async fn a_start_byte_without_continuation_is_refused(stage: Stage) -> Verdict {
        refused(&stage, &[b"\xc3(", b"\xe1\x80(", b"\xf0\x90\x8d(", b"\xe2\x28\xa1"]).await
    }

    /// A message that ends inside a code point closes with 1007.
    async fn a_message_that_ends_inside_a_code_point_is_refused(stage: Stage) -> Verdict {
        refused(&stage, &[b"ab\xc3", b"\xe1\x80", b"\xf0\x90\x8d"]).await
    }

    /// A message whose last fragment ends inside a code point closes with 1007.
    #[source = "RFC 6455 section 8.1"]
    async fn a_last_fragment_that_ends_inside_a_code_point_is_refused(stage: Stage) -> Verdict {
        let frames = [Frame::text("{\"x\":\"").unfinished(), Frame::continuation(b"\xed\x95")];
        expect_refused(&stage, packet(&frames), 1007).await
    }

    /// An overlong form of a code point can bypass a check: the close code is 1007.
    #[source = "RFC 3629 sections 3 and 10"]
    async fn overlong_forms_are_refused(stage: Stage) -> Verdict {
        refused(&stage, &[b"\xc0\xaf", b"\xc1\xbf", b"\xe0\x80\xaf", b"\xe0\x9f\xbf", b"\xf0\x80\x80\xaf"])
            .await
    }

    /// The surrogates U+D800 to U+DFFF, alone or as a pair (CESU-8), are not UTF-8: the close code is 1007.
    #[source = "RFC 3629 section 3"]
    async fn surrogates_are_refused(stage: Stage) -> Verdict {
        refused(&stage, &[b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xed\xa0\x80\xed\xb0\x80"]).await
    }

    /// Code points above U+10FFFF do not exist: the close code is 1007.
    #[source = "RFC 3629 section 3"]
    async fn code_points_over_10ffff_are_refused(stage: Stage) -> Verdict {
        refused(&stage, &[b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80"]).await
    }

    /// The bytes F8 to FF, and the old forms of five and six bytes, are not UTF-8: the close code is 1007.
    #[source = "RFC 3629 section 3"]
    async fn bytes_that_never_occur_in_utf_8_are_refused(stage: Stage) -> Verdict {
        refused(&stage, &[b"\xfe", b"\xff", b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80"]).await
    }

    /// Text that is not UTF-8 closes with 1007, even if the rest of it is a command.
    #[source = "RFC 6455 section 8.1"]
    async fn invalid_utf_8_inside_json_is_refused(stage: Stage) -> Verdict {
        let text = [&br#"{"type":"ping","ref":""#[..], b"\xed\xa0\x80", br#""}"#].concat();
        expect_refused(&stage, Frame::text(text).encode(), 1007).await
    }

    /// Invalid bytes close with 1007 in every fragment of a message.
    #[source = "RFC 6455 section 8.1"]
    async fn invalid_utf_8_in_a_later_fragment_is_refused(stage: Stage) -> Verdict {
        let frames = [
            Frame::text("{\"x\":").unfinished(),
            Frame::continuation(b"\xc0\xaf").unfinished(),
            Frame::continuation("}"),
        ];
        expect_refused(&stage, packet(&frames), 1007).await
    }

    /// A fragment that cannot become UTF-8 closes with 1007 at once, before the rest of its message arrives.
    #[source = "RFC 6455 section 8.1"]
    async fn invalid_utf_8_is_refused_in_its_own_fragment(stage: Stage) -> Verdict {
        expect_refused(&stage, Frame::text(b"\xff").unfinished().encode(), 1007).await
    }

    /// Text and the reason of a close are UTF-8. A ping may carry any bytes.
    #[source = "RFC 6455 section 5.5.2"]
    async fn a_ping_that_is_not_utf_8_is_answered(stage: Stage, mut ann: Client) -> Verdict {
        ann.send(Frame::ping(b"\xed\xa0\x80\xff\xc0")).await?;
        ann.expect_pong(b"\xed\xa0\x80\xff\xc0").await
    }
);

/// Expects that each of these texts closes with 1007.
async fn refused(stage: &Stage, texts: &[&[u8]]) -> Verdict {
    for text in texts {
        expect_refused(stage, Frame::text(text).encode(), 1007).await?;
    }
    Ok(())
}

/// Expects that a message with this text arrives with the same text.
async fn round_trip(stage: &Stage, client: &mut Client, text: &str) -> Verdict {
    client.command(send(&stage.room(), text)).await?;
    loop {
        let event = client.event().await?;
        if event["type"] == "message" {
            client.check(text_of(&event) == text, format!("the text {text:?}"), &event)?;
            return client.events_so_far().await.map(drop);
        }
        client.check(event["type"] == "sent", "`message` or `sent`", &event)?;
    }
}
