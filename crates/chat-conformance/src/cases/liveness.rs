use super::*;

chat_suite::cases!(
    /// An idle connection gets a ping, and another later, as long as it answers.
    #[source = "PROTOCOL.md, section 2; RFC 6455 section 5.5.2"]
    #[with(limits(|limits| set_pings(limits, 200, 3_000)))]
    async fn an_idle_connection_is_pinged(stage: Stage) -> Verdict {
        let mut ann = patient(&stage).await?;
        for _ in 0..2 {
            expect_ping(&mut ann).await?;
        }
        ann.expect_no_events().await
    }

    /// A client that does not answer the ping is closed with 4001.
    #[with(limits(short_pings))]
    async fn a_client_that_does_not_answer_pings_is_closed(stage: Stage) -> Verdict {
        let mut ann = patient(&stage).await?;
        ann.ignore_pings();
        expect_ping(&mut ann).await?;
        ann.expect_closed(4001).await
    }

    /// A client that stops in the middle of a frame is closed with 4001, like a silent one.
    #[with(limits(short_pings))]
    async fn a_client_silent_inside_a_frame_is_closed(stage: Stage) -> Verdict {
        let mut ann = patient(&stage).await?;
        ann.ignore_pings();
        let frame = Frame::text(ping("1")).encode();
        ann.write(&frame[..frame.len() / 2]).await?;
        ann.expect_closed(4001).await
    }

    /// A client that stops in the middle of a frame's header is closed with 4001.
    #[with(limits(short_pings))]
    async fn a_client_silent_inside_a_header_is_closed(stage: Stage) -> Verdict {
        let mut ann = patient(&stage).await?;
        ann.ignore_pings();
        ann.write(&Frame::text(" ".repeat(1_000)).encode()[..3]).await?;
        ann.expect_closed(4001).await
    }

    /// A client that stops between the fragments of a message is closed with 4001.
    #[with(limits(short_pings))]
    async fn a_client_silent_between_fragments_is_closed(stage: Stage) -> Verdict {
        let mut ann = patient(&stage).await?;
        ann.ignore_pings();
        ann.send(Frame::text("{").unfinished()).await?;
        ann.expect_closed(4001).await
    }

    /// Other members get `presence` when a silent member is closed.
    #[source = "PROTOCOL.md, sections 2 and 4"]
    #[with(limits(short_pings))]
    async fn a_silent_member_leaves_its_rooms(stage: Stage) -> Verdict {
        let mut bob = patient(&stage).await?;
        bob.join(&stage.room()).await?;
        let mut ann = stage.member("silent").await?;
        ann.ignore_pings();
        loop {
            let event = bob.any_event().await?;
            if event["type"] == "presence" && event["state"] == "left" {
                let name = stage.named("silent");
                return bob.check(event["user"]["id"] == *name, format!("that {name} has left"), &event);
            }
        }
    }

    /// A client that sends commands and ignores pings is not closed.
    #[source = "PROTOCOL.md, section 2"]
    #[with(limits(short_pings))]
    async fn commands_keep_a_connection_alive(stage: Stage) -> Verdict {
        let mut ann = patient(&stage).await?;
        ann.ignore_pings();
        expect_stays_connected(&stage, &mut ann, |n| Frame::text(ping(&n.to_string()))).await
    }

    /// A client that sends its own pings and ignores those of the server is not closed.
    #[source = "PROTOCOL.md, section 2"]
    #[with(limits(short_pings))]
    async fn client_pings_keep_a_connection_alive(stage: Stage) -> Verdict {
        let mut ann = patient(&stage).await?;
        ann.ignore_pings();
        expect_stays_connected(&stage, &mut ann, |_| Frame::ping("alive")).await
    }

    /// A pong with another payload than the ping's keeps the connection alive too.
    #[source = "RFC 6455 section 5.5.3"]
    #[with(limits(short_pings))]
    async fn any_pong_keeps_a_connection_alive(stage: Stage) -> Verdict {
        let mut ann = patient(&stage).await?;
        ann.ignore_pings();
        expect_stays_connected(&stage, &mut ann, |_| Frame::pong("unasked")).await
    }

    /// A member that only answers pings is still connected after many intervals.
    #[source = "PROTOCOL.md, section 2"]
    #[with(limits(|limits| set_pings(limits, 100, 3_000)))]
    #[with(needs(Needs::Limits))]
    async fn a_member_that_answers_pings_stays(stage: Stage) -> Verdict {
        let mut ann = patient(&stage).await?;
        ann.join(&stage.room()).await?;
        for _ in 0..8 {
            expect_ping(&mut ann).await?;
        }
        let mut bob = stage.member("bob").await?;
        bob.post(&stage.room(), "still there?").await?;
        expect_messages(&mut ann, [1]).await
    }

    /// A member gets its messages between an unanswered ping and the close.
    #[source = "PROTOCOL.md, section 5.4"]
    #[with(limits(|limits| set_pings(limits, 200, 4_000)))]
    async fn events_are_delivered_while_a_ping_is_unanswered(stage: Stage) -> Verdict {
        let mut ann = patient(&stage).await?;
        ann.ignore_pings();
        ann.join(&stage.room()).await?;
        expect_ping(&mut ann).await?;
        let mut bob = stage.member("bob").await?;
        bob.command(send(&stage.room(), "meanwhile")).await?;
        expect_messages(&mut ann, [1]).await
    }

    /// The time from the last data of a client to the close is the ping interval plus the timeout, and little more.
    #[source = "PROTOCOL.md, section 2"]
    #[with(limits(short_pings))]
    async fn a_silent_client_is_closed_in_time(stage: Stage) -> Verdict {
        let limits = stage.limits();
        let due = limits.connection.ping_interval + limits.connection.ping_timeout;
        let mut ann = patient(&stage).await?;
        ann.ignore_pings();
        let started = Instant::now();
        ann.expect_closed(4001).await?;
        let took = started.elapsed();
        let in_time = took + millis(100) > due && took < due + millis(5_000);
        check(in_time, format!("the end after about {due:?}"), format!("{took:?}"))
    }
);

fn short_pings(limits: &mut Limits) {
    set_pings(limits, 400, 400);
}

/// Sets the ping interval and the ping timeout, in milliseconds.
fn set_pings(limits: &mut Limits, interval: u64, timeout: u64) {
    limits.connection.ping_interval = millis(interval);
    limits.connection.ping_timeout = millis(timeout);
}

/// A client that waits for as long as the server may take.
async fn patient(stage: &Stage) -> Result<Client, Failure> {
    let mut client = stage.client("ann").await?;
    let limits = stage.limits();
    client.set_patience(limits.connection.ping_interval + limits.connection.ping_timeout + millis(5_000));
    Ok(client)
}

async fn expect_ping(client: &mut Client) -> Verdict {
    loop {
        match client.message().await? {
            Message::Ping(_) => return Ok(()),
            Message::Event(_) | Message::Pong(_) => {}
            other => return Err(client.failure("a ping", other)),
        }
    }
}

/// Sends these frames for longer than a silent client stays connected, and expects to be served.
async fn expect_stays_connected(
    stage: &Stage,
    client: &mut Client,
    sign: impl Fn(usize) -> Frame,
) -> Verdict {
    let limits = stage.limits();
    let pause = (limits.connection.ping_interval + limits.connection.ping_timeout) / 4;
    for n in 0..6 {
        client.send(sign(n)).await?;
        // The time between the signs of life is the subject of the case.
        sleep(pause).await;
    }
    client.events_so_far().await.map(drop)
}
