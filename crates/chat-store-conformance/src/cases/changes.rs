use std::collections::BTreeMap;

use chat_core::{Change, ChangeError, NewChange, RawValue, Role, User};
use serde_json::{Value, json};

use super::{ann, body, check, event, guest, same, seqs};
use crate::{Capability, Case, Failure, OpenRoom, Stage, Verdict};

/// The connection of the guests in these cases.
const CONNECTION: u64 = 7;

chat_suite::cases!(
    /// Either all changes of a log are supported, or all are unsupported and store nothing.
    async fn every_change_is_supported_or_none(stage: Stage, room: OpenRoom) -> Verdict {
        room.say("hi").await?;
        let bob = known("Bob");
        let changes = [react(&bob, 1, true), pin(&bob, 1), edit(&bob, 1, "no"), delete(&bob, 1)];
        let mut unsupported = 0;
        for change in changes {
            let changed = room.try_change(change).await;
            unsupported += u64::from(changed == Err(ChangeError::Unsupported));
        }
        check(unsupported == 0 || unsupported == 4, "0 or 4 unsupported changes", unsupported)?;
        let head = room.bounds().await?.head;
        check(unsupported == 0 || head == 1, "no entry of an unsupported change", head)
    }

    /// Messages and changes are numbered together, and only the range of entries has the changes.
    #[with(needs(Capability::Changes))]
    async fn messages_and_changes_are_numbered_together(stage: Stage, room: OpenRoom) -> Verdict {
        let bob = known("Bob");
        for round in 0..10 {
            same(&room.append(&bob, None, &body("hi")).await?.seq, &(round * 4 + 1))?;
            same(&room.bounds().await?.has_changes, &(round > 0))?;
            let mut pin = pin(&bob, 1);
            pin.change = Change::Pin { on: round % 2 == 0 };
            let changes = [edit(&bob, 1, "new"), react(&bob, round * 4 + 1, true), pin];
            for (seq, change) in (round * 4 + 2..).zip(changes) {
                same(&room.change(change).await?.seq, &Some(seq))?;
            }
        }
        let all: Vec<_> = (1..=40).collect();
        same(&seqs(&room.entries_after(0).await?), &all)?;
        same(&seqs(&room.entries_after(17).await?), &all[17..].to_vec())?;
        same(&seqs(&room.read_after(0).await?), &(0..10).map(|round| round * 4 + 1).collect())?;
        let page = room.read(chat_core::Range::before(30, 2)).await?;
        same(&(seqs(&page.messages), page.more), &(vec![25, 29], true))?;
        let page = room.read(chat_core::Range::newest(2)).await?;
        same(&(seqs(&page.messages), page.more), &(vec![33, 37], true))?;
        room.reported(1..=40).await.map(drop)
    }

    /// A reader that applies each reported change has what a new reader reads.
    #[with(needs(Capability::Changes))]
    async fn fresh_equals_followed(stage: Stage, room: OpenRoom) -> Verdict {
        let mut followed = BTreeMap::new();
        for seed in 1..=8 {
            run_script(&room, &mut followed, seed).await?;
        }
        Ok(())
    }

    /// A reader that follows a log through restarts has what a new reader reads.
    #[with(needs(Capability::Changes))]
    #[with(needs(Capability::Persistence))]
    async fn fresh_equals_followed_through_restarts(stage: Stage) -> Verdict {
        let (mut stage, mut followed) = (stage, BTreeMap::new());
        for seed in 1..=3 {
            let room = stage.open("lobby").await?;
            run_script(&room, &mut followed, seed).await?;
            drop(room);
            stage = stage.restart().await;
            let room = stage.open("lobby").await?;
            same_messages(&fresh(&room).await?, &followed)?;
        }
        Ok(())
    }

    /// An edit that names an older revision than the newest edit is a conflict and stores nothing.
    #[with(needs(Capability::Changes))]
    async fn an_edit_of_an_older_revision_is_a_conflict(stage: Stage, room: OpenRoom) -> Verdict {
        let bob = known("Bob");
        room.append(&bob, None, &body("one")).await?;
        same(&room.change(edit(&bob, 1, "two").with_rev(1)).await?.seq, &Some(2))?;
        same(&room.try_change(edit(&bob, 1, "three").with_rev(1)).await, &Err(ChangeError::Conflict))?;
        same(&room.change(react(&known("Zoe"), 1, true)).await?.seq, &Some(3))?;
        same(&room.change(edit(&bob, 1, "four").with_rev(2)).await?.seq, &Some(4))?;
        same(&text_of(&room, 1).await?, &json!("four"))
    }

    /// A deleted message has no body, stays deleted, and answers a repeated deletion with the first.
    #[with(needs(Capability::Changes))]
    async fn a_deletion_is_final(stage: Stage, room: OpenRoom) -> Verdict {
        let bob = known("Bob");
        room.append(&bob, Some("k"), &body("secret one")).await?;
        room.change(edit(&bob, 1, "secret two").with_key("e".to_owned())).await?;
        room.change(react(&known("Zoe"), 1, true)).await?;
        let deleted = room.change(delete(&bob, 1)).await?;
        same(&(deleted.seq, deleted.duplicate), &(Some(4), false))?;
        let repeated = room.change(delete(&bob, 1)).await?;
        same(&(repeated.seq, repeated.duplicate), &(Some(4), true))?;
        for change in [edit(&bob, 1, "back"), react(&bob, 1, true), pin(&bob, 1)] {
            same(&room.try_change(change).await, &Err(ChangeError::Gone))?;
        }
        let repeated = room.repeat(&bob, "k", &body("secret one")).await?;
        same(&repeated.seq, &1)?;
        let repeated = room.change(edit(&bob, 1, "secret two").with_key("e".to_owned())).await?;
        same(&(repeated.seq, repeated.duplicate), &(Some(2), true))?;
        same(&room.bounds().await?.head, &4)?;
        for stored in room.entries_after(0).await?.into_iter().chain(room.read_after(0).await?) {
            let text = String::from_utf8_lossy(&stored.frame).into_owned();
            check(!text.contains("secret"), "no entry with the body", text)?;
        }
        same(&event(&room.read_after(0).await?[0])?["deleted"]["by"]["id"], &json!("Bob"))
    }

    /// An edit with a repeated key is stored once, and the key of another content is a conflict.
    #[with(needs(Capability::Changes))]
    async fn a_repeated_edit_is_stored_once(stage: Stage, room: OpenRoom) -> Verdict {
        let bob = known("Bob");
        room.append(&bob, Some("k"), &body("one")).await?;
        let change = || edit(&bob, 1, "two").with_key("e".to_owned());
        same(&room.change(change()).await?.seq, &Some(2))?;
        let repeated = room.change(change()).await?;
        same(&(repeated.seq, repeated.duplicate), &(Some(2), true))?;
        let other = edit(&bob, 1, "three").with_key("e".to_owned());
        same(&room.try_change(other).await, &Err(ChangeError::KeyConflict))?;
        let same_body = edit(&bob, 1, "one").with_key("k".to_owned());
        same(&room.try_change(same_body).await, &Err(ChangeError::KeyConflict))?;
        same(&room.bounds().await?.head, &2)
    }

    /// A user has a reaction once, a repeat stores nothing, and reactions before the newest edit are stale.
    #[with(needs(Capability::Changes))]
    async fn reactions_are_a_set(stage: Stage, room: OpenRoom) -> Verdict {
        let bob = known("Bob");
        room.append(&bob, None, &body("hi")).await?;
        for name in ["a", "b", "c"] {
            room.change(react(&known(name), 1, true)).await?;
        }
        same(&room.change(react(&known("a"), 1, true)).await?.seq, &None)?;
        same(&room.change(react(&known("d"), 1, false)).await?.seq, &None)?;
        let users = |names: &[&str]| -> Vec<Value> {
            names.iter().map(|name| json!({ "id": name, "name": name })).collect()
        };
        let reactions = async || Ok::<_, Failure>(event(&room.read_after(0).await?[0])?["reactions"].clone());
        let expected = json!([{ "reaction": "+1", "count": 3, "users": users(&["a", "b", "c"]) }]);
        same(&reactions().await?, &expected)?;
        room.change(edit(&bob, 1, "new")).await?;
        room.change(react(&known("a"), 1, false)).await?;
        room.change(react(&known("d"), 1, true)).await?;
        let expected =
            json!([{ "reaction": "+1", "count": 3, "users": users(&["b", "c", "d"]), "stale": 2 }]);
        same(&reactions().await?, &expected)
    }

    /// Only the author edits a message, and only a moderator pins it or deletes that of another user.
    #[with(needs(Capability::Changes))]
    async fn rights_are_judged_by_the_log(stage: Stage, room: OpenRoom) -> Verdict {
        let (bob, zoe) = (known("Bob"), known("Zoe"));
        room.append(&bob, None, &body("hi")).await?;
        let forbidden = Err(ChangeError::Forbidden);
        let member = |change: NewChange| change.with_role(Role::Member);
        let moderator = |change: NewChange| change.with_role(Role::Moderator);
        for change in [
            moderator(edit(&zoe, 1, "no")),
            member(delete(&zoe, 1)),
            member(pin(&bob, 1)),
            member(pin(&zoe, 1)),
            // A guest is not the user with the same id.
            edit(&guest("Bob"), 1, "no").with_connection(CONNECTION),
        ] {
            same(&room.try_change(change).await, &forbidden)?;
        }
        same(&room.bounds().await?.head, &1)?;
        same(&room.try_change(member(edit(&bob, 2, "no"))).await, &Err(ChangeError::NoMessage))?;
        same(&room.change(moderator(pin(&zoe, 1))).await?.seq, &Some(2))?;
        same(&room.try_change(edit(&bob, 2, "a change")).await, &Err(ChangeError::NoMessage))?;
        same(&room.change(member(edit(&bob, 1, "new"))).await?.seq, &Some(3))?;
        same(&room.change(moderator(delete(&zoe, 1))).await?.seq, &Some(4))
    }

    /// A guest changes a message only from the connection that sent it.
    #[with(needs(Capability::Changes))]
    async fn a_guest_changes_messages_of_its_connection(stage: Stage, room: OpenRoom) -> Verdict {
        room.append_from(&ann(), CONNECTION, "hi").await?;
        for other in [None, Some(CONNECTION + 1)] {
            let change = edit(&ann(), 1, "no").with_connection(other);
            same(&room.try_change(change).await, &Err(ChangeError::Forbidden))?;
        }
        let change = edit(&ann(), 1, "new").with_connection(CONNECTION);
        same(&room.change(change).await?.seq, &Some(2))
    }

    /// A deletion reports the present form of the message and of its changes, and then itself.
    #[with(needs(Capability::Changes))]
    async fn a_deletion_reports_what_it_erases(stage: Stage, room: OpenRoom) -> Verdict {
        let bob = known("Bob");
        room.append(&bob, None, &body("secret")).await?;
        for change in [edit(&bob, 1, "secret"), edit(&bob, 1, "secret2"), react(&bob, 1, true), pin(&bob, 1)]
        {
            room.change(change).await?;
        }
        room.reports.cover(1..=5).await?;
        room.change(delete(&bob, 1)).await?;
        let erased: Vec<_> = room.reports.erased();
        same(&seqs(&erased), &vec![1, 2, 3, 4, 5])?;
        let log = room.entries_after(0).await?;
        for stored in erased {
            same(&log.iter().find(|entry| entry.seq == stored.seq), &Some(&stored))?;
        }
        room.reported(6..=6).await.map(drop)
    }

    /// A change that a later one of its kind has replaced says only that.
    #[with(needs(Capability::Changes))]
    async fn a_replaced_change_is_superseded(stage: Stage, room: OpenRoom) -> Verdict {
        let bob = known("Bob");
        room.append(&bob, None, &body("hi")).await?;
        for change in [edit(&bob, 1, "a"), pin(&bob, 1), edit(&bob, 1, "b"), react(&bob, 1, true)] {
            room.change(change).await?;
        }
        let whats = async || {
            let entries = room.entries_after(1).await?;
            entries
                .iter()
                .map(|stored| Ok(event(stored)?["what"].clone()))
                .collect::<Result<Vec<_>, Failure>>()
        };
        same(&whats().await?, &["superseded", "pinned", "edited", "reactions"].map(Value::from).to_vec())?;
        room.change(delete(&bob, 1)).await?;
        let superseded = ["superseded", "superseded", "superseded", "superseded", "deleted"];
        same(&whats().await?, &superseded.map(Value::from).to_vec())
    }

    /// Selected messages are read in ascending order and in their present form, without positions of changes.
    #[with(needs(Capability::Changes))]
    async fn selected_messages_are_read_in_their_present_form(stage: Stage, room: OpenRoom) -> Verdict {
        let bob = known("Bob");
        for text in ["a", "b", "c"] {
            room.append(&bob, None, &body(text)).await?;
        }
        room.change(edit(&bob, 2, "new")).await?;
        let page = room.messages(&[4, 3, 2, 9, 0, 2, u64::MAX], usize::MAX).await?;
        same(&(page.messages, page.more), &(room.read_after(1).await?, false))?;
        let page = room.messages(&[1, 2, 3], 1).await?;
        same(&(seqs(&page.messages), page.more), &(vec![1], true))
    }

    /// A search finds messages in their present form: by a new text, not by an old one, and no deleted message.
    #[with(needs(Capability::Changes))]
    #[with(needs(Capability::Search))]
    async fn a_search_finds_the_present_form(stage: Stage, room: OpenRoom) -> Verdict {
        let bob = known("Bob");
        for text in ["red apple", "green apple", "apple pie"] {
            room.append(&bob, None, &body(text)).await?;
        }
        room.change(edit(&bob, 1, "red pear")).await?;
        room.change(delete(&bob, 2)).await?;
        same(&(room.find("apple").await?, room.find("pear").await?), &(vec![3], vec![1]))?;
        let found = room.try_search("pear", 9, None).await;
        let found = found.map_err(|error| Failure::new("a page of matches", error))?;
        same(&found.messages, &room.read_after(0).await?[..1].to_vec())
    }
);

pub(super) fn known(id: &str) -> User {
    User::new(id, id).expect("the names in the cases are valid")
}

pub(super) fn edit(by: &User, target: u64, text: &str) -> NewChange {
    let body = RawValue::from_string(body(text)).expect("a body is JSON");
    NewChange::new(by.clone(), target, Change::Edit { body })
}

pub(super) fn delete(by: &User, target: u64) -> NewChange {
    NewChange::new(by.clone(), target, Change::Delete { reason: Some("spam".to_owned()) })
}

pub(super) fn react(by: &User, target: u64, on: bool) -> NewChange {
    NewChange::new(by.clone(), target, Change::React { reaction: "+1".to_owned(), on })
}

pub(super) fn pin(by: &User, target: u64) -> NewChange {
    NewChange::new(by.clone(), target, Change::Pin { on: true }).with_role(Role::Moderator)
}

async fn text_of(room: &OpenRoom, seq: u64) -> Result<Value, Failure> {
    let page = room.read(chat_core::Range::after(seq - 1, 1)).await?;
    let stored = page.messages.first().ok_or_else(|| Failure::new(format!("the message {seq}"), "none"))?;
    Ok(event(stored)?["body"]["text"].clone())
}

pub(super) type Messages = BTreeMap<u64, Value>;

/// The messages as a new reader has them.
pub(super) async fn fresh(room: &OpenRoom) -> Result<Messages, Failure> {
    let read = room.read_after(0).await?;
    read.iter().map(|stored| Ok((stored.seq, event(stored)?))).collect()
}

/// Checks that two readers have the same messages. A failure has only those that differ.
pub(super) fn same_messages(came: &Messages, expected: &Messages) -> Verdict {
    let lacking = |these: &Messages, others: &Messages| -> Messages {
        let differing = these.iter().filter(|(seq, message)| others.get(seq) != Some(message));
        differing.map(|(seq, message)| (*seq, message.clone())).collect()
    };
    same(&lacking(came, expected), &lacking(expected, came))
}

/// Runs a random script of messages and changes. Applies each reported entry to `followed`, and compares it with a new
/// reader.
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
        let change = match random(10) {
            0..=2 => None,
            3..=4 => Some(edit(user, target, &step.to_string())),
            5..=7 => Some(react(user, target, random(3) > 0)),
            8 => {
                let mut pin = pin(user, target);
                pin.change = Change::Pin { on: random(2) > 0 };
                Some(pin)
            }
            _ => Some(delete(user, target)),
        };
        match change {
            None => drop(room.append(user, None, &body(&format!("{seed} {step}"))).await?),
            Some(change) => change_or_refuse(room, change).await?,
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
    // A reader that applies all entries again has the same.
    let mut again = followed.clone();
    for stored in room.entries_after(0).await?.iter() {
        let entry = event(stored)?;
        if entry["type"] == "changed" {
            apply(&mut again, &entry);
        }
    }
    same_messages(&again, followed)
}

/// Makes a change, which the log may refuse. One without an answer is a failure: it may be stored later, when the
/// reader has looked for it.
pub(super) async fn change_or_refuse(room: &OpenRoom, change: NewChange) -> Verdict {
    match room.try_change(change).await {
        Err(error @ (ChangeError::Unsupported | ChangeError::Unavailable(_))) => {
            Err(Failure::new("a change that is stored or refused", error))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Applies an entry, as a client does.
pub(super) fn apply(messages: &mut Messages, entry: &Value) {
    let seq = entry["seq"].as_u64().unwrap_or_default();
    if entry["type"] == "message" {
        if let Some(root) = entry["thread"].as_u64().and_then(|root| messages.get_mut(&root)) {
            count_reply(root, seq);
        }
        messages.insert(seq, entry.clone());
        return;
    }
    let target = entry["target"].as_u64().unwrap_or_default();
    let Some(message) = messages.get_mut(&target).and_then(Value::as_object_mut) else { return };
    if message.get("rev").and_then(Value::as_u64).unwrap_or(target) >= seq {
        return;
    }
    message.insert("rev".to_owned(), seq.into());
    match entry["what"].as_str() {
        Some("edited") => {
            message.insert("body".to_owned(), entry["body"].clone());
            message.remove("mentions");
            message.extend(entry.get("mentions").map(|mentions| ("mentions".to_owned(), mentions.clone())));
            message.insert("edited".to_owned(), json!({ "at": entry["at"] }));
            for reaction in message.get_mut("reactions").and_then(Value::as_array_mut).into_iter().flatten() {
                reaction["stale"] = reaction["count"].clone();
            }
        }
        Some("deleted") => {
            for field in ["body", "key", "mentions", "edited", "reactions", "pinned"] {
                message.remove(field);
            }
            let (at, by, reason) = (&entry["at"], &entry["by"], &entry["reason"]);
            message.insert("deleted".to_owned(), json!({ "at": at, "by": by, "reason": reason }));
        }
        Some("reactions") if entry["reactions"] == json!([]) => drop(message.remove("reactions")),
        Some("reactions") => drop(message.insert("reactions".to_owned(), entry["reactions"].clone())),
        Some("pinned") if entry["pinned"] == false => drop(message.remove("pinned")),
        Some("pinned") => drop(message.insert("pinned".to_owned(), true.into())),
        _ => {}
    }
}

/// Counts a message of a thread at its root, if it is newer than the root.
pub(super) fn count_reply(root: &mut Value, seq: u64) {
    if root["rev"].as_u64().or_else(|| root["seq"].as_u64()) < Some(seq) {
        let count = root["replies"]["count"].as_u64().unwrap_or_default();
        root["replies"] = json!({ "count": count + 1, "last": seq });
        root["rev"] = seq.into();
    }
}
