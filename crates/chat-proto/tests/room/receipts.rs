//! Receipts of users who read, over time.

use std::time::Duration;

use chat_proto::command::JoinFrom;
use chat_proto::room::{Delivery, Member, Room};
use chat_proto::{Limits, LogBounds, User};
use serde_json::Value;

use crate::room;

const MILLIS: fn(u64) -> Duration = Duration::from_millis;

fn guest(name: &str) -> User {
    User::guest(name).expect("a good name")
}

/// A room of this threshold, in which users with these names are.
fn scene(threshold: usize, names: &[&str]) -> (Room<()>, Vec<Member>) {
    let limits = Limits::default().with(|limits| limits.rooms.presence_threshold = threshold);
    let mut room = Room::new(room("lobby"), &limits);
    let mut members: Vec<_> = (0..)
        .zip(names)
        .map(|(id, name)| {
            room.join(id, &guest(name), (), LogBounds::new("e", 0), &JoinFrom::Now).expect("joined").0
        })
        .collect();
    members.iter_mut().for_each(|member| drop(take(&mut room, member)));
    (room, members)
}

/// Takes the events of a member. Returns the positions that others have read.
fn take(room: &mut Room<()>, member: &mut Member) -> Vec<u64> {
    let mut seqs = Vec::new();
    while let Delivery::Events(events) = room.take(member) {
        let events = events.iter().map(|event| serde_json::from_slice::<Value>(&event.frame).expect("JSON"));
        seqs.extend(events.filter(|event| event["type"] == "read").filter_map(|event| event["seq"].as_u64()));
    }
    seqs
}

#[test]
fn the_other_users_get_one_event_per_second_with_the_last_position() {
    let (mut room, mut members) = scene(9, &["ann", "bob", "bob"]);
    for seq in 1..=100 {
        room.receipt(MILLIS(seq), "e", &guest("bob"), seq);
    }
    // Another node may report an earlier position late.
    room.receipt(MILLIS(101), "e", &guest("bob"), 50);
    assert_eq!(take(&mut room, &mut members[0]), [1]);
    let due = room.deadline().expect("a receipt that waits");
    assert_eq!(due, MILLIS(1_001));
    room.handle_timer(due);
    assert_eq!(take(&mut room, &mut members[0]), [100]);
    room.handle_timer(MILLIS(2_001));
    assert_eq!(room.deadline(), None, "the user is forgotten");
    for own in [1, 2] {
        assert!(take(&mut room, &mut members[own]).is_empty(), "an own connection gets none");
    }
}

#[test]
fn a_room_that_counts_its_users_sends_none() {
    let (mut room, mut members) = scene(2, &["ann", "bob"]);
    room.receipt(MILLIS(0), "e", &guest("bob"), 1);
    room.receipt(MILLIS(1), "e", &guest("bob"), 2);
    let (cid, _) = room.join(7, &guest("cid"), (), LogBounds::new("e", 0), &JoinFrom::Now).expect("joined");
    room.receipt(MILLIS(2), "e", &guest("bob"), 3);
    room.handle_timer(MILLIS(5_000));
    assert_eq!(take(&mut room, &mut members[0]), [1]);
    drop(cid);
}

#[test]
fn only_a_user_of_the_room_in_its_epoch_is_seen() {
    let (mut room, mut members) = scene(9, &["ann", "bob"]);
    room.receipt(MILLIS(0), "e", &guest("cid"), 1);
    room.receipt(MILLIS(0), "other", &guest("bob"), 1);
    assert_eq!((take(&mut room, &mut members[0]), room.deadline()), (vec![], None));
    room.receipt(MILLIS(0), "e", &guest("bob"), 1);
    room.renew(&LogBounds::new("f", 0));
    assert_eq!(room.deadline(), None, "the positions of the earlier epoch");
}
