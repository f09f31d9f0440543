use std::collections::BTreeMap;
use std::time::Duration;

use chat_core::{Act, Change, ChangeError, NewAct, NewChange, Range, Role, RoomRules, User};
use serde_json::Value;

use super::{body, check, event, eventually, guest, same, seqs};
use crate::{Capability, Case, Failure, OpenRoom, Stage, TIME_LIMIT, Verdict};

/// The number of messages of a purge that a store may carry out in several entries.
const MANY: usize = 300;

chat_suite::cases!(
    /// A log that supports purges supports changes and rules too, and one that does not stores nothing.
    async fn a_purge_is_supported_or_stores_nothing(stage: Stage, room: OpenRoom) -> Verdict {
        let eve = known("Eve");
        room.append(&eve, None, &body("hi")).await?;
        let purged = room.try_purge(purge("Eve")).await;
        let is_supported = purged != Err(ChangeError::Unsupported);
        let head = room.bounds().await?.head;
        same(&head, &if is_supported { 2 } else { 1 })?;
        let changed = room.try_change(NewChange::new(eve, 1, Change::Delete { reason: None })).await;
        check(!is_supported || changed.is_ok(), "a store with changes", changed)?;
        let other = NewAct::new(known("Ann"), Act::Create { rules: RoomRules::default() });
        same(&room.try_purge(other).await, &Err(ChangeError::Unsupported))
    }

    /// A purge deletes all messages of its user, whatever their changes are, and no other message.
    #[with(needs(Capability::Purges))]
    async fn a_purge_deletes_all_messages_of_its_user(stage: Stage, room: OpenRoom) -> Verdict {
        let (eve, bob) = (known("Eve"), known("Bob"));
        room.append(&eve, Some("k"), &body("secret one")).await?;
        room.append(&bob, None, &body("kept")).await?;
        let edited = Change::Edit { body: raw("secret two")? };
        room.change(NewChange::new(eve.clone(), 1, edited)).await?;
        room.change(NewChange::new(bob.clone(), 1, react())).await?;
        let pin = NewChange::new(bob.clone(), 1, Change::Pin { on: true }).with_role(Role::Moderator);
        room.change(pin).await?;
        room.append(&eve, None, &body("secret three")).await?;
        let purged = room.try_purge(purge("Eve")).await;
        same(&purged.map(|receipt| (receipt.seq, receipt.duplicate)), &Ok((Some(7), false)))?;
        for stored in room.entries_after(0).await?.into_iter().chain(room.read_after(0).await?) {
            let text = String::from_utf8_lossy(&stored.frame).into_owned();
            check(!text.contains("secret") && !text.contains("\"k\""), "no entry with the body", text)?;
        }
        let entries = events(&room.entries_after(6).await?)?;
        check(
            entries[&7]["unpinned"] == serde_json::json!([1]),
            "the pinned message in `unpinned`",
            &entries[&7],
        )?;
        let messages = events(&room.read_after(0).await?)?;
        for (seq, is_deleted) in [(1, true), (2, false), (6, true)] {
            check(
                messages[&seq]["deleted"].is_object() == is_deleted,
                "the messages of Eve only",
                &messages[&seq],
            )?;
        }
        check(messages[&1]["rev"] == 7, "the purge as the newest entry of the message", &messages[&1])?;
        same(&room.bounds().await?.pins, &Vec::new())?;
        for change in [react(), Change::Pin { on: true }] {
            let change = NewChange::new(bob.clone(), 1, change).with_role(Role::Moderator);
            same(&room.try_change(change).await, &Err(ChangeError::Gone))?;
        }
        let deleted = room.change(NewChange::new(eve.clone(), 1, Change::Delete { reason: None })).await?;
        same(&(deleted.seq, deleted.duplicate), &(Some(7), true))?;
        same(&room.repeat(&eve, "k", &body("secret one")).await?.seq, &1)?;
        same(&room.append(&eve, None, &body("later")).await?.seq, &8)
    }

    /// A purge replaces the changes of pins. So its entry names messages that were pinned before, too.
    #[with(needs(Capability::Purges))]
    async fn a_purge_names_the_messages_that_were_pinned(stage: Stage, room: OpenRoom) -> Verdict {
        for _ in 0..3 {
            room.append(&known("Eve"), None, &body("hi")).await?;
        }
        for (seq, on) in [(1, true), (2, true), (2, false)] {
            let pin = NewChange::new(known("Bob"), seq, Change::Pin { on }).with_role(Role::Moderator);
            room.change(pin).await?;
        }
        same(&room.try_purge(purge("Eve")).await.map(|receipt| receipt.seq), &Ok(Some(7)))?;
        let entries = events(&room.entries_after(0).await?)?;
        let entry = &entries[&7];
        check(entry["unpinned"] == serde_json::json!([1, 2]), "1 and 2 in `unpinned`", entry)?;
        let superseded = [4, 5, 6].iter().all(|seq| entries[seq]["what"] == "superseded");
        check(superseded, "no other change of a pin", &entries)
    }

    /// Each entry of a purge deletes what it says: a reader that applies them has what a new reader reads.
    #[with(needs(Capability::Purges))]
    async fn fresh_equals_followed(stage: Stage, room: OpenRoom) -> Verdict {
        for number in 0..MANY {
            let user = if number % 3 == 0 { known("Bob") } else { known("Eve") };
            room.append(&user, None, &body("hi")).await?;
        }
        let mut followed = events(&room.read_after(0).await?)?;
        let head = room.bounds().await?.head;
        let purged = room.try_purge(purge("Eve")).await.map(|receipt| receipt.seq);
        let newest = room.bounds().await?.head;
        same(&purged, &Ok(Some(newest)))?;
        for stored in room.entries_after(head).await? {
            let entry = event(&stored)?;
            let fits =
                entry["type"] == "purged" && entry["user"]["id"] == "Eve" && entry["by"]["id"] == "Ann";
            check(fits, "an entry of the purge", &entry)?;
            for (seq, held) in &mut followed {
                let is_in_range = entry["from"].as_u64() <= Some(*seq) && Some(*seq) <= entry["to"].as_u64();
                let Some(fields) = held.as_object_mut().filter(|held| {
                    is_in_range && held["user"]["id"] == "Eve" && !held.contains_key("deleted")
                }) else {
                    continue;
                };
                fields.remove("body");
                fields.insert("rev".to_owned(), entry["seq"].clone());
                let deleted = [("at", entry["at"].clone()), ("by", entry["by"].clone())];
                let deleted = deleted.into_iter().map(|(field, value)| (field.to_owned(), value));
                fields.insert("deleted".to_owned(), deleted.collect());
            }
        }
        same(&events(&room.read_after(0).await?)?, &followed)
    }

    /// A purge reports the present form of the messages and of their changes, and then itself.
    #[with(needs(Capability::Purges))]
    async fn a_purge_reports_what_it_erases(stage: Stage, room: OpenRoom) -> Verdict {
        let eve = known("Eve");
        room.append(&eve, None, &body("one")).await?;
        room.append(&known("Bob"), None, &body("two")).await?;
        room.change(NewChange::new(eve, 1, Change::Edit { body: raw("three")? })).await?;
        room.reports.cover(1..=3).await?;
        same(&room.try_purge(purge("Eve")).await.map(|receipt| receipt.seq), &Ok(Some(4)))?;
        let mut erased: Vec<_> = room.reports.erased();
        erased.sort_by_key(|stored| stored.seq);
        same(&seqs(&erased), &vec![1, 3])?;
        let log = room.entries_after(0).await?;
        for stored in erased {
            same(&log.iter().find(|entry| entry.seq == stored.seq), &Some(&stored))?;
        }
        room.reported(4..=4).await.map(drop)
    }

    /// Anybody can take the id of a user as a guest, and clients see no difference. So both are purged.
    #[with(needs(Capability::Purges))]
    async fn a_purge_deletes_the_messages_of_a_guest_too(stage: Stage, room: OpenRoom) -> Verdict {
        room.append(&guest("Eve"), None, &body("one")).await?;
        room.append(&known("Eve"), None, &body("two")).await?;
        room.append(
            &User::new("Eva", "Eve").map_err(|error| Failure::new("a user", error))?,
            None,
            &body("three"),
        )
        .await?;
        room.try_purge(purge("Eve")).await.map_err(|error| Failure::new("a purge", error))?;
        let messages = events(&room.read_after(0).await?)?;
        let deleted: Vec<_> = messages.values().map(|message| message["deleted"].is_object()).collect();
        same(&deleted, &vec![true, true, false])
    }

    /// A purge of a user without messages, and a repeated one, have no entry.
    #[with(needs(Capability::Purges))]
    async fn a_purge_without_messages_changes_nothing(stage: Stage, room: OpenRoom) -> Verdict {
        let seq = async || room.try_purge(purge("Eve")).await.map(|receipt| (receipt.seq, receipt.duplicate));
        same(&seq().await, &Ok((None, false)))?;
        same(&room.bounds().await?.head, &0)?;
        room.append(&known("Eve"), None, &body("one")).await?;
        same(&seq().await, &Ok((Some(2), false)))?;
        same(&seq().await, &Ok((None, false)))?;
        same(&room.bounds().await?.head, &2)
    }

    /// The log judges who may purge: an owner, of lower roles and of oneself.
    #[with(needs(Capability::Purges))]
    #[with(needs(Capability::Rules))]
    async fn who_may_purge_is_judged_by_the_log(stage: Stage, room: OpenRoom) -> Verdict {
        room.govern(NewAct::new(known("Ann"), Act::Create { rules: RoomRules::default() })).await?;
        let act = Act::Role { user: known("Mod"), role: Role::Moderator };
        room.govern(NewAct::new(known("Ann"), act)).await?;
        for id in ["Mod", "Eve", "Ann"] {
            room.append(&known(id), None, &body("hi")).await?;
        }
        let by = |id: &str, user: &str| NewAct::new(known(id), Act::Purge { user: known(user) });
        let purged = async |act: NewAct| room.try_purge(act).await.map(|receipt| receipt.seq);
        for act in [by("Eve", "Eve"), by("Mod", "Eve"), by("Bob", "Ann").with_role(Role::Owner)] {
            same(&purged(act).await, &Err(ChangeError::Forbidden))?;
        }
        same(&purged(by("Ann", "Mod")).await, &Ok(Some(6)))?;
        same(&purged(by("Bob", "Eve").with_role(Role::Owner)).await, &Ok(Some(7)))?;
        same(&purged(by("Ann", "Ann")).await, &Ok(Some(8)))
    }

    /// A log that is opened again has no purged message.
    #[with(needs(Capability::Purges))]
    #[with(needs(Capability::Persistence))]
    async fn a_restart_restores_nothing(stage: Stage) -> Verdict {
        let room = stage.open("lobby").await?;
        for _ in 0..MANY {
            room.append(&known("Eve"), None, &body("secret")).await?;
        }
        room.try_purge(purge("Eve")).await.map_err(|error| Failure::new("a purge", error))?;
        let before = events(&room.read_after(0).await?)?;
        drop(room);
        let stage = stage.restart().await;
        let room = stage.open("lobby").await?;
        same(&events(&room.read_after(0).await?)?, &before)?;
        same(&kept(&room).await?, &0)
    }

    /// A purge that has begun goes on if nobody waits for it.
    #[with(needs(Capability::Purges))]
    async fn a_purge_goes_on_without_its_caller(stage: Stage, room: OpenRoom) -> Verdict {
        for _ in 0..MANY {
            room.append(&known("Eve"), None, &body("secret")).await?;
        }
        let mut patience = Duration::from_millis(1);
        while kept(&room).await? == MANY {
            check(patience < TIME_LIMIT, "a purge that begins", patience)?;
            let _abandoned = tokio::time::timeout(patience, room.try_purge(purge("Eve"))).await;
            patience *= 2;
        }
        eventually("no message of Eve", || async { Ok(kept(&room).await? == 0) }).await
    }

    /// Two purges at once, and messages meanwhile, leave no message from before and each one from after them.
    #[with(needs(Capability::Purges))]
    async fn two_purges_at_once_are_one_result(stage: Stage, room: OpenRoom) -> Verdict {
        for number in 0..MANY {
            let id = if number % 2 == 0 { "Eve" } else { "Zoe" };
            room.append(&known(id), None, &body("secret")).await?;
        }
        let purges = ["Eve", "Zoe", "Eve"].map(|id| room.try_purge(purge(id)));
        let [first, second, third] = purges;
        let (first, second, third) = tokio::join!(first, second, third);
        for purged in [first, second, third] {
            check(purged.is_ok(), "a purge", purged)?;
        }
        room.append(&known("Eve"), None, &body("later")).await?;
        same(&kept(&room).await?, &0)?;
        let last = room.read(Range::newest(1)).await?.messages;
        same(&events(&last)?.values().filter(|message| message["body"].is_object()).count(), &1)
    }

    /// A repeat may join a purge that goes on. It deletes what its user has sent since that one began.
    #[with(needs(Capability::Purges))]
    async fn a_repeat_deletes_what_was_sent_since(stage: Stage, room: OpenRoom) -> Verdict {
        for _ in 0..MANY {
            room.append(&known("Eve"), None, &body("secret")).await?;
        }
        let head = room.bounds().await?.head;
        let repeat = async {
            eventually("an entry of the purge", || async { Ok(room.bounds().await?.head > head) }).await?;
            room.append(&known("Eve"), None, &body("secret later")).await?;
            room.try_purge(purge("Eve")).await.map_err(|error| Failure::new("a repeated purge", error))
        };
        let (first, repeat) = tokio::join!(room.try_purge(purge("Eve")), repeat);
        check(first.is_ok(), "a purge", first)?;
        repeat?;
        same(&kept(&room).await?, &0)
    }
);

fn known(id: &str) -> User {
    User::new(id, id).expect("a good name")
}

fn purge(id: &str) -> NewAct {
    NewAct::new(known("Ann"), Act::Purge { user: known(id) }).by_host()
}

fn react() -> Change {
    Change::React { reaction: "+1".to_owned(), on: true }
}

fn raw(text: &str) -> Result<Box<chat_core::RawValue>, Failure> {
    chat_core::RawValue::from_string(body(text)).map_err(|error| Failure::new("a body", error))
}

/// The events of entries, by their `seq`.
fn events(entries: &[chat_core::StoredMessage]) -> Result<BTreeMap<u64, Value>, Failure> {
    entries.iter().map(|stored| Ok((stored.seq, event(stored)?))).collect()
}

/// The number of messages that still have the body.
async fn kept(room: &OpenRoom) -> Result<usize, Failure> {
    let messages = room.read_after(0).await?;
    Ok(messages.iter().filter(|stored| String::from_utf8_lossy(&stored.frame).contains("secret")).count())
}
