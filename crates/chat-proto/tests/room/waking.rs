use chat_proto::command::JoinFrom;
use chat_proto::room::{Committed, Delivery, Member, Room};
use chat_proto::{Limits, LogBounds, StoredMessage, User};

use crate::room;

fn stored(seq: u64) -> StoredMessage {
    StoredMessage::new(seq, format!(r#"{{"seq":{seq}}}"#))
}

fn guest(name: &str) -> User {
    User::guest(name).expect("a good name")
}

/// Returns a room with one member, which has taken everything.
fn room_with_member(limits: &Limits) -> (Room<&'static str>, Member) {
    let mut room = Room::new(room("lobby"), limits);
    let bounds = LogBounds::new("e", 0);
    let (mut ada, _) = room.join(1, &guest("ada"), "ada", bounds, &JoinFrom::Now).expect("joined");
    while !matches!(room.take(&mut ada), Delivery::Nothing) {}
    room.to_wake().for_each(drop);
    while !matches!(room.take(&mut ada), Delivery::Nothing) {}
    (room, ada)
}

fn woken(room: &mut Room<&'static str>) -> usize {
    room.to_wake().count()
}

#[test]
fn a_member_is_woken_once_until_it_has_taken_everything() {
    let (mut room, mut ada) = room_with_member(&Limits::default());
    for (seq, expected) in [(1, 1), (2, 0), (3, 0)] {
        room.commit(&stored(seq));
        assert_eq!(woken(&mut room), expected);
    }
    while !matches!(room.take(&mut ada), Delivery::Nothing) {}
    room.commit(&stored(4));
    assert_eq!(woken(&mut room), 1);
}

#[test]
fn repeats_and_early_entries_wake_no_member() {
    let (mut room, mut ada) = room_with_member(&Limits::default());
    room.commit(&stored(1));
    assert_eq!(woken(&mut room), 1);
    while !matches!(room.take(&mut ada), Delivery::Nothing) {}
    assert_eq!(room.commit(&stored(1)), Committed::Repeat);
    assert_eq!(room.commit(&stored(3)), Committed::Early);
    room.set_remote("b", &guest("ada"), 1);
    room.advance(1);
    assert_eq!(woken(&mut room), 0);
    assert_eq!(room.commit(&stored(2)), Committed::InOrder);
    assert_eq!(woken(&mut room), 1);
    let Delivery::Events(events) = room.take(&mut ada) else { panic!("no events") };
    assert_eq!(events.len(), 2);
}

#[test]
fn early_entries_are_bounded_and_members_then_read_the_log() {
    let limits = Limits::default().with(|limits| limits.rooms.tail_events = 4);
    let (mut room, mut ada) = room_with_member(&limits);
    for seq in 2..=6 {
        assert!(!room.has_hole() || seq > 2);
        room.commit(&stored(seq));
    }
    assert_eq!((room.head(), room.has_hole()), (6, false));
    assert!(matches!(room.take(&mut ada), Delivery::CatchUp { up_to: 6 }));
}

#[test]
fn a_committed_entry_without_a_report_is_a_hole_until_it_is_repaired() {
    let (mut room, mut ada) = room_with_member(&Limits::default());
    room.note_committed(2);
    assert!(room.has_hole());
    assert!(matches!(room.take(&mut ada), Delivery::Nothing));
    room.repair();
    assert!(!room.has_hole());
    assert_eq!(woken(&mut room), 1);
    assert!(matches!(room.take(&mut ada), Delivery::CatchUp { up_to: 2 }));
    room.leave(&ada);
    room.note_committed(9);
    assert!(!room.has_hole(), "an empty room has no hole");
}

#[test]
fn an_answer_of_other_nodes_does_not_undo_newer_changes() {
    let (mut room, _ada) = room_with_member(&Limits::default());
    let (bob, cid, dan, eve) = (guest("bob"), guest("cid"), guest("dan"), guest("eve"));
    room.begin_roster();
    room.set_remote("b", &bob, 0);
    room.set_remote("b", &cid, 2);
    room.remove_node("c");
    room.finish_roster([("b", &bob, 1), ("b", &cid, 1), ("c", &dan, 1), ("b", &eve, 1)]);
    let names: Vec<_> = room.roster().members().iter().map(|user| user.name().to_owned()).collect();
    assert_eq!(names, ["ada", "cid", "eve"]);
    room.set_remote("b", &eve, 0);
    assert!(!room.roster().contains(&eve), "the answer is no longer awaited");
}
