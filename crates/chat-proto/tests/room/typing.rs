//! Users who type, over time.

use std::time::Duration;

use chat_proto::command::JoinFrom;
use chat_proto::room::{Delivery, Member, Room};
use chat_proto::{Limits, LogBounds, Role, User};
use serde_json::Value;

use crate::room;

const MILLIS: fn(u64) -> Duration = Duration::from_millis;

/// A room with an observer and two connections of one user.
struct Scene {
    room: Room<()>,
    ann: Member,
    phone: Member,
    laptop: Member,
}

impl Scene {
    fn new() -> Self {
        let mut room = Room::new(room("lobby"), &Limits::default());
        let mut join = |id, name| {
            let user = User::guest(name).expect("a good name");
            room.join(id, &user, (), LogBounds::new("e", 0), &JoinFrom::Now).expect("joined").0
        };
        let (mut ann, mut phone, mut laptop) = (join(1, "ann"), join(2, "bob"), join(3, "bob"));
        for member in [&mut ann, &mut phone, &mut laptop] {
            take(&mut room, member);
        }
        Self { room, ann, phone, laptop }
    }

    fn phone(&mut self, at: u64, active: bool) {
        self.room.typing(MILLIS(at), &self.phone, active);
    }

    /// Lets the time pass up to this one. Returns what ann sees, with the times.
    fn watch(&mut self, until: u64) -> Vec<(u64, bool)> {
        let mut seen: Vec<_> =
            take(&mut self.room, &mut self.ann).into_iter().map(|active| (0, active)).collect();
        while let Some(due) = self.room.deadline().filter(|due| *due <= MILLIS(until)) {
            self.room.handle_timer(due);
            let at = u64::try_from(due.as_millis()).expect("a short time");
            seen.extend(take(&mut self.room, &mut self.ann).into_iter().map(|active| (at, active)));
        }
        seen
    }
}

/// Takes the events of a member. Returns the states of typing.
fn take(room: &mut Room<()>, member: &mut Member) -> Vec<bool> {
    let mut states = Vec::new();
    while let Delivery::Events(events) = room.take(member) {
        let events = events.iter().map(|event| serde_json::from_slice::<Value>(&event.frame).expect("JSON"));
        states.extend(events.filter_map(|event| event["active"].as_bool()));
    }
    states
}

#[test]
fn of_many_states_in_two_seconds_the_first_and_the_last_are_sent() {
    let mut scene = Scene::new();
    for at in 0..1_000 {
        scene.phone(at, at % 2 == 0);
    }
    assert_eq!(scene.watch(60_000), [(0, true), (2_000, false)]);
    scene.phone(60_000, false);
    assert_eq!(scene.watch(70_000), [], "nothing has changed");
    assert_eq!(scene.room.deadline(), None, "the user is forgotten");
}

#[test]
fn typing_that_is_repeated_goes_on_and_ends_by_itself() {
    let mut scene = Scene::new();
    for at in [0, 5_000, 10_000] {
        scene.phone(at, true);
        scene.watch(at);
    }
    assert_eq!(scene.watch(60_000), [(18_000, false)]);
}

#[test]
fn typing_ends_with_the_connection_that_types() {
    for leave in [Room::leave, Room::disconnect] {
        let mut scene = Scene::new();
        scene.phone(0, true);
        leave(&mut scene.room, &scene.laptop);
        assert_eq!(scene.watch(1_999), [(0, true)]);
        leave(&mut scene.room, &scene.phone);
        assert_eq!(scene.watch(60_000), [], "`left` ends typing");
    }
    let mut scene = Scene::new();
    scene.phone(0, true);
    scene.room.disconnect(&scene.phone);
    assert_eq!(scene.watch(60_000), [(0, true), (2_000, false)]);
}

#[test]
fn each_connection_gets_the_end_of_what_it_got() {
    let mut scene = Scene::new();
    scene.phone(0, true);
    assert_eq!(take(&mut scene.room, &mut scene.laptop), [true]);
    scene.room.typing(MILLIS(3_000), &scene.laptop, true);
    assert_eq!(take(&mut scene.room, &mut scene.laptop), [] as [bool; 0]);
    assert_eq!(take(&mut scene.room, &mut scene.phone), [true]);
    scene.room.typing(MILLIS(6_000), &scene.laptop, false);
    for member in [&mut scene.phone, &mut scene.laptop] {
        assert_eq!(take(&mut scene.room, member), [false]);
    }
    scene.phone(9_000, true);
    scene.phone(12_000, false);
    assert_eq!(take(&mut scene.room, &mut scene.phone), [] as [bool; 0]);
}

#[test]
fn other_nodes_get_only_what_is_sent_here() {
    let (mut scene, bob) = (Scene::new(), User::guest("bob").expect("a good name"));
    for at in 0..1_000 {
        scene.phone(at, at % 2 == 0);
    }
    scene.watch(2_000);
    assert_eq!(scene.room.take_typing(), [(bob.clone(), true), (bob.clone(), false)]);
    scene.room.enter_remote("b", &bob, Role::None, 1);
    scene.room.remote_typing(MILLIS(9_000), "b", &bob, true);
    assert_eq!(scene.watch(9_000), [(0, true)]);
    scene.room.remove_node("b");
    assert_eq!(scene.watch(60_000), [(11_000, false)]);
    assert_eq!(scene.room.take_typing(), []);
    scene.room.remote_typing(MILLIS(70_000), "b", &User::guest("eve").expect("a good name"), true);
    assert_eq!(scene.watch(70_000), [], "eve is not in the room");
}
