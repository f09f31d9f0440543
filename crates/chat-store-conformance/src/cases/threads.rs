use chat_core::{
    AppendError, AppendReceipt, Links, Mentions, NewMessage, Page, Range, RawValue, Role, ThreadError, User,
};
use serde_json::{Value, json};

use super::changes::{
    Messages, apply, change_or_refuse, count_reply, delete, edit, fresh, known, react, same_messages,
};
use super::{body, check, event, same, seqs};
use crate::{Capability, Case, Failure, OpenRoom, Stage, Verdict};

chat_suite::cases!(
    /// Either a log keeps answers and threads, or it refuses them as unsupported and stores nothing.
    async fn threads_are_supported_or_refused(stage: Stage, room: OpenRoom) -> Verdict {
        room.say("hi").await?;
        let answers = [answer(1), in_thread(1)];
        let mut unsupported = 0;
        for links in answers {
            let appended = room.append_message(message(&known("Bob"), "ho", links)).await;
            unsupported += u64::from(appended == Err(AppendError::Unsupported));
        }
        check(unsupported == 0 || unsupported == 2, "0 or 2 unsupported messages", unsupported)?;
        let head = room.bounds().await?.head;
        check(unsupported == 0 || head == 1, "no entry of an unsupported message", head)?;
        let is_unsupported = room.thread(1, Range::newest(9)).await == Err(ThreadError::Unsupported);
        same(&is_unsupported, &(unsupported > 0))
    }

    /// A frame has the mentions of its message.
    async fn mentions_are_kept(stage: Stage, room: OpenRoom) -> Verdict {
        let bob = known("Bob");
        let links = |mentions| Links::default().with_mentions(mentions);
        append(&room, message(&bob, "hi", links(Mentions::users(["Ann", "7"])))).await?;
        append(&room, message(&bob, "hi", links(Mentions::Room)).with_role(Role::Moderator)).await?;
        let read = room.read_after(0).await?;
        let mentions = read.iter().map(|stored| Ok(event(stored)?["mentions"].clone()));
        let mentions = mentions.collect::<Result<Vec<_>, Failure>>()?;
        same(&mentions, &vec![json!(["Ann", "7"]), json!("@room")])
    }

    /// Only a moderator mentions the room. The refused message is not stored.
    async fn the_right_to_mention_the_room_is_judged_by_the_log(stage: Stage, room: OpenRoom) -> Verdict {
        let mention = || message(&known("Bob"), "hi", Links::default().with_mentions(Mentions::Room));
        for role in [Role::None, Role::Member] {
            same(&room.append_message(mention().with_role(role)).await, &Err(AppendError::Forbidden))?;
        }
        same(&room.bounds().await?.head, &0)?;
        append(&room, mention().with_role(Role::Moderator)).await.map(drop)
    }

    /// A used key with other mentions is a conflict.
    #[source = "chat_core::Room, Keys"]
    async fn other_mentions_are_a_conflict(stage: Stage, room: OpenRoom) -> Verdict {
        let keyed = |ids: &[&str]| {
            let links = Links::default().with_mentions(Mentions::users(ids.iter().copied()));
            message(&known("Bob"), "hi", links).with_key("k".to_owned())
        };
        append(&room, keyed(&["Ann"])).await?;
        same(&room.append_message(keyed(&["Zoe"])).await, &Err(AppendError::KeyConflict))?;
        same(&room.append_message(keyed(&[])).await, &Err(AppendError::KeyConflict))?;
        let repeated = append(&room, keyed(&["Ann"])).await?;
        same(&(repeated.seq, repeated.duplicate), &(1, true))
    }

    /// A used key with another answered message or another thread is a conflict.
    #[source = "chat_core::Room, Keys"]
    #[with(needs(Capability::Threads))]
    async fn another_thread_is_a_conflict(stage: Stage, room: OpenRoom) -> Verdict {
        room.say_all(2).await?;
        let keyed = |links| message(&known("Bob"), "hi", links).with_key("k".to_owned());
        append(&room, keyed(in_thread(1))).await?;
        for links in [in_thread(2), answer(1), in_thread(1).with_reply_to(1), Links::default()] {
            same(&room.append_message(keyed(links)).await, &Err(AppendError::KeyConflict))?;
        }
        let repeated = append(&room, keyed(in_thread(1))).await?;
        same(&(repeated.seq, repeated.duplicate), &(3, true))?;
        same(&root(&room, 1).await?["replies"], &json!({ "count": 1, "last": 3 }))
    }

    /// A root counts the messages of its thread, and an answer outside of a thread is counted nowhere.
    #[with(needs(Capability::Threads))]
    async fn a_root_counts_the_messages_of_its_thread(stage: Stage, room: OpenRoom) -> Verdict {
        let bob = known("Bob");
        room.say_all(2).await?;
        for links in [in_thread(1), answer(3), in_thread(1).with_reply_to(3), in_thread(2)] {
            append(&room, message(&bob, "hi", links)).await?;
        }
        let first = root(&room, 1).await?;
        same(&(&first["replies"], &first["rev"]), &(&json!({ "count": 2, "last": 5 }), &json!(5)))?;
        let second = root(&room, 2).await?;
        same(&(&second["replies"], &second["rev"]), &(&json!({ "count": 1, "last": 6 }), &json!(6)))?;
        let reply = root(&room, 5).await?;
        same(&(&reply["thread"], &reply["reply_to"]), &(&json!(1), &json!(3)))?;
        same(&root(&room, 3).await?["replies"], &Value::Null)
    }

    /// Messages of a thread that are appended at once are all counted.
    #[with(needs(Capability::Threads))]
    async fn messages_at_once_are_all_counted(stage: Stage, room: OpenRoom) -> Verdict {
        room.say("root").await?;
        super::concurrently(40, room.clone(), |room, number| async move {
            append(&room, message(&known("Bob"), &number.to_string(), in_thread(1))).await.map(drop)
        })
        .await?;
        same(&root(&room, 1).await?["replies"], &json!({ "count": 40, "last": 41 }))?;
        same(&seqs(&room.read_after(1).await?), &(2..=41).collect())
    }

    /// A link to a position without a message is refused, and so is a thread that begins with a message of a thread.
    #[with(needs(Capability::Threads))]
    async fn a_link_to_no_message_is_refused(stage: Stage, room: OpenRoom) -> Verdict {
        let bob = known("Bob");
        let refused = async |links: Links| {
            let appended = room.append_message(message(&bob, "hi", links)).await;
            same(&appended, &Err(AppendError::NoMessage))
        };
        refused(in_thread(1)).await?;
        room.say("root").await?;
        append(&room, message(&bob, "hi", in_thread(1))).await?;
        for seq in [3, 4, u64::MAX] {
            refused(answer(seq)).await?;
            refused(in_thread(seq)).await?;
        }
        refused(in_thread(2)).await?;
        refused(in_thread(1).with_reply_to(9)).await?;
        same(&root(&room, 1).await?["replies"]["count"], &json!(1))?;
        same(&room.bounds().await?.head, &2)
    }

    /// A link to a change is refused.
    #[with(needs(Capability::Threads))]
    #[with(needs(Capability::Changes))]
    async fn a_link_to_a_change_is_refused(stage: Stage, room: OpenRoom) -> Verdict {
        let bob = known("Bob");
        append(&room, message(&bob, "hi", Links::default())).await?;
        room.change(edit(&bob, 1, "ho")).await?;
        for links in [answer(2), in_thread(2)] {
            let appended = room.append_message(message(&bob, "hi", links)).await;
            same(&appended, &Err(AppendError::NoMessage))?;
        }
        same(&room.thread(2, Range::newest(9)).await, &Err(ThreadError::NoMessage))
    }

    /// A page of a thread has its messages only, within the limits of every page.
    #[with(needs(Capability::Threads))]
    async fn a_thread_is_read_in_pages(stage: Stage, room: OpenRoom) -> Verdict {
        let bob = known("Bob");
        room.say_all(2).await?;
        for number in 3..=12 {
            append(&room, message(&bob, "hi", in_thread(1 + number % 2))).await?;
        }
        let thread = async |range| {
            let page: Result<Page, Failure> =
                room.thread(2, range).await.map_err(|error| Failure::new("a page of a thread", error));
            page.map(|page| (seqs(&page.messages), page.more))
        };
        for (range, expected) in [
            (Range::newest(9), (vec![3, 5, 7, 9, 11], false)),
            (Range::newest(2), (vec![9, 11], true)),
            (Range::before(9, 2), (vec![5, 7], true)),
            (Range::before(5, 2), (vec![3], false)),
            (Range::after(0, 2), (vec![3, 5], true)),
            (Range::after(7, 2), (vec![9, 11], false)),
            (Range::after(11, 2), (vec![], false)),
        ] {
            same(&thread(range).await?, &expected)?;
        }
        for root in [0, 3, 13, u64::MAX] {
            same(&room.thread(root, Range::newest(9)).await, &Err(ThreadError::NoMessage))?;
        }
        Ok(())
    }

    /// A page of a thread is bounded by bytes, and has at least one message.
    #[with(needs(Capability::Threads))]
    #[with(limits(|limits| limits.wire.max_batch_bytes = 1_000))]
    async fn a_page_of_a_thread_is_bounded_by_bytes(stage: Stage, room: OpenRoom) -> Verdict {
        room.say("root").await?;
        for _ in 0..4 {
            append(&room, message(&known("Bob"), &"x".repeat(300), in_thread(1))).await?;
        }
        append(&room, message(&known("Bob"), &"x".repeat(2_000), in_thread(1))).await?;
        for (range, expected) in [(Range::after(1, 9), vec![2, 3]), (Range::newest(9), vec![6])] {
            let page = room.thread(1, range).await;
            let page = page.map_err(|error| Failure::new("a page of a thread", error))?;
            same(&(seqs(&page.messages), page.more), &(expected, true))?;
        }
        Ok(())
    }

    /// A deleted root keeps its thread: it can be read, and continued. A repeated deletion answers the first one.
    #[with(needs(Capability::Threads))]
    #[with(needs(Capability::Changes))]
    async fn a_deleted_root_keeps_its_thread(stage: Stage, room: OpenRoom) -> Verdict {
        let bob = known("Bob");
        append(&room, message(&bob, "root", Links::default())).await?;
        append(&room, message(&bob, "hi", in_thread(1))).await?;
        same(&room.change(delete(&bob, 1)).await?.seq, &Some(3))?;
        append(&room, message(&bob, "hi", in_thread(1))).await?;
        let first = root(&room, 1).await?;
        same(&(&first["replies"], &first["rev"]), &(&json!({ "count": 2, "last": 4 }), &json!(4)))?;
        same(&(first["deleted"].is_object(), &first["body"]), &(true, &Value::Null))?;
        let repeated = room.change(delete(&bob, 1)).await?;
        same(&(repeated.seq, repeated.duplicate), &(Some(3), true))?;
        same(&event(&room.entries_after(2).await?[0])?["what"], &json!("deleted"))?;
        let page = room.thread(1, Range::newest(9)).await;
        same(&page.map(|page| seqs(&page.messages)), &Ok(vec![2, 4]))
    }

    /// A deleted message stays in its thread, is still counted, and mentions nobody.
    #[with(needs(Capability::Threads))]
    #[with(needs(Capability::Changes))]
    async fn a_deleted_message_stays_in_its_thread(stage: Stage, room: OpenRoom) -> Verdict {
        let bob = known("Bob");
        room.say("root").await?;
        let links = in_thread(1).with_reply_to(1).with_mentions(Mentions::users(["Zoe"]));
        append(&room, message(&bob, "hi", links)).await?;
        room.change(delete(&bob, 2)).await?;
        let page = room.thread(1, Range::newest(9)).await;
        let page = page.map_err(|error| Failure::new("a page of a thread", error))?;
        same(&seqs(&page.messages), &vec![2])?;
        let deleted = event(&page.messages[0])?;
        same(&(&deleted["thread"], &deleted["reply_to"]), &(&json!(1), &json!(1)))?;
        same(&(&deleted["mentions"], &deleted["body"]), &(&Value::Null, &Value::Null))?;
        same(&root(&room, 1).await?["replies"], &json!({ "count": 1, "last": 2 }))
    }

    /// An edit replaces the mentions, keeps them, or removes them, in the message and in its entry.
    #[with(needs(Capability::Changes))]
    async fn an_edit_replaces_the_mentions_if_it_has_some(stage: Stage, room: OpenRoom) -> Verdict {
        let bob = known("Bob");
        let links = Links::default().with_mentions(Mentions::users(["Ann"]));
        append(&room, message(&bob, "hi", links)).await?;
        for (mentions, expected) in [
            (None, json!(["Ann"])),
            (Some(Mentions::users(["Zoe", "Ann"])), json!(["Zoe", "Ann"])),
            (Some(Mentions::users([""; 0])), Value::Null),
        ] {
            let seq = room.change(edit(&bob, 1, "ho").with_mentions(mentions)).await?.seq;
            same(&root(&room, 1).await?["mentions"], &expected)?;
            let entries = room.entries_after(seq.unwrap_or_default() - 1).await?;
            same(&event(&entries[0])?["mentions"], &expected)?;
        }
        Ok(())
    }

    /// A reader that counts each reported message at its root has what a new reader reads, also after a restart.
    #[with(needs(Capability::Threads))]
    #[with(needs(Capability::Changes))]
    async fn fresh_equals_followed(stage: Stage, room: OpenRoom) -> Verdict {
        let mut followed = Messages::new();
        for seed in 1..=8 {
            run_script(&room, &mut followed, seed).await?;
        }
        Ok(())
    }

    /// A restart keeps the threads.
    #[with(needs(Capability::Threads))]
    #[with(needs(Capability::Persistence))]
    async fn a_restart_keeps_the_threads(stage: Stage) -> Verdict {
        let (bob, room) = (known("Bob"), stage.open("lobby").await?);
        room.say("root").await?;
        append(&room, message(&bob, "hi", in_thread(1))).await?;
        drop(room);
        let room = stage.restart().await.open("lobby").await?;
        append(&room, message(&bob, "hi", in_thread(1))).await?;
        same(&root(&room, 1).await?["replies"], &json!({ "count": 2, "last": 3 }))?;
        let page = room.thread(1, Range::newest(9)).await;
        same(&page.map(|page| seqs(&page.messages)), &Ok(vec![2, 3]))
    }

    /// A root that retention has removed begins no thread any more.
    #[with(needs(Capability::Threads))]
    #[with(needs(Capability::Retention))]
    #[with(limits(|limits| limits.rooms.log_messages = 3))]
    async fn a_removed_root_begins_no_thread(stage: Stage, room: OpenRoom) -> Verdict {
        room.say("root").await?;
        append(&room, message(&known("Bob"), "hi", in_thread(1))).await?;
        room.say_all(3).await?;
        super::eventually("the root to be removed", || async { Ok(room.bounds().await?.first > 1) }).await?;
        let appended = room.append_message(message(&known("Bob"), "hi", in_thread(1))).await;
        same(&appended, &Err(AppendError::NoMessage))?;
        same(&room.thread(1, Range::newest(9)).await, &Err(ThreadError::NoMessage))
    }
);

fn answer(seq: u64) -> Links {
    Links::default().with_reply_to(seq)
}

fn in_thread(root: u64) -> Links {
    Links::default().with_thread(root)
}

fn message(by: &User, text: &str, links: Links) -> NewMessage {
    let body = RawValue::from_string(body(text)).expect("a body is JSON");
    NewMessage::new(by.clone(), body).with_links(links)
}

/// Appends a message that the log accepts.
async fn append(room: &OpenRoom, message: NewMessage) -> Result<AppendReceipt, Failure> {
    room.append_message(message).await.map_err(|error| Failure::new("a message that is stored", error))
}

/// Returns the message at a position, in its present form.
async fn root(room: &OpenRoom, seq: u64) -> Result<Value, Failure> {
    let page = room.read(Range::after(seq - 1, 1)).await?;
    event(page.messages.first().ok_or_else(|| Failure::new(format!("the message {seq}"), "none"))?)
}

/// Runs a random script of messages in threads and changes. Applies each reported entry to `followed`, and compares it
/// with a new reader.
async fn run_script(room: &OpenRoom, followed: &mut Messages, seed: u64) -> Verdict {
    let users = ["a", "b", "c"].map(known);
    let mut state = seed;
    let mut random = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut head = room.bounds().await?.head;
    for step in 0..60 {
        let user = &users[usize::try_from(random(3)).unwrap_or_default()];
        let target = random(head + 1).max(1);
        let mentions = (random(3) == 0).then(|| Mentions::users([users[0].id()]));
        match random(10) {
            0..=5 => {
                let thread = (random(3) > 0).then_some(target);
                let links = Links::default().with_thread(thread).with_mentions(mentions);
                // A message of a thread begins no other one.
                match room.append_message(message(user, &step.to_string(), links)).await {
                    Ok(_) | Err(AppendError::NoMessage) => {}
                    Err(error) => return Err(Failure::new("a message that is stored", error)),
                }
            }
            6..=7 => {
                let edit = edit(user, target, &step.to_string()).with_mentions(mentions);
                change_or_refuse(room, edit).await?;
            }
            8 => change_or_refuse(room, react(user, target, random(3) > 0)).await?,
            _ => change_or_refuse(room, delete(user, target)).await?,
        }
        let before = head;
        head = room.bounds().await?.head;
        if head > before {
            for stored in room.reported(before + 1..=head).await? {
                if stored.seq > before {
                    apply(followed, &event(&stored)?);
                }
            }
        }
    }
    same_messages(&fresh(room).await?, followed)?;
    // A reader that counts all entries again has the same.
    let mut again = followed.clone();
    for stored in room.entries_after(0).await? {
        let entry = event(&stored)?;
        match entry["thread"].as_u64().and_then(|root| again.get_mut(&root)) {
            Some(root) => count_reply(root, stored.seq),
            None if entry["type"] == "changed" => apply(&mut again, &entry),
            None => {}
        }
    }
    same_messages(&again, followed)
}
