//! Users who leave later, and the bound on what a roster remembers.

use chat_proto::{Roster, User};

fn guest(name: &str) -> User {
    User::guest(name).expect("a good name")
}

fn names(roster: &Roster) -> Vec<String> {
    roster.members().iter().map(|user| user.name().to_owned()).collect()
}

#[test]
fn a_user_who_moves_to_another_node_in_time_does_not_leave() {
    let (mut roster, ann, bob) = (Roster::default(), guest("ann"), guest("bob"));
    assert!(roster.enter(&ann) && roster.enter(&bob));
    assert!(!roster.leave(&ann, true) && !roster.leave(&bob, true));
    assert_eq!((names(&roster), roster.last_deferred()), (vec!["ann".into(), "bob".into()], 2));
    assert!(!roster.enter_remote("b", &ann, 1), "ann has not left");
    assert_eq!(roster.end_deferred(2), [bob]);
    assert_eq!(names(&roster), ["ann"]);
    assert!(!roster.leave_remote("b", &ann, 2, true));
    assert_eq!(roster.end_deferred(2), [], "ann lost the last connection later");
    assert_eq!(roster.end_deferred(3), [ann]);
    assert!(roster.is_empty());
}

#[test]
fn a_user_who_leaves_on_purpose_leaves_at_once() {
    let (mut roster, ann) = (Roster::default(), guest("ann"));
    roster.enter(&ann);
    assert!(!roster.leave(&ann, true));
    assert!(!roster.enter(&ann));
    assert!(roster.leave(&ann, false));
    assert_eq!(roster.end_deferred(u64::MAX), []);
}

#[test]
fn a_roster_corrects_what_the_loss_of_notices_left_behind() {
    let (mut roster, ann, bob) = (Roster::default(), guest("ann"), guest("bob"));
    roster.enter_remote("b", &ann, 1);
    let changes = roster.set_node("b", 5, [&bob], false);
    let names: Vec<_> = changes.iter().map(|(user, _)| user.name()).collect();
    assert_eq!(names, ["ann", "bob"]);
    assert!(roster.set_node("b", 5, [&ann], false).is_empty(), "a repeated roster changes nothing");
    assert!(!roster.enter_remote("b", &ann, 4), "the notice is older than the roster");
    assert!(roster.set_node("b", 6, [], true).is_empty());
    assert_eq!(roster.members(), [bob]);
}

#[test]
fn a_state_that_comes_late_never_brings_a_user_back() {
    let mut roster = Roster::default();
    let users: Vec<_> = (0..1_000).map(|number| guest(&format!("u{number}"))).collect();
    for (user, version) in users.iter().zip(1_001..) {
        roster.leave_remote("b", user, version, false);
    }
    for (user, version) in users.iter().zip(1..) {
        assert!(!roster.enter_remote("b", user, version), "{user:?}");
    }
    assert!(roster.enter_remote("b", &users[0], 3_000));
}
