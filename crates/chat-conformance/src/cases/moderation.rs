use super::changed::{
    change, change_nothing, delete, edit, expect_entries, messages_at, page, pin, react, with,
};
use super::host::{DETAIL, SPAM, with_rights, with_token, with_tokens};
use super::*;

chat_suite::cases!(
    /// A guest changes only messages of the same connection: those of others, and of another guest with this name, are
    /// `forbidden`. Each member may react.
    #[with(race("the other member may get an entry before or after the deletion"))]
    async fn a_guest_changes_only_messages_of_the_connection(stage: Stage, mut ann: Member) -> Verdict {
        let room = stage.room();
        ann.post(&room, "hi").await?;
        for name in ["bob", "ann"] {
            let mut other = stage.member(name).await?;
            other.ask_for_error("forbidden", edit(&room, 1, "x")).await?;
            other.ask_for_error("forbidden", delete(&room, 1)).await?;
        }
        let mut bob = stage.member("bob").await?;
        change(&mut bob, react(&room, 1, "+1", true)).await?;
        let read = page(&mut ann, messages_at(&room, [1])).await?;
        let fits = text_of(&read[0]) == "hi" && read[0]["rev"] == 2;
        check(fits, "the message with a reaction", Events(&read))
    }

    /// A user who is no guest changes messages of earlier connections.
    #[with(identify(with_tokens))]
    async fn a_user_changes_messages_of_earlier_connections(stage: Stage) -> Verdict {
        let room = stage.room();
        let mut ann = stage.accepted("ann", &with_token(&stage, "7:Ann")).await?;
        ann.join(&room).await?;
        let mut bob = stage.accepted("bob", &with_token(&stage, "8:Ann")).await?;
        bob.join(&room).await?;
        ann.post(&room, "hi").await?;
        ann.reset();
        bob.ask_for_error("forbidden", edit(&room, 1, "x")).await?;
        let mut ann = stage.accepted("ann", &with_token(&stage, "7:Ann")).await?;
        ann.join(&room).await?;
        change(&mut ann, edit(&room, 1, "hello")).await?;
        change(&mut ann, delete(&room, 1)).await.map(drop)
    }

    /// A pin needs a moderator: by other users it is `forbidden`, also of their own messages.
    async fn a_pin_without_the_role_is_forbidden(stage: Stage, mut ann: Member, mut bob: Member) -> Verdict {
        ann.post(&stage.room(), "hi").await?;
        ann.ask_for_error("forbidden", pin(&stage.room(), 1, true)).await?;
        bob.ask_for_error("forbidden", pin(&stage.room(), 1, false)).await?;
        expect_entries(&mut bob, [1]).await?;
        bob.expect_no_events().await
    }

    /// A moderator pins and unpins messages of others. A repeat changes nothing.
    #[with(authorize(with_rights))]
    async fn a_moderator_pins_messages(stage: Stage, mut ann: Member, mut boss: Member) -> Verdict {
        let room = stage.room();
        ann.post(&room, "hi").await?;
        change_nothing(&mut boss, pin(&room, 1, false)).await?;
        change(&mut boss, pin(&room, 1, true)).await?;
        change_nothing(&mut boss, pin(&room, 1, true)).await?;
        let changed = ann.expect("changed").await?;
        let fits = changed["what"] == "pinned" && changed["pinned"] == true && changed["target"] == 1;
        ann.check(fits, "a `changed` with `pinned`", &changed)?;
        let read = page(&mut ann, messages_at(&room, [1])).await?;
        check(read[0]["pinned"] == true && read[0]["rev"] == 2, "a pinned message", Events(&read))?;
        change(&mut boss, pin(&room, 1, false)).await?;
        let changed = ann.expect("changed").await?;
        ann.check(changed["pinned"] == false, "a `changed` with `pinned` false", &changed)?;
        let read = page(&mut ann, messages_at(&room, [1])).await?;
        check(read[0]["pinned"].is_null() && read[0]["rev"] == 3, "a message without a pin", Events(&read))
    }

    /// A moderator deletes messages of others, and the deletion names the moderator. Nobody edits messages of others.
    #[with(authorize(with_rights))]
    async fn a_moderator_deletes_messages_of_others(stage: Stage) -> Verdict {
        let (mut ann, mut boss) = (stage.member("ann").await?, stage.member("boss").await?);
        let room = stage.room();
        ann.post(&room, "hi").await?;
        boss.ask_for_error("forbidden", edit(&room, 1, "x")).await?;
        change(&mut boss, delete(&room, 1)).await?;
        let changed = ann.expect("changed").await?;
        let name = json!(stage.named("boss"));
        ann.check(changed["what"] == "deleted" && changed["by"]["id"] == name, "the moderator", &changed)?;
        let read = page(&mut ann, messages_at(&room, [1])).await?;
        check(read[0]["deleted"]["by"]["id"] == name, "a deletion by the moderator", Events(&read))?;
        boss.ask_for_error("gone", pin(&room, 1, true)).await.map(drop)
    }

    /// A user without the right to a change gets `forbidden`, whatever the state of the message is.
    async fn the_right_is_judged_before_the_state(stage: Stage, mut ann: Member, mut bob: Member) -> Verdict {
        let room = stage.room();
        ann.post(&room, "hi").await?;
        change(&mut ann, edit(&room, 1, "hello")).await?;
        bob.ask_for_error("forbidden", with(edit(&room, 1, "x"), "rev", 1)).await?;
        change(&mut ann, delete(&room, 1)).await?;
        for command in [edit(&room, 1, "x"), delete(&room, 1), pin(&room, 1, true)] {
            bob.ask_for_error("forbidden", command).await?;
        }
        Ok(())
    }

    /// The host decides about each change, as about each message.
    #[with(authorize(with_rights))]
    async fn a_rejected_change_is_not_stored(stage: Stage, mut ann: Member, mut bob: Member) -> Verdict {
        let room = stage.room();
        ann.post(&room, "hi").await?;
        let error = ann.ask_for_error("rejected", edit(&room, 1, SPAM)).await?;
        ann.check(error["detail"] == DETAIL, format!("the detail \"{DETAIL}\""), &error)?;
        expect_entries(&mut bob, [1]).await?;
        bob.expect_no_events().await?;
        change(&mut ann, edit(&room, 1, "hello")).await.map(drop)
    }
);
