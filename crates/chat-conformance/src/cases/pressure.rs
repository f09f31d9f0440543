use std::time::Instant;

use serde_json::json;

use super::{Frame, Group, case, expect_messages, fail, millis, packet, ping, send};
use crate::client::{Client, Message};
use crate::{Failure, Stage, Verdict};

pub(super) fn group() -> Group {
    let cases = vec![
        case(
            "a_reader_that_stops_is_let_go",
            "A client for which much waits and that reads nothing is closed after the write timeout.",
            "PROTOCOL.md, section 5.5 (4000)",
            |stage| async move {
                let mut bob = watcher(&stage).await?;
                let slow = stuffed(&stage).await?;
                expect_left(&stage, &mut bob, "slow").await?;
                drop(slow);
                bob.post(&stage.room(), "on we go").await.map(drop)
            },
        )
        .with(|limits| limits.connection.write_timeout = millis(500)),
        case(
            "a_reader_that_stops_delays_nobody",
            "While one member reads nothing, messages of others go round at once.",
            "PROTOCOL.md, section 5.5",
            |stage| async move {
                let (mut ann, mut bob) = (stage.member("ann").await?, stage.member("bob").await?);
                let _slow = stuffed(&stage).await?;
                ann.so_far().await?;
                bob.so_far().await?;
                let started = Instant::now();
                for n in 0..50 {
                    ann.post(&stage.room(), &n.to_string()).await?;
                    bob.expect("message").await?;
                }
                let took = started.elapsed();
                fail(took < millis(5_000), "50 messages within 5 s", format!("{took:?}"))
            },
        ),
        case(
            "a_slow_reader_that_resumes_gets_exactly_what_it_missed",
            "A client that was let go for not reading resumes where it was, with nothing missing.",
            "PROTOCOL.md, sections 5.4 and 5.5",
            |stage| async move {
                let mut bob = watcher(&stage).await?;
                let epoch = bob.join(&stage.room()).await?["epoch"].clone();
                let slow = stuffed(&stage).await?;
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
            },
        )
        .with(|limits| limits.connection.write_timeout = millis(500)),
        case(
            "a_reader_that_is_slow_but_reads_gets_everything",
            "A client that pauses for less than the write timeout gets all its replies, in order.",
            "PROTOCOL.md, section 5.5",
            |stage| async move {
                let mut ann = filled(&stage, "ann").await?;
                let room = stage.room();
                for round in 0..3 {
                    let asked = |n| json!({"type": "history", "room": room, "ref": format!("{round}-{n}")});
                    let frames: Vec<_> = (0..30).map(|n| Frame::text(asked(n).to_string())).collect();
                    ann.send_all(&frames).await?;
                    // The pause is what this is about.
                    tokio::time::sleep(millis(200)).await;
                    for n in 0..30 {
                        let history = ann.expect("history").await?;
                        let fits = history["ref"] == format!("{round}-{n}");
                        ann.check(fits, format!("the reply {round}-{n}"), &history["ref"])?;
                    }
                }
                ann.expect_quiet().await
            },
        ),
        case(
            "a_reader_of_single_bytes_harms_only_itself",
            "A client that takes a few bytes now and then does not delay others, whatever becomes of it.",
            "PROTOCOL.md, section 5.5",
            |stage| async move {
                let mut ann = stage.member("ann").await?;
                let mut slow = stuffed(&stage).await?;
                for n in 0..20 {
                    slow.sip(1).await;
                    let started = Instant::now();
                    ann.post(&stage.room(), &n.to_string()).await?;
                    fail(
                        started.elapsed() < millis(3_000),
                        "a message within 3 s",
                        format!("{:?}", started.elapsed()),
                    )?;
                }
                Ok(())
            },
        ),
        case(
            "a_room_lives_when_all_its_readers_stop",
            "When nobody in a room reads any more, newcomers are still served.",
            "PROTOCOL.md, section 5.5",
            |stage| async move {
                let mut sleepers = Vec::new();
                for name in ["one", "two", "three"] {
                    sleepers.push(stuffed_as(&stage, name).await?);
                }
                let mut ann = stage.member("ann").await?;
                ann.post(&stage.room(), "anybody?").await.map(drop)
            },
        ),
        case(
            "a_flood_of_pings_is_survived",
            "Ten thousand pings, read as they are answered, end with the last one's pong.",
            "RFC 6455 section 5.5.3",
            |stage| async move {
                let mut ann = stage.client("ann").await?;
                let mut bytes = Frame::ping([b'p'; 60]).encode().repeat(10_000);
                bytes.extend(Frame::ping("last").encode());
                ann.pour(&bytes).await?;
                loop {
                    match ann.message().await? {
                        Message::Pong(payload) if payload == b"last" => break,
                        Message::Pong(_) => {}
                        other => return Err(ann.failure("the last ping's pong", other)),
                    }
                }
                ann.expect_quiet().await
            },
        ),
        case(
            "a_flood_of_pings_that_nobody_reads_is_bounded",
            "A client that pings on and never reads is stopped, or let go; nothing grows without bound.",
            "RFC 6455 section 10.4",
            |stage| async move {
                let mut flooder = stage.narrow_client("flooder").await?;
                flooder.be_patient_for(stage.limits().connection.write_timeout + millis(2_000));
                let pings = Frame::ping([0; 125]).encode().repeat(1_000);
                let mut written = 0;
                // 64 MiB in all, were they all taken.
                while written < 64 * 1024 * 1024 && flooder.write(&pings).await.is_ok() {
                    written += pings.len();
                }
                let bounded = written < 64 * 1024 * 1024;
                fail(bounded, "a server that stops reading, or goes", format!("{written} bytes taken"))?;
                stage.expect_alive().await
            },
        )
        .with(|limits| limits.connection.write_timeout = millis(500)),
        case(
            "a_flood_of_bad_json_is_closed_at_once",
            "Thousands of bad commands close with 4500 after the tenth, and are not all answered.",
            "PROTOCOL.md, section 7.1 (`too_many_errors`)",
            |stage| async move {
                let mut ann = stage.client("ann").await?;
                let started = Instant::now();
                ann.pour(&Frame::text("{").encode().repeat(20_000)).await?;
                let code = ann.expect_close_frame().await?;
                fail(code == Some(4500), "a close frame with code 4500", Message::Close(code))?;
                let errors = ann.held().iter().filter(|event| event["type"] == "error").count();
                fail(errors == stage.limits().connection.max_errors, "ten errors", errors)?;
                let took = started.elapsed();
                fail(took < millis(4_000), "the end within 4 s", format!("{took:?}"))
            },
        ),
        case(
            "a_flood_of_tiny_fragments_harms_nobody_else",
            "While one client sends one-byte fragments without end, others are served.",
            "RFC 6455 section 10.4",
            |stage| async move {
                let (mut ann, mut flooder) = (stage.member("ann").await?, stage.client("flooder").await?);
                let mut bytes = Frame::text("x").unfinished().encode();
                bytes.extend(Frame::continuation("").unfinished().encode().repeat(200_000));
                let (poured, posted) = tokio::join!(flooder.pour(&bytes), async {
                    for n in 0..20 {
                        ann.post(&stage.room(), &n.to_string()).await?;
                    }
                    Ok(())
                });
                poured.and(posted)
            },
        ),
        case(
            "thousands_of_commands_in_a_row_are_all_answered",
            "Three thousand commands without a pause get three thousand replies, in order.",
            "PROTOCOL.md, section 3",
            |stage| async move {
                let mut ann = stage.client("ann").await?;
                let frames: Vec<_> = (0..3_000).map(|n| Frame::text(ping(&n.to_string()))).collect();
                ann.pour(&packet(&frames)).await?;
                for n in 0..3_000 {
                    super::expect_pong_event(&mut ann, &n.to_string()).await?;
                }
                Ok(())
            },
        ),
        case(
            "a_burst_in_a_room_reaches_everybody_whole",
            "Five hundred messages in a row reach ten members in order, without a hole or a repetition.",
            "PROTOCOL.md, section 5.1",
            |stage| async move {
                let mut readers = Vec::new();
                for n in 0..10 {
                    readers.push(stage.member(&format!("reader{n}")).await?);
                }
                let mut ann = stage.member("ann").await?;
                let room = stage.room();
                let frames: Vec<_> = (0..500).map(|_| Frame::text(send(&room, "x").to_string())).collect();
                ann.pour(&packet(&frames)).await?;
                for reader in &mut readers {
                    expect_messages(reader, 1..=500).await?;
                }
                Ok(())
            },
        ),
        case(
            "many_resumes_at_once_do_not_stop_live_traffic",
            "Thirty resumes with long replays at once leave the room's live messages their way.",
            "PROTOCOL.md, section 5.5",
            |stage| async move {
                let mut ann = filled(&stage, "ann").await?;
                let mut resuming = Vec::new();
                for n in 0..30 {
                    let mut client = stage.client(&format!("r{n}")).await?;
                    client.command(json!({"type": "join", "room": stage.room(), "last": 200})).await?;
                    resuming.push(client);
                }
                let started = Instant::now();
                let seq = ann.post(&stage.room(), "live").await?;
                let took = started.elapsed();
                fail(took < millis(4_000), "a live message within 4 s", format!("{took:?}"))?;
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
            },
        )
        .race("thirty join at once, and one posts"),
        case(
            "a_hundred_idle_connections_are_served_when_they_wake",
            "A hundred connections that said nothing are all there when asked.",
            "PROTOCOL.md, section 5",
            |stage| async move {
                let mut idle = Vec::new();
                for n in 0..100 {
                    idle.push(stage.client(&format!("idle{n}")).await?);
                }
                for client in &mut idle {
                    client.expect_quiet().await?;
                }
                Ok(())
            },
        ),
    ];
    Group {
        name: "pressure",
        look: "crates/chat-core/src/driver/ (batches, write_timeout) and the mechanism's write buffer",
        cases,
    }
}

/// A member who sees who comes and goes.
async fn watcher(stage: &Stage) -> Result<Client, Failure> {
    filled(stage, "bob").await
}

/// A member of the case's room, which has 100 long messages.
async fn filled(stage: &Stage, name: &str) -> Result<Client, Failure> {
    let mut client = stage.member(name).await?;
    let (room, text) = (stage.room(), "x".repeat(1_000));
    let frames: Vec<_> = (0..100).map(|_| Frame::text(send(&room, &text).to_string())).collect();
    client.pour(&packet(&frames)).await?;
    client.so_far().await?;
    Ok(client)
}

/// A member for whom megabytes wait, and who reads none of them.
async fn stuffed(stage: &Stage) -> Result<Client, Failure> {
    stuffed_as(stage, "slow").await
}

async fn stuffed_as(stage: &Stage, name: &str) -> Result<Client, Failure> {
    filled(stage, "filler").await?.close(1000).await?;
    let mut slow = stage.narrow_client(name).await?;
    slow.join(&stage.room()).await?;
    let asked = Frame::text(json!({"type": "history", "room": stage.room()}).to_string()).encode();
    // Together they ask for more than any buffer on the way holds.
    slow.be_patient_for(millis(300));
    let _full = slow.write(&asked.repeat(400)).await;
    Ok(slow)
}

/// The others hear that the user has left.
async fn expect_left(stage: &Stage, client: &mut Client, name: &str) -> Verdict {
    client.be_patient_for(stage.limits().connection.write_timeout + millis(6_000));
    let name = stage.named(name);
    loop {
        let event = client.any_event().await?;
        if event["type"] == "presence" && event["state"] == "left" && event["user"]["id"] == *name {
            return Ok(());
        }
    }
}
