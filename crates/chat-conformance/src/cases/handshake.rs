use super::*;

chat_suite::cases!(
    /// A valid handshake is answered with 101 and the right `Upgrade`, `Connection` and `Sec-WebSocket-Accept`.
    #[source = "RFC 6455 section 4.2.2; PROTOCOL.md, section 1"]
    async fn a_valid_handshake_is_answered_with_101(stage: Stage) -> Verdict {
        let request = stage.handshake("ann");
        let mut ann = stage.send_request("ann", &request).await?;
        let answer = ann.expect_status(101).await?;
        let line = answer.line.starts_with("HTTP/1.1 101");
        check(line, "a status line of HTTP/1.1", &answer.line)?;
        ann.check_header(&answer, "upgrade", "websocket")?;
        ann.check_header(&answer, "connection", "upgrade")?;
        ann.expect_welcome().await.map(drop)
    }

    /// The key of the RFC's example is answered with the `Sec-WebSocket-Accept` of that example.
    #[source = "RFC 6455 section 1.3"]
    async fn the_rfc_example_key_gets_the_rfc_example_accept(stage: Stage) -> Verdict {
        let request = stage.handshake("ann").set("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
        let mut ann = stage.send_request("ann", &request).await?;
        let answer = ann.expect_status(101).await?;
        ann.check_header(&answer, "sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    }

    /// Different keys get different answers: the server keeps nothing from one handshake for the next.
    #[source = "RFC 6455 section 4.2.2 step 5.4"]
    async fn each_key_gets_its_own_accept(stage: Stage) -> Verdict {
        for number in 0..10 {
            stage.client(&format!("ann{number}")).await?;
        }
        Ok(())
    }

    /// The 101 announces no body and has none: the first frame follows its empty line.
    #[source = "RFC 9110 section 15.2; RFC 6455 section 4.2.2"]
    async fn the_first_frame_follows_the_101_directly(stage: Stage) -> Verdict {
        let mut ann = stage.send_request("ann", &stage.handshake("ann")).await?;
        let answer = ann.expect_status(101).await?;
        for header in ["content-length", "transfer-encoding", "content-encoding"] {
            ann.check_no_header(&answer, header)?;
        }
        ann.expect_welcome().await.map(drop)
    }

    /// The server compares header names, and the tokens `websocket` and `upgrade`, without regard to case.
    #[source = "RFC 6455 section 4.2.1; RFC 9110 section 5.1"]
    async fn header_names_and_tokens_are_accepted_in_any_case(stage: Stage) -> Verdict {
        let request = stage.handshake("ann").without("Upgrade").without("Connection");
        let request = request.add("uPGRADE", "WebSocket").add("CONNECTION", "UPGRADE");
        stage.accepted("ann", &request).await.map(drop)
    }

    /// The header `Connection: keep-alive, Upgrade`, which Firefox sends, asks for an upgrade.
    #[source = "RFC 6455 section 4.2.1"]
    async fn a_connection_header_with_several_tokens_is_accepted(stage: Stage) -> Verdict {
        let request = stage.handshake("ann").set("Connection", "keep-alive, Upgrade");
        stage.accepted("ann", &request).await.map(drop)
    }

    /// A list header has the same meaning on one line and on several lines.
    #[source = "RFC 9110 section 5.3"]
    async fn a_connection_header_on_several_lines_is_accepted(stage: Stage) -> Verdict {
        let request = stage.handshake("ann").set("Connection", "keep-alive");
        stage.accepted("ann", &request.add("Connection", "Upgrade")).await.map(drop)
    }

    /// The header `Upgrade: foo, websocket` offers a choice that includes a WebSocket.
    #[source = "RFC 9110 section 7.8; RFC 6455 section 4.2.1"]
    async fn an_upgrade_header_with_several_protocols_is_accepted(stage: Stage) -> Verdict {
        let request = stage.handshake("ann").set("Upgrade", "foo, websocket");
        stage.accepted("ann", &request).await.map(drop)
    }

    /// A client that offers `chat.v1` gets it back, once.
    #[source = "RFC 6455 section 4.2.2; PROTOCOL.md, section 1"]
    async fn an_offered_subprotocol_is_echoed(stage: Stage) -> Verdict {
        let mut ann = stage.send_request("ann", &stage.handshake("ann")).await?;
        let answer = ann.expect_status(101).await?;
        ann.check_header(&answer, "sec-websocket-protocol", "chat.v1")
    }

    /// A client that offers no subprotocol is served, and the answer names none.
    #[source = "RFC 6455 section 4.1; PROTOCOL.md, section 1"]
    async fn a_subprotocol_that_is_not_offered_is_not_named(stage: Stage) -> Verdict {
        let request = stage.handshake("ann").without("Sec-WebSocket-Protocol");
        let mut ann = stage.send_request("ann", &request).await?;
        let answer = ann.expect_status(101).await?;
        ann.check_no_header(&answer, "sec-websocket-protocol")?;
        ann.expect_welcome().await.map(drop)
    }

    /// The server chooses the known subprotocol from several, on one line or on several lines.
    #[source = "RFC 6455 section 11.3.4; PROTOCOL.md, section 1"]
    async fn the_known_subprotocol_is_chosen_from_several(stage: Stage) -> Verdict {
        let offers = [&["mqtt, chat.v2 ,chat.v1"][..], &["soap", "chat.v1", "wamp"]];
        for lines in offers {
            let mut request = stage.handshake("ann").without("Sec-WebSocket-Protocol");
            for line in lines {
                request = request.add("Sec-WebSocket-Protocol", line);
            }
            let mut ann = stage.send_request("ann", &request).await?;
            let answer = ann.expect_status(101).await?;
            ann.check_header(&answer, "sec-websocket-protocol", "chat.v1")?;
        }
        Ok(())
    }

    /// An extension that the server does not implement is not in the 101, and the frames stay uncompressed.
    #[source = "RFC 6455 section 9.1; PROTOCOL.md, section 1"]
    async fn an_offer_of_compression_is_not_accepted(stage: Stage) -> Verdict {
        let offer = "permessage-deflate; client_max_window_bits";
        let request = stage.handshake("ann").add("Sec-WebSocket-Extensions", offer);
        let mut ann = stage.send_request("ann", &request).await?;
        let answer = ann.expect_status(101).await?;
        ann.check_no_header(&answer, "sec-websocket-extensions")?;
        ann.expect_welcome().await?;
        ann.text(ping("1")).await?;
        expect_pong_event(&mut ann, "1").await
    }

    /// The header `Content-Length: 0` announces no body and changes nothing.
    #[source = "RFC 9110 section 8.6"]
    async fn a_content_length_of_zero_is_accepted(stage: Stage) -> Verdict {
        let request = stage.handshake("ann").add("Content-Length", "0");
        stage.accepted("ann", &request).await.map(drop)
    }

    /// The header `Expect: 100-continue` may get a 100, and then the 101.
    #[source = "RFC 9110 section 10.1.1"]
    async fn an_expect_header_does_not_prevent_the_upgrade(stage: Stage) -> Verdict {
        let request = stage.handshake("ann").add("Expect", "100-continue");
        stage.accepted("ann", &request).await.map(drop)
    }

    /// A target with scheme and host gets the same decision as its path, or 400. It never bypasses a check.
    #[source = "RFC 9112 section 3.2.2"]
    async fn an_absolute_target_is_checked_like_a_path(stage: Stage) -> Verdict {
        let mut request = stage.handshake("ann");
        request.target = format!("http://{}{}", stage.host(), request.target);
        let mut ann = stage.send_request("ann", &request).await?;
        let answer = ann.answer().await?;
        check(matches!(answer.status, 101 | 400), "the status 101 or 400", &answer.line)?;
        let foreign = request.add("Origin", "https://elsewhere.test");
        let mut bob = stage.send_request("bob", &foreign).await?;
        let answer = bob.answer().await?;
        check(matches!(answer.status, 400 | 403), "the status 400 or 403", &answer.line)
    }
);
