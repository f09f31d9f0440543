use super::changed::{
    change, delete, edit, expect_absent, expect_entries, messages_at, page, react, resume, with,
};
use super::host::{with_token, with_tokens};
use super::*;

/// A text of a message that is deleted.
const SECRET: &str = "secret";

chat_suite::cases!(
    /// After the `done` of a deletion, nothing that the server sends has the body or an earlier one.
    #[with(race("the other member may get an entry before or after the deletion"))]
    async fn a_deleted_body_is_gone_everywhere(stage: Stage, mut ann: Member, mut bob: Member) -> Verdict {
        let room = stage.room();
        let epoch = bob.join(&room).await?["epoch"].clone();
        ann.ask_for("sent", with(send(&room, "secret one"), "key", "secret key")).await?;
        change(&mut ann, edit(&room, 1, "secret two")).await?;
        change(&mut ann, edit(&room, 1, "secret three")).await?;
        change(&mut bob, react(&room, 1, "secret 4", true)).await?;
        change(&mut ann, react(&room, 1, "secret 5", true)).await?;
        let deletion = change(&mut ann, with(delete(&room, 1), "reason", "private")).await?;
        check(deletion == 6, "the entry 6", deletion)?;
        bob.events_so_far().await?;
        let found = bob.ask(json!({"type": "search", "room": room, "query": SECRET})).await?;
        let mut read = vec![found];
        let history = json!({"type": "history", "room": room});
        for asked in [history.clone(), with(history, "before", 3), messages_at(&room, [1, 2, 3])] {
            read.push(bob.ask_for("history", asked).await?);
        }
        let mut cid = stage.client("cid").await?;
        cid.ask_for("joined", resume(&room, &epoch, 0)).await?;
        let entries = expect_entries(&mut cid, 1..=6).await?;
        cid.ask_for("joined", json!({"type": "join", "room": room, "last": 1})).await?;
        read.extend(expect_entries(&mut cid, 1..=6).await?);
        expect_absent(SECRET, &[read, entries.clone()].concat())?;
        let message = &entries[0];
        let deleted = &message["deleted"];
        let fits = deleted["by"] == message["user"]
            && deleted["at"].is_u64()
            && deleted["reason"] == "private"
            && message["rev"] == 6;
        cid.check(fits, "`deleted` with at, by and reason, and `rev` 6", message)?;
        let rest = ["body", "key", "edited", "reactions", "pinned"];
        let rest: Vec<_> = rest.into_iter().filter(|field| message.get(field).is_some()).collect();
        cid.check(rest.is_empty(), format!("no {rest:?} of a deleted message"), message)
    }

    /// A change of a deleted message is `gone`.
    #[with(race("the other member may get an entry before or after the deletion"))]
    async fn a_change_after_a_deletion_is_gone(stage: Stage, mut ann: Member, mut bob: Member) -> Verdict {
        let room = stage.room();
        ann.post(&room, "hi").await?;
        change(&mut bob, react(&room, 1, "+1", true)).await?;
        change(&mut ann, delete(&room, 1)).await?;
        ann.ask_for_error("gone", edit(&room, 1, "again")).await?;
        ann.ask_for_error("gone", react(&room, 1, "+1", true)).await?;
        bob.ask_for_error("gone", react(&room, 1, "+1", false)).await?;
        let history = stage.history().await?;
        let fits = history.len() == 1 && history[0]["rev"] == 3 && history[0]["deleted"].is_object();
        check(fits, "the deleted message with `rev` 3", Events(&history))
    }

    /// A repeated deletion is a duplicate with the `seq` of the first one.
    #[with(race("the other member may get an entry before or after the deletion"))]
    async fn a_repeated_deletion_is_a_duplicate(stage: Stage, mut ann: Member, mut bob: Member) -> Verdict {
        let room = stage.room();
        ann.post(&room, "hi").await?;
        let deletion = change(&mut ann, delete(&room, 1)).await?;
        for _ in 0..2 {
            let again = ann.ask_for("done", with(delete(&room, 1), "reason", "other")).await?;
            let is_duplicate = again["seq"] == deletion && again["duplicate"] == true;
            ann.check(is_duplicate, format!("a duplicate of {deletion}"), &again)?;
        }
        expect_entries(&mut bob, 1..=deletion).await?;
        bob.expect_no_events().await
    }

    /// A message that is sent again with the key of a deleted one is a duplicate, and restores nothing.
    #[source = "PROTOCOL.md, section 5.3"]
    #[with(race("the other member may get an entry before or after the deletion"))]
    async fn a_repeated_key_restores_nothing(stage: Stage, mut ann: Member, mut bob: Member) -> Verdict {
        let room = stage.room();
        let keyed = with(send(&room, SECRET), "key", "k");
        ann.ask_for("sent", keyed.clone()).await?;
        change(&mut ann, delete(&room, 1)).await?;
        let again = ann.ask_for("sent", keyed).await?;
        ann.check(again["seq"] == 1 && again["duplicate"] == true, "a duplicate of 1", &again)?;
        ann.ask_for_error("key_conflict", with(send(&room, "other"), "key", "k")).await?;
        expect_entries(&mut bob, 1..=2).await?;
        bob.expect_no_events().await?;
        let history = stage.history().await?;
        check(history.len() == 1, "one message", Events(&history))?;
        expect_absent(SECRET, &history)
    }

    /// Of an edit and a deletion at once, the edit is before the deletion or `gone`. The message is deleted after both.
    #[with(identify(with_tokens))]
    #[with(race("either command can be first"))]
    async fn an_edit_and_a_deletion_at_once_end_in_the_deletion(stage: Stage) -> Verdict {
        let room = stage.room();
        let mut phone = stage.accepted("phone", &with_token(&stage, "7:Ann")).await?;
        let mut laptop = stage.accepted("laptop", &with_token(&stage, "7:Ann")).await?;
        phone.join(&room).await?;
        laptop.join(&room).await?;
        for _ in 0..10 {
            let seq = phone.post(&room, "hi").await?;
            let (edited, deleted) =
                tokio::join!(phone.ask(edit(&room, seq, SECRET)), laptop.ask(delete(&room, seq)));
            let (edited, deleted) = (edited?, deleted?);
            laptop.check(deleted["type"] == "done", "the `done` of the deletion", &deleted)?;
            let is_earlier = edited["type"] == "done" && edited["seq"].as_u64() < deleted["seq"].as_u64();
            phone.check(is_earlier || edited["code"] == "gone", "an earlier edit, or `gone`", &edited)?;
            let read = page(&mut phone, messages_at(&room, [seq])).await?;
            let fits = read.len() == 1 && read[0]["rev"] == deleted["seq"];
            check(fits, "the deletion as the newest change", Events(&read))?;
            expect_absent(SECRET, &read)?;
        }
        Ok(())
    }

    /// Of a reaction and a deletion at once, the reaction is before the deletion or `gone`. The message has none after
    /// both.
    #[with(race("either command can be first"))]
    async fn a_reaction_and_a_deletion_at_once_end_in_the_deletion(stage: Stage) -> Verdict {
        let (mut ann, mut bob) = (stage.member("ann").await?, stage.member("bob").await?);
        let room = stage.room();
        for _ in 0..10 {
            let seq = ann.post(&room, "hi").await?;
            let (reacted, deleted) =
                tokio::join!(bob.ask(react(&room, seq, "+1", true)), ann.ask(delete(&room, seq)));
            let (reacted, deleted) = (reacted?, deleted?);
            ann.check(deleted["type"] == "done", "the `done` of the deletion", &deleted)?;
            let is_earlier = reacted["type"] == "done" && reacted["seq"].as_u64() < deleted["seq"].as_u64();
            bob.check(is_earlier || reacted["code"] == "gone", "an earlier reaction, or `gone`", &reacted)?;
            let read = page(&mut ann, messages_at(&room, [seq])).await?;
            let fits = read.len() == 1 && read[0]["reactions"].is_null() && read[0]["rev"] == deleted["seq"];
            check(fits, "a deleted message without reactions", Events(&read))?;
        }
        Ok(())
    }

    /// A member that has not read a message yet does not get its body after the deletion is done.
    #[with(limits(without_rates))]
    #[with(race("the buffers on the way decide how many pages precede the entries"))]
    async fn a_reader_behind_does_not_get_a_deleted_body(stage: Stage, mut ann: Member) -> Verdict {
        let room = stage.room();
        let long = "x".repeat(1_000);
        ann.send_all_while_reading(&vec![Frame::json(&send(&room, &long)); 100]).await?;
        ann.events_so_far().await?;
        let mut slow = stage.client_with_small_buffer("slow").await?;
        slow.join(&room).await?;
        stall(&mut slow, &room).await?;
        // The first messages may be on their way already.
        ann.send_all_while_reading(&vec![Frame::json(&send(&room, &long)); 200]).await?;
        ann.events_so_far().await?;
        let seq = ann.post(&room, SECRET).await?;
        change(&mut ann, edit(&room, seq, "secret two")).await?;
        let deletion = change(&mut ann, delete(&room, seq)).await?;
        let mut entries = Vec::new();
        while entries.len() < 203 {
            let event = slow.event().await?;
            match event["type"].as_str() {
                Some("message" | "changed") => entries.push(event),
                _ => slow.check(event["type"] == "history", "a page or an entry", &event)?,
            }
        }
        let last = &entries[202];
        let fits = last["seq"] == deletion && last["what"] == "deleted";
        slow.check(fits, format!("the deletion {deletion}"), last)?;
        expect_absent(SECRET, &entries)
    }
);

/// Sends long commands with longer replies, and reads none of the replies, until the server stops reading too.
async fn stall(slow: &mut Client, room: &str) -> Verdict {
    let pad = "x".repeat(15_000);
    let asked = Frame::json(&json!({"type": "history", "room": room, "limit": 20, "pad": pad})).encode();
    slow.set_patience(millis(2_000));
    let mut count = 0;
    while count < 2_000 && slow.write(&asked).await.is_ok() {
        count += 1;
    }
    slow.set_patience(millis(8_000));
    check(count < 2_000, "a server that stops reading", format!("{count} commands were read"))
}
