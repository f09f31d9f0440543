use super::{Group, case, expect_pong_event, fail, ping};
use crate::client::Line;

pub(super) fn group() -> Group {
    let cases = vec![
        case(
            "a_valid_handshake_is_answered_with_101",
            "A valid handshake is answered with 101 and the right `Upgrade`, `Connection` and `Accept`.",
            "RFC 6455 section 4.2.2; PROTOCOL.md, section 1",
            |stage| async move {
                let request = stage.handshake("ann");
                let mut ann = stage.connect("ann").await?;
                ann.write(&request.encode()).await?;
                let answer = ann.expect_status(101).await?;
                let line = answer.line.starts_with("HTTP/1.1 101");
                fail(line, "a status line of HTTP/1.1", &answer.line)?;
                ann.check_header(&answer, "upgrade", "websocket")?;
                ann.check_header(&answer, "connection", "upgrade")?;
                ann.expect_welcome().await.map(drop)
            },
        ),
        case(
            "the_accept_is_that_of_the_rfcs_example",
            "The key of the RFC's example is accepted with the RFC's answer.",
            "RFC 6455 section 1.3",
            |stage| async move {
                let request = stage.handshake("ann").set("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
                let mut ann = stage.connect("ann").await?;
                ann.write(&request.encode()).await?;
                let answer = ann.expect_status(101).await?;
                ann.check_header(&answer, "sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
            },
        ),
        case(
            "every_key_has_an_accept_of_its_own",
            "Different keys get different answers: nothing is remembered from one handshake to the next.",
            "RFC 6455 section 4.2.2 step 5.4",
            |stage| async move {
                for number in 0..10 {
                    stage.client(&format!("ann{number}")).await?;
                }
                Ok(())
            },
        ),
        case(
            "nothing_stands_between_the_101_and_the_first_frame",
            "The 101 announces no body and has none: the first frame follows its empty line.",
            "RFC 9110 section 15.2; RFC 6455 section 4.2.2",
            |stage| async move {
                let mut ann = stage.connect("ann").await?;
                ann.write(&stage.handshake("ann").encode()).await?;
                let answer = ann.expect_status(101).await?;
                for header in ["content-length", "transfer-encoding", "content-encoding"] {
                    fail(answer.header(header).is_none(), "a 101 without a body", header)?;
                }
                ann.expect_welcome().await.map(drop)
            },
        ),
        case(
            "header_names_and_tokens_may_be_in_any_case",
            "Header names, and the words `websocket` and `upgrade`, count in any case.",
            "RFC 6455 section 4.2.1; RFC 9110 section 5.1",
            |stage| async move {
                let request = stage.handshake("ann").without("Upgrade").without("Connection");
                let request = request.add("uPGRADE", "WebSocket").add("CONNECTION", "UPGRADE");
                stage.accepted("ann", &request).await.map(drop)
            },
        ),
        case(
            "connection_may_name_upgrade_among_others",
            "`Connection: keep-alive, Upgrade`, as Firefox sends it, asks for an upgrade.",
            "RFC 6455 section 4.2.1",
            |stage| async move {
                let request = stage.handshake("ann").set("Connection", "keep-alive, Upgrade");
                stage.accepted("ann", &request).await.map(drop)
            },
        ),
        case(
            "connection_may_stand_on_several_lines",
            "A list header means the same on one line and on several.",
            "RFC 9110 section 5.3",
            |stage| async move {
                let request = stage.handshake("ann").set("Connection", "keep-alive");
                stage.accepted("ann", &request.add("Connection", "Upgrade")).await.map(drop)
            },
        ),
        case(
            "upgrade_may_name_websocket_among_others",
            "`Upgrade: foo, websocket` offers a choice that includes a WebSocket.",
            "RFC 9110 section 7.8; RFC 6455 section 4.2.1",
            |stage| async move {
                let request = stage.handshake("ann").set("Upgrade", "foo, websocket");
                stage.accepted("ann", &request).await.map(drop)
            },
        ),
        case(
            "the_subprotocol_is_echoed_if_offered",
            "A client that offers `chat.v1` gets it back, once.",
            "RFC 6455 section 4.2.2; PROTOCOL.md, section 1",
            |stage| async move {
                let mut ann = stage.connect("ann").await?;
                ann.write(&stage.handshake("ann").encode()).await?;
                let answer = ann.expect_status(101).await?;
                ann.check_header(&answer, "sec-websocket-protocol", "chat.v1")
            },
        ),
        case(
            "no_subprotocol_is_named_that_was_not_offered",
            "A client that offers no subprotocol is served, and told of none.",
            "RFC 6455 section 4.1; PROTOCOL.md, section 1",
            |stage| async move {
                let request = stage.handshake("ann").without("Sec-WebSocket-Protocol");
                let mut ann = stage.connect("ann").await?;
                ann.write(&request.encode()).await?;
                let answer = ann.expect_status(101).await?;
                let named = answer.header("sec-websocket-protocol");
                fail(
                    named.is_none(),
                    "no `Sec-WebSocket-Protocol`",
                    Line("Sec-WebSocket-Protocol", named.as_deref()),
                )?;
                ann.expect_welcome().await.map(drop)
            },
        ),
        case(
            "the_subprotocol_is_found_among_many",
            "Of several subprotocols, on one line or on several, the known one is chosen.",
            "RFC 6455 section 11.3.4; PROTOCOL.md, section 1",
            |stage| async move {
                let offers = [&["mqtt, chat.v2 ,chat.v1"][..], &["soap", "chat.v1", "wamp"]];
                for lines in offers {
                    let mut request = stage.handshake("ann").without("Sec-WebSocket-Protocol");
                    for line in lines {
                        request = request.add("Sec-WebSocket-Protocol", line);
                    }
                    let mut ann = stage.connect("ann").await?;
                    ann.write(&request.encode()).await?;
                    let answer = ann.expect_status(101).await?;
                    ann.check_header(&answer, "sec-websocket-protocol", "chat.v1")?;
                }
                Ok(())
            },
        ),
        case(
            "an_offer_of_compression_is_not_accepted",
            "An extension that the server does not implement is not in the 101, and frames stay plain.",
            "RFC 6455 section 9.1; PROTOCOL.md, section 1",
            |stage| async move {
                let offer = "permessage-deflate; client_max_window_bits";
                let request = stage.handshake("ann").add("Sec-WebSocket-Extensions", offer);
                let mut ann = stage.connect("ann").await?;
                ann.write(&request.encode()).await?;
                let answer = ann.expect_status(101).await?;
                let accepted = answer.header("sec-websocket-extensions");
                fail(
                    accepted.is_none(),
                    "no `Sec-WebSocket-Extensions`",
                    Line("Sec-WebSocket-Extensions", accepted.as_deref()),
                )?;
                ann.expect_welcome().await?;
                ann.text(ping("1")).await?;
                expect_pong_event(&mut ann, "1").await
            },
        ),
        case(
            "a_content_length_of_zero_is_no_body",
            "`Content-Length: 0` announces no body, and does no harm.",
            "RFC 9110 section 8.6",
            |stage| async move {
                let request = stage.handshake("ann").add("Content-Length", "0");
                stage.accepted("ann", &request).await.map(drop)
            },
        ),
        case(
            "an_expectation_does_not_stand_in_the_way",
            "`Expect: 100-continue` may get a 100, and then the 101.",
            "RFC 9110 section 10.1.1",
            |stage| async move {
                let request = stage.handshake("ann").add("Expect", "100-continue");
                stage.accepted("ann", &request).await.map(drop)
            },
        ),
        case(
            "an_absolute_target_is_the_same_route",
            "A target with scheme and host leads to the same decision, or is 400; never around a check.",
            "RFC 9112 section 3.2.2",
            |stage| async move {
                let mut request = stage.handshake("ann");
                request.target = format!("http://{}{}", stage.host(), request.target);
                let mut ann = stage.connect("ann").await?;
                ann.write(&request.encode()).await?;
                let answer = ann.answer().await?;
                fail(matches!(answer.status, 101 | 400), "the status 101 or 400", &answer.line)?;
                let foreign = request.add("Origin", "https://elsewhere.test");
                let mut bob = stage.connect("bob").await?;
                bob.write(&foreign.encode()).await?;
                let answer = bob.answer().await?;
                fail(matches!(answer.status, 400 | 403), "the status 400 or 403", &answer.line)
            },
        ),
    ];
    Group {
        name: "handshake",
        look: "crates/chat-proto/src/handshake.rs; how the adapter makes a RequestHead and keeps early bytes",
        cases,
    }
}
