use serde_json::{Value, json};

use super::{Frame, Group, case, expect_messages, packet, send};
use crate::client::Client;
use crate::{Failure, Needs, Stage};

pub(super) fn group() -> Group {
    let cases = vec![
        case(
            "a_resume_at_every_position_gets_exactly_the_rest",
            "Whatever a client has seen last, it gets all after that, in order, once, then what is new.",
            "PROTOCOL.md, section 5.4",
            |stage| async move {
                let (mut ann, epoch) = filled(&stage, 20).await?;
                for seen in 0..=20_u64 {
                    let mut bob = stage.client("bob").await?;
                    let joined = bob.ask_for("joined", after(&stage.room(), &epoch, seen)).await?;
                    bob.check(joined["recovered"] == true, "recovered: true", &joined)?;
                    expect_messages(&mut bob, seen + 1..=20).await?;
                    bob.expect_quiet().await?;
                }
                let mut bob = stage.client("bob").await?;
                bob.ask_for("joined", after(&stage.room(), &epoch, 18)).await?;
                ann.post(&stage.room(), "live").await?;
                expect_messages(&mut bob, 19..=21).await
            },
        ),
        case(
            "a_resume_while_messages_flow_has_no_hole",
            "A resume in the middle of a flood gets the old, then the live ones, nothing twice.",
            "PROTOCOL.md, section 5.4",
            |stage| async move {
                let (mut ann, epoch) = filled(&stage, 50).await?;
                let mut bob = stage.client("bob").await?;
                let room = stage.room();
                let flood: Vec<_> = (0..150).map(|_| Frame::text(send(&room, "x").to_string())).collect();
                let flood = packet(&flood);
                let (poured, joined) = tokio::join!(ann.pour(&flood), async {
                    bob.command(after(&room, &epoch, 10)).await?;
                    bob.expect("joined").await?;
                    expect_messages(&mut bob, 11..=200).await
                });
                poured.and(joined)
            },
        )
        .race("the resume meets the flood anywhere"),
        case(
            "a_client_that_reconnects_misses_nothing",
            "What was said while a client was away is there when it resumes.",
            "PROTOCOL.md, section 5.4",
            |stage| async move {
                let (mut ann, epoch) = filled(&stage, 1).await?;
                let bob = stage.member("bob").await?;
                bob.reset();
                for n in 0..5 {
                    ann.post(&stage.room(), &n.to_string()).await?;
                }
                let mut bob = stage.client("bob").await?;
                bob.command(after(&stage.room(), &epoch, 1)).await?;
                bob.expect("joined").await?;
                expect_messages(&mut bob, 2..=6).await
            },
        ),
        case(
            "last_brings_the_newest_messages",
            "`last` brings that many of the newest, oldest first, or all if there are fewer; 0 brings none.",
            "PROTOCOL.md, section 3",
            |stage| async move {
                let (mut ann, _) = filled(&stage, 10).await?;
                for (last, first) in [(3, 8), (10, 1), (1_000, 1), (0, 11)] {
                    let mut bob = stage.client("bob").await?;
                    let join = json!({"type": "join", "room": stage.room(), "last": last});
                    bob.ask_for("joined", join).await?;
                    expect_messages(&mut bob, first..=10).await?;
                    bob.expect_quiet().await?;
                }
                ann.expect_quiet().await
            },
        ),
        case(
            "a_join_without_a_position_brings_only_what_is_new",
            "A join that asks for nothing gets what is said from then on, and nothing older.",
            "PROTOCOL.md, section 3",
            |stage| async move {
                let (mut ann, _) = filled(&stage, 5).await?;
                let mut bob = stage.client("bob").await?;
                bob.command(json!({"type": "join", "room": stage.room()})).await?;
                bob.expect("joined").await?;
                ann.post(&stage.room(), "new").await?;
                expect_messages(&mut bob, [6]).await
            },
        ),
        case(
            "a_member_may_read_again_from_another_place",
            "A member who joins again with `after` or `last` gets those messages again, then the live ones.",
            "PROTOCOL.md, section 3",
            |stage| async move {
                let (mut ann, epoch) = filled(&stage, 6).await?;
                ann.command(after(&stage.room(), &epoch, 4)).await?;
                ann.expect("joined").await?;
                expect_messages(&mut ann, 5..=6).await?;
                ann.command(json!({"type": "join", "room": stage.room(), "last": 1})).await?;
                ann.expect("joined").await?;
                expect_messages(&mut ann, [6]).await?;
                ann.post(&stage.room(), "live").await?;
                ann.expect_quiet().await
            },
        ),
        case(
            "a_position_of_the_future_is_refused",
            "A `seq` that this epoch has not reached is `bad_cursor`, and makes nobody a member.",
            "PROTOCOL.md, section 7.1",
            |stage| async move {
                let (_ann, epoch) = filled(&stage, 3).await?;
                let mut bob = stage.client("bob").await?;
                for seq in [4, 1_000_000, (1 << 53) - 1] {
                    bob.ask_in_vain("bad_cursor", after(&stage.room(), &epoch, seq)).await?;
                }
                bob.ask_in_vain("not_joined", send(&stage.room(), "hi")).await.map(drop)
            },
        ),
        case(
            "another_epoch_is_not_recovered",
            "A position of another epoch, or of another room, is not recovered: the newest messages follow.",
            "PROTOCOL.md, section 5.4",
            |stage| async move {
                let (mut ann, _) = filled(&stage, 3).await?;
                let elsewhere = ann.join(&stage.named("other")).await?["epoch"].clone();
                for epoch in [json!("another"), json!(""), elsewhere] {
                    let mut bob = stage.client("bob").await?;
                    let joined = bob.ask_for("joined", after(&stage.room(), &epoch, 2)).await?;
                    bob.check(joined["recovered"] == false, "recovered: false", &joined)?;
                    expect_messages(&mut bob, 1..=3).await?;
                    bob.expect_quiet().await?;
                }
                Ok(())
            },
        ),
        case(
            "after_and_last_exclude_each_other",
            "A join says where it starts once: `after` and `last` together are `bad_command`.",
            "PROTOCOL.md, section 3",
            |stage| async move {
                let (_ann, epoch) = filled(&stage, 1).await?;
                let mut bob = stage.client("bob").await?;
                let mut join = after(&stage.room(), &epoch, 0);
                join["last"] = json!(1);
                bob.ask_in_vain("bad_command", join).await.map(drop)
            },
        ),
        case(
            "a_hole_is_told",
            "Where the log no longer reaches back, `recovered` is false and `gap` says which are missing.",
            "PROTOCOL.md, section 5.4",
            |stage| async move {
                let kept = stage.limits().rooms.log_messages as u64;
                let head = kept + 20;
                let (_ann, epoch) = filled(&stage, head).await?;
                let mut bob = stage.client("bob").await?;
                bob.command(after(&stage.room(), &epoch, 5)).await?;
                let joined = bob.expect("joined").await?;
                let first = joined["first"].as_u64().unwrap_or_default();
                bob.check(joined["recovered"] == false && first > 6, "recovered: false, first > 6", &joined)?;
                let gap = bob.expect("gap").await?;
                let to = gap["to"].as_u64().unwrap_or_default();
                let fits = gap["from"] == 6 && to + 1 >= first && gap["epoch"] == epoch;
                bob.check(fits, format!("a gap from 6 to {} or later", first - 1), &gap)?;
                expect_messages(&mut bob, to + 1..=head).await
            },
        )
        .with(|limits| limits.rooms.log_messages = 10)
        .needs(Needs::Limits),
        case(
            "a_resume_that_the_log_still_reaches_is_recovered",
            "The oldest position that the log reaches is recovered whole; only one before it has a hole.",
            "PROTOCOL.md, section 5.4",
            |stage| async move {
                let kept = stage.limits().rooms.log_messages as u64;
                let head = kept + 5;
                let (_ann, epoch) = filled(&stage, head).await?;
                let mut bob = stage.client("bob").await?;
                let first = bob.join(&stage.room()).await?["first"].as_u64().unwrap_or_default();
                let mut cid = stage.client("cid").await?;
                cid.command(after(&stage.room(), &epoch, first - 1)).await?;
                let joined = cid.expect("joined").await?;
                cid.check(joined["recovered"] == true, "recovered: true", &joined)?;
                expect_messages(&mut cid, first..=head).await
            },
        )
        .with(|limits| limits.rooms.log_messages = 10),
        case(
            "a_history_ends_where_the_log_does",
            "A history of what the log has forgotten is what is left of it, and says that there is no more.",
            "PROTOCOL.md, section 4",
            |stage| async move {
                let kept = stage.limits().rooms.log_messages as u64;
                let (mut ann, _) = filled(&stage, kept + 5).await?;
                let asked = json!({"type": "history", "room": stage.room(), "before": 6, "limit": 10});
                let history = ann.ask_for("history", asked).await?;
                let none = history["messages"].as_array().is_some_and(Vec::is_empty);
                ann.check(none && history["more"] == false, "no messages, more: false", &history)
            },
        )
        .with(|limits| limits.rooms.log_messages = 10)
        .needs(Needs::Limits),
        case(
            "a_replay_longer_than_the_tail_is_whole",
            "A replay of more messages than the room keeps at hand is read from the log, in order.",
            "PROTOCOL.md, section 5.4",
            |stage| async move {
                let (mut ann, epoch) = filled(&stage, 400).await?;
                let mut bob = stage.client("bob").await?;
                bob.command(after(&stage.room(), &epoch, 0)).await?;
                bob.expect("joined").await?;
                ann.post(&stage.room(), "live").await?;
                expect_messages(&mut bob, 1..=401).await
            },
        )
        .with(|limits| limits.rooms.tail_events = 16),
    ];
    Group {
        name: "resume",
        look: "crates/chat-proto/src/resume.rs and tail.rs; crates/chat-core/src/driver/catch_up.rs",
        cases,
    }
}

/// A member, and the epoch of a room with so many messages.
async fn filled(stage: &Stage, count: u64) -> Result<(Client, Value), Failure> {
    let mut ann = stage.client("ann").await?;
    let epoch = ann.join(&stage.room()).await?["epoch"].clone();
    let (room, batch) = (stage.room(), 100);
    for start in (1..=count).step_by(batch) {
        let end = count.min(start + batch as u64 - 1);
        let frames: Vec<_> =
            (start..=end).map(|n| Frame::text(send(&room, &n.to_string()).to_string())).collect();
        ann.pour(&packet(&frames)).await?;
        ann.so_far().await?;
    }
    Ok((ann, epoch))
}

fn after(room: &str, epoch: &Value, seq: u64) -> Value {
    json!({"type": "join", "room": room, "after": {"epoch": epoch, "seq": seq}})
}
