use super::changed::{
    change, change_nothing, delete, edit, expect_absent, followed, messages_at, page, pin, react, reply,
    resume, thread, with,
};
use super::governed::{owner, present, role, user};
use super::host::with_tokens;
use super::*;

/// A text of the messages that are purged.
const SECRET: &str = "secret";

chat_suite::cases!(
    /// After the `done` of a purge, nothing that the server sends has a body of the user, and one entry says it.
    #[with(identify(with_tokens))]
    #[with(race("the other member may get an entry before or after a reply"))]
    async fn a_purged_body_is_gone_everywhere(stage: Stage) -> Verdict {
        let room = stage.room();
        let (mut ann, mut bob) = (owner(&stage, json!({})).await?, present(&stage, "2", "Bob").await?);
        bob.ask_for("sent", with(send(&room, "secret one"), "key", "secret key")).await?;
        change(&mut bob, edit(&room, 2, "secret two")).await?;
        ann.post(&room, "kept").await?;
        bob.post(&room, "secret three").await?;
        change(&mut ann, react(&room, 5, "+1", true)).await?;
        let purged = change(&mut ann, purge(&room, "2")).await?;
        let entry = bob.until("purged").await?;
        let (one, two) = (json!({"id": "1", "name": "Ann"}), json!({"id": "2", "name": "Bob"}));
        let fits = entry["seq"] == purged && entry["room"] == room && entry["at"].is_u64();
        bob.check(fits, format!("the entry {purged} with its `at`"), &entry)?;
        let fits = entry["by"] == one && entry["user"] == two && entry["from"] == 2 && entry["to"] == 5;
        bob.check(fits, "the messages of Bob from 2 to 5, by Ann", &entry)?;
        let found = bob.ask(json!({"type": "search", "room": room, "query": SECRET})).await?;
        let mut read = vec![found];
        let history = json!({"type": "history", "room": room});
        for asked in [history.clone(), with(history, "before", 4), messages_at(&room, [2, 3, 5])] {
            read.push(bob.ask_for("history", asked).await?);
        }
        let mut cid = user(&stage, "3", "Cid").await?;
        let joined = cid.ask_for("joined", json!({"type": "join", "room": room})).await?;
        cid.ask_for("joined", resume(&room, &joined["epoch"], 0)).await?;
        let entries = entries(&mut cid, 1..=purged).await?;
        expect_absent(SECRET, &[read, entries.clone()].concat())?;
        for index in [1, 4] {
            let message = &entries[index];
            let deleted = &message["deleted"];
            let fits = deleted["by"] == one && deleted["at"].is_u64() && message["rev"] == purged;
            cid.check(fits, format!("`deleted` by Ann, and `rev` {purged}"), message)?;
            let rest = ["body", "key", "edited", "reactions", "pinned"];
            let rest: Vec<_> = rest.into_iter().filter(|field| message.get(field).is_some()).collect();
            cid.check(rest.is_empty(), format!("no {rest:?} of a purged message"), message)?;
        }
        let is_kept = text_of(&entries[3]) == "kept" && entries[3]["rev"].is_null();
        cid.check(is_kept, "the message of Ann as it was", &entries[3])
    }

    /// A client that has applied all entries has the same messages as one that reads them now.
    #[with(identify(with_tokens))]
    #[with(race("the other member may get an entry before or after a reply"))]
    async fn a_follower_has_what_a_new_reader_gets(stage: Stage) -> Verdict {
        let room = stage.room();
        let (mut ann, mut bob) = (owner(&stage, json!({})).await?, present(&stage, "2", "Bob").await?);
        let mut cid = present(&stage, "3", "Cid").await?;
        let root = bob.post(&room, "secret").await?;
        ann.ask_for("sent", reply(&room, root, "in the thread")).await?;
        let kept = ann.post(&room, "kept").await?;
        let deleted = bob.post(&room, "deleted before").await?;
        change(&mut ann, delete(&room, deleted)).await?;
        change(&mut ann, pin(&room, root, true)).await?;
        change(&mut bob, react(&room, kept, "+1", true)).await?;
        bob.ask_for("sent", reply(&room, root, "secret too")).await?;
        let purged = change(&mut ann, purge(&room, "2")).await?;
        bob.post(&room, "later").await?;
        ann.ask_for("sent", reply(&room, root, "after the purge")).await?;
        let entries = entries(&mut cid, 2..=purged + 2).await?;
        let (fresh, followed) =
            (page(&mut cid, json!({"type": "history", "room": room})).await?, followed(&entries));
        check(fresh == followed, format!("what a follower has: {}", Events(&followed)), Events(&fresh))?;
        let replies = page(&mut cid, thread(&room, root)).await?;
        check(replies.len() == 3, "a thread with its purged message", Events(&replies))?;
        let fits = fresh[0]["replies"]["count"] == 3 && fresh[3]["rev"] == deleted + 1;
        check(fits, "the replies of the root, and the first deletion", Events(&fresh))?;
        let entry = entries.iter().find(|entry| entry["type"] == "purged").unwrap_or(&Value::Null);
        cid.check(entry["unpinned"] == json!([root]), "the pinned message in `unpinned`", entry)?;
        let joined = cid.ask_for("joined", json!({"type": "join", "room": room})).await?;
        cid.check(joined["pins"].is_null(), "no pin of a purged message", &joined)
    }

    /// A change of a purged message is `gone`, its deletion is a duplicate, and its key restores nothing.
    #[with(identify(with_tokens))]
    #[with(race("the other member may get an entry before or after a reply"))]
    async fn a_purge_is_final(stage: Stage) -> Verdict {
        let room = stage.room();
        let (mut ann, mut bob) = (owner(&stage, json!({})).await?, present(&stage, "2", "Bob").await?);
        let keyed = with(send(&room, SECRET), "key", "k");
        bob.ask_for("sent", keyed.clone()).await?;
        let purged = change(&mut ann, purge(&room, "2")).await?;
        bob.ask_for_error("gone", edit(&room, 2, "again")).await?;
        ann.ask_for_error("gone", react(&room, 2, "+1", true)).await?;
        ann.ask_for_error("gone", pin(&room, 2, true)).await?;
        let deleted = bob.ask_for("done", delete(&room, 2)).await?;
        let is_duplicate = deleted["seq"] == purged && deleted["duplicate"] == true;
        bob.check(is_duplicate, format!("a duplicate of {purged}"), &deleted)?;
        let again = bob.ask_for("sent", keyed).await?;
        bob.check(again["seq"] == 2 && again["duplicate"] == true, "a duplicate of 2", &again)?;
        change_nothing(&mut ann, purge(&room, "2")).await?;
        let history = page(&mut ann, json!({"type": "history", "room": room})).await?;
        check(history.len() == 1, "one message", Events(&history))?;
        expect_absent(SECRET, &history)
    }

    /// A message that is sent after a purge stays.
    #[with(identify(with_tokens))]
    #[with(race("the other member may get an entry before or after a reply"))]
    async fn a_later_message_stays(stage: Stage) -> Verdict {
        let room = stage.room();
        let (mut ann, mut bob) = (owner(&stage, json!({})).await?, present(&stage, "2", "Bob").await?);
        change_nothing(&mut ann, purge(&room, "2")).await?;
        bob.post(&room, SECRET).await?;
        change(&mut ann, purge(&room, "2")).await?;
        let later = bob.post(&room, "later").await?;
        let read = page(&mut ann, messages_at(&room, [2, later])).await?;
        let fits = read.len() == 2 && read[0]["deleted"].is_object() && text_of(&read[1]) == "later";
        check(fits, "the deleted message and the later one", Events(&read))
    }

    /// Of the messages that are sent during a purge, those in its range are deleted, and all later ones stay.
    #[with(identify(with_tokens))]
    #[with(race("messages are on their way during the purge"))]
    async fn a_purge_has_a_place_among_messages(stage: Stage) -> Verdict {
        let room = stage.room();
        let (mut ann, mut bob) = (owner(&stage, json!({})).await?, present(&stage, "2", "Bob").await?);
        bob.post(&room, "first").await?;
        let writing = async {
            for number in 0..20 {
                bob.post(&room, &number.to_string()).await?;
            }
            Ok::<(), Failure>(())
        };
        let purging = async {
            sleep(millis(2)).await;
            change(&mut ann, purge(&room, "2")).await
        };
        let (written, purged) = tokio::join!(writing, purging);
        written?;
        let purged = purged?;
        let entry = ann.until("purged").await?;
        let to = entry["to"].as_u64();
        let fits = entry["seq"] == purged && entry["from"] == 2 && to >= Some(2) && to < Some(purged);
        ann.check(fits, format!("the entry {purged}, with a range from 2 that ends before it"), &entry)?;
        let history = page(&mut bob, json!({"type": "history", "room": room})).await?;
        let is_right = |message: &Value| message["deleted"].is_object() == (message["seq"].as_u64() <= to);
        let fits = history.len() == 21 && history.iter().all(is_right);
        check(fits, "deleted messages in the range of the purge only", Events(&history))
    }

    /// Purged messages are not unread.
    #[source = "PROTOCOL.md, section 3"]
    #[with(identify(with_tokens))]
    #[with(race("the other member may get an entry before or after a reply"))]
    async fn purged_messages_are_not_unread(stage: Stage) -> Verdict {
        let room = stage.room();
        let (mut ann, mut bob) = (owner(&stage, json!({})).await?, present(&stage, "2", "Bob").await?);
        for _ in 0..3 {
            bob.ask_for("sent", with(send(&room, "hi"), "mentions", json!(["3"]))).await?;
        }
        ann.ask_for("sent", with(send(&room, "kept"), "mentions", json!(["3"]))).await?;
        change(&mut ann, purge(&room, "2")).await?;
        let mut cid = user(&stage, "3", "Cid").await?;
        let joined = cid.ask_for("joined", json!({"type": "join", "room": room})).await?;
        let fits = joined["unread"] == 1 && joined["mentions"] == 1;
        cid.check(fits, "one unread message, which mentions Cid", &joined)
    }

    /// Only an owner purges: lower roles, and oneself.
    #[source = "PROTOCOL.md, section 5.8"]
    #[with(identify(with_tokens))]
    #[with(race("the other member may get an entry before or after a reply"))]
    async fn only_an_owner_purges(stage: Stage) -> Verdict {
        let room = stage.room();
        let (mut ann, mut bob) = (owner(&stage, json!({})).await?, present(&stage, "2", "Bob").await?);
        let seq = bob.post(&room, "hi").await?;
        bob.ask_for_error("forbidden", purge(&room, "2")).await?;
        let promoted = change(&mut ann, role(&room, "2", "moderator")).await?;
        check(promoted == seq + 1, format!("the entry {}", seq + 1), promoted)?;
        for id in ["1", "2", "3"] {
            bob.ask_for_error("forbidden", purge(&room, id)).await?;
        }
        let own = ann.post(&room, "ho").await?;
        let purged = [change(&mut ann, purge(&room, "2")).await?, change(&mut ann, purge(&room, "1")).await?];
        check(purged == [own + 1, own + 2], "two entries", format!("{purged:?}"))?;
        let mut zoe = user(&stage, "3", "Zoe").await?;
        zoe.ask_for_error("not_joined", purge(&room, "3")).await?;
        for bad in [json!(2), json!(""), json!({"id": "2"})] {
            ann.ask_for_error("bad_command", with(purge(&room, ""), "user", bad)).await?;
        }
        Ok(())
    }
);

/// The command that deletes all messages of a user.
fn purge(room: &str, user: &str) -> Value {
    json!({"type": "purge", "room": room, "user": user})
}

/// Expects the entries with these `seq`s among the next events, and returns them.
async fn entries(client: &mut Client, seqs: std::ops::RangeInclusive<u64>) -> Result<Vec<Value>, Failure> {
    let mut entries = Vec::new();
    for seq in seqs {
        let entry = loop {
            let event = client.event().await?;
            if event["at"].is_u64() && event["seq"].is_u64() {
                break event;
            }
        };
        client.check(entry["seq"] == seq, format!("the entry {seq}"), &entry)?;
        entries.push(entry);
    }
    Ok(entries)
}
