use super::{Frame, Group, case, fail, ping, send};
use crate::client::{Request, one_of};
use crate::{Stage, Verdict};

pub(super) fn group() -> Group {
    let cases = vec![
        case(
            "a_plain_get_is_told_to_upgrade",
            "A GET without an upgrade is 426 and says to what: `Upgrade: websocket`.",
            "RFC 9110 section 15.5.22; PROTOCOL.md, section 1",
            |stage| async move {
                let mut ann = stage.connect("ann").await?;
                ann.write(&Request::get(stage.path()).add("Host", stage.host()).encode()).await?;
                let answer = ann.expect_refusal(426, "upgrade_required").await?;
                ann.check_header(&answer, "upgrade", "websocket")
            },
        ),
        case(
            "every_other_method_is_refused",
            "A handshake is a GET; POST, PUT, DELETE and OPTIONS are 405 with `Allow: GET`.",
            "RFC 6455 section 4.2.1; PROTOCOL.md, section 1",
            |stage| async move {
                for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
                    let mut request = stage.handshake("ann");
                    request.method = method.to_owned();
                    let mut ann = stage.connect("ann").await?;
                    ann.write(&request.encode()).await?;
                    let answer = ann.expect_refusal(405, "method_not_allowed").await?;
                    ann.check_header(&answer, "allow", "GET")?;
                }
                Ok(())
            },
        ),
        case(
            "http_1_0_is_refused",
            "HTTP/1.0 has no upgrade: 400, and no 101.",
            "RFC 6455 section 4.2.1; PROTOCOL.md, section 1",
            |stage| async move {
                let mut request = stage.handshake("ann");
                request.version = "HTTP/1.0".to_owned();
                stage.refused(&request, 400, "bad_handshake").await.map(drop)
            },
        ),
        case(
            "an_upgrade_to_something_else_is_refused",
            "`Upgrade` must name `websocket` as a whole word: not `h2c`, not `xwebsocketx`.",
            "RFC 6455 section 4.2.1; PROTOCOL.md, section 1",
            |stage| async move {
                for upgrade in ["h2c", "xwebsocketx", "web socket", "websocket/13x"] {
                    let request = stage.handshake("ann").set("Upgrade", upgrade);
                    stage.refused(&request, 426, "upgrade_required").await?;
                }
                Ok(())
            },
        ),
        case(
            "an_upgrade_that_the_connection_does_not_name_is_refused",
            "`Connection` must name `upgrade` as a whole word: not missing, not `notupgrade`.",
            "RFC 6455 section 4.2.1; PROTOCOL.md, section 1",
            |stage| async move {
                let request = stage.handshake("ann").without("Connection");
                stage.refused(&request, 426, "upgrade_required").await?;
                for connection in ["keep-alive", "notupgrade", "upgraded"] {
                    let request = stage.handshake("ann").set("Connection", connection);
                    stage.refused(&request, 426, "upgrade_required").await?;
                }
                Ok(())
            },
        ),
        case(
            "another_version_is_refused_with_the_right_one",
            "A version that is missing, 8, 14 or not a number is 426 with `Sec-WebSocket-Version: 13`.",
            "RFC 6455 section 4.2.2 step 4; PROTOCOL.md, section 1",
            |stage| async move {
                for version in [None, Some("8"), Some("14"), Some("thirteen"), Some("013")] {
                    let request = stage.handshake("ann").without("Sec-WebSocket-Version");
                    let request = match version {
                        Some(version) => request.add("Sec-WebSocket-Version", version),
                        None => request,
                    };
                    let mut ann = stage.connect("ann").await?;
                    ann.write(&request.encode()).await?;
                    let answer = ann.expect_refusal(426, "unsupported_version").await?;
                    ann.check_header(&answer, "sec-websocket-version", "13")?;
                }
                Ok(())
            },
        ),
        case(
            "a_missing_key_is_refused",
            "Without a key there is nothing to answer: 400.",
            "RFC 6455 section 4.2.1; PROTOCOL.md, section 1",
            |stage| async move {
                let request = stage.handshake("ann").without("Sec-WebSocket-Key");
                stage.refused(&request, 400, "bad_handshake").await.map(drop)
            },
        ),
        case(
            "two_keys_are_refused",
            "A key stands once; two, even equal ones, are 400.",
            "RFC 6455 section 11.3.1; PROTOCOL.md, section 1",
            |stage| async move {
                for second in [crate::client::key(1), crate::client::key(99)] {
                    let request = stage.handshake("ann").set("Sec-WebSocket-Key", &crate::client::key(1));
                    stage.refused(&request.add("Sec-WebSocket-Key", &second), 400, "bad_handshake").await?;
                }
                Ok(())
            },
        ),
        case(
            "a_key_that_is_not_16_bytes_of_base64_is_refused",
            "A key is base64 of 16 bytes: not empty, not shorter, not longer, not anything else.",
            "RFC 6455 section 4.1 step 7; PROTOCOL.md, section 1",
            |stage| async move {
                let bad =
                    ["", "MTIzNDU2Nzg5MDEyMzQ1", "MTIzNDU2Nzg5MDEyMzQ1Njc=", "not base64 at all!!!!!!!"];
                for key in bad {
                    let request = stage.handshake("ann").set("Sec-WebSocket-Key", key);
                    stage.refused(&request, 400, "bad_handshake").await?;
                }
                Ok(())
            },
        ),
        case(
            "a_missing_host_is_refused",
            "A request of HTTP/1.1 names its host: without one it is 400, said as every refusal is.",
            "RFC 9112 section 3.2; PROTOCOL.md, section 1",
            |stage| async move {
                let request = stage.handshake("ann").without("Host");
                stage.refused(&request, 400, "bad_handshake").await.map(drop)
            },
        ),
        case(
            "two_hosts_are_refused",
            "Two Host lines could mean two things to two programs: 400.",
            "RFC 9112 section 3.2",
            |stage| async move {
                let request = stage.handshake("ann").add("Host", "elsewhere.test");
                expect_one_of(&stage, &request.encode(), &[400]).await
            },
        ),
        case(
            "a_head_over_16_kib_is_refused",
            "A head over the limit is 431, and says so.",
            "PROTOCOL.md, section 1 (`header_too_large`)",
            |stage| async move {
                let request =
                    stage.handshake("ann").add("X-Filler", &"x".repeat(stage.limits().http.max_head_bytes));
                stage.refused(&request, 431, "header_too_large").await.map(drop)
            },
        ),
        case(
            "two_hundred_header_lines_are_refused",
            "A head of 200 lines is 431 or 400, and no session.",
            "PROTOCOL.md, section 1",
            |stage| async move {
                let mut request = stage.handshake("ann");
                for number in 0..200 {
                    request = request.add(&format!("X-{number}"), "1");
                }
                expect_one_of(&stage, &request.encode(), &[431, 400]).await
            },
        ),
        case(
            "a_head_without_end_is_cut_off",
            "A head that goes on and on is ended before it has cost a mebibyte.",
            "PROTOCOL.md, section 1 (`header_too_large`)",
            |stage| async move {
                let mut ann = stage.connect("ann").await?;
                let line = format!("X-Filler: {}\r\n", "x".repeat(1_000));
                let head = format!("GET {} HTTP/1.1\r\n{}", stage.path(), line.repeat(1_000));
                ann.pour(head.as_bytes()).await?;
                match ann.answer().await {
                    Ok(answer) => {
                        fail(matches!(answer.status, 431 | 400 | 413), "the status 431", &answer.line)
                    }
                    Err(failure) if failure.came.contains("nothing") => Err(failure),
                    Err(_) => Ok(()),
                }
            },
        ),
        case(
            "a_folded_header_line_is_refused",
            "A header line that goes on on the next one is obsolete, and dangerous: 400.",
            "RFC 9112 section 5.2",
            |stage| async move {
                let request = stage.handshake("ann").add("X-Folded", "one\r\n two");
                expect_one_of(&stage, &request.encode(), &[400]).await
            },
        ),
        case(
            "a_nul_in_the_target_is_refused",
            "A target with a NUL in it is no target: 400.",
            "RFC 9112 section 3.2",
            |stage| async move {
                let mut request = stage.handshake("ann");
                request.target.push_str("&x=\0");
                expect_one_of(&stage, &request.encode(), &[400]).await
            },
        ),
        case(
            "another_path_is_not_the_chat",
            "A valid handshake for another path is no 101.",
            "RFC 6455 section 4.2.2 step 5",
            |stage| async move {
                for path in ["/", "/ws/ws", "/WS", "/ws%2f.."] {
                    let request = stage.handshake("ann").to(path);
                    let mut ann = stage.connect("ann").await?;
                    ann.write(&request.encode()).await?;
                    let answer = ann.answer().await?;
                    fail(answer.status != 101, "no 101", format!("{path}: {}", answer.line))?;
                }
                Ok(())
            },
        ),
        case(
            "a_body_is_refused_and_its_bytes_are_no_frames",
            "A handshake with a body is 400; what the body holds is never served as frames.",
            "PROTOCOL.md, section 1",
            |stage| async move {
                let mut bob = stage.member("bob").await?;
                let body = Frame::text(send(&stage.room(), "smuggled").to_string()).encode();
                let request = stage.handshake("ann").add("Content-Length", &body.len().to_string());
                let mut ann = stage.connect("ann").await?;
                ann.write(&[request.encode(), body].concat()).await?;
                ann.expect_refusal(400, "bad_handshake").await?;
                bob.expect_quiet().await
            },
        ),
        case(
            "a_chunked_body_is_refused",
            "A handshake with `Transfer-Encoding: chunked` has a body: 400.",
            "PROTOCOL.md, section 1",
            |stage| async move {
                let request = stage.handshake("ann").add("Transfer-Encoding", "chunked");
                let mut ann = stage.connect("ann").await?;
                ann.write(&[&request.encode()[..], b"0\r\n\r\n"].concat()).await?;
                ann.expect_refusal(400, "bad_handshake").await.map(drop)
            },
        ),
        case(
            "two_lengths_are_refused",
            "`Content-Length` with `Transfer-Encoding` is how requests are smuggled: 400.",
            "RFC 9112 section 6.1; PROTOCOL.md, section 1",
            |stage| async move {
                let request = stage.handshake("ann").add("Content-Length", "5");
                let request = request.add("Transfer-Encoding", "chunked");
                expect_one_of(&stage, &[&request.encode()[..], b"0\r\n\r\n"].concat(), &[400]).await
            },
        ),
        case(
            "only_unknown_subprotocols_are_refused",
            "A client that offers subprotocols, but not `chat.v1`, is 400.",
            "PROTOCOL.md, section 1",
            |stage| async move {
                for offer in ["chat.v2", "mqtt, soap", "chat.v1x", "xchat.v1"] {
                    let request = stage.handshake("ann").set("Sec-WebSocket-Protocol", offer);
                    stage.refused(&request, 400, "unsupported_subprotocol").await?;
                }
                Ok(())
            },
        ),
        case(
            "a_refusal_echoes_nothing",
            "What a refused request said, in any of its fields, is not in the answer.",
            "PROTOCOL.md, section 1",
            |stage| async move {
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
                    let mut ann = stage.connect("ann").await?;
                    ann.write(&marked(request).encode()).await?;
                    let answer = ann.answer().await?;
                    let said = format!("{} {}", answer.head(), String::from_utf8_lossy(&answer.body));
                    fail(answer.status >= 400, "a refusal", &answer.line)?;
                    fail(!said.contains("marker"), "an answer without the request's words", said)?;
                }
                Ok(())
            },
        ),
        case(
            "a_refused_client_that_half_closes_has_no_session",
            "A refused client that ends its side gets the refusal and the end, and never a welcome.",
            "PROTOCOL.md, section 1",
            |stage| async move {
                let request = stage.handshake("ann").add("Origin", "https://elsewhere.test");
                let mut ann = stage.refused(&request, 403, "origin_forbidden").await?;
                ann.half_close().await?;
                ann.expect_gone().await
            },
        ),
        case(
            "a_refused_client_gets_no_frames",
            "Frames behind a refused handshake are not served: what comes is HTTP, or the end.",
            "PROTOCOL.md, section 1",
            |stage| async move {
                let request = stage.handshake("ann").add("Origin", "https://elsewhere.test");
                let mut ann = stage.connect("ann").await?;
                ann.write(&[request.encode(), Frame::text(ping("1")).encode()].concat()).await?;
                ann.expect_refusal(403, "origin_forbidden").await?;
                match ann.answer().await {
                    Ok(answer) => fail(answer.status >= 400, "another refusal, or the end", &answer.line),
                    Err(failure) if failure.came.contains("ping") => Err(failure),
                    Err(_) => Ok(()),
                }
            },
        ),
    ];
    Group {
        name: "refusal",
        look: "crates/chat-proto/src/handshake.rs; without JSON, it comes from the framework's parser",
        cases,
    }
}

/// Whatever answers, be it the HTTP parser, says one of these.
async fn expect_one_of(stage: &Stage, request: &[u8], statuses: &[u16]) -> Verdict {
    let mut client = stage.connect("ann").await?;
    client.write(request).await?;
    let answer = client.answer().await?;
    fail(statuses.contains(&answer.status), &format!("the HTTP status {}", one_of(statuses)), &answer.line)
}
