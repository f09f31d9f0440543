use super::*;

const RACE: &str = "tokens come back with time";

chat_suite::cases!(
    /// Commands beyond the rate of a connection are refused with `rate_limited` and the time to wait. Each command
    /// still gets one reply, in order, and a command after that time is served.
    #[source = "PROTOCOL.md, section 8"]
    #[with(limits(|limits| set_rates(limits, Rate::new(10, 20), Rate::UNLIMITED)))]
    #[with(race(RACE))]
    async fn a_burst_beyond_the_rate_is_refused_with_a_time_to_wait(stage: Stage) -> Verdict {
        let rate = stage.limits().rates.connection;
        let mut ann = stage.client("ann").await?;
        let (served, wait) = burst(&mut ann, rate.burst * 2).await?;
        check(served >= rate.burst, format!("the {} commands of a burst are served", rate.burst), served)?;
        let wait = wait.ok_or_else(|| ann.failure("a refusal with `rate_limited`", served))?;
        sleep(millis(wait)).await;
        ann.ask_for("pong", json!({"type": "ping"})).await.map(drop)
    }

    /// A client that sends commands earlier than it was told is read more slowly, so that most of its commands are
    /// served and few are refused. Each command still gets one reply, in order.
    #[source = "PROTOCOL.md, section 8"]
    #[with(limits(|limits| set_rates(limits, Rate::new(50, 20), Rate::UNLIMITED)))]
    #[with(race(RACE))]
    async fn a_client_that_does_not_wait_as_told_is_read_slowly(stage: Stage) -> Verdict {
        let rate = stage.limits().rates.connection;
        let mut ann = stage.client("ann").await?;
        let beyond = 40;
        let (served, _) = burst(&mut ann, rate.burst + beyond).await?;
        let least = rate.burst + beyond / 2;
        check(
            served >= least,
            format!("{least} of {} commands at once are served", rate.burst + beyond),
            served,
        )
    }

    /// A command that was refused for its rate has no effect.
    #[source = "PROTOCOL.md, section 8"]
    #[with(limits(|limits| set_rates(limits, Rate::new(10, 20), Rate::UNLIMITED)))]
    #[with(race(RACE))]
    async fn a_command_beyond_the_rate_has_no_effect(stage: Stage) -> Verdict {
        let rate = stage.limits().rates.connection;
        let mut ann = stage.member("ann").await?;
        let count = rate.burst * 2;
        let sends = (0..count).map(|number| {
            let mut command = send(&stage.room(), &number.to_string());
            command["ref"] = json!(number.to_string());
            Frame::json(&command)
        });
        ann.send_all(&sends.collect::<Vec<_>>()).await?;
        let mut sent = Vec::new();
        for number in 0..count {
            let reply = ann.reply(&json!(number.to_string())).await?;
            match reply["type"] == "sent" {
                true => sent.push(number.to_string()),
                false => ann.check(reply["code"] == "rate_limited", "`sent` or `rate_limited`", &reply)?,
            }
        }
        let stored: Vec<_> =
            stage.history().await?.iter().map(|message| text_of(message).to_owned()).collect();
        check(stored == sent, format!("the messages with the reply `sent`: {sent:?}"), format!("{stored:?}"))
    }

    /// The connections of one user share a rate. Another user has a rate of its own.
    #[source = "PROTOCOL.md, section 8"]
    #[with(limits(|limits| set_rates(limits, Rate::UNLIMITED, Rate::new(2, 20))))]
    #[with(race(RACE))]
    #[with(one_node(LIMIT))]
    async fn the_connections_of_a_user_share_a_rate(stage: Stage) -> Verdict {
        let burst_of_user = stage.limits().rates.user.burst;
        let (mut phone, mut laptop) = (stage.client("ann").await?, stage.client("ann").await?);
        let started = Instant::now();
        let (first, _) = burst(&mut phone, burst_of_user).await?;
        let (second, _) = burst(&mut laptop, burst_of_user / 2).await?;
        let seconds = u32::try_from(started.elapsed().as_secs()).unwrap_or(u32::MAX) + 1;
        let most = burst_of_user.saturating_add(stage.limits().rates.user.per_second.saturating_mul(seconds));
        check(first + second <= most, format!("at most {most} commands of both are served"), first + second)?;
        let mut bob = stage.client("bob").await?;
        let (served, _) = burst(&mut bob, burst_of_user).await?;
        check(served == burst_of_user, format!("{burst_of_user} commands of another user are served"), served)
    }

    /// A change costs as much as a message: all changes of a burst are served, and no more.
    #[source = "PROTOCOL.md, section 8"]
    #[with(limits(|limits| set_rates(limits, Rate::new(2, 20), Rate::UNLIMITED)))]
    #[with(race(RACE))]
    async fn a_change_costs_as_much_as_a_message(stage: Stage, mut ann: Member) -> Verdict {
        let (room, rate) = (stage.room(), stage.limits().rates.connection);
        ann.post(&room, "hi").await?;
        sleep(Duration::from_secs(u64::from(rate.burst / rate.per_second.max(1)).min(10))).await;
        let started = Instant::now();
        let changes = (0..rate.burst * 2).map(|number| {
            let change = changed::react(&room, 1, "+1", number % 2 == 0);
            Frame::json(&changed::with(change, "ref", number.to_string()))
        });
        ann.send_all(&changes.collect::<Vec<_>>()).await?;
        let mut served = 0;
        for number in 0..rate.burst * 2 {
            let reply = ann.reply(&json!(number.to_string())).await?;
            served += u32::from(reply["type"] == "done");
        }
        let seconds = u32::try_from(started.elapsed().as_secs()).unwrap_or(u32::MAX) + 1;
        let most = rate.burst.saturating_add(rate.per_second.saturating_mul(seconds));
        let fits = (rate.burst..=most).contains(&served);
        check(fits, format!("{} to {most} changes are served", rate.burst), served)
    }

    /// A refusal for the rate is no error of the client: many of them do not close the connection.
    #[source = "PROTOCOL.md, sections 7.1 and 8"]
    #[with(limits(|limits| set_rates(limits, Rate::new(10, 1), Rate::UNLIMITED)))]
    #[with(race(RACE))]
    async fn refusals_for_the_rate_do_not_close_the_connection(stage: Stage) -> Verdict {
        let mut ann = stage.client("ann").await?;
        let errors = u32::try_from(stage.limits().connection.max_errors).unwrap_or(u32::MAX);
        burst(&mut ann, errors * 3).await?;
        sleep(millis(1_000)).await;
        ann.ask_for("pong", json!({"type": "ping"})).await.map(drop)
    }

    /// A client that keeps sending commands earlier than it was told is closed with 4002.
    #[source = "PROTOCOL.md, section 8 (4002)"]
    #[with(limits(|limits| {
        set_rates(limits, Rate::new(5, 1), Rate::UNLIMITED);
        limits.rates.close_after = millis(500);
    }))]
    #[with(race(RACE))]
    async fn a_client_that_ignores_the_rate_is_closed(stage: Stage) -> Verdict {
        let mut ann = stage.client("ann").await?;
        let limit = stage.limits().rates.close_after + millis(3_000);
        let started = Instant::now();
        while started.elapsed() < limit {
            ann.send(Frame::text(ping("1"))).await?;
            if ann.event().await?["type"] == "closing" {
                break;
            }
            sleep(millis(20)).await;
        }
        ann.expect_close_code(&[4002]).await
    }

    /// A client that sends more bytes than its rate is read more slowly. Every command is served, in order.
    #[source = "PROTOCOL.md, section 8"]
    #[with(limits(|limits| {
        set_rates(limits, Rate::UNLIMITED, Rate::UNLIMITED);
        limits.rates.read_bytes = Rate::new(20_000, 20_000);
    }))]
    #[with(race(RACE))]
    async fn a_client_that_sends_too_many_bytes_is_read_slowly(stage: Stage) -> Verdict {
        let mut ann = stage.client("ann").await?;
        let pad = "x".repeat(10_000);
        let frames =
            (0..5).map(|number| Frame::json(&json!({"type": "ping", "ref": number.to_string(), "pad": pad})));
        let started = Instant::now();
        ann.send_all(&frames.collect::<Vec<_>>()).await?;
        expect_pongs(&mut ann, 0..5).await?;
        let time = started.elapsed();
        check(time >= millis(1_000), "50,000 bytes take 1 s at least", format!("{time:?}"))
    }
);

fn set_rates(limits: &mut Limits, connection: Rate, user: Rate) {
    limits.rates.connection = connection;
    limits.rates.user = user;
}

/// Sends pings at once. Returns the number of those that were served, and the longest time to wait that a refusal
/// named, in milliseconds.
async fn burst(client: &mut Client, count: u32) -> Result<(u32, Option<u64>), Failure> {
    client.send_all(&pings(0..u64::from(count))).await?;
    let (mut served, mut wait) = (0, None);
    for number in 0..count {
        let reply = client.event().await?;
        client.check(
            reply["ref"].as_str() == Some(&*number.to_string()),
            format!("the reply to the ping {number}"),
            &reply,
        )?;
        if reply["type"] == "pong" {
            served += 1;
            continue;
        }
        let told = reply["retry_after_ms"].as_u64().filter(|wait| *wait > 0);
        let is_refusal = reply["code"] == "rate_limited" && told.is_some();
        client.check(is_refusal, "`pong`, or `rate_limited` with `retry_after_ms`", &reply)?;
        wait = wait.max(told);
    }
    Ok((served, wait))
}
