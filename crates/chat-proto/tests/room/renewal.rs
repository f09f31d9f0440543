use chat_proto::command::JoinFrom;
use chat_proto::room::{Committed, Delivery, Hole, Room};
use chat_proto::{JoinError, Limits, LogBounds, Page, StoredMessage, User};

use crate::room;

fn lobby() -> Room<()> {
    Room::new(room("lobby"), &Limits::default())
}

fn bounds(epoch: &str, head: u64) -> LogBounds {
    LogBounds::new(epoch, head)
}

fn stored(seq: u64) -> StoredMessage {
    StoredMessage::new(seq, format!(r#"{{"seq":{seq}}}"#))
}

fn ada() -> User {
    User::guest("ada").expect("a good name")
}

#[test]
fn bounds_that_were_read_before_a_renewal_are_stale() {
    let mut room = lobby();
    let generation = room.generation();
    room.renew(&bounds("new", 0));
    assert!(!room.observe(generation, &bounds("old", 100)));
    let joined = room.join(1, &ada(), (), bounds("old", 100), &JoinFrom::Now);
    assert_eq!(joined.err(), Some(JoinError::Renewed), "the position is of an earlier epoch");
    assert!(room.is_empty() && room.roster().is_empty());
    assert_eq!(room.head(), 0);
}

#[test]
fn another_epoch_in_the_bounds_renews_the_room() {
    let mut room = lobby();
    let (mut ada, _) = room.join(1, &ada(), (), bounds("old", 100), &JoinFrom::Now).unwrap();
    let generation = room.generation();
    assert!(room.observe(generation, &bounds("new", 3)));
    assert!(matches!(room.take(&mut ada), Delivery::Renewed));
    assert_eq!((room.head(), room.has_hole()), (3, false));
    assert_eq!(room.commit("new", &stored(4)), Committed::InOrder);
}

#[test]
fn a_member_of_an_earlier_epoch_continues_after_it_joins_with_a_position() {
    let mut room = lobby();
    let (mut member, _) = room.join(1, &ada(), (), bounds("old", 5), &JoinFrom::Now).unwrap();
    room.renew(&bounds("new", 0));
    room.rejoin(&mut member, bounds("new", 0), &JoinFrom::Now).unwrap();
    assert!(matches!(room.take(&mut member), Delivery::Renewed), "the member still gets Renewed");
    room.rejoin(&mut member, bounds("new", 0), &JoinFrom::Last(9)).unwrap();
    room.commit("new", &stored(1));
    let Delivery::Events(events) = room.take(&mut member) else { panic!("no events") };
    assert_eq!(events.last().map(|event| event.frame.clone()), Some(stored(1).frame));
}

#[test]
fn a_second_report_of_a_renewal_does_not_affect_a_member_of_the_new_epoch() {
    let mut room = lobby();
    let (_old, _) = room.join(1, &ada(), (), bounds("old", 100), &JoinFrom::Now).unwrap();
    let generation = room.generation();
    assert!(room.observe(generation, &bounds("new", 3)));
    let (mut member, _) = room.join(2, &ada(), (), bounds("new", 3), &JoinFrom::Now).unwrap();
    room.commit("new", &stored(4));
    room.renew(&bounds("new", 0));
    let Delivery::Events(events) = room.take(&mut member) else { panic!("no events") };
    assert_eq!(events.last().map(|event| event.frame.clone()), Some(stored(4).frame));
    assert_eq!(room.head(), 4);
}

#[test]
fn reports_of_another_epoch_are_dropped() {
    let mut room = lobby();
    let (mut member, _) = room.join(1, &ada(), (), bounds("old", 3), &JoinFrom::Now).unwrap();
    room.renew(&bounds("new", 0));
    room.rejoin(&mut member, bounds("new", 0), &JoinFrom::Last(9)).unwrap();
    assert_eq!(room.commit("old", &stored(1)), Committed::OtherEpoch);
    room.note_committed("old", 9);
    assert_eq!((room.head(), room.hole()), (0, None));
    let page = Page::new("old".to_owned(), vec![stored(1)]);
    let hole = Hole { after: 0, up_to: 1, generation: room.generation() };
    assert!(!room.fill(&hole, page), "the page is of another epoch");
    assert_eq!(room.commit("new", &stored(1)), Committed::InOrder);
    assert!(matches!(room.take(&mut member), Delivery::Events(_)));
}

/// A log was read for a hole after it had started its new epoch, and the room is told of that before it gets the page.
#[test]
fn a_page_of_the_new_epoch_fills_no_hole_of_the_earlier_one() {
    let mut room = lobby();
    let (mut member, _) = room.join(1, &ada(), (), bounds("old", 0), &JoinFrom::Now).unwrap();
    room.note_committed("old", 3);
    let hole = room.hole().expect("a hole");
    room.renew(&bounds("new", 0));
    room.rejoin(&mut member, bounds("new", 0), &JoinFrom::Last(9)).unwrap();
    assert!(!room.fill(&hole, Page::new("new".to_owned(), Vec::new())), "the hole is of another epoch");
    assert_eq!((room.head(), room.hole()), (0, None));
    assert_eq!(room.commit("new", &stored(1)), Committed::InOrder);
    assert!(matches!(room.take(&mut member), Delivery::Events(_)));
}

#[test]
fn early_entries_beyond_the_bytes_of_the_tail_are_read_from_the_log() {
    let limits = Limits::default().with(|limits| limits.rooms.log_bytes = 1_000);
    let mut room: Room<()> = Room::new(room("lobby"), &limits);
    room.join(1, &ada(), (), bounds("e", 0), &JoinFrom::Now).unwrap();
    let long = |seq| StoredMessage::new(seq, "x".repeat(400));
    for seq in [5, 3, 4, 2] {
        assert_eq!(room.commit("e", &long(seq)), Committed::Early);
    }
    assert_eq!(room.commit("e", &long(1)), Committed::InOrder);
    assert_eq!(room.hole(), Some(Hole { after: 3, up_to: 5, generation: 0 }));
    assert!(room.fill(&room.hole().unwrap(), Page::new("e".to_owned(), vec![long(4), long(5)])));
    assert_eq!((room.head(), room.hole()), (5, None));
}
