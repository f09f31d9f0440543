//! Rooms with too many users for an event about each.

use std::time::Duration;

use chat_proto::command::JoinFrom;
use chat_proto::room::{Delivery, Joined, Member, Room};
use chat_proto::{Limits, LogBounds, PresenceMode, Role, User};
use serde_json::{Value, json};

use crate::room;

const MILLIS: fn(u64) -> Duration = Duration::from_millis;

fn lobby(threshold: usize) -> Room<()> {
    let limits = Limits::default().with(|limits| limits.rooms.presence_threshold = threshold);
    Room::new(room("lobby"), &limits)
}

fn guest(number: u64) -> User {
    User::guest(&format!("u{number}")).expect("a good name")
}

fn join(room: &mut Room<()>, number: u64) -> (Member, Joined) {
    room.join(number, &guest(number), (), LogBounds::new("e", 0), &JoinFrom::Now).expect("joined")
}

fn members(room: &mut Room<()>, numbers: impl IntoIterator<Item = u64>) -> Vec<Member> {
    numbers.into_iter().map(|number| join(room, number).0).collect()
}

fn observer(room: &mut Room<()>) -> Member {
    room.subscribe(9_999, (), LogBounds::new("e", 0)).expect("subscribed")
}

/// Takes all events of a member: the number of each `occupancy`, and the name of the user of any other event.
fn take(room: &mut Room<()>, member: &mut Member) -> Vec<Value> {
    let mut events = Vec::new();
    while let Delivery::Events(batch) = room.take(member) {
        for event in batch {
            let event: Value = serde_json::from_slice(&event.frame).expect("JSON");
            events.push(match event["type"].as_str() {
                Some("occupancy") => json!([event["members"], event["presence"]]),
                _ => event["user"]["name"].clone(),
            });
        }
    }
    events
}

#[test]
fn a_room_above_the_threshold_sends_the_number_of_its_users_at_most_once_a_second() {
    let mut lobby = lobby(3);
    let mut observer = observer(&mut lobby);
    let first = members(&mut lobby, 1..=3);
    assert_eq!(take(&mut lobby, &mut observer), ["u1", "u2", "u3"]);
    assert_eq!(lobby.deadline(), None);

    let (_fourth, joined) = join(&mut lobby, 4);
    assert_eq!((joined.members, joined.presence), (4, PresenceMode::Count));
    assert_eq!(lobby.deadline(), Some(Duration::ZERO));
    lobby.handle_timer(MILLIS(10));
    let more = members(&mut lobby, 5..=9);
    lobby.leave(&first[0]);
    assert_eq!(take(&mut lobby, &mut observer), [json!([4, "count"])]);
    assert_eq!(lobby.deadline(), Some(MILLIS(1_010)));
    lobby.handle_timer(MILLIS(1_009));
    assert_eq!(take(&mut lobby, &mut observer), [] as [Value; 0]);
    lobby.handle_timer(MILLIS(1_010));
    assert_eq!(take(&mut lobby, &mut observer), [json!([8, "count"])]);

    lobby.typing(MILLIS(1_020), &more[0], true);
    assert_eq!((take(&mut lobby, &mut observer).len(), lobby.deadline()), (0, None), "no typing");
}

#[test]
fn a_room_announces_each_user_again_at_nine_tenths_of_the_threshold() {
    let mut lobby = lobby(10);
    let mut observer = observer(&mut lobby);
    let members = members(&mut lobby, 1..=11);
    lobby.handle_timer(MILLIS(0));
    lobby.leave(&members[0]);
    lobby.handle_timer(MILLIS(1_000));
    take(&mut lobby, &mut observer);
    assert_eq!(lobby.presence(), PresenceMode::Count, "10 users are not few enough");
    lobby.leave(&members[1]);
    assert_eq!(lobby.presence(), PresenceMode::Count, "the event is not due");
    lobby.handle_timer(MILLIS(2_000));
    lobby.leave(&members[2]);
    assert_eq!(take(&mut lobby, &mut observer), [json!([9, "each"]), json!("u3")]);
    assert_eq!(join(&mut lobby, 12).1.presence, PresenceMode::Each);
}

#[test]
fn a_room_without_members_takes_the_number_of_users_at_once() {
    let mut lobby = lobby(2);
    let users: Vec<_> = (1..=3).map(guest).collect();
    lobby.set_node("b", 1, users.iter().map(|user| (user, Role::None)));
    assert_eq!((lobby.presence(), lobby.deadline()), (PresenceMode::Count, None));
    let (member, joined) = join(&mut lobby, 4);
    assert_eq!((joined.members, joined.presence, lobby.deadline()), (4, PresenceMode::Count, None));
    lobby.leave(&member);
    lobby.remove_node("b");
    assert_eq!((join(&mut lobby, 5).1.presence, lobby.deadline()), (PresenceMode::Each, None));
}

#[test]
fn a_room_without_members_that_begins_to_count_ends_typing() {
    let mut lobby = lobby(3);
    (1..=3).for_each(|number| lobby.enter_remote("b", &guest(number), Role::None, 1));
    lobby.remote_typing(MILLIS(0), "b", &guest(1), true);
    lobby.handle_timer(MILLIS(0));
    lobby.enter_remote("b", &guest(4), Role::None, 1);
    let (mut member, joined) = join(&mut lobby, 5);
    assert_eq!(joined.presence, PresenceMode::Count);
    lobby.handle_timer(MILLIS(20_000));
    assert_eq!(take(&mut lobby, &mut member), [Value::Null; 0]);
}

#[test]
fn a_member_that_has_read_nothing_gets_the_last_number_and_then_the_later_changes() {
    let limits = Limits::default().with(|limits| {
        limits.rooms.presence_threshold = 10;
        limits.rooms.tail_events = 4;
    });
    let mut lobby = Room::new(room("lobby"), &limits);
    let mut observer = observer(&mut lobby);
    let old = members(&mut lobby, 1..=8);
    let mut late = lobby.subscribe(9_998, (), LogBounds::new("e", 0)).expect("subscribed");
    let more = members(&mut lobby, 11..=20);
    lobby.handle_timer(MILLIS(0));
    more.iter().for_each(|member| lobby.leave(member));
    lobby.handle_timer(MILLIS(1_000));
    old.iter().take(6).for_each(|member| lobby.leave(member));
    let mut expected = vec![json!([8, "each"])];
    expected.extend((1..=6).map(|number| json!(format!("u{number}"))));
    assert_eq!(take(&mut lobby, &mut observer), expected);
    assert_eq!(take(&mut lobby, &mut late), expected);
}

/// The events that all members together get if this many users join, one after the other.
fn deliveries(users: u64) -> usize {
    let mut lobby = lobby(100);
    let mut members = members(&mut lobby, 0..users);
    lobby.handle_timer(MILLIS(0));
    members.iter_mut().map(|member| take(&mut lobby, member).len()).sum()
}

#[test]
fn the_number_of_events_grows_like_the_number_of_users_who_join() {
    assert_eq!(deliveries(100), 99 * 100 / 2);
    assert_eq!(deliveries(1_000), 99 * 100 / 2 + 1_000);
    assert_eq!(deliveries(5_000), 99 * 100 / 2 + 5_000);
}
