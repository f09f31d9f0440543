use chat_proto::command::JoinFrom;
use chat_proto::room::{Committed, Delivery, Hole, Member, Room, RoomEvent};
use chat_proto::{Limits, LogBounds, Page, Role, StoredMessage, User};
use serde_json::Value;

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
        room.commit("e", &stored(seq));
        assert_eq!(woken(&mut room), expected);
    }
    while !matches!(room.take(&mut ada), Delivery::Nothing) {}
    room.commit("e", &stored(4));
    assert_eq!(woken(&mut room), 1);
}

#[test]
fn repeats_and_early_entries_wake_no_member() {
    let (mut room, mut ada) = room_with_member(&Limits::default());
    room.commit("e", &stored(1));
    assert_eq!(woken(&mut room), 1);
    while !matches!(room.take(&mut ada), Delivery::Nothing) {}
    assert_eq!(room.commit("e", &stored(1)), Committed::Repeat);
    assert_eq!(room.commit("e", &stored(3)), Committed::Early);
    room.enter_remote("b", &guest("ada"), Role::None, 1);
    room.note_committed("e", 1);
    assert_eq!(woken(&mut room), 0);
    assert_eq!(room.commit("e", &stored(2)), Committed::InOrder);
    assert_eq!(woken(&mut room), 1);
    let Delivery::Events(events) = room.take(&mut ada) else { panic!("no events") };
    assert_eq!(events.len(), 2);
}

fn page(seqs: impl IntoIterator<Item = u64>) -> Page {
    Page::new("e".to_owned(), seqs.into_iter().map(stored).collect())
}

/// Returns the `seq`s of the next events of a member. A gap is shown by its last entry.
fn taken(room: &mut Room<&'static str>, member: &mut Member) -> Vec<u64> {
    let Delivery::Events(events) = room.take(member) else { panic!("no events") };
    let number = |event: &RoomEvent| {
        let event: Value = serde_json::from_slice(&event.frame).expect("JSON");
        event["seq"].as_u64().or(event["to"].as_u64()).expect("a number")
    };
    events.iter().map(number).collect()
}

#[test]
fn early_entries_are_bounded_and_the_others_are_read_from_the_log() {
    let limits = Limits::default().with(|limits| limits.rooms.tail_events = 4);
    let (mut room, mut ada) = room_with_member(&limits);
    for seq in 2..=9 {
        assert_eq!(room.commit("e", &stored(seq)), Committed::Early);
    }
    let hole = room.hole().expect("a hole");
    assert_eq!(hole, Hole { after: 0, up_to: 9, generation: 0 });
    assert!(room.fill(&hole, page([1])));
    assert_eq!((room.head(), room.hole()), (5, Some(Hole { after: 5, up_to: 9, generation: 0 })));
    assert!(matches!(room.take(&mut ada), Delivery::CatchUp { up_to: 1 }), "the tail has four events");
}

#[test]
fn a_committed_entry_without_a_report_is_a_hole_until_it_is_read_from_the_log() {
    let (mut room, mut ada) = room_with_member(&Limits::default());
    room.note_committed("e", 2);
    assert!(room.has_hole());
    assert!(matches!(room.take(&mut ada), Delivery::Nothing));
    assert_eq!(woken(&mut room), 0, "no member reads the log");
    let hole = room.hole().expect("a hole");
    assert!(room.fill(&hole, page([1, 2, 3])));
    assert!(!room.has_hole());
    assert_eq!(woken(&mut room), 1);
    assert_eq!(taken(&mut room, &mut ada), [1, 2, 3]);
    assert_eq!(room.commit("e", &stored(3)), Committed::Repeat);
    room.leave(&ada);
    room.note_committed("e", 9);
    assert!(!room.has_hole(), "an empty room has no hole");
}

#[test]
fn entries_that_the_log_has_lost_are_a_gap_for_all_members() {
    let (mut room, mut ada) = room_with_member(&Limits::default());
    room.note_committed("e", 6);
    room.commit("e", &stored(4));
    let hole = room.hole().expect("a hole");
    assert!(room.fill(&hole, page([2, 5])));
    assert_eq!(taken(&mut room, &mut ada), [1, 2, 3, 4, 5]);
    let hole = room.hole().expect("a hole");
    assert_eq!(hole, Hole { after: 5, up_to: 6, generation: 0 });
    assert!(room.fill(&hole, page([])));
    assert_eq!((taken(&mut room, &mut ada), room.hole()), (vec![6], None));
}
