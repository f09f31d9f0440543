use chat_proto::{PresenceMode, Rights, Role};

use super::*;

fn joined(epoch: &str, seq: u64, first: u64, recovered: bool) -> Joined {
    let (room, presence) = ("lobby".parse().unwrap(), PresenceMode::Each);
    let (role, may, pins, unread) = (Role::None, Rights::default(), Vec::new(), None);
    Joined {
        room,
        with: None,
        epoch: epoch.into(),
        seq,
        first,
        recovered,
        members: 1,
        presence,
        role,
        may,
        pins,
        unread,
        title: None,
        restricted: None,
    }
}

fn live(seq: u64) -> RoomCursor {
    RoomCursor::new(None, &joined("e", seq, 1, true), &JoinFrom::Now)
}

/// Returns the cursor of a room that was joined with its newest messages.
fn newest(seq: u64, first: u64, count: u64) -> RoomCursor {
    RoomCursor::new(None, &joined("e", seq, first, true), &JoinFrom::Last(count))
}

fn after(epoch: &str, seq: u64) -> JoinFrom {
    JoinFrom::After { epoch: epoch.to_owned(), seq }
}

/// Resumes the room after the loss of the connection. Returns the start of the resume, and true if it recovered.
fn resume(cursor: &mut RoomCursor, joined: &Joined) -> (JoinFrom, bool) {
    cursor.handle_lost();
    let from = cursor.resume_from();
    cursor.phase = Phase::Resuming { from_now: false };
    (from, cursor.handle_resumed(joined))
}

#[test]
fn entries_are_delivered_in_order_and_once() {
    let mut cursor = live(5);
    let delivered = [5, 6, 6, 7, 6].map(|seq| cursor.handle_entry(seq));
    let expected = [Delivery::Drop, Delivery::Deliver, Delivery::Drop, Delivery::Deliver, Delivery::Drop];
    assert_eq!(delivered, expected);
}

#[test]
fn the_first_of_the_newest_entries_sets_the_position() {
    for first in [8, 7, 4] {
        let mut cursor = newest(9, 4, 3);
        assert!((first..=10).all(|seq| cursor.handle_entry(seq) == Delivery::Deliver), "{first}");
    }
    let mut cursor = newest(9, 4, 3);
    assert_eq!(
        [7, 7, 6].map(|seq| cursor.handle_entry(seq)),
        [Delivery::Deliver, Delivery::Drop, Delivery::Drop]
    );
}

#[test]
fn the_newest_messages_are_asked_for_again_until_the_first_entry() {
    let mut cursor = newest(9, 1, 3);
    for seq in [9, 11] {
        assert_eq!(resume(&mut cursor, &joined("e", seq, 1, true)), (JoinFrom::Last(3), true));
    }
    assert_eq!([5, 6].map(|seq| cursor.handle_entry(seq)), [Delivery::Deliver; 2]);
    assert_eq!(resume(&mut cursor, &joined("e", 12, 1, true)), (after("e", 6), true));
}

#[test]
fn entries_after_the_join_are_requested_if_the_newest_messages_are_later_ones() {
    let mut cursor = newest(9, 1, 3);
    assert_eq!(resume(&mut cursor, &joined("e", 19, 1, true)), (JoinFrom::Last(3), true));
    assert_eq!((cursor.handle_entry(17), cursor.phase), (Delivery::Drop, Phase::Behind));
    assert_eq!(resume(&mut cursor, &joined("e", 19, 1, true)), (after("e", 9), true));
    assert_eq!([10, 11].map(|seq| cursor.handle_entry(seq)), [Delivery::Deliver; 2]);
    let mut cursor = newest(9, 1, 3);
    resume(&mut cursor, &joined("e", 19, 15, true));
    assert_eq!(cursor.handle_gap("e", 17, 18), Some(10));
}

#[test]
fn nothing_after_a_join_without_entries_is_left_out() {
    for (mut cursor, position) in [(newest(9, 1, 0), 9), (newest(9, 10, 3), 9), (newest(0, 1, 3), 0)] {
        cursor.handle_lost();
        assert_eq!(cursor.resume_from(), after("e", position));
    }
}

#[test]
fn the_newest_messages_of_another_log_follow_a_gap() {
    let mut cursor = newest(9, 1, 3);
    assert_eq!(resume(&mut cursor, &joined("f", 19, 1, true)), (JoinFrom::Last(3), false));
    assert_eq!(cursor.handle_entry(17), Delivery::DeliverAfterGap(1));
    assert_eq!(resume(&mut cursor, &joined("f", 19, 1, true)), (after("f", 17), true));
}

#[test]
fn an_entry_without_capacity_sets_the_position() {
    for (dropped, position) in [(6, 5), (10, 9), (17, 9)] {
        let mut cursor = newest(9, 1, 3);
        cursor.fall_behind(dropped);
        cursor.fall_behind(dropped + 1);
        assert_eq!(cursor.resume_from(), after("e", position));
    }
}

#[test]
fn a_gap_before_the_first_of_the_newest_entries_is_reported() {
    let mut cursor = newest(9, 1, 3);
    assert_eq!((cursor.handle_gap("e", 2, 4), cursor.handle_entry(5)), (Some(2), Delivery::Deliver));
}

#[test]
fn a_hole_is_requested_once_and_then_reported() {
    let mut cursor = live(5);
    assert_eq!((cursor.handle_entry(8), cursor.phase), (Delivery::Drop, Phase::Behind));
    assert_eq!(cursor.resume_from(), after("e", 5));
    cursor.phase = Phase::Resuming { from_now: false };
    assert_eq!(cursor.handle_entry(6), Delivery::Drop, "before the reply");
    assert!(cursor.handle_resumed(&joined("e", 8, 1, true)));
    assert_eq!(
        (cursor.handle_entry(8), cursor.handle_entry(9)),
        (Delivery::DeliverAfterGap(6), Delivery::Deliver)
    );
}

#[test]
fn a_gap_moves_the_cursor_and_names_the_missing_entries() {
    let mut cursor = live(5);
    assert_eq!(cursor.handle_gap("e", 3, 5), None);
    assert_eq!((cursor.handle_gap("e", 6, 9), cursor.handle_entry(10)), (Some(6), Delivery::Deliver));
    assert_eq!((cursor.handle_gap("f", 1, 2), cursor.handle_entry(3)), (Some(1), Delivery::Deliver));
    cursor.fall_behind(4);
    assert_eq!(cursor.handle_gap("f", 4, 9), None, "the resume repeats it");
}

#[test]
fn another_epoch_starts_at_the_beginning_and_is_not_recovered() {
    let mut cursor = live(5);
    cursor.handle_lost();
    assert!(!cursor.handle_resumed(&joined("f", 3, 1, false)));
    assert_eq!((cursor.handle_entry(1), cursor.handle_entry(2)), (Delivery::Deliver, Delivery::Deliver));
    cursor.handle_lost();
    assert!(
        !cursor.handle_resumed(&joined("g", 3, 1, true)),
        "the cursor ignores the server's claim of a recovery"
    );
}

#[test]
fn a_position_that_the_server_has_lost_is_given_up() {
    let mut cursor = live(5);
    cursor.handle_lost();
    cursor.phase = Phase::Resuming { from_now: true };
    assert!(!cursor.handle_resumed(&joined("e", 3, 1, true)));
    assert_eq!(cursor.handle_entry(4), Delivery::Deliver);
}
