use super::changed::{change, change_nothing, delete, pin, resume, with};
use super::governed::{expect_nothing_after, owner, present, restrict, role, user, write_until_refused};
use super::host::{with_rights, with_tokens};
use super::*;

chat_suite::cases!(
    /// `joined` has the role of the user, and the rights that it gives.
    #[with(identify(with_tokens))]
    async fn a_join_names_the_role_and_the_rights(stage: Stage) -> Verdict {
        let room = stage.room();
        let mut ann = owner(&stage, json!({})).await?;
        let mut bob = present(&stage, "2", "Bob").await?;
        change(&mut ann, role(&room, "2", "moderator")).await?;
        let rights = [
            "send",
            "react",
            "edit",
            "delete",
            "delete_others",
            "pin",
            "mention_room",
            "restrict",
            "role",
            "settings",
            "purge",
        ];
        let mut zoe = user(&stage, "3", "Zoe").await?;
        for (client, role, may) in [
            (&mut ann, "owner", &rights[..]),
            (&mut bob, "moderator", &rights[..8]),
            (&mut zoe, "none", &rights[..4]),
        ] {
            let joined = client.ask_for("joined", json!({"type": "join", "room": room})).await?;
            client.check(joined["role"] == role, format!("the role `{role}`"), &joined)?;
            client.check(joined["may"] == json!(may), format!("the rights {may:?}"), &joined)?;
        }
        Ok(())
    }

    /// A `role` is an entry of the log: members get it in its place, and so do clients that were away.
    #[with(identify(with_tokens))]
    async fn a_role_is_an_entry_of_the_log(stage: Stage) -> Verdict {
        let room = stage.room();
        let mut ann = owner(&stage, json!({})).await?;
        let mut bob = present(&stage, "2", "Bob").await?;
        // Then the node of Ann knows the name of Bob.
        ann.expect("presence").await?;
        ann.post(&room, "hi").await?;
        let seq = change(&mut ann, role(&room, "2", "member")).await?;
        ann.post(&room, "ho").await?;
        bob.expect("message").await?;
        let entry = bob.expect("role").await?;
        let (one, two) = (json!({"id": "1", "name": "Ann"}), json!({"id": "2", "name": "Bob"}));
        let fits = entry["seq"] == seq && entry["room"] == room && entry["at"].is_u64();
        bob.check(fits, "an entry with its `seq` and `at`", &entry)?;
        let fits = entry["by"] == one && entry["user"] == two && entry["role"] == "member";
        bob.check(fits && entry["restricted"].is_null(), "Bob as a member, by Ann", &entry)?;
        bob.expect("message").await?;
        let mut away = user(&stage, "3", "Zoe").await?;
        let joined = away.ask_for("joined", json!({"type": "join", "room": room})).await?;
        away.ask_for("joined", resume(&room, &joined["epoch"], seq - 1)).await?;
        let replayed = away.event().await?;
        away.check(replayed == entry, format!("the entry {entry}"), &replayed)
    }

    /// An owner gives roles up to that of a moderator. Others give none.
    #[with(identify(with_tokens))]
    async fn an_owner_gives_roles_up_to_moderator(stage: Stage) -> Verdict {
        let room = stage.room();
        let mut ann = owner(&stage, json!({})).await?;
        let mut bob = present(&stage, "2", "Bob").await?;
        ann.ask_for_error("forbidden", role(&room, "2", "owner")).await?;
        bob.ask_for_error("forbidden", role(&room, "3", "member")).await?;
        change(&mut ann, role(&room, "2", "moderator")).await?;
        change_nothing(&mut ann, role(&room, "2", "moderator")).await?;
        bob.ask_for_error("forbidden", role(&room, "3", "member")).await?;
        change(&mut ann, role(&room, "2", "none")).await?;
        bob.ask_for_error("forbidden", restrict(&room, "3", "mute")).await.map(drop)
    }

    /// The last owner of a room keeps that role. Others may lower their own one.
    #[with(identify(with_tokens))]
    async fn the_last_owner_stays_an_owner(stage: Stage) -> Verdict {
        let room = stage.room();
        let mut ann = owner(&stage, json!({})).await?;
        let mut bob = present(&stage, "2", "Bob").await?;
        for lower in ["none", "member", "moderator"] {
            ann.ask_for_error("forbidden", role(&room, "1", lower)).await?;
        }
        change(&mut ann, role(&room, "2", "moderator")).await?;
        change(&mut bob, role(&room, "2", "member")).await?;
        bob.ask_for_error("forbidden", role(&room, "2", "moderator")).await?;
        change(&mut ann, role(&room, "2", "moderator")).await.map(drop)
    }

    /// Nobody acts on a user of an equal or higher role, not even on oneself.
    #[with(identify(with_tokens))]
    async fn nobody_acts_on_an_equal_or_higher_role(stage: Stage) -> Verdict {
        let room = stage.room();
        let mut ann = owner(&stage, json!({})).await?;
        let mut bob = present(&stage, "2", "Bob").await?;
        change(&mut ann, role(&room, "2", "moderator")).await?;
        change(&mut ann, role(&room, "3", "moderator")).await?;
        for target in ["1", "2", "3"] {
            bob.ask_for_error("forbidden", restrict(&room, target, "mute")).await?;
        }
        ann.ask_for_error("forbidden", restrict(&room, "1", "mute")).await?;
        change(&mut bob, restrict(&room, "4", "mute")).await?;
        change(&mut ann, restrict(&room, "2", "mute")).await.map(drop)
    }

    /// A moderator of the log pins and deletes messages of others, until the role is lower.
    #[with(identify(with_tokens))]
    async fn a_moderator_of_the_log_moderates(stage: Stage) -> Verdict {
        let room = stage.room();
        let mut ann = owner(&stage, json!({})).await?;
        let mut bob = present(&stage, "2", "Bob").await?;
        let seq = ann.post(&room, "hi").await?;
        bob.ask_for_error("forbidden", pin(&room, seq, true)).await?;
        change(&mut ann, role(&room, "2", "moderator")).await?;
        change(&mut bob, pin(&room, seq, true)).await?;
        change(&mut ann, role(&room, "2", "member")).await?;
        bob.ask_for_error("forbidden", delete(&room, seq)).await?;
        change(&mut ann, role(&room, "2", "moderator")).await?;
        change(&mut bob, delete(&room, seq)).await.map(drop)
    }

    /// A role that the host gives counts, also if the log has a lower one.
    #[with(authorize(with_rights))]
    async fn a_role_of_the_host_counts(stage: Stage, mut ann: Member, mut boss: Member) -> Verdict {
        let room = stage.room();
        let (one, two) = (stage.named("ann"), stage.named("boss"));
        ann.ask_for_error("forbidden", restrict(&room, &two, "mute")).await?;
        change(&mut boss, restrict(&room, &one, "mute")).await?;
        ann.ask_for_error("muted", send(&room, "hi")).await?;
        boss.ask_for_error("forbidden", role(&room, &one, "member")).await?;
        change(&mut boss, restrict(&room, &one, "none")).await?;
        ann.post(&room, "hi").await.map(drop)
    }

    /// A role that the host gives protects its user in the room: nobody acts on an equal or higher one.
    #[with(identify(with_tokens))]
    async fn a_role_of_the_host_protects_its_user(stage: Stage) -> Verdict {
        let room = stage.room();
        let mut ann = owner(&stage, json!({})).await?;
        let _bob = present(&stage, "2", "Bob:owner").await?;
        // Then the node of Ann knows of Bob.
        ann.expect("presence").await?;
        for command in [
            restrict(&room, "2", "mute"),
            role(&room, "2", "member"),
            json!({"type": "purge", "room": room, "user": "2"}),
        ] {
            ann.ask_for_error("forbidden", command).await?;
        }
        Ok(())
    }

    /// A `hello` that changes the role of a user counts for acts on the user that come after its reply.
    #[with(identify(with_tokens))]
    #[with(one_node(ORDER))]
    async fn a_hello_changes_the_role_of_its_user(stage: Stage) -> Verdict {
        let room = stage.room();
        let mut ann = owner(&stage, json!({})).await?;
        let mut bob = present(&stage, "2", "Bob").await?;
        bob.ask_for("welcome", json!({"type": "hello", "token": "2:Bob:owner"})).await?;
        ann.ask_for_error("forbidden", restrict(&room, "2", "mute")).await?;
        bob.ask_for("welcome", json!({"type": "hello", "token": "2:Bob:member"})).await?;
        change(&mut ann, restrict(&room, "2", "mute")).await.map(drop)
    }

    /// A `hello` that takes the role which a room needs ends the membership, with a `left` without `ref`.
    #[with(identify(with_tokens))]
    async fn a_hello_without_the_role_ends_the_membership(stage: Stage) -> Verdict {
        let room = stage.room();
        let _ann = owner(&stage, json!({"join": "members"})).await?;
        let mut bob = present(&stage, "2", "Bob:member").await?;
        bob.ask_for("welcome", json!({"type": "hello", "token": "2:Bob:moderator"})).await?;
        bob.post(&room, "still here").await?;
        bob.ask_for("welcome", json!({"type": "hello", "token": "2:Bob"})).await?;
        let left = bob.expect("left").await?;
        bob.check(left["ref"].is_null() && left["room"] == room, "the end of the membership", &left)?;
        bob.ask_for_error("not_joined", send(&room, "hi")).await?;
        bob.ask_for_error("forbidden", json!({"type": "join", "room": room})).await.map(drop)
    }

    /// A lower role holds at its place in the log: no message that it forbids comes after it.
    #[with(identify(with_tokens))]
    #[with(race("messages are on their way while the role is lowered"))]
    async fn a_lower_role_holds_at_its_place(stage: Stage) -> Verdict {
        let room = stage.room();
        let mut ann = owner(&stage, json!({"post": "moderators"})).await?;
        let mut bob = present(&stage, "2", "Bob").await?;
        change(&mut ann, role(&room, "2", "moderator")).await?;
        let lowering = async {
            ann.post(&room, "between").await?;
            change(&mut ann, role(&room, "2", "member")).await
        };
        let (lowered, last) = tokio::join!(lowering, write_until_refused(&mut bob, &room, "forbidden"));
        let (lowered, last) = (lowered?, last?);
        check(last < lowered, format!("no message after the entry {lowered}"), last)?;
        expect_nothing_after(&mut ann, &room, lowered).await
    }

    /// A command about rules with a bad field is a `bad_command`.
    async fn a_command_about_rules_with_bad_fields_is_refused(stage: Stage, mut ann: Member) -> Verdict {
        let room = stage.room();
        for command in [
            with(role(&room, "2", "member"), "role", "admin"),
            with(role(&room, "2", "member"), "user", ""),
            with(role(&room, "2", "member"), "user", json!({"id": "2"})),
            with(restrict(&room, "2", "ban"), "what", "kick"),
            with(restrict(&room, "2", "ban"), "until", "tomorrow"),
            with(restrict(&room, "2", "none"), "until", 1),
            with(restrict(&room, "2", "ban"), "reason", "\u{202e}"),
        ] {
            ann.ask_for_error("bad_command", command).await?;
        }
        Ok(())
    }
);
