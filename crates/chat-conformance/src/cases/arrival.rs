use super::{Frame, Group, Needs, case, expect_pong_event, fail, millis, packet, ping, send};

pub(super) fn group() -> Group {
    let cases = vec![
        case(
            "a_frame_in_the_packet_of_the_request_is_served",
            "A command that comes in one packet with the request is not lost.",
            "RFC 6455 section 4.1",
            |stage| async move {
                let request = stage.handshake("ann");
                let mut ann = stage.connect("ann").await?;
                ann.write(&[request.encode(), Frame::text(ping("early")).encode()].concat()).await?;
                stage.expect_101(&mut ann, &request).await?;
                ann.expect_welcome().await?;
                expect_pong_event(&mut ann, "early").await
            },
        ),
        case(
            "half_a_frame_in_the_packet_of_the_request_is_kept",
            "A frame that begins in the packet of the request and ends after the 101 is one frame.",
            "RFC 6455 section 5.2",
            |stage| async move {
                let (request, frame) = (stage.handshake("ann"), Frame::text(ping("early")).encode());
                for cut in [1, 5, 9] {
                    let mut ann = stage.connect("ann").await?;
                    ann.write(&[&request.encode(), &frame[..cut]].concat()).await?;
                    stage.expect_101(&mut ann, &request).await?;
                    ann.expect_welcome().await?;
                    ann.write(&frame[cut..]).await?;
                    expect_pong_event(&mut ann, "early").await?;
                }
                Ok(())
            },
        ),
        case(
            "many_frames_behind_the_request_keep_their_order",
            "A hundred commands behind the request, more than one read takes, are all answered in order.",
            "RFC 6455 section 4.1",
            |stage| async move {
                let request = stage.handshake("ann");
                let fill = "x".repeat(250);
                let command = |n| format!(r#"{{"type":"ping","ref":"{n}","fill":"{fill}"}}"#);
                let frames: Vec<_> = (0..100).map(|n| Frame::text(command(n))).collect();
                let mut ann = stage.connect("ann").await?;
                ann.pour(&[request.encode(), packet(&frames)].concat()).await?;
                stage.expect_101(&mut ann, &request).await?;
                ann.expect_welcome().await?;
                for n in 0..100 {
                    expect_pong_event(&mut ann, &n.to_string()).await?;
                }
                Ok(())
            },
        ),
        case(
            "a_handshake_may_come_byte_by_byte",
            "Where packets are cut says nothing: a request one byte at a time is a request.",
            "RFC 9293 section 2",
            |stage| async move {
                let request = stage.handshake("ann");
                let mut ann = stage.connect("ann").await?;
                ann.trickle(&request.encode()).await?;
                stage.expect_101(&mut ann, &request).await?;
                ann.expect_welcome().await?;
                ann.trickle(&Frame::text(ping("1")).encode()).await?;
                expect_pong_event(&mut ann, "1").await
            },
        ),
        case(
            "a_request_behind_another_is_answered_after_it",
            "A plain request ahead of the handshake, in one packet with it, is answered first.",
            "RFC 9112 section 9.3.2",
            |stage| async move {
                let plain = crate::client::Request::get("/nothing-is-here").add("Host", stage.host());
                let request = stage.handshake("ann");
                let mut ann = stage.connect("ann").await?;
                ann.write(&[plain.encode(), request.encode()].concat()).await?;
                let first = ann.answer().await?;
                fail(first.status >= 200, "the answer to the plain request", &first.line)?;
                stage.expect_101(&mut ann, &request).await?;
                ann.expect_welcome().await.map(drop)
            },
        ),
        case(
            "a_request_after_the_upgrade_is_no_frame",
            "After the upgrade HTTP is over: the letters of a request are a broken frame.",
            "RFC 6455 section 5.2",
            |stage| async move {
                let mut ann = stage.client("ann").await?;
                ann.write(&stage.handshake("ann").encode()).await?;
                ann.expect_closed(1002).await
            },
        ),
        case(
            "a_silent_connection_is_ended",
            "A connection that sends nothing is gone once its head has had its time.",
            "PROTOCOL.md, section 1",
            |stage| async move {
                let mut ann = stage.connect("ann").await?;
                ann.be_patient_for(stage.limits().http.head_timeout + millis(4_000));
                silence(&mut ann).await
            },
        )
        .with(|limits| limits.http.head_timeout = millis(1_000)),
        case(
            "half_a_head_is_ended",
            "A connection that sends part of a request and then nothing is gone in time.",
            "PROTOCOL.md, section 1",
            |stage| async move {
                let mut ann = stage.connect("ann").await?;
                ann.be_patient_for(stage.limits().http.head_timeout + millis(4_000));
                let head = stage.handshake("ann").encode();
                ann.write(&head[..head.len() / 2]).await?;
                silence(&mut ann).await
            },
        )
        .with(|limits| limits.http.head_timeout = millis(1_000)),
        case(
            "a_dripping_head_is_ended",
            "A head that comes a byte at a time for ever has the same time as any other.",
            "PROTOCOL.md, section 1",
            |stage| async move {
                let mut ann = stage.connect("ann").await?;
                let patience = stage.limits().http.head_timeout + millis(4_000);
                let drip = async {
                    ann.write(format!("GET {} HTTP/1.1\r\nX: ", stage.path()).as_bytes()).await?;
                    ann.be_patient_for(millis(50));
                    loop {
                        // A byte now and then is what this is about.
                        if !ann.is_open_for(millis(50)).await || ann.write(b"x").await.is_err() {
                            return Ok(());
                        }
                    }
                };
                match tokio::time::timeout(patience, drip).await {
                    Ok(ended) => ended,
                    Err(_) => fail(false, "an end of the connection", "none while bytes drip"),
                }
            },
        )
        .race("whether the end is read, or met by a write, is open")
        .with(|limits| limits.http.head_timeout = millis(1_000)),
        case(
            "silent_connections_do_not_delay_a_good_one",
            "A hundred connections that send nothing, or half a head, do not keep others from being served.",
            "PROTOCOL.md, section 5",
            |stage| async move {
                let mut silent = Vec::new();
                for number in 0..100 {
                    let mut connection = stage.connect("silent").await?;
                    if number % 2 == 0 {
                        connection.write(b"GET / HTTP/1.1\r\n").await?;
                    }
                    silent.push(connection);
                }
                let started = std::time::Instant::now();
                let mut ann = stage.member("ann").await?;
                ann.post(&stage.room(), "here").await?;
                let took = started.elapsed();
                fail(took < millis(2_000), "service within 2 s", format!("{took:?}"))
            },
        ),
        case(
            "a_place_is_free_again_once_its_client_has_gone",
            "Beyond the greatest number of connections the answer is 503; a place that was left is free.",
            "PROTOCOL.md, section 1 (`overloaded`)",
            |stage| async move {
                let mut ann = stage.client("ann").await?;
                let mut refused = stage.connect("bob").await?;
                refused.write(&stage.handshake("bob").encode()).await?;
                let answer = refused.expect_refusal(503, "overloaded").await?;
                let advice = answer.header("retry-after").and_then(|value| value.parse::<u64>().ok());
                fail(advice.is_some(), "`Retry-After` in seconds", answer.head())?;
                ann.close(1000).await?;
                drop(ann);
                for _ in 0..100 {
                    let mut bob = stage.connect("bob").await?;
                    bob.write(&stage.handshake("bob").encode()).await?;
                    if bob.answer().await?.status == 101 {
                        return bob.expect_welcome().await.map(drop);
                    }
                    // Nothing tells when a place is free.
                    tokio::time::sleep(millis(20)).await;
                }
                fail(false, "a free place within 2 s", "none")
            },
        )
        .race("how soon the place is free is open")
        .with(|limits| limits.connection.max_connections = 1)
        .needs(Needs::Limits),
        case(
            "a_client_gone_right_after_the_request_leaves_nothing",
            "A client that resets the connection behind its request leaves nothing, and harms nobody.",
            "PROTOCOL.md, section 5",
            |stage| async move {
                let mut bob = stage.member("bob").await?;
                for _ in 0..20 {
                    let mut ann = stage.connect("ann").await?;
                    let join = Frame::text(send(&stage.room(), "hi").to_string()).encode();
                    ann.write(&[stage.handshake("ann").encode(), join].concat()).await?;
                    ann.reset();
                }
                bob.post(&stage.room(), "still here").await.map(drop)
            },
        ),
    ];
    Group {
        name: "arrival",
        look: "the adapter's serve and takeover: head limits, early bytes, places in crates/chat-core/src/chat.rs",
        cases,
    }
}

/// The connection ends; at most a 408 comes before that.
async fn silence(client: &mut crate::client::Client) -> crate::Verdict {
    match client.answer().await {
        Ok(answer) => fail(matches!(answer.status, 400 | 408), "the status 408", &answer.line),
        Err(failure) if failure.came.contains("end of the stream") || failure.came.contains("reset") => {
            Ok(())
        }
        Err(failure) => Err(failure),
    }
}
