//! Purges: all messages of a user are deleted by one entry.

use std::collections::BTreeMap;

use chat_proto::{
    Act, Change, ChangeError, ChangeReceipt, ChangedEntries, Limits, Links, Log, Mentions, NewAct, NewChange,
    NewMessage, Range, Role, RoomRules, StoredMessage, UnreadCount, User,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{EPOCH, body, log};

fn user(id: &str) -> User {
    User::new(id, id).expect("a good name")
}

fn post(log: &mut Log, author: User, text: &str, links: Links) -> u64 {
    log.append(1, NewMessage::new(author, body(text)).with_links(links)).expect("an append").0.seq
}

fn change(log: &mut Log, by: &str, target: u64, change: Change) -> Result<Option<u64>, ChangeError> {
    let change = NewChange::new(user(by), target, change).with_role(Role::Moderator);
    log.change(2, change).map(|(receipt, _)| receipt.seq)
}

fn purge_by(role: Role, id: &str) -> NewAct {
    NewAct::new(user("owner"), Act::Purge { user: user(id) }).with_role(role)
}

fn purge(log: &mut Log, id: &str) -> (Option<u64>, Option<ChangedEntries>) {
    let (receipt, entries) = log.purge(9, purge_by(Role::Owner, id)).expect("a purge");
    (receipt.seq, entries)
}

fn json(stored: &StoredMessage) -> Value {
    serde_json::from_slice(&stored.frame).expect("a frame is JSON")
}

fn react(on: bool) -> Change {
    Change::React { reaction: "+1".to_owned(), on }
}

#[test]
fn a_purge_deletes_all_messages_of_the_user_with_one_entry() {
    let mut log = log(&Limits::default());
    let mentions = || Links::default().with_mentions(Mentions::users(["bob"]));
    post(&mut log, user("eve"), "secret one", mentions());
    post(&mut log, user("bob"), "kept", Links::default().with_thread(1));
    post(&mut log, user("eve"), "secret two", Links::default().with_thread(1));
    for (by, target, changed) in [
        ("eve", 1, Change::Edit { body: body("secret three") }),
        ("bob", 1, react(true)),
        ("bob", 2, Change::Pin { on: true }),
        ("bob", 3, Change::Pin { on: true }),
    ] {
        change(&mut log, by, target, changed).expect("a change");
    }
    let guest = User::guest("eve").expect("a name");
    post(&mut log, guest, "secret four", Links::default());
    let (seq, entries) = purge(&mut log, "eve");
    let ChangedEntries { erased, entry } = entries.expect("entries");
    let (owner, eve) = (json!({"id": "owner", "name": "owner"}), json!({"id": "eve", "name": "eve"}));
    assert_eq!(seq, Some(9));
    assert_eq!(
        json(&entry),
        json!({"type": "purged", "room": "lobby", "seq": 9, "at": 9, "by": owner, "user": eve, "from": 1, "to": 8,
               "unpinned": [3]})
    );
    // The change of the message of another user is not reported.
    assert_eq!(erased.iter().map(|stored| stored.seq).collect::<Vec<_>>(), [1, 3, 4, 5, 7, 8]);
    let entries = log.read(Range::entries(0, 99)).messages;
    for stored in entries.iter().chain(&erased) {
        let text = str::from_utf8(&stored.frame).expect("text");
        assert!(!text.contains("secret") && !text.contains("mentions"), "{text}");
    }
    let replies = json!({"count": 2, "last": 3});
    assert_eq!(
        json(&entries[0]),
        json!({"type": "message", "room": "lobby", "seq": 1, "user": eve, "at": 1, "rev": 9, "replies": replies,
               "deleted": {"at": 9, "by": owner}})
    );
    assert_eq!(
        (json(&entries[2])["thread"].clone(), json(&entries[1])["body"].is_object()),
        (json!(1), true)
    );
    let whats: Vec<_> = entries[3..7].iter().map(|stored| json(stored)["what"].clone()).collect();
    assert_eq!(whats, ["superseded", "superseded", "pinned", "superseded"]);
    let bounds = log.bounds();
    assert_eq!((bounds.pins, bounds.has_changes, bounds.has_rules), (vec![2], true, false));
    assert_eq!(log.read(Range::acts(0, 9)).messages.len(), 1);

    assert_eq!(change(&mut log, "eve", 1, react(true)), Err(ChangeError::Gone));
    let repeated = NewChange::new(user("eve"), 1, Change::Delete { reason: None });
    assert_eq!(
        log.change(9, repeated).map(|(receipt, _)| receipt),
        Ok(ChangeReceipt::new(EPOCH, 9).repeated())
    );
    assert!(matches!(purge(&mut log, "eve"), (None, None)), "a repeat changes nothing");
    assert_eq!(post(&mut log, user("eve"), "later", Links::default()), 10);
    let bob = user("bob").key();
    let mut unread = UnreadCount::new(&bob);
    let messages = log.read(Range::newest(9)).messages;
    messages.iter().rev().all(|stored| unread.look(stored, Some(false)));
    assert_eq!((unread.unread(), unread.mentions()), (1, 0));
}

#[test]
fn a_key_of_a_purged_message_restores_nothing() {
    let mut log = log(&Limits::default());
    let message = NewMessage::new(user("eve"), body("secret")).with_key("k".to_owned());
    log.append(1, message.clone()).expect("an append");
    purge(&mut log, "eve");
    let (receipt, stored) = log.append(3, message).expect("a repeat");
    assert_eq!((receipt.seq, receipt.duplicate, stored), (1, true, None));
}

#[test]
fn an_owner_purges_lower_roles_and_oneself() {
    let mut log = log(&Limits::default());
    let create = Act::Create { rules: RoomRules::default() };
    log.govern(1, NewAct::new(user("ann"), create)).expect("a room");
    for (id, role) in [("mod", Role::Moderator), ("two", Role::Owner)] {
        let act = NewAct::new(user("host"), Act::Role { user: user(id), role }).by_host();
        log.govern(1, act).expect("a role");
        post(&mut log, user(id), "hi", Links::default());
    }
    let by = |id: &str, target: &str| NewAct::new(user(id), Act::Purge { user: user(target) });
    let mut purge = |act: NewAct| log.purge(2, act).map(|(receipt, _)| receipt.seq);
    assert_eq!(purge(by("mod", "bob")), Err(ChangeError::Forbidden));
    assert_eq!(purge(by("bob", "bob")), Err(ChangeError::Forbidden));
    assert_eq!(purge(by("ann", "two")), Err(ChangeError::Forbidden), "another owner");
    let absent_admin = by("ann", "bob").with_target_role(Role::Owner);
    assert_eq!(purge(absent_admin), Err(ChangeError::Forbidden));
    assert_eq!(purge(by("ann", "mod")), Ok(Some(6)));
    assert_eq!(purge(by("two", "two")), Ok(Some(7)));
    assert_eq!(purge(by("bob", "ann").with_role(Role::Owner)), Err(ChangeError::Forbidden));
    assert_eq!(purge(by("host", "ann").by_host()), Ok(None), "the host, of a user without messages");
    let purge = by("ann", "mod");
    assert_eq!(log.govern(3, purge).err(), Some(ChangeError::Unsupported), "a purge is no other act");
    let act = NewAct::new(user("ann"), Act::Role { user: user("mod"), role: Role::None });
    assert_eq!(log.purge(3, act).err(), Some(ChangeError::Unsupported));
}

/// Deletes a message as a client does, if the entry is newer than the message.
fn erase(message: &mut Value, entry: &Value) {
    let rev = message.get("rev").or_else(|| message.get("seq")).and_then(Value::as_u64);
    let Some(fields) = message.as_object_mut().filter(|_| rev < entry["seq"].as_u64()) else { return };
    for field in ["key", "body", "mentions", "edited", "reactions", "pinned"] {
        fields.remove(field);
    }
    fields.insert("deleted".to_owned(), json!({"at": entry["at"], "by": entry["by"]}));
    fields.insert("rev".to_owned(), entry["seq"].clone());
}

/// The messages of a client that follows the log, and applies its entries as PROTOCOL.md says.
fn follow(messages: &mut BTreeMap<u64, Value>, entry: &Value) {
    let number = |field: &str| entry[field].as_u64().expect("a position");
    match entry["type"].as_str().expect("a type") {
        "message" => drop(messages.insert(number("seq"), entry.clone())),
        "changed" => {
            if let Some(message) = messages.get_mut(&number("target")) {
                erase(message, entry);
            }
        }
        _ => {
            for (_, message) in messages.range_mut(number("from")..=number("to")) {
                if message["user"]["id"] == entry["user"]["id"] && message.get("deleted").is_none() {
                    erase(message, entry);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// A client with any page of messages and the entries after it has what a new reader gets.
    #[test]
    fn fresh_equals_followed(
        steps in prop::collection::vec((0..4_u8, 0..3_usize), 1..60),
        read_at in 0..60_usize,
    ) {
        let mut log = log(&Limits::default());
        let (mut followed, mut cursor) = (BTreeMap::new(), 0);
        for (n, (step, who)) in steps.into_iter().enumerate() {
            if n == read_at {
                let page = log.read(Range::newest(9)).messages;
                followed = page.iter().map(|stored| (stored.seq, json(stored))).collect();
                cursor = log.bounds().head;
            }
            let id = ["ann", "bob", "eve"][who];
            match step {
                0 | 1 => drop(log.append(1, NewMessage::new(user(id), body("hi")))),
                2 => {
                    let delete = NewChange::new(user("mod"), log.bounds().head, Change::Delete { reason: None });
                    drop(log.change(1, delete.with_role(Role::Owner)));
                }
                _ => drop(purge(&mut log, id)),
            }
        }
        let entries = log.read(Range::entries(cursor, 999)).messages;
        entries.iter().for_each(|stored| follow(&mut followed, &json(stored)));
        let fresh: BTreeMap<_, _> =
            log.read(Range::newest(999)).messages.iter().map(|stored| (stored.seq, json(stored))).collect();
        for (seq, message) in &followed {
            prop_assert_eq!(message, &fresh[seq]);
        }
    }
}
