use super::*;

chat_suite::cases!(
    /// A drain sends each client `closing` with 1012 and the time to reconnect, then the close frame.
    async fn a_drain_announces_the_restart_to_every_client(stage: Stage) -> Verdict {
        let mut clients = Vec::new();
        for name in ["ann", "bob", "cid"] {
            clients.push(stage.member(name).await?);
        }
        let drained = stage.drain();
        for client in &mut clients {
            let closing = client.expect("closing").await?;
            let fits = closing["code"] == 1012 && closing["reason"] == "restarting";
            client.check(fits, "`closing` with 1012, restarting", &closing)?;
            client.check(closing["reconnect_in_ms"].is_u64(), "`reconnect_in_ms`", &closing)?;
            expect_restart(client).await?;
        }
        expect_drained(drained).await
    }

    /// A handshake during a drain is answered with 503 and `Retry-After`, or the connection is refused.
    #[source = "PROTOCOL.md, sections 1 and 5.6 (`draining`)"]
    async fn a_draining_server_refuses_new_connections(stage: Stage, mut ann: Client) -> Verdict {
        let mut late = stage.connect("late").await?;
        let drained = stage.drain();
        ann.expect("closing").await?;
        late.write(&stage.handshake("late").encode()).await?;
        let answer = late.expect_refusal(503, "draining").await?;
        let advice = answer.header("retry-after").and_then(|value| value.parse::<u64>().ok());
        check(advice.is_some(), "`Retry-After` in seconds", answer.head())?;
        expect_restart(&mut ann).await?;
        drop((ann, late));
        drained.await;
        Ok(())
    }

    /// The messages that get `sent` during a drain are exactly those that are stored.
    #[source = "PROTOCOL.md, sections 5.2 and 5.6"]
    #[with(race("the drain can begin between any two commands"))]
    async fn commands_in_flight_are_finished(stage: Stage, mut ann: Member, mut bob: Member) -> Verdict {
        let room = stage.room();
        let frames = sends(&room, 0..50);
        ann.send_all(&frames).await?;
        let drained = stage.drain();
        let count = |client: &Client, kind: &str| {
            client.buffered_events().iter().filter(|event| event["type"] == kind).count()
        };
        for client in [&mut ann, &mut bob] {
            client.expect_close_code(&[1012]).await?;
            client.send(Frame::close(1012, "")).await?;
            client.expect_disconnect().await?;
        }
        let (sent, own) = (count(&ann, "sent"), count(&ann, "message"));
        let seen = count(&bob, "message");
        check(seen <= sent, "no message in the history without `sent`", format!("{seen} of {sent}"))?;
        check(own <= sent, "no message in the history without `sent`", format!("{own} of {sent}"))?;
        expect_drained(drained).await
    }

    /// A client that ignores the close frame is disconnected, and the drain ends.
    async fn an_unresponsive_client_does_not_delay_a_drain(stage: Stage) -> Verdict {
        let (mut ann, mut bob) = (stage.member("ann").await?, stage.member("bob").await?);
        let drained = stage.drain();
        expect_restart(&mut bob).await?;
        ann.expect_close_code(&[1012]).await?;
        ann.expect_disconnect().await?;
        expect_drained(drained).await
    }

    /// A client in the middle of a fragmented message is closed with 1012 like others.
    #[source = "PROTOCOL.md, section 5.6; RFC 6455 section 5.4"]
    async fn a_drain_closes_a_client_inside_a_message(stage: Stage, mut ann: Member) -> Verdict {
        ann.send(Frame::text("{\"type\":").unfinished()).await?;
        ann.send(Frame::ping("synced")).await?;
        ann.expect_pong(b"synced").await?;
        let drained = stage.drain();
        expect_restart(&mut ann).await?;
        expect_drained(drained).await
    }

    /// A close of the client and one of the server can cross: the stream ends well.
    #[source = "RFC 6455 section 7.1; PROTOCOL.md, section 5.6"]
    #[with(race("either close can be first"))]
    async fn a_client_that_closes_during_a_drain_is_answered(stage: Stage, mut ann: Member) -> Verdict {
        let drained = stage.drain();
        ann.send(Frame::close(1000, "")).await?;
        ann.expect_close_code(&[1000, 1012]).await?;
        ann.expect_disconnect().await?;
        expect_drained(drained).await
    }

    /// A command behind `closing` is not run: it gets no reply, and others get no message.
    async fn commands_after_closing_are_not_run(stage: Stage, mut ann: Member, mut bob: Member) -> Verdict {
        let drained = stage.drain();
        ann.expect("closing").await?;
        ann.command(json!({"type": "send", "room": stage.room(), "body": {"text": "late"}})).await?;
        expect_restart(&mut ann).await?;
        expect_restart(&mut bob).await?;
        let late = bob.buffered_events().iter().any(|event| event["type"] == "message");
        check(!late, "no message after `closing`", Events(bob.buffered_events()))?;
        expect_drained(drained).await
    }

    /// The drain of a server without clients ends at once.
    async fn a_drain_without_clients_ends_at_once(stage: Stage) -> Verdict {
        stage.client("ann").await?.close(1000).await?;
        let started = Instant::now();
        expect_drained(stage.drain()).await?;
        let took = started.elapsed();
        check(took < millis(4_000), "an end within 4 s", format!("{took:?}"))
    }
);

/// Expects the close frame of a restart, answers it, and expects the end.
async fn expect_restart(client: &mut Client) -> Verdict {
    client.expect_close_code(&[1012]).await?;
    client.send(Frame::close(1012, "")).await?;
    client.expect_disconnect().await
}

/// Expects that the drain ends, and that no connection was abandoned.
async fn expect_drained(drained: impl Future<Output = bool>) -> Verdict {
    check(drained.await, "a drain that ends and abandons no connection", "one that does not")
}
