//! Changes of messages: what the log keeps of them, and what a client makes of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chat_proto::command::JoinFrom;
use chat_proto::room::{Delivery, Room};
use chat_proto::{
    Change, ChangeError, ChangeReceipt, ChangedEntries, Limits, Links, Log, LogBounds, Mentions, NewChange,
    NewMessage, Page, Range, Role, StoredMessage, User,
};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use crate::{EPOCH, body, draft, log, room};

fn user(id: &str) -> User {
    User::new(id, id).expect("a good name")
}

/// Appends a message of a user of the host service.
fn post(log: &mut Log, id: &str, text: &str) -> u64 {
    log.append(1, NewMessage::new(user(id), body(text))).expect("an append").0.seq
}

fn edit(target: u64, text: &str) -> NewChange {
    NewChange::new(user("ann"), target, Change::Edit { body: body(text) })
}

fn delete(target: u64) -> NewChange {
    NewChange::new(user("ann"), target, Change::Delete { reason: None })
}

fn react(id: &str, target: u64, reaction: &str, on: bool) -> NewChange {
    NewChange::new(user(id), target, Change::React { reaction: reaction.to_owned(), on })
}

fn pin(role: Role, target: u64, on: bool) -> NewChange {
    NewChange::new(user("moderator"), target, Change::Pin { on }).with_role(role)
}

fn change(log: &mut Log, change: NewChange) -> Result<ChangeReceipt, ChangeError> {
    log.change(2, change).map(|(receipt, _)| receipt)
}

fn json(stored: &StoredMessage) -> Value {
    serde_json::from_slice(&stored.frame).expect("a frame is JSON")
}

fn message(log: &Log, seq: u64) -> Value {
    json(&log.read(Range::before(seq + 1, 1)).messages[0])
}

#[test]
fn a_change_is_an_entry_and_the_message_shows_its_present_state() {
    let mut log = log(&Limits::default());
    let seq = post(&mut log, "ann", "helo");
    let (receipt, changed) = log.change(9, edit(seq, "hello")).expect("an edit");
    assert_eq!(receipt, ChangeReceipt::new(EPOCH, 2));
    let entry = json(&changed.expect("an entry").entry);
    let ann = json!({"id": "ann", "name": "ann"});
    assert_eq!(
        entry,
        json!({"type": "changed", "room": "lobby", "seq": 2, "at": 9, "by": ann, "target": 1, "what": "edited",
               "body": {"text": "hello"}})
    );
    assert_eq!(
        message(&log, seq),
        json!({"type": "message", "room": "lobby", "seq": 1, "user": ann, "at": 1, "rev": 2, "edited": {"at": 9},
               "body": {"text": "hello"}})
    );
    let bounds = log.bounds();
    assert_eq!((bounds.head, bounds.first, bounds.has_changes), (2, 1, true));
    assert_eq!(log.read(Range::newest(9)).messages.len(), 1);
}

#[test]
fn a_deletion_erases_the_body_the_key_and_all_earlier_changes() {
    let mut log = log(&Limits::default());
    log.append(1, NewMessage::new(user("ann"), body("one")).with_key("key".to_owned())).expect("an append");
    change(&mut log, edit(1, "two")).expect("an edit");
    change(&mut log, edit(1, "three")).expect("an edit");
    change(&mut log, react("bob", 1, "+1", true)).expect("a reaction");
    let (receipt, changed) = log.change(5, delete(1)).expect("a deletion");
    let ChangedEntries { erased, entry } = changed.expect("an entry");
    assert_eq!(erased.iter().map(|stored| stored.seq).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!((receipt.seq, json(&entry)["what"].as_str()), (Some(5), Some("deleted")));
    let all = log.read(Range::entries(0, 99)).messages;
    assert_eq!(all.len(), 5);
    for stored in all.iter().chain(&erased) {
        let text = str::from_utf8(&stored.frame).expect("text");
        assert!(
            !["one", "two", "three", "+1", "\"key\""].iter().any(|erased| text.contains(erased)),
            "{text}"
        );
    }
    let what: Vec<_> = all[1..4].iter().map(|stored| json(stored)["what"].clone()).collect();
    assert_eq!(what, ["superseded", "superseded", "superseded"]);
    let ann = json!({"id": "ann", "name": "ann"});
    assert_eq!(message(&log, 1)["deleted"], json!({"at": 5, "by": ann}));

    assert_eq!(change(&mut log, delete(1)), Ok(ChangeReceipt::new(EPOCH, 5).repeated()));
    assert_eq!(change(&mut log, edit(1, "four")), Err(ChangeError::Gone));
    assert_eq!(change(&mut log, react("bob", 1, "+1", true)), Err(ChangeError::Gone));
    assert_eq!(change(&mut log, pin(Role::Owner, 1, true)), Err(ChangeError::Gone));
    let repeated = NewMessage::new(user("ann"), body("one")).with_key("key".to_owned());
    let (receipt, stored) = log.append(6, repeated).expect("a repeat");
    assert_eq!((receipt.seq, receipt.duplicate, stored), (1, true, None));
    assert!(message(&log, 1)["body"].is_null());
}

#[test]
fn a_deletion_is_told_after_the_log_has_lost_the_message() {
    let mut log = log(&Limits::default().with(|limits| limits.rooms.log_messages = 1));
    post(&mut log, "ann", "secret");
    change(&mut log, delete(1)).expect("a deletion");
    post(&mut log, "ann", "later");
    let entries = log.read(Range::entries(0, 9)).messages;
    assert_eq!((entries[0].seq, json(&entries[0])["what"].as_str()), (2, Some("deleted")));
}

#[test]
fn changes_push_out_messages_only_beyond_four_for_each() {
    let mut log = log(&Limits::default().with(|limits| limits.rooms.log_messages = 3));
    for text in ["one", "two", "three"] {
        post(&mut log, "ann", text);
    }
    for n in 0..12 {
        change(&mut log, react("bob", 3, "+1", n % 2 == 0)).expect("a reaction");
    }
    let seqs = |log: &Log| log.read(Range::newest(99)).messages.iter().map(|m| m.seq).collect::<Vec<_>>();
    assert_eq!((seqs(&log), log.bounds().first), (vec![1, 2, 3], 1));
    change(&mut log, react("bob", 3, "+1", true)).expect("a reaction");
    assert_eq!((seqs(&log), log.bounds().first), (vec![2, 3], 2), "15 entries are kept");
    post(&mut log, "ann", "four");
    assert_eq!(seqs(&log), [3, 17]);
    post(&mut log, "ann", "five");
    assert_eq!(seqs(&log), [17, 18]);
}

#[test]
fn reactions_name_first_users_up_to_a_number_of_bytes() {
    let mut log = log(&Limits::default());
    post(&mut log, "ann", "hi");
    let long =
        |n: usize| User::new(&format!("{n:0>255}"), "\u{c548}\u{b155}".repeat(16).as_str()).expect("a user");
    let mut longest = 0;
    let placed = (0..12).flat_map(|n| (0..32).map(move |kind| (n, kind)));
    for (n, kind) in placed {
        let reaction = Change::React { reaction: format!("{kind:0>64}"), on: true };
        let (_, changed) = log.change(2, NewChange::new(long(n), 1, reaction)).expect("a reaction");
        longest = longest.max(changed.expect("an entry").entry.frame.len());
    }
    assert!(longest < 12 * 1024 + 512, "{longest} bytes");
    let names = |log: &Log| -> Vec<usize> {
        let reactions = message(log, 1)["reactions"].as_array().expect("reactions").clone();
        assert!(reactions.iter().all(|reaction| reaction["count"].as_u64() >= Some(11)), "{reactions:?}");
        reactions.iter().map(|reaction| reaction["users"].as_array().map_or(0, Vec::len)).collect()
    };
    // 8,192 bytes are 22 users of 20 + 255 + 96 bytes.
    assert_eq!(names(&log)[..4], [10, 10, 2, 0]);
    // The names of a reaction are complete again when it changes and there is space for them.
    let off = |kind: usize| Change::React { reaction: format!("{kind:0>64}"), on: false };
    change(&mut log, NewChange::new(long(0), 1, off(2))).expect("a change");
    assert_eq!(names(&log)[..4], [10, 10, 2, 0]);
    assert_eq!(message(&log, 1)["reactions"][2]["users"][0]["id"], long(1).id());
}

#[test]
fn the_memory_of_a_log_has_the_texts_of_those_who_react() {
    let mut log = log(&Limits::default());
    post(&mut log, "ann", "hi");
    let before = log.memory_bytes();
    for n in 0..500 {
        change(&mut log, react(&format!("{n:0>32}"), 1, "+1", true)).expect("a reaction");
    }
    let added = log.memory_bytes() - before;
    assert!(added > 500 * (2 * 32 + size_of::<User>()), "{added}");
}

#[test]
fn an_erased_entry_that_is_reported_late_has_its_present_form() {
    let mut room = Room::new(room("lobby"), &Limits::default());
    let bounds = LogBounds::new(EPOCH, 0);
    let (mut ann, _) = room.join(1, &user("ann"), (), bounds, &JoinFrom::Now).expect("a member");
    let stored = |seq: u64, what: &str| StoredMessage::new(seq, format!("{{\"{what}\":{seq}}}"));
    room.commit(EPOCH, &stored(3, "secret"));
    room.erase(EPOCH, &[stored(1, "erased"), stored(2, "erased"), stored(3, "erased")]);
    room.commit(EPOCH, &stored(1, "secret"));
    let hole = room.hole().expect("a hole");
    room.fill(&hole, Page::new(EPOCH, vec![stored(2, "secret")]));
    room.commit(EPOCH, &stored(4, "other"));
    let Delivery::Events(events) = room.take(&mut ann) else { panic!("no events") };
    let texts: Vec<_> = events.iter().map(|event| str::from_utf8(&event.frame).expect("text")).collect();
    assert_eq!(texts, [r#"{"erased":1}"#, r#"{"erased":2}"#, r#"{"erased":3}"#, r#"{"other":4}"#]);
}

#[test]
fn rights_are_those_of_the_author_and_of_moderators() {
    let mut log = log(&Limits::default());
    let seq = post(&mut log, "bob", "hi");
    assert_eq!(change(&mut log, edit(seq, "ho")), Err(ChangeError::Forbidden));
    assert_eq!(change(&mut log, delete(seq)), Err(ChangeError::Forbidden));
    for role in [Role::None, Role::Member] {
        assert_eq!(change(&mut log, pin(role, seq, true)), Err(ChangeError::Forbidden));
    }
    assert_eq!(change(&mut log, edit(seq, "ho").with_role(Role::Owner)), Err(ChangeError::Forbidden));
    for role in [Role::Moderator, Role::Owner] {
        assert_eq!(
            change(&mut log, pin(role, seq, true)).map(|receipt| receipt.seq.is_some()),
            Ok(role == Role::Moderator)
        );
    }
    assert!(change(&mut log, delete(seq).with_role(Role::Moderator)).is_ok());
    assert_eq!(change(&mut log, edit(seq, "ho")), Err(ChangeError::Forbidden), "not `gone` for a stranger");
    for target in [0, 2, 3, 4, u64::MAX] {
        assert_eq!(change(&mut log, edit(target, "ho")), Err(ChangeError::NoMessage), "{target}");
    }
}

#[test]
fn a_guest_changes_only_what_the_same_connection_has_sent() {
    let mut log = log(&Limits::default());
    let guest = User::guest("ann").expect("a good name");
    log.append(1, draft("ann", None, "from the host's code")).expect("an append");
    log.append(1, draft("ann", None, "hi").with_connection(7)).expect("an append");
    let edit = |seq| NewChange::new(guest.clone(), seq, Change::Edit { body: body("ho") });
    for (seq, connection, allowed) in
        [(1, None, false), (1, Some(7), false), (2, None, false), (2, Some(8), false), (2, Some(7), true)]
    {
        let changed = change(&mut log, edit(seq).with_connection(connection));
        assert_eq!(changed.is_ok(), allowed, "{seq} {connection:?}: {changed:?}");
    }
    let same_id = NewChange::new(user("ann"), 2, Change::Edit { body: body("ho") }).with_connection(7);
    assert_eq!(change(&mut log, same_id), Err(ChangeError::Forbidden));
}

#[test]
fn a_revision_is_in_conflict_only_with_later_edits() {
    let mut log = log(&Limits::default());
    let seq = post(&mut log, "ann", "one");
    change(&mut log, react("bob", seq, "+1", true)).expect("a reaction");
    assert!(change(&mut log, edit(seq, "two").with_rev(1)).is_ok());
    assert_eq!(change(&mut log, edit(seq, "three").with_rev(2)), Err(ChangeError::Conflict));
    assert_eq!(change(&mut log, react("bob", seq, "-1", true).with_rev(2)), Err(ChangeError::Conflict));
    assert!(change(&mut log, edit(seq, "three").with_rev(3)).is_ok());
}

#[test]
fn a_message_can_be_edited_within_the_edit_window() {
    let window = Some(Duration::from_millis(100));
    let mut log = log(&Limits::default().with(|limits| limits.rooms.edit_window = window));
    let seq = post(&mut log, "ann", "one");
    assert!(log.change(101, edit(seq, "two")).is_ok());
    assert!(matches!(log.change(102, edit(seq, "three")), Err(ChangeError::TooLate)));
    assert!(log.change(102, delete(seq)).is_ok());
}

#[test]
fn reactions_are_a_set_of_users_and_become_stale_by_an_edit() {
    let mut log = log(&Limits::default().with(|limits| limits.rooms.max_reaction_kinds = 2));
    let seq = post(&mut log, "ann", "one");
    for user in 0..12 {
        assert!(
            change(&mut log, react(&format!("u{user}"), seq, "+1", true)).expect("a reaction").seq.is_some()
        );
    }
    assert_eq!(change(&mut log, react("u3", seq, "+1", true)), Ok(ChangeReceipt::unchanged(EPOCH)));
    assert_eq!(change(&mut log, react("u3", seq, "-1", false)), Ok(ChangeReceipt::unchanged(EPOCH)));
    change(&mut log, react("u0", seq, "+1", false)).expect("a removal");
    change(&mut log, edit(seq, "two")).expect("an edit");
    change(&mut log, react("u0", seq, "+1", true)).expect("a reaction");
    change(&mut log, react("u0", seq, "-1", true)).expect("a reaction");
    assert_eq!(change(&mut log, react("u0", seq, "?", true)), Err(ChangeError::TooManyReactions));
    let reactions = message(&log, seq)["reactions"].clone();
    let users: Vec<_> =
        (1..11).map(|user| json!({"id": format!("u{user}"), "name": format!("u{user}")})).collect();
    let u0 = json!({"id": "u0", "name": "u0"});
    assert_eq!(
        reactions,
        json!([{"reaction": "+1", "count": 12, "users": users, "stale": 11},
               {"reaction": "-1", "count": 1, "users": [u0]}])
    );
}

#[test]
fn a_repeated_key_of_an_edit_answers_the_first_edit() {
    let mut log = log(&Limits::default());
    let seq = post(&mut log, "ann", "one");
    let keyed = |text: &str| edit(seq, text).with_key("k".to_owned());
    assert_eq!(change(&mut log, keyed("two")), Ok(ChangeReceipt::new(EPOCH, 2)));
    assert_eq!(change(&mut log, keyed("two")), Ok(ChangeReceipt::new(EPOCH, 2).repeated()));
    assert_eq!(change(&mut log, keyed("three")), Err(ChangeError::KeyConflict));
    let message = NewMessage::new(user("ann"), body("two")).with_key("k".to_owned());
    assert!(log.append(3, message).is_err(), "a message is not an edit");
}

/// A client that follows a room and folds what it gets, as PROTOCOL.md says.
#[derive(Clone, Default)]
struct Follower {
    cursor: u64,
    messages: BTreeMap<u64, Value>,
}

impl Follower {
    fn take(&mut self, stored: &StoredMessage) {
        let event = json(stored);
        assert_eq!(event["seq"], self.cursor + 1, "entries have no holes");
        self.cursor += 1;
        if event["type"] == "message" {
            if let Some(root) = event["thread"].as_u64().and_then(|root| self.messages.get_mut(&root)) {
                count_reply(root, self.cursor);
            }
            self.messages.insert(self.cursor, event);
            return;
        }
        let target = event["target"].as_u64().expect("a target");
        let Some(message) = self.messages.get_mut(&target) else { return };
        let rev = message["rev"].as_u64().unwrap_or(target);
        if rev < self.cursor {
            apply(message, &event);
        }
    }
}

/// Counts a message of a thread at the root, if it is newer than the root.
fn count_reply(root: &mut Value, seq: u64) {
    let rev = root["rev"].as_u64().or_else(|| root["seq"].as_u64()).expect("a position");
    if rev < seq {
        let count = root["replies"]["count"].as_u64().unwrap_or_default();
        root["replies"] = json!({"count": count + 1, "last": seq});
        root["rev"] = json!(seq);
    }
}

fn apply(message: &mut Value, event: &Value) {
    let (at, by) = (&event["at"], &event["by"]);
    let fields = message.as_object_mut().expect("an object");
    match event["what"].as_str().expect("a word") {
        "edited" => {
            let mut edited = json!({"at": at});
            if *by != fields["user"] {
                edited["by"] = by.clone();
            }
            fields.insert("edited".to_owned(), edited);
            fields.insert("body".to_owned(), event["body"].clone());
            fields.remove("mentions");
            fields.extend(event.get("mentions").map(|mentions| ("mentions".to_owned(), mentions.clone())));
            for reaction in fields.get_mut("reactions").and_then(Value::as_array_mut).into_iter().flatten() {
                reaction["stale"] = reaction["count"].clone();
            }
        }
        "deleted" => {
            let mut deleted = json!({"at": at, "by": by});
            if !event["reason"].is_null() {
                deleted["reason"] = event["reason"].clone();
            }
            let kept = ["type", "room", "seq", "user", "at", "reply_to", "thread", "replies"];
            fields.retain(|field, _| kept.contains(&field.as_str()));
            fields.insert("deleted".to_owned(), deleted);
        }
        "reactions" if event["reactions"] == json!([]) => drop(fields.remove("reactions")),
        "reactions" => drop(fields.insert("reactions".to_owned(), event["reactions"].clone())),
        "pinned" if event["pinned"] == true => drop(fields.insert("pinned".to_owned(), json!(true))),
        "pinned" => drop(fields.remove("pinned")),
        "superseded" => return,
        what => panic!("another change: {what}"),
    }
    fields.insert("rev".to_owned(), event["seq"].clone());
}

#[derive(Clone, Debug)]
enum Step {
    Append(&'static str, Links),
    Change(&'static str, u64, Kind),
    /// The second follower loses its connection, or is back.
    Cut,
    Resume,
}

#[derive(Clone, Debug)]
enum Kind {
    /// With other mentions, or with those that the message has.
    Edit(Option<Mentions>),
    Delete,
    React(&'static str, bool),
    Pin(bool),
}

const USERS: [&str; 3] = ["ann", "bob", "moderator"];

fn mentions() -> impl Strategy<Value = Mentions> {
    prop_oneof![
        3 => proptest::collection::vec(select(USERS.to_vec()), 0..4).prop_map(Mentions::users),
        1 => Just(Mentions::Room),
    ]
}

fn links() -> impl Strategy<Value = Links> {
    let seq = || option::weighted(0.4, 1..9_u64);
    (seq(), seq(), option::weighted(0.3, mentions())).prop_map(|(reply_to, thread, mentions)| {
        Links::default().with_reply_to(reply_to).with_thread(thread).with_mentions(mentions)
    })
}

fn step() -> impl Strategy<Value = Step> {
    let kind = prop_oneof![
        3 => option::weighted(0.4, mentions()).prop_map(Kind::Edit),
        1 => Just(Kind::Delete),
        4 => (select(vec!["+1", "-1"]), any::<bool>()).prop_map(|(reaction, on)| Kind::React(reaction, on)),
        2 => any::<bool>().prop_map(Kind::Pin),
    ];
    prop_oneof![
        4 => (select(USERS.to_vec()), links()).prop_map(|(user, links)| Step::Append(user, links)),
        8 => (select(USERS.to_vec()), 1..9_u64, kind).prop_map(|(user, seq, kind)| Step::Change(user, seq, kind)),
        1 => Just(Step::Cut),
        1 => Just(Step::Resume),
    ]
}

/// Performs a step on the log. Returns the entries that it reports.
fn perform(log: &mut Log, n: usize, step: &Step) -> Vec<StoredMessage> {
    // Each text is unique, so that it can be found where it must not be.
    let text = format!("text {n}.");
    let role = |id: &str| if id == "moderator" { Role::Moderator } else { Role::None };
    match step {
        Step::Append(id, links) => {
            let message =
                NewMessage::new(user(id), body(&text)).with_links(links.clone()).with_role(role(id));
            log.append(n as u64, message).ok().and_then(|(_, stored)| stored).into_iter().collect()
        }
        Step::Change(id, target, kind) => {
            let mut mentions = None;
            let kind = match kind {
                Kind::Edit(new) => {
                    mentions.clone_from(new);
                    Change::Edit { body: body(&text) }
                }
                Kind::Delete => Change::Delete { reason: Some(text) },
                Kind::React(reaction, on) => Change::React { reaction: (*reaction).to_owned(), on: *on },
                Kind::Pin(on) => Change::Pin { on: *on },
            };
            let change = NewChange::new(user(id), *target, kind).with_role(role(id)).with_mentions(mentions);
            let changed = log.change(n as u64, change);
            changed.ok().and_then(|(_, changed)| changed).map(|changed| changed.entry).into_iter().collect()
        }
        Step::Cut | Step::Resume => Vec::new(),
    }
}

fn resume(follower: &mut Follower, log: &Log) {
    loop {
        // Small pages, so that a resume has several.
        let page = log.read(Range::entries(follower.cursor, 3));
        page.messages.iter().for_each(|stored| follower.take(stored));
        if !page.more {
            break;
        }
    }
}

fn fresh(log: &Log) -> BTreeMap<u64, Value> {
    log.read(Range::newest(usize::MAX)).messages.iter().map(|stored| (stored.seq, json(stored))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_fresh_reader_has_what_a_follower_has(steps in proptest::collection::vec(step(), 1..60)) {
        let limits = Limits::default().with(|limits| limits.wire.max_batch_bytes = 2_000_000);
        let mut log = Log::new("lobby".parse().expect("a good name"), EPOCH.to_owned(), Arc::new(limits));
        let (mut steady, mut cut) = (Follower::default(), Follower::default());
        let mut is_cut = false;
        for (n, step) in steps.iter().enumerate() {
            let entries = perform(&mut log, n, step);
            match step {
                Step::Cut => is_cut = true,
                Step::Resume => {
                    is_cut = false;
                    resume(&mut cut, &log);
                }
                _ => {}
            }
            for stored in &entries {
                steady.take(stored);
                if !is_cut {
                    cut.take(stored);
                }
            }
            let fresh = fresh(&log);
            prop_assert_eq!(&steady.messages, &fresh);
            if !is_cut {
                prop_assert_eq!(&cut.messages, &fresh);
            }
            // No body that a deletion or an edit has replaced is left in any entry.
            let present: Vec<_> = fresh.values().map(|message| message["body"]["text"].clone()).collect();
            for entry in log.read(Range::entries(0, usize::MAX)).messages {
                let entry = json(&entry);
                prop_assert!(entry["body"].is_null() || present.contains(&entry["body"]["text"]), "{}", entry);
            }
        }
        let last = log.bounds().head;
        prop_assert_eq!(last, steady.cursor);
    }
}
