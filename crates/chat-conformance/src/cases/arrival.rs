use super::*;
use crate::client::Answer;

chat_suite::cases!(
    /// A command that arrives in one packet with the request is not lost.
    #[source = "RFC 6455 section 4.1"]
    async fn a_frame_in_the_packet_of_the_request_is_served(stage: Stage) -> Verdict {
        let request = stage.handshake("ann");
        let mut ann = stage.connect("ann").await?;
        ann.write(&[request.encode(), Frame::text(ping("early")).encode()].concat()).await?;
        ann.expect_upgraded(&request).await?;
        expect_pong_event(&mut ann, "early").await
    }

    /// A frame that begins in the packet of the request and ends after the 101 is one frame.
    #[source = "RFC 6455 section 5.2"]
    async fn part_of_a_frame_in_the_packet_of_the_request_is_kept(stage: Stage) -> Verdict {
        let (request, frame) = (stage.handshake("ann"), Frame::text(ping("early")).encode());
        for cut in [1, 5, 9] {
            let mut ann = stage.connect("ann").await?;
            ann.write(&[&request.encode(), &frame[..cut]].concat()).await?;
            ann.expect_upgraded(&request).await?;
            ann.write(&frame[cut..]).await?;
            expect_pong_event(&mut ann, "early").await?;
        }
        Ok(())
    }

    /// A hundred commands behind the request, more than one read takes, are all answered in order.
    #[source = "RFC 6455 section 4.1"]
    async fn frames_behind_the_request_are_answered_in_order(stage: Stage) -> Verdict {
        let request = stage.handshake("ann");
        let fill = "x".repeat(250);
        let command = |n| format!(r#"{{"type":"ping","ref":"{n}","fill":"{fill}"}}"#);
        let frames: Vec<_> = (0..100).map(|n| Frame::text(command(n))).collect();
        let mut ann = stage.connect("ann").await?;
        ann.write_while_reading(&[request.encode(), packet(&frames)].concat()).await?;
        ann.expect_upgraded(&request).await?;
        expect_pongs(&mut ann, 0..100).await?;
        Ok(())
    }

    /// Packet boundaries have no meaning: a request that arrives one byte at a time is a request.
    #[source = "RFC 9293 section 2"]
    async fn a_handshake_that_arrives_byte_by_byte_is_accepted(stage: Stage) -> Verdict {
        let request = stage.handshake("ann");
        let mut ann = stage.connect("ann").await?;
        ann.write_byte_by_byte(&request.encode()).await?;
        ann.expect_upgraded(&request).await?;
        ann.write_byte_by_byte(&Frame::text(ping("1")).encode()).await?;
        expect_pong_event(&mut ann, "1").await
    }

    /// A plain request before the handshake, in one packet with it, is answered first.
    #[source = "RFC 9112 section 9.3.2"]
    async fn a_request_before_the_handshake_is_answered_first(stage: Stage) -> Verdict {
        let plain = Request::get("/nothing-is-here").add("Host", stage.host());
        let request = stage.handshake("ann");
        let mut ann = stage.connect("ann").await?;
        ann.write(&[plain.encode(), request.encode()].concat()).await?;
        let first = ann.answer().await?;
        check(first.status >= 200, "the answer to the plain request", &first.line)?;
        ann.expect_upgraded(&request).await.map(drop)
    }

    /// The bytes of an HTTP request after the upgrade are an invalid frame: the close code is 1002.
    #[source = "RFC 6455 section 5.2"]
    async fn a_request_after_the_upgrade_is_an_invalid_frame(stage: Stage, mut ann: Client) -> Verdict {
        ann.write(&stage.handshake("ann").encode()).await?;
        ann.expect_closed(1002).await
    }

    /// The server ends a connection that sends nothing when the time for its head is over.
    #[with(limits(|limits| limits.http.head_timeout = millis(1_000)))]
    async fn a_silent_connection_is_closed(stage: Stage) -> Verdict {
        let mut ann = stage.connect("ann").await?;
        ann.set_patience(stage.limits().http.head_timeout + millis(4_000));
        expect_late(&mut ann).await
    }

    /// The server ends a connection that sends part of a request, and then nothing, in time.
    #[with(limits(|limits| limits.http.head_timeout = millis(1_000)))]
    async fn a_partial_head_is_closed(stage: Stage) -> Verdict {
        let mut ann = stage.connect("ann").await?;
        ann.set_patience(stage.limits().http.head_timeout + millis(4_000));
        let head = stage.handshake("ann").encode();
        ann.write(&head[..head.len() / 2]).await?;
        expect_late(&mut ann).await
    }

    /// A head that arrives one byte at a time has the same time limit as every other head.
    #[with(race("the end arrives during a read or during a write"))]
    #[with(limits(|limits| limits.http.head_timeout = millis(1_000)))]
    async fn a_slow_head_is_closed(stage: Stage) -> Verdict {
        let mut ann = stage.connect("ann").await?;
        let patience = stage.limits().http.head_timeout + millis(4_000);
        let drip = async {
            ann.write(format!("GET {} HTTP/1.1\r\nX: ", stage.path()).as_bytes()).await?;
            ann.set_patience(millis(50));
            loop {
                // The pause between two bytes is the subject of the case.
                if !ann.is_open_for(millis(50)).await || ann.write(b"x").await.is_err() {
                    return Ok(());
                }
            }
        };
        match timeout(patience, drip).await {
            Ok(ended) => ended,
            Err(_) => check(false, "an end of the connection", "none while single bytes arrive"),
        }
    }

    /// A hundred connections that send nothing, or part of a head, do not delay another client.
    #[source = "PROTOCOL.md, section 5"]
    async fn silent_connections_do_not_delay_another_client(stage: Stage) -> Verdict {
        let mut silent = Vec::new();
        for number in 0..100 {
            let mut connection = stage.connect("silent").await?;
            if number % 2 == 0 {
                connection.write(b"GET / HTTP/1.1\r\n").await?;
            }
            silent.push(connection);
        }
        let started = Instant::now();
        let mut ann = stage.member("ann").await?;
        ann.post(&stage.room(), "here").await?;
        let took = started.elapsed();
        check(took < millis(6_000), "service within 6 s", format!("{took:?}"))
    }

    /// A handshake above the maximum number of connections is answered with 503. After one has ended, the next is
    /// accepted.
    #[source = "PROTOCOL.md, section 1 (`overloaded`)"]
    #[with(race("the time until the next connection is accepted differs"))]
    #[with(limits(|limits| limits.connection.max_connections = 1))]
    #[with(needs(Needs::Limits))]
    async fn a_connection_is_accepted_again_after_another_has_ended(stage: Stage) -> Verdict {
        let mut ann = stage.client("ann").await?;
        let mut refused = stage.send_request("bob", &stage.handshake("bob")).await?;
        let answer = refused.expect_refusal(503, "overloaded").await?;
        expect_advice(&answer)?;
        ann.close(1000).await?;
        drop(ann);
        expect_accepted_again(&stage, "bob").await
    }

    /// A handshake beyond the connections of one address is answered with 429, whatever name it has. After one
    /// connection has ended, the next is accepted.
    #[source = "PROTOCOL.md, section 1 (`too_many_connections`)"]
    #[with(race("the time until the next connection is accepted differs"))]
    #[with(limits(|limits| limits.connection.max_per_address = 2))]
    #[with(needs(Needs::Limits))]
    async fn connections_beyond_the_limit_of_an_address_are_refused(stage: Stage) -> Verdict {
        let (mut ann, _bob) = (stage.client("ann").await?, stage.client("bob").await?);
        expect_too_many(&stage, &stage.handshake("cat")).await?;
        ann.close(1000).await?;
        drop(ann);
        expect_accepted_again(&stage, "cat").await
    }

    /// A client that names another address in a header of proxies still counts for its own address.
    #[source = "PROTOCOL.md, section 1 (`too_many_connections`)"]
    #[with(limits(|limits| limits.connection.max_per_address = 1))]
    #[with(needs(Needs::Limits))]
    async fn a_forwarded_address_does_not_lift_the_limit_of_an_address(stage: Stage) -> Verdict {
        let _ann = stage.client("ann").await?;
        for (name, value) in [("X-Forwarded-For", "203.0.113.9"), ("Forwarded", "for=203.0.113.9")] {
            expect_too_many(&stage, &stage.handshake("bob").add(name, value)).await?;
        }
        Ok(())
    }

    /// A handshake beyond the connections of one user is answered with 429. Another user is accepted.
    #[source = "PROTOCOL.md, section 1 (`too_many_connections`)"]
    #[with(limits(|limits| limits.connection.max_per_user = 2))]
    #[with(needs(Needs::Limits))]
    async fn connections_beyond_the_limit_of_a_user_are_refused(stage: Stage) -> Verdict {
        let _phone = stage.client("ann").await?;
        let _laptop = stage.client("ann").await?;
        expect_too_many(&stage, &stage.handshake("ann")).await?;
        stage.client("bob").await.map(drop)
    }

    /// A client that resets the connection behind its request leaves no connection, and does not disturb others.
    #[source = "PROTOCOL.md, section 5"]
    async fn a_reset_right_after_the_request_leaves_no_connection(stage: Stage, mut bob: Member) -> Verdict {
        for _ in 0..20 {
            let mut ann = stage.connect("ann").await?;
            let join = Frame::json(&send(&stage.room(), "hi")).encode();
            ann.write(&[stage.handshake("ann").encode(), join].concat()).await?;
            ann.reset();
        }
        bob.post(&stage.room(), "still here").await.map(drop)
    }
);

/// Expects that a handshake is refused because its user or its address has too many connections.
async fn expect_too_many(stage: &Stage, request: &Request) -> Verdict {
    let mut refused = stage.send_request("refused", request).await?;
    expect_advice(&refused.expect_refusal(429, "too_many_connections").await?)
}

/// Expects that an answer says the time to wait.
fn expect_advice(answer: &Answer) -> Verdict {
    let advice = answer.header("retry-after").and_then(|value| value.parse::<u64>().ok());
    check(advice.is_some(), "`Retry-After` in seconds", answer.head())
}

/// Expects that a client is accepted soon.
async fn expect_accepted_again(stage: &Stage, name: &str) -> Verdict {
    for _ in 0..300 {
        let mut client = stage.send_request(name, &stage.handshake(name)).await?;
        if client.answer().await?.status == 101 {
            return client.expect_welcome().await.map(drop);
        }
        // There is no event for the end of a connection.
        sleep(millis(20)).await;
    }
    check(false, "an accepted handshake within 6 s", "none")
}

/// Expects the end of the connection, or a 408 before it.
async fn expect_late(client: &mut Client) -> Verdict {
    match client.answer().await {
        Ok(answer) => check(matches!(answer.status, 400 | 408), "the status 408", &answer.line),
        Err(failure) if failure.actual.contains("end of the stream") || failure.actual.contains("reset") => {
            Ok(())
        }
        Err(failure) => Err(failure),
    }
}
