use super::*;

chat_suite::cases!(
    /// A GET without an upgrade is answered with 426, which names the protocol: `Upgrade: websocket`.
    #[source = "RFC 9110 section 15.5.22; PROTOCOL.md, section 1"]
    async fn a_plain_get_is_refused_with_426(stage: Stage) -> Verdict {
        let mut ann =
            stage.send_request("ann", &Request::get(stage.path()).add("Host", stage.host())).await?;
        let answer = ann.expect_refusal(426, "upgrade_required").await?;
        ann.check_header(&answer, "upgrade", "websocket")
    }

    /// A handshake is a GET. POST, PUT, DELETE and OPTIONS are answered with 405 and `Allow: GET`.
    #[source = "RFC 6455 section 4.2.1; PROTOCOL.md, section 1"]
    async fn every_other_method_is_refused(stage: Stage) -> Verdict {
        for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
            let mut request = stage.handshake("ann");
            request.method = method.to_owned();
            let mut ann = stage.send_request("ann", &request).await?;
            let answer = ann.expect_refusal(405, "method_not_allowed").await?;
            ann.check_header(&answer, "allow", "GET")?;
        }
        Ok(())
    }

    /// HTTP/1.0 has no upgrade: the answer is 400.
    #[source = "RFC 6455 section 4.2.1; PROTOCOL.md, section 1"]
    async fn http_1_0_is_refused(stage: Stage) -> Verdict {
        let mut request = stage.handshake("ann");
        request.version = "HTTP/1.0".to_owned();
        stage.refused(&request, 400, "bad_handshake").await.map(drop)
    }

    /// The header `Upgrade` must name `websocket` as a whole token; `h2c` and `xwebsocketx` are refused.
    #[source = "RFC 6455 section 4.2.1; PROTOCOL.md, section 1"]
    async fn an_upgrade_to_another_protocol_is_refused(stage: Stage) -> Verdict {
        for upgrade in ["h2c", "xwebsocketx", "web socket", "websocket/13x"] {
            let request = stage.handshake("ann").set("Upgrade", upgrade);
            stage.refused(&request, 426, "upgrade_required").await?;
        }
        Ok(())
    }

    /// The header `Connection` must name `upgrade` as a whole token; a missing header and `notupgrade` are refused.
    #[source = "RFC 6455 section 4.2.1; PROTOCOL.md, section 1"]
    async fn a_connection_header_without_upgrade_is_refused(stage: Stage) -> Verdict {
        let request = stage.handshake("ann").without("Connection");
        stage.refused(&request, 426, "upgrade_required").await?;
        for connection in ["keep-alive", "notupgrade", "upgraded"] {
            let request = stage.handshake("ann").set("Connection", connection);
            stage.refused(&request, 426, "upgrade_required").await?;
        }
        Ok(())
    }

    /// A missing version, 8, 14 and a version that is no number are answered with 426, and the answer names version 13.
    #[source = "RFC 6455 section 4.2.2 step 4; PROTOCOL.md, section 1"]
    async fn another_version_is_refused_with_the_supported_version(stage: Stage) -> Verdict {
        for version in [None, Some("8"), Some("14"), Some("thirteen"), Some("013")] {
            let request = stage.handshake("ann").without("Sec-WebSocket-Version");
            let request = match version {
                Some(version) => request.add("Sec-WebSocket-Version", version),
                None => request,
            };
            let mut ann = stage.send_request("ann", &request).await?;
            let answer = ann.expect_refusal(426, "unsupported_version").await?;
            ann.check_header(&answer, "sec-websocket-version", "13")?;
        }
        Ok(())
    }

    /// A handshake without `Sec-WebSocket-Key` is answered with 400.
    #[source = "RFC 6455 section 4.2.1; PROTOCOL.md, section 1"]
    async fn a_missing_key_is_refused(stage: Stage) -> Verdict {
        let request = stage.handshake("ann").without("Sec-WebSocket-Key");
        stage.refused(&request, 400, "bad_handshake").await.map(drop)
    }

    /// A handshake with two keys is answered with 400, even if they are equal.
    #[source = "RFC 6455 section 11.3.1; PROTOCOL.md, section 1"]
    async fn two_keys_are_refused(stage: Stage) -> Verdict {
        for second in [key(1), key(99)] {
            let request = stage.handshake("ann").set("Sec-WebSocket-Key", &key(1));
            stage.refused(&request.add("Sec-WebSocket-Key", &second), 400, "bad_handshake").await?;
        }
        Ok(())
    }

    /// A key is base64 of 16 bytes: an empty, shorter or longer key and other characters are refused.
    #[source = "RFC 6455 section 4.1 step 7; PROTOCOL.md, section 1"]
    async fn a_key_that_is_not_16_bytes_of_base64_is_refused(stage: Stage) -> Verdict {
        let bad = ["", "MTIzNDU2Nzg5MDEyMzQ1", "MTIzNDU2Nzg5MDEyMzQ1Njc=", "not base64 at all!!!!!!!"];
        for key in bad {
            let request = stage.handshake("ann").set("Sec-WebSocket-Key", key);
            stage.refused(&request, 400, "bad_handshake").await?;
        }
        Ok(())
    }

    /// A request of HTTP/1.1 names its host. Without a host the answer is 400, in the form of every refusal.
    #[source = "RFC 9112 section 3.2; PROTOCOL.md, section 1"]
    async fn a_missing_host_is_refused(stage: Stage) -> Verdict {
        let request = stage.handshake("ann").without("Host");
        stage.refused(&request, 400, "bad_handshake").await.map(drop)
    }

    /// A request with two `Host` lines is ambiguous, and answered with 400.
    #[source = "RFC 9112 section 3.2"]
    async fn two_hosts_are_refused(stage: Stage) -> Verdict {
        let request = stage.handshake("ann").add("Host", "elsewhere.test");
        expect_one_of(&stage, &request.encode(), &[400]).await
    }

    /// A request head over the limit is answered with 431, and the body says so.
    #[source = "PROTOCOL.md, section 1 (`header_too_large`)"]
    async fn a_head_over_16_kib_is_refused(stage: Stage) -> Verdict {
        let request = stage.handshake("ann").add("X-Filler", &"x".repeat(stage.limits().http.max_head_bytes));
        stage.refused(&request, 431, "header_too_large").await.map(drop)
    }

    /// A request head of 200 lines is answered with 431 or 400, and starts no session.
    async fn two_hundred_header_lines_are_refused(stage: Stage) -> Verdict {
        let mut request = stage.handshake("ann");
        for number in 0..200 {
            request = request.add(&format!("X-{number}"), "1");
        }
        expect_one_of(&stage, &request.encode(), &[431, 400]).await
    }

    /// The server ends a request head that does not end before it has read a mebibyte.
    #[source = "PROTOCOL.md, section 1 (`header_too_large`)"]
    async fn an_endless_head_is_cut_off(stage: Stage) -> Verdict {
        let mut ann = stage.connect("ann").await?;
        let line = format!("X-Filler: {}\r\n", "x".repeat(1_000));
        let head = format!("GET {} HTTP/1.1\r\n{}", stage.path(), line.repeat(1_000));
        ann.write_while_reading(head.as_bytes()).await?;
        match ann.answer().await {
            Ok(answer) => check(matches!(answer.status, 431 | 400 | 413), "the status 431", &answer.line),
            Err(failure) if failure.actual.contains("nothing") => Err(failure),
            Err(_) => Ok(()),
        }
    }

    /// A header that continues on the next line is obsolete and unsafe: the answer is 400.
    #[source = "RFC 9112 section 5.2"]
    async fn a_folded_header_line_is_refused(stage: Stage) -> Verdict {
        let request = stage.handshake("ann").add("X-Folded", "one\r\n two");
        expect_one_of(&stage, &request.encode(), &[400]).await
    }

    /// A target that contains a NUL byte is answered with 400.
    #[source = "RFC 9112 section 3.2"]
    async fn a_nul_in_the_target_is_refused(stage: Stage) -> Verdict {
        let mut request = stage.handshake("ann");
        request.target.push_str("&x=\0");
        expect_one_of(&stage, &request.encode(), &[400]).await
    }

    /// A valid handshake for another path is not answered with 101.
    #[source = "RFC 6455 section 4.2.2 step 5"]
    async fn another_path_is_not_upgraded(stage: Stage) -> Verdict {
        for path in ["/", "/ws/ws", "/WS", "/ws%2f.."] {
            let request = stage.handshake("ann").to(path);
            let mut ann = stage.send_request("ann", &request).await?;
            let answer = ann.answer().await?;
            check(answer.status != 101, "no 101", format!("{path}: {}", answer.line))?;
        }
        Ok(())
    }

    /// A handshake with a body is answered with 400, and the bytes of the body are never read as frames.
    async fn a_handshake_with_a_body_is_refused(stage: Stage, mut bob: Member) -> Verdict {
        let body = Frame::json(&send(&stage.room(), "smuggled")).encode();
        let request = stage.handshake("ann").add("Content-Length", &body.len().to_string());
        let mut ann = stage.connect("ann").await?;
        ann.write(&[request.encode(), body].concat()).await?;
        ann.expect_refusal(400, "bad_handshake").await?;
        bob.expect_no_events().await
    }

    /// A handshake with `Transfer-Encoding: chunked` has a body, and is answered with 400.
    async fn a_chunked_body_is_refused(stage: Stage) -> Verdict {
        let request = stage.handshake("ann").add("Transfer-Encoding", "chunked");
        let mut ann = stage.connect("ann").await?;
        ann.write(&[&request.encode()[..], b"0\r\n\r\n"].concat()).await?;
        ann.expect_refusal(400, "bad_handshake").await.map(drop)
    }

    /// A request with `Content-Length` and `Transfer-Encoding` can be request smuggling, and is answered with 400.
    #[source = "RFC 9112 section 6.1; PROTOCOL.md, section 1"]
    async fn content_length_with_transfer_encoding_is_refused(stage: Stage) -> Verdict {
        let request = stage.handshake("ann").add("Content-Length", "5");
        let request = request.add("Transfer-Encoding", "chunked");
        expect_one_of(&stage, &[&request.encode()[..], b"0\r\n\r\n"].concat(), &[400]).await
    }

    /// A client that offers subprotocols, but not `chat.v1`, is answered with 400.
    async fn unknown_subprotocols_are_refused(stage: Stage) -> Verdict {
        for offer in ["chat.v2", "mqtt, soap", "chat.v1x", "xchat.v1"] {
            let request = stage.handshake("ann").set("Sec-WebSocket-Protocol", offer);
            stage.refused(&request, 400, "unsupported_subprotocol").await?;
        }
        Ok(())
    }

    /// The answer to a refused request contains no value of the request's headers or query.
    async fn a_refusal_does_not_echo_the_request(stage: Stage) -> Verdict {
        let marked = |request: Request| request.add("X-Marker", "marker").set("User-Agent", "marker");
        let requests = [
            stage.handshake("ann").add("Origin", "https://marker.test"),
            stage.handshake("ann").set("Sec-WebSocket-Protocol", "marker"),
            stage.handshake("ann").set("Sec-WebSocket-Key", "marker"),
            stage.handshake("ann").set("Sec-WebSocket-Version", "marker"),
            stage.handshake("ann").set("Upgrade", "marker"),
            stage.handshake("ann").to(&format!("{}?name=marker%00", stage.path())),
        ];
        for request in requests {
            let mut ann = stage.send_request("ann", &marked(request)).await?;
            let answer = ann.answer().await?;
            let said = format!("{} {}", answer.head(), String::from_utf8_lossy(&answer.body));
            check(answer.status >= 400, "a refusal", &answer.line)?;
            check(!said.contains("marker"), "an answer without a value of the request", said)?;
        }
        Ok(())
    }

    /// A refused client that ends its writing side gets the refusal and the end of the stream, and no `welcome`.
    async fn a_refused_client_that_half_closes_gets_no_welcome(stage: Stage) -> Verdict {
        let request = stage.handshake("ann").add("Origin", "https://elsewhere.test");
        let mut ann = stage.refused(&request, 403, "origin_forbidden").await?;
        ann.half_close().await?;
        ann.expect_disconnect().await
    }

    /// Frames behind a refused handshake are not served: the answer is HTTP, or the end of the stream.
    async fn frames_after_a_refused_handshake_are_not_served(stage: Stage) -> Verdict {
        let request = stage.handshake("ann").add("Origin", "https://elsewhere.test");
        let mut ann = stage.connect("ann").await?;
        ann.write(&[request.encode(), Frame::text(ping("1")).encode()].concat()).await?;
        ann.expect_refusal(403, "origin_forbidden").await?;
        match ann.answer().await {
            Ok(answer) => check(answer.status >= 400, "another refusal, or the end", &answer.line),
            Err(failure) if failure.actual.contains("ping") => Err(failure),
            Err(_) => Ok(()),
        }
    }
);

/// Expects one of these statuses, from the handshake or from the HTTP parser.
pub(super) async fn expect_one_of(stage: &Stage, request: &[u8], statuses: &[u16]) -> Verdict {
    let mut client = stage.connect("ann").await?;
    client.write(request).await?;
    let answer = client.answer().await?;
    check(statuses.contains(&answer.status), format!("the HTTP status {}", one_of(statuses)), &answer.line)
}
