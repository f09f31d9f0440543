//! Users who leave later, and the bound on what a roster remembers.

use chat_proto::{Role, Roster, User};
use proptest::collection::vec;
use proptest::prelude::*;

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
    assert!(!roster.enter_remote("b", &ann, Role::None, 1), "ann has not left");
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
    roster.enter_remote("b", &ann, Role::None, 1);
    let changes = roster.set_node("b", 5, [(&bob, Role::None)], false);
    let names: Vec<_> = changes.iter().map(|(user, _)| user.name()).collect();
    assert_eq!(names, ["ann", "bob"]);
    assert!(
        roster.set_node("b", 5, [(&ann, Role::None)], false).is_empty(),
        "a repeated roster changes nothing"
    );
    assert!(!roster.enter_remote("b", &ann, Role::None, 4), "the notice is older than the roster");
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
        assert!(!roster.enter_remote("b", user, Role::None, version), "{user:?}");
    }
    assert!(roster.enter_remote("b", &users[0], Role::None, 3_000));
}

/// Returns a roster that has forgotten the first removals of node b, which have the versions from 11 on.
fn after_many_removals() -> Roster {
    let mut roster = Roster::default();
    for version in 11..=80 {
        roster.leave_remote("b", &guest(&format!("u{version}")), version, false);
    }
    roster
}

#[test]
fn a_user_whose_state_comes_after_many_removals_is_listed() {
    let (mut roster, ann) = (after_many_removals(), guest("ann"));
    assert!(roster.enter_remote("b", &ann, Role::None, 70), "the state is newer than the forgotten removals");
    let (mut roster, bob) = (after_many_removals(), guest("bob"));
    assert!(!roster.is_uncertain("b"));
    assert!(!roster.enter_remote("b", &bob, Role::None, 5) && roster.is_uncertain("b"));
    roster.set_node("b", 4, [], false);
    assert!(roster.is_uncertain("b"), "the roster is older than the state");
    assert_eq!(roster.set_node("b", 81, [(&bob, Role::None)], false).len(), 1);
    assert!(roster.contains(&bob) && !roster.is_uncertain("b"));
}

#[test]
fn a_user_whose_removal_comes_after_many_others_leaves() {
    let (mut roster, ann) = (Roster::default(), guest("ann"));
    roster.enter_remote("b", &ann, Role::None, 1);
    for version in 11..=80 {
        roster.leave_remote("b", &guest(&format!("u{version}")), version, false);
    }
    assert!(roster.leave_remote("b", &ann, 5, false));
    assert!(roster.is_empty() && !roster.is_uncertain("b"));
}

#[test]
fn an_old_roster_after_many_removals_brings_no_user_back() {
    let (mut roster, gone, ann) = (after_many_removals(), guest("u11"), guest("ann"));
    roster.set_node("b", 10, [(&gone, Role::None), (&ann, Role::None)], false);
    assert!(!roster.contains(&gone) && roster.is_uncertain("b"));
    roster.set_node("b", 81, [(&ann, Role::None)], false);
    assert_eq!((roster.members(), roster.is_uncertain("b")), (vec![ann], false));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn states_of_many_users_in_any_order_end_in_the_present_state(
        (stays, order) in (vec(any::<bool>(), 150), Just((0..300).collect::<Vec<usize>>()).prop_shuffle()),
    ) {
        let users: Vec<_> = (0..150).map(|number| guest(&format!("u{number:03}"))).collect();
        let mut roster = Roster::default();
        for state in order {
            let (user, version) = (&users[state % 150], state as u64 + 1);
            if state < 150 {
                roster.enter_remote("b", user, Role::None, version);
            } else if !stays[state % 150] {
                roster.leave_remote("b", user, version, false);
            }
        }
        let present: Vec<_> = users.iter().zip(&stays).filter(|(_, stays)| **stays).map(|(user, _)| user).collect();
        if roster.is_uncertain("b") {
            roster.set_node("b", 301, present.iter().map(|user| (*user, Role::None)), false);
        }
        let members = roster.members();
        prop_assert_eq!(members.iter().collect::<Vec<_>>(), present);
        prop_assert!(!roster.is_uncertain("b"));
    }
}
