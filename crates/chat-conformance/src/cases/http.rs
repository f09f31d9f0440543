use super::refusal::expect_one_of;
use super::*;

chat_suite::cases!(
    /// A target that names no path (`h:1`, `*`, and each target of CONNECT) is answered with 400 or 405, and the server
    /// serves on.
    #[source = "RFC 9112 section 3.2; PROTOCOL.md, section 1 (`bad_request`)"]
    async fn a_target_without_a_path_is_refused(stage: Stage) -> Verdict {
        for (method, target) in [("GET", "h:1"), ("GET", "*"), ("OPTIONS", "*"), ("CONNECT", "h:1")] {
            let mut request = stage.handshake("ann").to(target);
            request.method = method.to_owned();
            expect_one_of(&stage, &request.encode(), &[400, 405]).await?;
        }
        stage.expect_served().await
    }

    /// CONNECT to the path of the chat is another method: the answer is 400 or 405.
    #[source = "RFC 9110 section 9.3.6"]
    async fn a_connect_to_the_path_is_refused(stage: Stage) -> Verdict {
        let mut request = stage.handshake("ann");
        request.method = "CONNECT".to_owned();
        expect_one_of(&stage, &request.encode(), &[400, 405]).await
    }

    /// The host of a target in absolute form replaces the value of `Host`, also when the origin is compared.
    #[source = "RFC 9112 section 3.2.2"]
    async fn the_host_of_an_absolute_target_replaces_the_host(stage: Stage) -> Verdict {
        let absolute = |origin: &str| {
            let request = stage.handshake("ann");
            let target = format!("http://{}{}", stage.host(), request.target);
            request.to(&target).set("Host", "elsewhere.test").add("Origin", origin)
        };
        let own = format!("http://{}", stage.host());
        stage.accepted("ann", &absolute(&own)).await?;
        stage.refused(&absolute("http://elsewhere.test"), 403, "origin_forbidden").await.map(drop)
    }

    /// A value of `Host` that is not one host with an optional port is answered with 400.
    #[source = "RFC 9110 section 7.2; PROTOCOL.md, section 1"]
    async fn a_host_that_is_not_a_host_is_refused(stage: Stage) -> Verdict {
        for host in
            ["a@h", "h, evil", "h evil", "h/ws", "h?x", "h:x", "h:70000", "h:1:2", "[::1", "::1", "%68"]
        {
            // A server that knows its hosts refuses with another code, before it looks at the handshake.
            let request = stage.handshake("ann").set("Host", host);
            expect_one_of(&stage, &request.encode(), &[400]).await?;
        }
        Ok(())
    }

    /// A name whose bytes are UTF-8 without percent-encoding is no valid target: the answer is 400.
    #[source = "RFC 9112 section 3.2; PROTOCOL.md, section 1"]
    async fn a_name_that_is_not_percent_encoded_is_refused(stage: Stage) -> Verdict {
        let mut ann = stage.connect("ann").await?;
        ann.write(&stage.handshake("ann").to(&format!("{}?name=홍길동", stage.path())).encode()).await?;
        ann.expect_status(400).await?;
        ann.expect_disconnect().await
    }

    /// A refusal announces the end of the connection, and the server ends it.
    #[source = "PROTOCOL.md, section 1"]
    async fn a_refusal_ends_the_connection(stage: Stage) -> Verdict {
        let mut post = stage.handshake("ann");
        post.method = "POST".to_owned();
        let requests = [
            (Request::get(stage.path()).add("Host", stage.host()), 426),
            (stage.handshake("ann").set("Sec-WebSocket-Version", "8"), 426),
            (stage.handshake("ann").without("Sec-WebSocket-Key"), 400),
            (stage.handshake("ann").add("Origin", "http://elsewhere.test"), 403),
            (post, 405),
        ];
        for (request, status) in requests {
            let mut ann = stage.send_request("ann", &request).await?;
            let answer = ann.expect_status(status).await?;
            let connection = answer.header("connection").unwrap_or_default().to_ascii_lowercase();
            let closes = connection.split(',').any(|token| token.trim() == "close");
            check(closes, "the header `connection: close`", answer.head())?;
            ann.expect_disconnect().await?;
        }
        Ok(())
    }

    /// A refusal says that a browser must not guess the type of its body.
    #[source = "PROTOCOL.md, section 1"]
    async fn a_refusal_has_the_header_nosniff(stage: Stage) -> Verdict {
        let mut ann =
            stage.refused(&stage.handshake("ann").add("Origin", "null"), 403, "origin_forbidden").await?;
        ann.half_close().await?;
        let request = Request::get(stage.path()).add("Host", stage.host());
        let mut ann = stage.send_request("ann", &request).await?;
        let answer = ann.answer().await?;
        ann.check_header(&answer, "x-content-type-options", "nosniff")
    }

    /// HEAD at the path of the chat is answered with 405 and without a body.
    #[source = "RFC 9110 section 9.3.2; PROTOCOL.md, section 1"]
    async fn a_head_request_is_refused_without_a_body(stage: Stage) -> Verdict {
        let mut request = Request::get(stage.path()).add("Host", stage.host());
        request.method = "HEAD".to_owned();
        let mut ann = stage.send_request("ann", &request).await?;
        let answer = ann.answer_without_body().await?;
        check(answer.status == 405, "the HTTP status 405", &answer.line)?;
        ann.check_header(&answer, "allow", "GET")?;
        ann.expect_disconnect().await
    }

    /// The body of a refused handshake is never read as the next request, also if it looks like one.
    #[source = "RFC 9112 section 11.2; PROTOCOL.md, section 1"]
    async fn the_body_of_a_handshake_is_not_read_as_a_request(stage: Stage) -> Verdict {
        let body = stage.handshake("bob").encode();
        let request = stage.handshake("ann").set("Connection", "keep-alive, Upgrade");
        let request = request.add("Content-Length", &body.len().to_string());
        let mut ann = stage.connect("ann").await?;
        ann.write(&[request.encode(), body].concat()).await?;
        ann.expect_refusal(400, "bad_handshake").await?;
        ann.expect_disconnect().await
    }

    /// A handshake with a transfer encoding is answered with 400 or 501, and nothing behind it is read as a request.
    #[source = "RFC 9112 section 6.1; PROTOCOL.md, section 1"]
    async fn a_transfer_encoding_on_a_handshake_is_refused(stage: Stage) -> Verdict {
        for encoding in ["gzip, chunked", "identity", "chunked, identity", "xchunked"] {
            let request = stage.handshake("ann").add("Transfer-Encoding", encoding);
            let mut ann = stage.connect("ann").await?;
            ann.write(&[request.encode(), stage.handshake("bob").encode()].concat()).await?;
            let answer = ann.answer().await?;
            check(matches!(answer.status, 400 | 501), "the HTTP status 400 or 501", &answer.line)?;
            ann.expect_disconnect().await?;
        }
        Ok(())
    }

    /// A request that is one endless line is ended before the server has read a mebibyte.
    #[source = "PROTOCOL.md, section 1 (`header_too_large`)"]
    async fn an_endless_line_is_cut_off(stage: Stage) -> Verdict {
        let endless = "x".repeat(1_000_000);
        let header = format!("GET {} HTTP/1.1\r\nX: {endless}", stage.path());
        for start in [format!("GET {}?{endless}", stage.path()), header, endless] {
            let mut ann = stage.connect("ann").await?;
            ann.write_while_reading(start.as_bytes()).await?;
            match ann.answer().await {
                Ok(answer) => {
                    check(matches!(answer.status, 431 | 400 | 413 | 414), "the status 431", &answer.line)?;
                }
                Err(failure) if failure.actual.contains("nothing") => return Err(failure),
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// Pipelined requests are answered in their order, and the handshake behind them is accepted.
    #[source = "RFC 9112 section 9.3.2"]
    async fn pipelined_requests_are_answered_in_order(stage: Stage) -> Verdict {
        let (plain, request) = (plain(&stage), stage.handshake("ann"));
        let mut ann = stage.connect("ann").await?;
        ann.write(&[plain.encode().repeat(3), request.encode()].concat()).await?;
        for _ in 0..3 {
            ann.expect_status(404).await?;
        }
        ann.expect_upgraded(&request).await.map(drop)
    }

    /// A HEAD between pipelined requests is answered without a body, and the others with one.
    #[source = "RFC 9110 section 9.3.2; RFC 9112 section 9.3.2"]
    async fn a_pipelined_head_request_is_answered_without_a_body(stage: Stage) -> Verdict {
        let (plain, request) = (plain(&stage), stage.handshake("ann"));
        let mut head = plain.clone();
        head.method = "HEAD".to_owned();
        let mut ann = stage.connect("ann").await?;
        ann.write(&[plain.encode(), head.encode(), plain.encode(), request.encode()].concat()).await?;
        let first = ann.expect_status(404).await?;
        let second = ann.answer_without_body().await?;
        check(second.status == 404, "the HTTP status 404", &second.line)?;
        let third = ann.expect_status(404).await?;
        check(third.body == first.body, "the same body", String::from_utf8_lossy(&third.body))?;
        ann.expect_upgraded(&request).await.map(drop)
    }

    /// A connection may be idle after a request for longer than a request head may take.
    #[source = "PROTOCOL.md, section 1"]
    #[with(limits(|limits| limits.http.head_timeout = millis(400)))]
    #[with(needs(Needs::Limits))]
    async fn an_idle_connection_outlives_the_head_timeout(stage: Stage) -> Verdict {
        let (mut ann, request) = (after_a_request(&stage).await?, stage.handshake("ann"));
        // The pause is the subject of the case.
        let is_open = ann.is_open_for(stage.limits().http.head_timeout * 3).await;
        check(is_open, "an open connection", "the end of the connection")?;
        ann.upgrade(&request).await.map(drop)
    }

    /// The server ends a connection that is idle after a request when the time for that is over.
    #[source = "PROTOCOL.md, section 1"]
    #[with(limits(|limits| limits.http.idle_timeout = millis(1_000)))]
    #[with(needs(Needs::Limits))]
    async fn an_idle_connection_is_closed(stage: Stage) -> Verdict {
        let mut ann = after_a_request(&stage).await?;
        ann.set_patience(stage.limits().http.idle_timeout + millis(4_000));
        ann.expect_disconnect().await
    }

    /// A request head that begins after another request, and does not end, has the time limit of every head.
    #[source = "PROTOCOL.md, section 1"]
    #[with(limits(|limits| limits.http.head_timeout = millis(1_000)))]
    #[with(needs(Needs::Limits))]
    async fn a_partial_head_after_a_request_is_closed(stage: Stage) -> Verdict {
        let mut ann = after_a_request(&stage).await?;
        ann.write(&stage.handshake("ann").encode()[..20]).await?;
        ann.set_patience(stage.limits().http.head_timeout + millis(4_000));
        match ann.answer().await {
            Ok(answer) => check(answer.status == 408, "the status 408", &answer.line),
            Err(failure) if failure.actual.contains("nothing") => Err(failure),
            Err(_) => Ok(()),
        }
    }
);

/// Returns a client whose plain request was answered.
async fn after_a_request(stage: &Stage) -> Result<Client, Failure> {
    let mut client = stage.send_request("ann", &plain(stage)).await?;
    client.expect_status(404).await?;
    Ok(client)
}

/// A request that no route answers.
fn plain(stage: &Stage) -> Request {
    Request::get("/nothing-is-here").add("Host", stage.host())
}
