use super::changed::{
    change, count_reply, delete, edit, expect_entries, expect_fresh_equals_followed, messages_at, page,
    react, reply, resume, thread, with,
};
use super::changes::expect_bad_commands;
use super::*;

chat_suite::cases!(
    /// A message names the message that it answers, in the event and in the history. The answered one does not change.
    async fn an_answer_names_its_message(stage: Stage, mut ann: Member, mut bob: Member) -> Verdict {
        let room = stage.room();
        ann.post(&room, "one").await?;
        ann.ask_for("sent", with(send(&room, "two"), "reply_to", 1)).await?;
        let entries = expect_entries(&mut bob, 1..=2).await?;
        let fits = entries[1]["reply_to"] == 1 && entries[1]["thread"].is_null();
        bob.check(fits, "`reply_to` 1, and no `thread`", &entries[1])?;
        expect_fresh_equals_followed(&stage, &entries).await?;
        check(entries[0]["rev"].is_null(), "an unchanged message", Events(&entries))
    }

    /// The first message of a thread has the number of the others and the newest of them in `replies`, and `rev`.
    async fn a_root_counts_the_messages_of_its_thread(stage: Stage, mut ann: Member) -> Verdict {
        let mut bob = stage.member("bob").await?;
        let room = stage.room();
        ann.post(&room, "root").await?;
        ann.post(&room, "another").await?;
        ann.ask_for("sent", reply(&room, 1, "one")).await?;
        bob.ask_for("sent", with(reply(&room, 1, "two"), "reply_to", 3)).await?;
        let read = page(&mut bob, messages_at(&room, [1, 2, 4])).await?;
        let fits = read.len() == 3
            && read[0]["replies"] == json!({"count": 2, "last": 4})
            && read[0]["rev"] == 4
            && read[1]["replies"].is_null()
            && (&read[2]["thread"], &read[2]["reply_to"]) == (&json!(1), &json!(3));
        check(fits, "`replies` with count 2 and last 4, and `rev` 4", Events(&read))
    }

    /// A client that follows a room and counts each message of a thread has what a new reader gets.
    #[source = "PROTOCOL.md, section 5.7"]
    async fn a_follower_has_what_a_new_reader_gets(stage: Stage, mut ann: Member) -> Verdict {
        let mut bob = stage.member("bob").await?;
        let room = stage.room();
        ann.post(&room, "root").await?;
        ann.ask_for("sent", reply(&room, 1, "one")).await?;
        change(&mut bob, react(&room, 1, "+1", true)).await?;
        ann.ask_for("sent", with(reply(&room, 1, "two"), "mentions", json!(["bob"]))).await?;
        change(&mut ann, edit(&room, 1, "the root")).await?;
        change(&mut ann, edit(&room, 4, "2")).await?;
        ann.ask_for("sent", reply(&room, 1, "three")).await?;
        let entries = expect_entries(&mut bob, 1..=7).await?;
        expect_fresh_equals_followed(&stage, &entries).await
    }

    /// A client that has read the first message of a thread, and then gets an earlier part of the thread in a replay,
    /// counts each message once.
    #[source = "PROTOCOL.md, section 5.7"]
    async fn a_page_and_a_replay_count_a_message_once(stage: Stage, mut ann: Member) -> Verdict {
        let room = stage.room();
        let epoch = ann.join(&room).await?["epoch"].clone();
        ann.post(&room, "root").await?;
        for text in ["one", "two"] {
            ann.ask_for("sent", reply(&room, 1, text)).await?;
        }
        let mut bob = stage.client("bob").await?;
        bob.ask_for("joined", json!({"type": "join", "room": room})).await?;
        let mut root = page(&mut bob, messages_at(&room, [1])).await?.remove(0);
        bob.ask_for("joined", resume(&room, &epoch, 1)).await?;
        let mut entries = expect_entries(&mut bob, 2..=3).await?;
        ann.ask_for("sent", reply(&room, 1, "three")).await?;
        entries.extend(expect_entries(&mut bob, [4]).await?);
        entries.iter().for_each(|entry| count_reply(&mut root, entry));
        bob.check(root["replies"]["count"] == 3, "3 messages of the thread", &root)?;
        let fresh = page(&mut bob, messages_at(&room, [1])).await?;
        check(fresh[0] == root, format!("what a follower has: {root}"), Events(&fresh))
    }

    /// A link to an entry that does not exist, or that is a change, is `no_message`, and nothing is stored.
    async fn a_link_to_no_message_is_refused(stage: Stage, mut ann: Member) -> Verdict {
        let room = stage.room();
        ann.post(&room, "root").await?;
        change(&mut ann, edit(&room, 1, "the root")).await?;
        for seq in [2, 3, 4, (1_u64 << 53) - 1] {
            for field in ["reply_to", "thread"] {
                ann.ask_for_error("no_message", with(send(&room, "x"), field, seq)).await?;
            }
        }
        ann.ask_for_error("no_message", with(reply(&room, 1, "x"), "reply_to", 9)).await?;
        let history = stage.history().await?;
        check(history.len() == 1 && history[0]["rev"] == 2, "one message without a thread", Events(&history))
    }

    /// No thread begins with a message of a thread: it is `no_message`, to write and to read.
    async fn a_message_of_a_thread_begins_no_thread(stage: Stage, mut ann: Member) -> Verdict {
        let room = stage.room();
        ann.post(&room, "root").await?;
        ann.ask_for("sent", reply(&room, 1, "one")).await?;
        ann.ask_for_error("no_message", reply(&room, 2, "x")).await?;
        ann.ask_for_error("no_message", thread(&room, 2)).await?;
        let read = page(&mut ann, messages_at(&room, [1, 2])).await?;
        let fits = read[0]["replies"]["count"] == 1 && read[1]["replies"].is_null();
        check(fits, "one message in one thread", Events(&read))
    }

    /// `history` with `thread` has the messages of the thread without the first one, in pages like every history.
    async fn a_thread_is_read_in_pages(stage: Stage, mut ann: Member) -> Verdict {
        let room = stage.room();
        ann.post(&room, "root").await?;
        for number in 2..=9_u64 {
            let text = number.to_string();
            let command = if number % 2 == 0 { reply(&room, 1, &text) } else { send(&room, &text) };
            ann.ask_for("sent", command).await?;
        }
        for (fields, expected, more) in [
            (json!({}), &[2, 4, 6, 8][..], false),
            (json!({"limit": 2}), &[6, 8], true),
            (json!({"before": 6, "limit": 1}), &[4], true),
            (json!({"before": 6}), &[2, 4], false),
            (json!({"after": 3, "limit": 2}), &[4, 6], true),
            (json!({"after": 6}), &[8], false),
        ] {
            let mut command = thread(&room, 1);
            let fields = fields.as_object().cloned().unwrap_or_default();
            fields.into_iter().for_each(|(field, value)| command[field] = value);
            let history = ann.ask_for("history", command).await?;
            let messages = history["messages"].as_array().cloned().unwrap_or_default();
            let fits = seqs(&messages) == expected && history["more"] == more && history["epoch"].is_string();
            ann.check(fits, format!("the messages {expected:?}, more: {more}"), &history)?;
        }
        Ok(())
    }

    /// A thread that begins with no message is `no_message`. Without messages in it, a thread is an empty page.
    async fn a_thread_of_no_message_is_refused(stage: Stage, mut ann: Member) -> Verdict {
        let room = stage.room();
        ann.post(&room, "root").await?;
        change(&mut ann, edit(&room, 1, "the root")).await?;
        for root in [2, 3] {
            ann.ask_for_error("no_message", thread(&room, root)).await?;
        }
        let read = page(&mut ann, thread(&room, 1)).await?;
        check(read.is_empty(), "an empty page", Events(&read))?;
        let mut bob = stage.client("bob").await?;
        bob.ask_for_error("not_joined", thread(&room, 1)).await.map(drop)
    }

    /// A link that is no position is `bad_command`, and so is `thread` beside `seqs`.
    async fn a_link_with_a_bad_position_is_refused(stage: Stage, mut ann: Member) -> Verdict {
        let room = stage.room();
        ann.post(&room, "root").await?;
        let bad = || [json!(null), json!(0), json!(-1), json!(1.5), json!("1"), json!(1_u64 << 53)];
        let mut commands = Vec::new();
        for field in ["reply_to", "thread"] {
            commands.extend(bad().map(|bad| with(send(&room, "x"), field, bad)));
        }
        commands.extend(bad().map(|bad| with(thread(&room, 1), "thread", bad)));
        commands.push(with(thread(&room, 1), "seqs", json!([1])));
        expect_bad_commands(&stage, commands).await?;
        let both = with(with(thread(&room, 1), "before", 9), "after", 1);
        ann.ask_for_error("bad_cursor", both).await?;
        let history = stage.history().await?;
        check(history.len() == 1, "one message", Events(&history))
    }

    /// A deleted first message keeps its thread: `replies` stays, and the thread can be read and continued.
    #[source = "PROTOCOL.md, section 5.7"]
    #[with(race("the other member may get an entry before or after the deletion"))]
    async fn a_deleted_root_keeps_its_thread(stage: Stage, mut ann: Member, mut bob: Member) -> Verdict {
        let room = stage.room();
        ann.post(&room, "secret").await?;
        bob.ask_for("sent", reply(&room, 1, "one")).await?;
        change(&mut ann, delete(&room, 1)).await?;
        bob.ask_for("sent", reply(&room, 1, "two")).await?;
        let read = page(&mut bob, messages_at(&room, [1])).await?;
        let fits = read[0]["replies"] == json!({"count": 2, "last": 4})
            && read[0]["rev"] == 4
            && read[0]["deleted"].is_object()
            && read[0]["body"].is_null();
        check(fits, "a deleted message with 2 `replies`", Events(&read))?;
        let read = page(&mut bob, thread(&room, 1)).await?;
        check(seqs(&read) == [2, 4], "the messages 2 and 4 of the thread", Events(&read))?;
        let again = ann.ask_for("done", delete(&room, 1)).await?;
        ann.check(again["seq"] == 3 && again["duplicate"] == true, "a duplicate of 3", &again)
    }

    /// A deleted message of a thread stays in the thread, and is still counted.
    #[source = "PROTOCOL.md, section 5.7"]
    #[with(race("the other member may get an entry before or after the deletion"))]
    async fn a_deleted_message_is_still_counted(stage: Stage, mut ann: Member, mut bob: Member) -> Verdict {
        let room = stage.room();
        ann.post(&room, "root").await?;
        ann.ask_for("sent", with(reply(&room, 1, "secret"), "reply_to", 1)).await?;
        change(&mut ann, delete(&room, 2)).await?;
        let root = page(&mut bob, messages_at(&room, [1])).await?;
        check(root[0]["replies"] == json!({"count": 1, "last": 2}), "one message", Events(&root))?;
        let read = page(&mut bob, thread(&room, 1)).await?;
        let fits = read.len() == 1
            && read[0]["deleted"].is_object()
            && (&read[0]["thread"], &read[0]["reply_to"]) == (&json!(1), &json!(1));
        check(fits, "a deleted message with its links", Events(&read))
    }

    /// A key that was used for a message with other links is `key_conflict`, and the message is not stored.
    #[source = "PROTOCOL.md, section 5.3"]
    async fn a_key_with_other_links_is_a_conflict(stage: Stage, mut ann: Member) -> Verdict {
        let room = stage.room();
        ann.post(&room, "root").await?;
        let keyed = |command| with(command, "key", "k");
        ann.ask_for("sent", keyed(reply(&room, 1, "one"))).await?;
        for other in [send(&room, "one"), with(reply(&room, 1, "one"), "mentions", json!(["bob"]))] {
            ann.ask_for_error("key_conflict", keyed(other)).await?;
        }
        let again = ann.ask_for("sent", keyed(reply(&room, 1, "one"))).await?;
        ann.check(again["seq"] == 2 && again["duplicate"] == true, "a duplicate of 2", &again)?;
        let root = page(&mut ann, messages_at(&room, [1])).await?;
        check(root[0]["replies"]["count"] == 1, "one message in the thread", Events(&root))
    }
);
