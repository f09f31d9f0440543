use super::changed::{change, delete, edit, expect_entries, messages_at, page, with};
use super::changes::expect_bad_commands;
use super::host::with_rights;
use super::*;

chat_suite::cases!(
    /// A message has its mentions, each once, whether they are ids of users or not. A user may mention herself.
    async fn mentions_are_delivered(stage: Stage, mut ann: Member, mut bob: Member) -> Verdict {
        let (room, longest) = (stage.room(), "x".repeat(255));
        let ids = json!([stage.named("ann"), "nobody", longest, "nobody", "@room"]);
        ann.ask_for("sent", with(send(&room, "hi"), "mentions", ids)).await?;
        ann.ask_for("sent", with(send(&room, "ho"), "mentions", json!([]))).await?;
        let entries = expect_entries(&mut bob, 1..=2).await?;
        let expected = json!([stage.named("ann"), "nobody", longest, "@room"]);
        bob.check(entries[0]["mentions"] == expected, format!("the mentions {expected}"), &entries[0])?;
        bob.check(entries[1]["mentions"].is_null(), "no mentions", &entries[1])?;
        let history = stage.history().await?;
        check(history == entries, "the same in the history", Events(&history))
    }

    /// `mentions` is a list of at most 50 ids of 1 to 255 bytes without control characters, or `"@room"`.
    async fn bad_mentions_are_refused(stage: Stage, mut ann: Member) -> Verdict {
        let room = stage.room();
        ann.post(&room, "hi").await?;
        let ids = |count: usize| json!((0..count).map(|n| n.to_string()).collect::<Vec<_>>());
        let bad = [
            json!(null),
            json!("ann"),
            json!({}),
            json!([1]),
            json!([""]),
            json!(["a\nb"]),
            json!(["x".repeat(256)]),
            json!(vec!["ann"; 51]),
            ids(51),
        ];
        let mut commands: Vec<_> = bad.clone().map(|bad| with(send(&room, "x"), "mentions", bad)).into();
        commands.extend(bad.map(|bad| with(edit(&room, 1, "x"), "mentions", bad)));
        expect_bad_commands(&stage, commands).await?;
        ann.ask_for("sent", with(send(&room, "x"), "mentions", ids(50))).await?;
        let history = stage.history().await?;
        check(history.len() == 2, "two messages", Events(&history))
    }

    /// Only a moderator mentions the room. By other users it is `forbidden`, and the message is not stored.
    #[with(authorize(with_rights))]
    async fn a_mention_of_the_room_needs_a_moderator(stage: Stage, mut ann: Member) -> Verdict {
        let mut boss = stage.member("boss").await?;
        let mention = with(send(&stage.room(), "all"), "mentions", "@room");
        ann.ask_for_error("forbidden", mention.clone()).await?;
        boss.ask_for("sent", mention).await?;
        let entries = expect_entries(&mut ann, [1]).await?;
        ann.check(entries[0]["mentions"] == "@room", "a mention of the room", &entries[0])
    }

    /// An edit that mentions the room needs a moderator too. One that keeps such a mention does not.
    #[with(authorize(with_rights))]
    async fn an_edit_that_mentions_the_room_needs_a_moderator(stage: Stage, mut ann: Member) -> Verdict {
        let mut boss = stage.member("boss").await?;
        let room = stage.room();
        ann.post(&room, "all").await?;
        ann.ask_for_error("forbidden", with(edit(&room, 1, "x"), "mentions", "@room")).await?;
        boss.post(&room, "all").await?;
        change(&mut boss, with(edit(&room, 2, "all!"), "mentions", "@room")).await?;
        change(&mut boss, edit(&room, 2, "all!!")).await?;
        let read = page(&mut ann, messages_at(&room, [1, 2])).await?;
        let fits = read[0]["mentions"].is_null() && read[1]["mentions"] == "@room" && read[1]["rev"] == 4;
        check(fits, "one mention of the room", Events(&read))
    }

    /// An edit with `mentions` replaces the mentions, an empty list removes them, and an edit without keeps them.
    #[source = "PROTOCOL.md, section 5.7"]
    async fn an_edit_replaces_the_mentions_if_it_has_some(stage: Stage, mut ann: Member) -> Verdict {
        let mut bob = stage.member("bob").await?;
        let room = stage.room();
        ann.ask_for("sent", with(send(&room, "hi"), "mentions", json!(["bob"]))).await?;
        bob.expect("message").await?;
        let edited = |text, mentions: Value| with(edit(&room, 1, text), "mentions", mentions);
        for (command, expected) in [
            (edit(&room, 1, "one"), json!(["bob"])),
            (edited("two", json!(["cid", "bob"])), json!(["cid", "bob"])),
            (edited("three", json!([])), Value::Null),
        ] {
            change(&mut ann, command).await?;
            let changed = bob.expect("changed").await?;
            bob.check(changed["mentions"] == expected, format!("the mentions {expected}"), &changed)?;
            let read = page(&mut bob, messages_at(&room, [1])).await?;
            check(read[0]["mentions"] == expected, format!("the mentions {expected}"), Events(&read))?;
        }
        Ok(())
    }

    /// A deleted message mentions nobody.
    #[source = "PROTOCOL.md, section 5.7"]
    async fn a_deleted_message_mentions_nobody(stage: Stage, mut ann: Member) -> Verdict {
        let room = stage.room();
        ann.ask_for("sent", with(send(&room, "hi"), "mentions", json!(["secret"]))).await?;
        change(&mut ann, delete(&room, 1)).await?;
        let history = stage.history().await?;
        check(history[0]["mentions"].is_null(), "a deleted message without mentions", Events(&history))
    }
);
