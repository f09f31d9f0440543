use super::changed::{
    change, delete, edit, expect_absent, expect_entries, expect_fresh_equals_followed, messages_at, page,
    react, resume, with,
};
use super::*;

chat_suite::cases!(
    /// A client that follows a room and applies each change has what a new reader gets.
    async fn a_follower_has_what_a_new_reader_gets(stage: Stage) -> Verdict {
        let (mut ann, mut bob) = (stage.member("ann").await?, stage.member("bob").await?);
        let head = change_many(&stage, &mut ann, &mut bob).await?;
        let mut entries = expect_entries(&mut bob, 1..=head).await?;
        expect_fresh_equals_followed(&stage, &entries).await?;
        change(&mut ann, edit(&stage.room(), 1, "last")).await?;
        entries.extend(expect_entries(&mut bob, [head + 1]).await?);
        expect_fresh_equals_followed(&stage, &entries).await
    }

    /// A replay from any position has each entry once and in order. A replay from the beginning gives what a new reader
    /// gets.
    #[source = "PROTOCOL.md, sections 4 and 5.4"]
    async fn a_replay_from_any_position_has_each_entry(stage: Stage) -> Verdict {
        let (mut ann, mut bob) = (stage.member("ann").await?, stage.member("bob").await?);
        let head = change_many(&stage, &mut ann, &mut bob).await?;
        let epoch = ann.join(&stage.room()).await?["epoch"].clone();
        for seen in 0..=head {
            let mut cid = stage.client("cid").await?;
            let joined = cid.ask_for("joined", resume(&stage.room(), &epoch, seen)).await?;
            cid.check(joined["recovered"] == true, "recovered: true", &joined)?;
            let entries = expect_entries(&mut cid, seen + 1..=head).await?;
            if seen == 0 {
                expect_fresh_equals_followed(&stage, &entries).await?;
            }
            cid.expect_no_events().await?;
        }
        Ok(())
    }

    /// In a replay, a change that a later one of its kind has replaced is `superseded`, and has no earlier state.
    async fn a_replaced_change_is_superseded(stage: Stage, mut ann: Member) -> Verdict {
        let room = stage.room();
        ann.post(&room, "first").await?;
        change(&mut ann, edit(&room, 1, "second")).await?;
        change(&mut ann, react(&room, 1, "+1", true)).await?;
        change(&mut ann, edit(&room, 1, "third")).await?;
        let mut bob = stage.client("bob").await?;
        let joined = bob.ask_for("joined", with(json!({"type": "join", "room": room}), "last", 10)).await?;
        bob.check(joined["seq"] == 4, "the newest entry 4", &joined)?;
        let entries = expect_entries(&mut bob, 1..=4).await?;
        let whats: Vec<_> = entries[1..].iter().map(|entry| entry["what"].as_str().unwrap_or("")).collect();
        check(
            whats == ["superseded", "reactions", "edited"],
            "the kinds of the changes",
            format!("{whats:?}"),
        )?;
        expect_absent("first", &entries)?;
        expect_absent("second", &entries)?;
        let replaced = &entries[1];
        let named = replaced["target"] == 1 && replaced["by"].is_object() && replaced["at"].is_u64();
        bob.check(named, "who has changed which message, and when", replaced)
    }

    /// A member that was away gets the changes of that time when it resumes.
    #[source = "PROTOCOL.md, section 5.4"]
    async fn a_client_that_reconnects_gets_the_missed_changes(stage: Stage, mut ann: Member) -> Verdict {
        let room = stage.room();
        let mut bob = stage.client("bob").await?;
        let epoch = bob.join(&room).await?["epoch"].clone();
        for text in ["one", "two"] {
            ann.post(&room, text).await?;
        }
        let mut entries = expect_entries(&mut bob, 1..=2).await?;
        bob.reset();
        change(&mut ann, edit(&room, 1, "1")).await?;
        change(&mut ann, react(&room, 1, "+1", true)).await?;
        change(&mut ann, delete(&room, 2)).await?;
        ann.post(&room, "three").await?;
        let mut bob = stage.client("bob").await?;
        bob.ask_for("joined", resume(&room, &epoch, 2)).await?;
        entries.extend(expect_entries(&mut bob, 3..=6).await?);
        expect_fresh_equals_followed(&stage, &entries).await?;
        change(&mut ann, edit(&room, 6, "live")).await?;
        entries.extend(expect_entries(&mut bob, [7]).await?);
        expect_fresh_equals_followed(&stage, &entries).await
    }

    /// A `join` with `last` brings that number of messages, and all entries after the first of them.
    #[source = "PROTOCOL.md, section 3"]
    async fn last_counts_messages_and_brings_all_later_entries(stage: Stage, mut ann: Member) -> Verdict {
        let room = stage.room();
        for text in ["one", "two", "three"] {
            ann.post(&room, text).await?;
        }
        for n in 0..4 {
            change(&mut ann, edit(&room, 1, &n.to_string())).await?;
        }
        for (last, first) in [(1, 3), (2, 2), (3, 1), (100, 1), (0, 8)] {
            let mut bob = stage.client("bob").await?;
            bob.ask_for("joined", json!({"type": "join", "room": room, "last": last})).await?;
            expect_entries(&mut bob, first..=7).await?;
            bob.expect_no_events().await?;
        }
        Ok(())
    }

    /// A page of the history counts messages only, each in its present state. Its positions may be those of changes.
    #[source = "PROTOCOL.md, section 3"]
    async fn a_page_of_the_history_has_messages_only(stage: Stage, mut ann: Member) -> Verdict {
        let room = stage.room();
        for number in 0..4_u64 {
            let seq = ann.post(&room, "old").await?;
            change(&mut ann, edit(&room, seq, &number.to_string())).await?;
        }
        for (field, position, expected, more) in
            [("limit", 2, [5, 7], true), ("before", 6, [3, 5], true), ("after", 4, [5, 7], false)]
        {
            let asked = with(json!({"type": "history", "room": room, "limit": 2}), field, position);
            let history = ann.ask_for("history", asked).await?;
            let messages = history["messages"].as_array().cloned().unwrap_or_default();
            let fits = seqs(&messages) == expected && history["more"] == more;
            ann.check(fits, format!("the messages {expected:?}, more: {more}"), &history)?;
            expect_absent("old", &messages)?;
        }
        Ok(())
    }

    /// A search finds messages by their present text, and not by an earlier one.
    #[source = "PROTOCOL.md, section 3"]
    async fn a_search_finds_the_present_text(stage: Stage, mut ann: Member) -> Verdict {
        let room = stage.room();
        ann.post(&room, "apple").await?;
        ann.post(&room, "pear").await?;
        change(&mut ann, edit(&room, 1, "banana")).await?;
        change(&mut ann, delete(&room, 2)).await?;
        for (query, expected) in [("apple", &[][..]), ("banana", &[1]), ("pear", &[])] {
            let reply = ann.ask(json!({"type": "search", "room": room, "query": query})).await?;
            if reply["code"] == "unsupported" {
                return Ok(());
            }
            let found = reply["messages"].as_array().cloned().unwrap_or_default();
            ann.check(seqs(&found) == expected, format!("the messages {expected:?} for {query}"), &reply)?;
        }
        Ok(())
    }

    /// A reader that is far behind gets messages and changes from the log, in order.
    #[source = "PROTOCOL.md, section 5.5"]
    #[with(limits(|limits| {
        limits.rooms.tail_events = 16;
        without_rates(limits);
    }))]
    #[with(race("the reader may get an entry before or after the last edit"))]
    async fn a_reader_far_behind_gets_changes_from_the_log(stage: Stage, mut ann: Member) -> Verdict {
        let room = stage.room();
        ann.send_all_while_reading(&sends(&room, 1..=60)).await?;
        ann.events_so_far().await?;
        let changes = (1..=60).flat_map(|seq| [edit(&room, seq, "new"), react(&room, seq, "+1", true)]);
        let frames: Vec<_> = changes.map(|change| Frame::json(&change)).collect();
        ann.send_all_while_reading(&frames).await?;
        ann.events_so_far().await?;
        let mut bob = stage.client("bob").await?;
        bob.command(json!({"type": "join", "room": room, "last": 100})).await?;
        bob.expect("joined").await?;
        change(&mut ann, edit(&room, 60, "live")).await?;
        let entries = expect_entries(&mut bob, 1..=181).await?;
        expect_fresh_equals_followed(&stage, &entries).await
    }

    /// After a gap, a message that the log no longer has cannot be read, and no later entry has its state.
    #[with(limits(|limits| {
        limits.rooms.log_messages = 10;
        limits.rooms.tail_events = 2;
    }))]
    #[with(needs(Needs::Limits))]
    async fn a_removed_message_is_in_no_later_entry(stage: Stage, mut ann: Member) -> Verdict {
        let room = stage.room();
        let epoch = ann.join(&room).await?["epoch"].clone();
        ann.post(&room, "removed").await?;
        for n in 2..=8_u64 {
            ann.post(&room, &n.to_string()).await?;
        }
        change(&mut ann, edit(&room, 1, "removed, too")).await?;
        for n in 10..=15_u64 {
            ann.post(&room, &n.to_string()).await?;
        }
        let mut bob = stage.client("bob").await?;
        bob.ask_for("joined", resume(&room, &epoch, 1)).await?;
        let gap = bob.expect("gap").await?;
        let to = gap["to"].as_u64().unwrap_or_default();
        bob.check(gap["from"] == 2 && (2..9).contains(&to), "a gap from 2 to 8 or earlier", &gap)?;
        let entries = expect_entries(&mut bob, to + 1..=15).await?;
        expect_absent("removed", &entries)?;
        let read = page(&mut bob, messages_at(&room, [1, to + 1])).await?;
        check(seqs(&read) == [to + 1], "only the message that the log has", Events(&read))
    }
);

/// Sends messages and changes them in each way that two guests may. Returns the newest entry.
async fn change_many(stage: &Stage, ann: &mut Client, bob: &mut Client) -> Result<u64, Failure> {
    let room = stage.room();
    for text in ["one", "two", "three"] {
        ann.post(&room, text).await?;
    }
    change(bob, react(&room, 1, "+1", true)).await?;
    change(ann, react(&room, 1, "-1", true)).await?;
    change(ann, edit(&room, 1, "1")).await?;
    change(ann, react(&room, 1, "+1", true)).await?;
    change(bob, react(&room, 2, "?", true)).await?;
    change(bob, react(&room, 2, "?", false)).await?;
    change(ann, edit(&room, 3, "3")).await?;
    change(bob, react(&room, 3, "+1", true)).await?;
    change(ann, with(delete(&room, 3), "reason", "wrong")).await?;
    ann.post(&room, "four").await?;
    change(ann, edit(&room, 1, "one again")).await
}
