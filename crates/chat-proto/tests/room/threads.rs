//! Links of messages: replies, threads and mentions, and the pins of a log.

use chat_proto::{
    AppendError, Change, ChangeError, ChangeReceipt, Limits, Links, Log, Mentions, NewChange, NewMessage,
    Range, Role, StoredMessage, ThreadError, User,
};
use serde_json::{Value, json};

use crate::{EPOCH, body, log};

fn ann() -> User {
    User::new("ann", "Ann").expect("a good name")
}

fn message(links: Links) -> NewMessage {
    NewMessage::new(ann(), body("hi")).with_links(links)
}

fn answer(seq: u64) -> Links {
    Links::default().with_reply_to(seq)
}

fn in_thread(root: u64) -> Links {
    Links::default().with_thread(root)
}

fn post(log: &mut Log, links: Links) -> Result<u64, AppendError> {
    log.append(1, message(links)).map(|(receipt, _)| receipt.seq)
}

fn change(log: &mut Log, target: u64, change: Change) -> Result<ChangeReceipt, ChangeError> {
    let change = NewChange::new(ann(), target, change).with_role(Role::Moderator);
    log.change(1, change).map(|(receipt, _)| receipt)
}

fn delete() -> Change {
    Change::Delete { reason: None }
}

fn event(log: &Log, seq: u64) -> Value {
    let page = log.read(Range::before(seq + 1, 1));
    serde_json::from_slice(&page.messages[0].frame).expect("a frame is JSON")
}

fn seqs(messages: &[StoredMessage]) -> Vec<u64> {
    messages.iter().map(|stored| stored.seq).collect()
}

#[test]
fn a_root_counts_the_messages_of_its_thread() {
    let mut log = log(&Limits::default());
    for links in [Links::default(), in_thread(1), answer(2), in_thread(1).with_reply_to(2)] {
        post(&mut log, links).expect("an append");
    }
    let root = event(&log, 1);
    assert_eq!((&root["rev"], &root["replies"]), (&json!(4), &json!({"count": 2, "last": 4})));
    let reply = event(&log, 4);
    assert_eq!((&reply["thread"], &reply["reply_to"], &reply["rev"]), (&json!(1), &json!(2), &Value::Null));
    assert!(event(&log, 2)["replies"].is_null(), "an answer outside of a thread is counted nowhere");
    assert!(!log.bounds().has_changes, "positions still count messages");
}

#[test]
fn a_link_names_a_message_that_the_log_has() {
    let mut log = log(&Limits::default().with(|limits| limits.rooms.log_messages = 3));
    post(&mut log, Links::default()).expect("an append");
    post(&mut log, in_thread(1)).expect("an append");
    change(&mut log, 1, Change::Pin { on: true }).expect("a change");
    for links in [answer(3), answer(4), answer(u64::MAX), in_thread(3), in_thread(4), in_thread(2)] {
        assert_eq!(post(&mut log, links.clone()), Err(AppendError::NoMessage), "{links:?}");
    }
    assert_eq!(log.bounds().head, 3);
    assert_eq!(post(&mut log, answer(2)), Ok(4));
    post(&mut log, Links::default()).expect("an append");
    assert_eq!(post(&mut log, in_thread(1)), Err(AppendError::NoMessage), "the log has removed it");
    assert_eq!(log.thread(1, Range::newest(9)), Err(ThreadError::NoMessage));
}

#[test]
fn a_deleted_root_keeps_its_thread() {
    let mut log = log(&Limits::default());
    post(&mut log, Links::default()).expect("an append");
    post(&mut log, in_thread(1)).expect("an append");
    assert_eq!(change(&mut log, 1, delete()), Ok(ChangeReceipt::new(EPOCH, 3)));
    assert_eq!(post(&mut log, in_thread(1).with_reply_to(1)), Ok(4));
    let root = event(&log, 1);
    assert_eq!((&root["rev"], &root["replies"]), (&json!(4), &json!({"count": 2, "last": 4})));
    assert!(root["body"].is_null() && root["deleted"].is_object());
    assert_eq!(change(&mut log, 1, delete()), Ok(ChangeReceipt::new(EPOCH, 3).repeated()), "not the reply");
    assert_eq!(change(&mut log, 1, Change::Pin { on: true }), Err(ChangeError::Gone));
    let deletion = &log.read(Range::entries(2, 1)).messages[0];
    let deletion: Value = serde_json::from_slice(&deletion.frame).expect("JSON");
    assert_eq!(deletion["what"], "deleted");
    assert_eq!(seqs(&log.thread(1, Range::newest(9)).expect("a thread").messages), [2, 4]);
}

#[test]
fn a_deleted_reply_stays_in_its_thread_and_mentions_nobody() {
    let mut log = log(&Limits::default());
    post(&mut log, Links::default()).expect("an append");
    let links = in_thread(1).with_reply_to(1).with_mentions(Mentions::users(["bob"]));
    post(&mut log, links).expect("an append");
    assert_eq!(event(&log, 2)["mentions"], json!(["bob"]));
    change(&mut log, 2, delete()).expect("a deletion");
    let reply = event(&log, 2);
    assert_eq!(
        (&reply["thread"], &reply["reply_to"], &reply["mentions"]),
        (&json!(1), &json!(1), &Value::Null)
    );
    assert_eq!(event(&log, 1)["replies"]["count"], 1, "a client that holds only the root stays exact");
}

#[test]
fn a_thread_is_read_in_pages() {
    let mut log = log(&Limits::default());
    post(&mut log, Links::default()).expect("an append");
    for n in 2..10 {
        post(&mut log, if n % 2 == 0 { in_thread(1) } else { Links::default() }).expect("an append");
    }
    for (range, expected, more) in [
        (Range::newest(9), &[2, 4, 6, 8][..], false),
        (Range::newest(2), &[6, 8], true),
        (Range::before(6, 1), &[4], true),
        (Range::before(4, 9), &[2], false),
        (Range::after(2, 2), &[4, 6], true),
        (Range::after(6, 1), &[8], false),
        (Range::after(9, 1), &[], false),
    ] {
        let page = log.thread(1, range).expect("a thread");
        assert_eq!((seqs(&page.messages), page.more), (expected.to_vec(), more), "{range:?}");
    }
    assert_eq!(seqs(&log.thread(3, Range::newest(9)).expect("no reply").messages), [0; 0]);
    for root in [0, 2, 10] {
        assert_eq!(log.thread(root, Range::newest(9)), Err(ThreadError::NoMessage), "{root}");
    }
}

#[test]
fn only_a_moderator_mentions_the_room() {
    let mut log = log(&Limits::default());
    let room = || message(Links::default().with_mentions(Mentions::Room));
    for role in [Role::None, Role::Member] {
        assert_eq!(log.append(1, room().with_role(role)), Err(AppendError::Forbidden));
    }
    let missing = message(answer(9).with_mentions(Mentions::Room));
    assert_eq!(log.append(1, missing), Err(AppendError::Forbidden), "not whether there is a message");
    assert!(log.append(1, room().with_role(Role::Moderator)).is_ok());
    assert_eq!(event(&log, 1)["mentions"], "@room");
    let edit = NewChange::new(ann(), 1, Change::Edit { body: body("ho") });
    let mentions = |change: &NewChange| change.clone().with_mentions(Mentions::Room);
    assert!(matches!(log.change(1, mentions(&edit)), Err(ChangeError::Forbidden)));
    assert!(log.change(1, edit.clone()).is_ok(), "an edit that keeps the mention needs no role");
    assert!(log.change(1, mentions(&edit).with_role(Role::Moderator)).is_ok());
}

#[test]
fn an_edit_replaces_the_mentions_if_it_has_some() {
    let mut log = log(&Limits::default());
    post(&mut log, Links::default().with_mentions(Mentions::users(["bob"]))).expect("an append");
    for (mentions, expected) in [
        (None, json!(["bob"])),
        (Some(Mentions::users(["zoe", "ann"])), json!(["zoe", "ann"])),
        (Some(Mentions::users([""; 0])), Value::Null),
        (None, Value::Null),
    ] {
        let edit = NewChange::new(ann(), 1, Change::Edit { body: body("ho") }).with_mentions(mentions);
        let entry = log.change(1, edit).expect("an edit").1.expect("an entry").entry;
        let entry: Value = serde_json::from_slice(&entry.frame).expect("JSON");
        assert_eq!((&entry["mentions"], &event(&log, 1)["mentions"]), (&expected, &expected));
    }
}

#[test]
fn a_repeated_key_with_other_links_is_a_conflict() {
    let mut log = log(&Limits::default());
    post(&mut log, Links::default()).expect("an append");
    let keyed = |links: Links| message(links).with_key("k".to_owned());
    assert_eq!(log.append(1, keyed(in_thread(1))).expect("an append").0.seq, 2);
    for links in
        [Links::default(), answer(1), in_thread(2), in_thread(1).with_mentions(Mentions::users(["b"]))]
    {
        assert_eq!(log.append(1, keyed(links)), Err(AppendError::KeyConflict));
    }
    assert_eq!(log.append(1, keyed(in_thread(1))).expect("a repeat").0.seq, 2);
    assert_eq!(event(&log, 1)["replies"]["count"], 1, "a repeat counts once");
    let edit = NewChange::new(ann(), 1, Change::Edit { body: body("ho") }).with_key("e".to_owned());
    log.change(1, edit.clone()).expect("an edit");
    let other = edit.with_mentions(Mentions::users(["b"]));
    assert!(matches!(log.change(1, other), Err(ChangeError::KeyConflict)));
}

#[test]
fn a_log_has_few_pins_and_its_bounds_name_them() {
    let mut log = log(&Limits::default().with(|limits| {
        (limits.rooms.max_pins, limits.rooms.log_messages) = (2, 3);
    }));
    for _ in 0..3 {
        post(&mut log, Links::default()).expect("an append");
    }
    let pin = |on| Change::Pin { on };
    change(&mut log, 3, pin(true)).expect("a pin");
    change(&mut log, 1, pin(true)).expect("a pin");
    assert_eq!(change(&mut log, 2, pin(true)), Err(ChangeError::TooManyPins));
    assert_eq!(change(&mut log, 1, pin(true)), Ok(ChangeReceipt::unchanged(EPOCH)));
    assert_eq!(log.bounds().pins, [1, 3]);
    change(&mut log, 3, delete()).expect("a deletion");
    change(&mut log, 2, pin(true)).expect("a pin");
    assert_eq!(log.bounds().pins, [1, 2]);
    change(&mut log, 2, pin(false)).expect("no pin");
    assert_eq!((log.bounds().head, log.bounds().pins), (8, vec![1]));
    post(&mut log, Links::default()).expect("an append");
    assert!(log.bounds().pins.is_empty(), "the log has removed the message");
}
