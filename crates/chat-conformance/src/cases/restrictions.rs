use super::changed::{change, change_nothing, delete, edit, pin, react, resume, with};
use super::governed::{
    create, expect_nothing_after, owner, present, restrict, role, user, write_until_refused,
};
use super::host::with_tokens;
use super::*;

/// The time within which a ban ends memberships: a second, and some more for a busy machine.
const BAN: Duration = Duration::from_secs(6);

chat_suite::cases!(
    /// A muted user reads, and deletes what the user has written. Everything else is `muted`, or `forbidden`.
    #[with(identify(with_tokens))]
    async fn a_muted_user_only_reads_and_deletes(stage: Stage) -> Verdict {
        let room = stage.room();
        let (mut ann, mut bob) = (owner(&stage, json!({})).await?, present(&stage, "2", "Bob").await?);
        let (other, own) = (ann.post(&room, "hi").await?, bob.post(&room, "ho").await?);
        let mute = with(restrict(&room, "2", "mute"), "reason", "spam");
        change(&mut ann, mute.clone()).await?;
        change_nothing(&mut ann, mute).await?;
        let entry = bob.until("role").await?;
        let fits = entry["restricted"] == json!({"what": "mute"}) && entry["reason"] == "spam";
        bob.check(fits, "the restriction and its reason", &entry)?;
        for command in [send(&room, "x"), react(&room, other, "+1", true), edit(&room, own, "x")] {
            bob.ask_for_error("muted", command).await?;
        }
        for command in [pin(&room, other, true), delete(&room, other), restrict(&room, "3", "mute")] {
            bob.ask_for_error("forbidden", command).await?;
        }
        bob.ask_for("history", json!({"type": "history", "room": room})).await?;
        let joined = bob.ask_for("joined", json!({"type": "join", "room": room})).await?;
        bob.check(joined["may"] == json!(["delete"]), "the right to delete", &joined)?;
        change(&mut bob, delete(&room, own)).await?;
        change(&mut ann, restrict(&room, "2", "none")).await?;
        bob.post(&room, "again").await.map(drop)
    }

    /// `joined` has the restriction of a muted user, with its end, on each connection. Others have none.
    #[source = "PROTOCOL.md, section 4"]
    #[with(identify(with_tokens))]
    async fn a_join_has_the_restriction(stage: Stage) -> Verdict {
        let room = stage.room();
        let join = json!({"type": "join", "room": room});
        let (mut ann, mut bob) = (owner(&stage, json!({})).await?, present(&stage, "2", "Bob").await?);
        let end =
            ann.ask_for("sent", send(&room, "hi")).await?["at"].as_u64().unwrap_or_default() + 3_600_000;
        for until in [None, Some(end)] {
            let mute = restrict(&room, "2", "mute");
            let (mute, restricted) = match until {
                Some(end) => (with(mute, "until", end), json!({"what": "mute", "until": end})),
                None => (mute, json!({"what": "mute"})),
            };
            change(&mut ann, mute).await?;
            let mut again = user(&stage, "2", "Bob").await?;
            for client in [&mut bob, &mut again] {
                let joined = client.ask_for("joined", join.clone()).await?;
                client.check(joined["restricted"] == restricted, format!("{restricted}"), &joined)?;
            }
            let joined = ann.ask_for("joined", join.clone()).await?;
            ann.check(joined["restricted"].is_null(), "no restriction of Ann", &joined)?;
        }
        change(&mut ann, restrict(&room, "2", "none")).await?;
        let joined = bob.ask_for("joined", join).await?;
        bob.check(joined["restricted"].is_null(), "no restriction any more", &joined)
    }

    /// The typing of a muted user is not shown.
    #[with(identify(with_tokens))]
    #[with(one_node(ORDER))]
    async fn the_typing_of_a_muted_user_is_not_shown(stage: Stage) -> Verdict {
        let room = stage.room();
        let (mut ann, mut bob) = (owner(&stage, json!({})).await?, present(&stage, "2", "Bob").await?);
        change(&mut ann, restrict(&room, "2", "mute")).await?;
        bob.until("role").await?;
        let typing = json!({"type": "typing", "room": room, "active": true});
        // The right is decided again just after the entry.
        sleep(millis(200)).await;
        bob.command(typing).await?;
        bob.ask_for("pong", json!({"type": "ping"})).await?;
        sleep(millis(200)).await;
        ann.ask_for("pong", json!({"type": "ping"})).await?;
        let typed = ann.buffered_events().iter().find(|event| event["type"] == "typing").cloned();
        ann.check(typed.is_none(), "no `typing`", &typed.unwrap_or_default())
    }

    /// A ban ends the memberships of all connections of the user: the `role` comes, then a `left` without `ref`.
    #[with(identify(with_tokens))]
    async fn a_ban_ends_each_membership(stage: Stage) -> Verdict {
        let room = stage.room();
        let mut ann = owner(&stage, json!({})).await?;
        let mut bobs = [present(&stage, "2", "Bob").await?, present(&stage, "2", "Bob").await?];
        let other = stage.named("other");
        bobs[1].join(&other).await?;
        ann.post(&room, "hi").await?;
        let banned = change(&mut ann, restrict(&room, "2", "ban")).await?;
        let started = Instant::now();
        for bob in &mut bobs {
            bob.expect("message").await?;
            let entry = bob.expect("role").await?;
            let fits = entry["seq"] == banned && entry["restricted"] == json!({"what": "ban"});
            bob.check(fits, "the entry of the ban", &entry)?;
            let left = bob.expect("left").await?;
            bob.check(left["room"] == room && left["ref"].is_null(), "a `left` without `ref`", &left)?;
            check(
                started.elapsed() < BAN,
                format!("the `left` within {BAN:?}"),
                format!("{:?}", started.elapsed()),
            )?;
        }
        loop {
            let presence = ann.until("presence").await?;
            if presence["state"] == "left" && presence["user"]["id"] == "2" {
                break;
            }
        }
        ann.post(&room, "ho").await?;
        bobs[1].post(&other, "still here").await?;
        for bob in &mut bobs {
            bob.ask_for_error("not_joined", send(&room, "hi")).await?;
        }
        bobs[0].expect_no_events().await
    }

    /// A banned user cannot join, resume or act, until the ban ends.
    #[with(identify(with_tokens))]
    async fn a_banned_user_cannot_resume(stage: Stage) -> Verdict {
        let room = stage.room();
        let (mut ann, mut bob) = (owner(&stage, json!({})).await?, user(&stage, "2", "Bob").await?);
        let joined = bob.ask_for("joined", json!({"type": "join", "room": room})).await?;
        change(&mut ann, role(&room, "2", "moderator")).await?;
        change(&mut ann, restrict(&room, "2", "ban")).await?;
        bob.until("left").await?;
        let mut again = user(&stage, "2", "Bob").await?;
        for client in [&mut bob, &mut again] {
            client.ask_for_error("forbidden", json!({"type": "join", "room": room})).await?;
            client
                .ask_for_error(
                    "forbidden",
                    resume(&room, &joined["epoch"], joined["seq"].as_u64().unwrap_or(0)),
                )
                .await?;
            client.ask_for_error("forbidden", create(&room)).await?;
        }
        change(&mut ann, restrict(&room, "2", "none")).await?;
        again.ask_for("joined", resume(&room, &joined["epoch"], 1)).await?;
        let entry = again.expect("role").await?;
        again.check(entry["role"] == "moderator", "the role that is still there", &entry)
    }

    /// A restriction ends by itself at `until`.
    #[with(identify(with_tokens))]
    async fn a_restriction_ends_by_itself(stage: Stage) -> Verdict {
        let room = stage.room();
        let (mut ann, mut bob) = (owner(&stage, json!({})).await?, present(&stage, "2", "Bob").await?);
        let now = ann.ask_for("sent", send(&room, "now")).await?["at"].as_u64().unwrap_or_default();
        let mute = with(restrict(&room, "2", "mute"), "until", now + 700);
        change(&mut ann, mute).await?;
        let entry = bob.until("role").await?;
        bob.check(entry["restricted"]["until"] == now + 700, "the end of the restriction", &entry)?;
        bob.ask_for_error("muted", send(&room, "early")).await?;
        sleep(millis(1_000)).await;
        bob.post(&room, "late").await?;
        let joined = bob.ask_for("joined", json!({"type": "join", "room": room})).await?;
        bob.check(joined["restricted"].is_null(), "no restriction any more", &joined)
    }

    /// A restriction whose end is over is none.
    #[with(identify(with_tokens))]
    async fn a_restriction_whose_end_is_over_is_none(stage: Stage) -> Verdict {
        let room = stage.room();
        let (mut ann, mut bob) = (owner(&stage, json!({})).await?, present(&stage, "2", "Bob").await?);
        change_nothing(&mut ann, with(restrict(&room, "2", "ban"), "until", 1)).await?;
        change(&mut ann, restrict(&room, "2", "mute")).await?;
        bob.until("role").await?;
        change(&mut ann, with(restrict(&room, "2", "ban"), "until", 1)).await?;
        let entry = bob.until("role").await?;
        bob.check(entry["restricted"].is_null(), "no restriction", &entry)?;
        bob.post(&room, "hi").await.map(drop)
    }

    /// A restriction holds whatever the role is.
    #[with(identify(with_tokens))]
    async fn a_muted_moderator_has_no_rights_of_the_role(stage: Stage) -> Verdict {
        let room = stage.room();
        let (mut ann, mut bob) = (owner(&stage, json!({})).await?, present(&stage, "2", "Bob").await?);
        let seq = ann.post(&room, "hi").await?;
        change(&mut ann, role(&room, "2", "moderator")).await?;
        change(&mut ann, restrict(&room, "2", "mute")).await?;
        bob.ask_for_error("muted", pin(&room, seq, true)).await?;
        bob.ask_for_error("muted", restrict(&room, "3", "ban")).await?;
        bob.ask_for_error("forbidden", delete(&room, seq)).await?;
        change(&mut ann, restrict(&room, "2", "none")).await?;
        change(&mut bob, pin(&room, seq, true)).await.map(drop)
    }

    /// A restriction holds at its place in the log: no message that it forbids comes after it.
    #[with(identify(with_tokens))]
    #[with(race("messages are on their way while the user is muted"))]
    async fn a_mute_holds_at_its_place(stage: Stage) -> Verdict {
        let room = stage.room();
        let (mut ann, mut bob) = (owner(&stage, json!({})).await?, present(&stage, "2", "Bob").await?);
        let muting = async {
            ann.post(&room, "between").await?;
            change(&mut ann, restrict(&room, "2", "mute")).await
        };
        let (muted, last) = tokio::join!(muting, write_until_refused(&mut bob, &room, "muted"));
        let (muted, last) = (muted?, last?);
        check(last < muted, format!("no message after the entry {muted}"), last)?;
        expect_nothing_after(&mut ann, &room, muted).await
    }
);
