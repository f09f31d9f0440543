use super::*;

chat_suite::cases!(
    /// A client that reads nothing while much waits for it is closed after the write timeout.
    #[source = "PROTOCOL.md, section 5.5 (4000)"]
    #[with(limits(|limits| limits.connection.write_timeout = millis(500)))]
    async fn a_reader_that_stops_is_disconnected(stage: Stage) -> Verdict {
        let mut bob = watching_member(&stage).await?;
        let slow = stalled_reader(&stage).await?;
        expect_left(&stage, &mut bob, "slow").await?;
        drop(slow);
        bob.post(&stage.room(), "on we go").await.map(drop)
    }

    /// Messages of other members arrive at once while one member reads nothing.
    async fn a_reader_that_stops_does_not_delay_others(stage: Stage) -> Verdict {
        let (mut ann, mut bob) = (stage.member("ann").await?, stage.member("bob").await?);
        let _slow = stalled_reader(&stage).await?;
        ann.events_so_far().await?;
        bob.events_so_far().await?;
        let started = Instant::now();
        for n in 0..50 {
            ann.post(&stage.room(), &n.to_string()).await?;
            bob.expect("message").await?;
        }
        let took = started.elapsed();
        check(took < millis(20_000), "50 messages within 20 s", format!("{took:?}"))
    }

    /// A client that was disconnected because it did not read resumes at its position without loss.
    #[source = "PROTOCOL.md, sections 5.4 and 5.5"]
    #[with(limits(|limits| limits.connection.write_timeout = millis(500)))]
    async fn a_disconnected_reader_resumes_without_loss(stage: Stage) -> Verdict {
        let mut bob = watching_member(&stage).await?;
        let epoch = bob.join(&stage.room()).await?["epoch"].clone();
        let slow = stalled_reader(&stage).await?;
        let seen = bob.post(&stage.room(), "while it sleeps").await? - 1;
        expect_left(&stage, &mut bob, "slow").await?;
        drop(slow);
        bob.post(&stage.room(), "after it was let go").await?;
        let mut back = stage.client("slow").await?;
        let after = json!({"epoch": epoch, "seq": seen});
        back.command(json!({"type": "join", "room": stage.room(), "after": after})).await?;
        let joined = back.expect("joined").await?;
        back.check(joined["recovered"] == true, "recovered: true", &joined)?;
        expect_messages(&mut back, [seen + 1, seen + 2]).await
    }

    /// A client that pauses for less than the write timeout gets all its replies, in order.
    #[with(limits(without_rates))]
    async fn a_slow_reader_gets_every_reply(stage: Stage) -> Verdict {
        let mut ann = member_of_long_room(&stage, "ann").await?;
        let room = stage.room();
        for round in 0..3 {
            let asked = |n| json!({"type": "history", "room": room, "ref": format!("{round}-{n}")});
            let frames: Vec<_> = (0..30).map(|n| Frame::json(&asked(n))).collect();
            ann.send_all(&frames).await?;
            // The pause is the subject of the case.
            sleep(millis(200)).await;
            for n in 0..30 {
                let history = ann.expect("history").await?;
                let fits = history["ref"] == format!("{round}-{n}");
                ann.check(fits, format!("the reply {round}-{n}"), &history["ref"])?;
            }
        }
        ann.expect_no_events().await
    }

    /// A client that reads single bytes does not delay others.
    async fn a_reader_of_single_bytes_does_not_delay_others(stage: Stage, mut ann: Member) -> Verdict {
        let mut slow = stalled_reader(&stage).await?;
        for n in 0..20 {
            slow.read_some(1).await;
            let started = Instant::now();
            ann.post(&stage.room(), &n.to_string()).await?;
            check(
                started.elapsed() < millis(6_000),
                "a message within 6 s",
                format!("{:?}", started.elapsed()),
            )?;
        }
        Ok(())
    }

    /// A client that does not read the answers to its plain HTTP requests is disconnected after the abandon timeout.
    #[source = "PROTOCOL.md, section 1"]
    #[with(limits(short_abandon_timeout))]
    #[with(needs(Needs::Limits))]
    async fn a_client_that_does_not_read_http_answers_is_disconnected(stage: Stage) -> Verdict {
        // Only Linux lets a server set this limit of a TCP connection.
        if !cfg!(target_os = "linux") {
            return Ok(());
        }
        let mut ann = stage.connect_with_small_buffer("ann").await?;
        let requests = Request::get("/not-the-chat").add("Host", stage.host()).encode().repeat(1_000);
        let limit = stage.limits().connection.abandon_timeout() + millis(12_000);
        ann.write_until_disconnect(&requests, limit).await
    }

    /// A new member is served while all other members of the room have stopped reading.
    async fn a_room_without_active_readers_serves_newcomers(stage: Stage) -> Verdict {
        let mut sleepers = Vec::new();
        for name in ["one", "two", "three"] {
            sleepers.push(stalled_reader_as(&stage, name).await?);
        }
        let mut ann = stage.member("ann").await?;
        ann.post(&stage.room(), "anybody?").await.map(drop)
    }

    /// Ten thousand pings, read as they are answered, end with the pong of the last one.
    #[source = "RFC 6455 section 5.5.3"]
    async fn a_flood_of_pings_is_answered(stage: Stage, mut ann: Client) -> Verdict {
        let mut bytes = Frame::ping([b'p'; 60]).encode().repeat(10_000);
        bytes.extend(Frame::ping("last").encode());
        ann.write_while_reading(&bytes).await?;
        loop {
            match ann.message().await? {
                Message::Pong(payload) if payload == b"last" => break,
                Message::Pong(_) => {}
                other => return Err(ann.failure("the last ping's pong", other)),
            }
        }
        ann.expect_no_events().await
    }

    /// The server stops reading from, or disconnects, a client that pings and never reads.
    #[source = "RFC 6455 section 10.4"]
    #[with(limits(|limits| limits.connection.write_timeout = millis(500)))]
    async fn a_flood_of_pings_without_reading_is_bounded(stage: Stage) -> Verdict {
        let mut flooder = stage.client_with_small_buffer("flooder").await?;
        flooder.set_patience(stage.limits().connection.write_timeout + millis(2_000));
        let pings = Frame::ping([0; 125]).encode().repeat(1_000);
        let mut written = 0;
        // The server must stop before it has read 64 MiB.
        while written < 64 * 1024 * 1024 && flooder.write(&pings).await.is_ok() {
            written += pings.len();
        }
        let bounded = written < 64 * 1024 * 1024;
        check(bounded, "a server that stops reading, or disconnects", format!("{written} bytes were read"))?;
        stage.expect_served().await
    }

    /// Thousands of invalid commands close with 4500 after the tenth, and are not all answered.
    #[source = "PROTOCOL.md, section 7.1 (`too_many_errors`)"]
    async fn a_flood_of_bad_json_is_closed_at_once(stage: Stage, mut ann: Client) -> Verdict {
        let started = Instant::now();
        ann.write_while_reading(&Frame::text("{").encode().repeat(20_000)).await?;
        ann.expect_close_code(&[4500]).await?;
        let errors = ann.buffered_events().iter().filter(|event| event["type"] == "error").count();
        check(errors == stage.limits().connection.max_errors, "ten errors", errors)?;
        let took = started.elapsed();
        check(took < millis(7_000), "the end within 7 s", format!("{took:?}"))
    }

    /// Other clients are served while one client sends endless tiny fragments.
    #[source = "RFC 6455 section 10.4"]
    async fn a_flood_of_tiny_fragments_does_not_affect_others(stage: Stage) -> Verdict {
        let (mut ann, mut flooder) = (stage.member("ann").await?, stage.client("flooder").await?);
        let mut bytes = Frame::text("x").unfinished().encode();
        bytes.extend(Frame::continuation("").unfinished().encode().repeat(200_000));
        let (poured, posted) = tokio::join!(flooder.write_while_reading(&bytes), async {
            for n in 0..20 {
                ann.post(&stage.room(), &n.to_string()).await?;
            }
            Ok(())
        });
        poured.and(posted)
    }

    /// Three thousand commands without a pause get three thousand replies, in order.
    #[source = "PROTOCOL.md, section 3"]
    #[with(limits(without_rates))]
    async fn thousands_of_commands_in_a_row_are_all_answered(stage: Stage, mut ann: Client) -> Verdict {
        let frames = pings(0..3_000);
        ann.send_all_while_reading(&frames).await?;
        expect_pongs(&mut ann, 0..3_000).await?;
        Ok(())
    }

    /// Five hundred messages in a row reach ten members in order, without a gap or a repetition.
    #[source = "PROTOCOL.md, section 5.1"]
    #[with(limits(without_rates))]
    async fn a_burst_reaches_all_members_complete(stage: Stage) -> Verdict {
        let mut readers = Vec::new();
        for n in 0..10 {
            readers.push(stage.member(&format!("reader{n}")).await?);
        }
        let mut ann = stage.member("ann").await?;
        let room = stage.room();
        let frames = vec![Frame::json(&send(&room, "x")); 500];
        ann.send_all_while_reading(&frames).await?;
        for reader in &mut readers {
            expect_messages(reader, 1..=500).await?;
        }
        Ok(())
    }

    /// Thirty resumes with long replays at once do not delay the room's live messages.
    #[with(race("thirty clients join at once while another sends"))]
    async fn many_resumes_at_once_do_not_stop_live_traffic(stage: Stage) -> Verdict {
        let mut ann = member_of_long_room(&stage, "ann").await?;
        let mut resuming = Vec::new();
        for n in 0..30 {
            let mut client = stage.client(&format!("r{n}")).await?;
            client.command(json!({"type": "join", "room": stage.room(), "last": 200})).await?;
            resuming.push(client);
        }
        let started = Instant::now();
        let seq = ann.post(&stage.room(), "live").await?;
        let took = started.elapsed();
        check(took < millis(7_000), "a live message within 7 s", format!("{took:?}"))?;
        for client in &mut resuming {
            client.expect("joined").await?;
            loop {
                let event = client.expect("message").await?;
                if event["seq"] == seq {
                    break;
                }
            }
        }
        Ok(())
    }

    /// A hundred connections that were idle are all served afterwards. They are all that an address may have.
    #[source = "PROTOCOL.md, section 5"]
    #[with(needs(Needs::Fresh))]
    async fn a_hundred_idle_connections_are_still_served(stage: Stage) -> Verdict {
        let mut idle = Vec::new();
        for n in 0..100 {
            idle.push(stage.client(&format!("idle{n}")).await?);
        }
        for client in &mut idle {
            client.expect_no_events().await?;
        }
        Ok(())
    }
);

fn short_abandon_timeout(limits: &mut Limits) {
    limits.connection.write_timeout = millis(300);
    limits.connection.close_timeout = millis(200);
}

/// A member that gets the `presence` events.
async fn watching_member(stage: &Stage) -> Result<Client, Failure> {
    member_of_long_room(stage, "bob").await
}

/// A member of the case's room, in which there are 100 long messages.
async fn member_of_long_room(stage: &Stage, name: &str) -> Result<Client, Failure> {
    let mut client = stage.member(name).await?;
    let (room, text) = (stage.room(), "x".repeat(1_000));
    let frames = vec![Frame::json(&send(&room, &text)); 100];
    client.send_all_while_reading(&frames).await?;
    client.events_so_far().await?;
    Ok(client)
}

/// A member that does not read the megabytes that it asked for.
async fn stalled_reader(stage: &Stage) -> Result<Client, Failure> {
    stalled_reader_as(stage, "slow").await
}

async fn stalled_reader_as(stage: &Stage, name: &str) -> Result<Client, Failure> {
    member_of_long_room(stage, "filler").await?.close(1000).await?;
    let mut slow = stage.client_with_small_buffer(name).await?;
    slow.join(&stage.room()).await?;
    let asked = Frame::json(&json!({"type": "history", "room": stage.room()})).encode();
    // The replies are together larger than all buffers on the way.
    slow.set_patience(millis(300));
    let _full = slow.write(&asked.repeat(400)).await;
    Ok(slow)
}

/// Expects the `presence` that this user has left.
async fn expect_left(stage: &Stage, client: &mut Client, name: &str) -> Verdict {
    client.set_patience(stage.limits().connection.write_timeout + millis(6_000));
    let name = stage.named(name);
    loop {
        let event = client.any_event().await?;
        if event["type"] == "presence" && event["state"] == "left" && event["user"]["id"] == *name {
            return Ok(());
        }
    }
}
