use std::collections::BTreeSet;

use chat_proto::{Role, Roster, User};
use proptest::prelude::*;
use proptest::sample::select;

fn user() -> impl Strategy<Value = User> {
    let ids = select(vec!["1", "2", "3", "4"]);
    let names = select(vec!["ada", "Ada", "bob", "로비"]);
    (ids, names).prop_map(|(id, name)| User::new(id, name).expect("a good name"))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_user_is_present_from_the_first_connection_to_the_last(
        steps in proptest::collection::vec((any::<bool>(), user()), 0..60),
        limit in 1..4_usize,
    ) {
        let mut roster = Roster::default();
        let mut connections: Vec<User> = Vec::new();
        for (enters, user) in steps {
            let before = connections.iter().filter(|other| other.id() == user.id()).count();
            if enters {
                prop_assert_eq!(roster.enter(&user), before == 0);
                connections.push(user);
            } else {
                prop_assert_eq!(roster.leave(&user, false), before == 1);
                if let Some(last) = connections.iter().rposition(|other| other.id() == user.id()) {
                    connections.remove(last);
                }
            }
            let mut seen = BTreeSet::new();
            let mut here: Vec<User> = connections.iter().filter(|user| seen.insert(user.id())).cloned().collect();
            here.sort_by(|a, b| (a.name(), a.id()).cmp(&(b.name(), b.id())));
            prop_assert_eq!((roster.len(), roster.is_empty()), (here.len(), here.is_empty()));
            prop_assert_eq!(&roster.members(), &here);
            let mut pages: Vec<User> = Vec::new();
            loop {
                let page = roster.page(pages.last(), limit);
                prop_assert!(page.members.len() <= limit && page.total == here.len());
                prop_assert_eq!(page.more, pages.len() + page.members.len() < here.len());
                pages.extend(page.members);
                if !page.more {
                    break;
                }
            }
            prop_assert_eq!(pages, here);
        }
    }
}

#[test]
fn a_page_continues_after_a_user_who_has_left_and_separates_no_users_that_look_alike() {
    let user = |name| User::new(name, name).expect("a good name");
    let (mut roster, guest) = (Roster::default(), User::guest("bob").expect("a good name"));
    let users = ["ann", "bob", "cid"].map(user);
    for user in users.iter().chain([&guest]) {
        assert!(roster.enter(user));
    }
    let page = roster.page(None, 2);
    assert_eq!((page.members, page.more), (vec![user("ann"), user("bob"), guest], true));
    roster.leave(&users[1], false);
    // The client does not know which one is a guest.
    assert_eq!(roster.page(Some(&users[1]), 2).members, [user("cid")]);
}

#[test]
fn a_user_has_the_highest_role_of_the_newest_states_of_other_nodes() {
    let (mut roster, ann) = (Roster::default(), User::new("7", "Ann").expect("a good name"));
    let role = |roster: &Roster| {
        let users: Vec<_> = roster.of_id("7").map(|(user, role)| (user.name().to_owned(), role)).collect();
        users.first().map(|(name, role)| (name.clone(), *role, users.len()))
    };
    let known = |role| Some(("Ann".to_owned(), role, 1));
    assert_eq!(role(&roster), None);
    roster.enter_remote("b", &ann, Role::Owner, 4);
    roster.enter_remote("b", &ann, Role::None, 3);
    assert_eq!(role(&roster), known(Role::Owner), "the second state is older");
    roster.enter_remote("c", &ann, Role::Moderator, 1);
    roster.enter_remote("b", &ann, Role::None, 5);
    assert_eq!(role(&roster), known(Role::Moderator));
    roster.set_node("b", 6, [(&ann, Role::Owner)], false);
    assert_eq!(role(&roster), known(Role::Owner));
    roster.remove_node("b", false);
    roster.leave_remote("c", &ann, 2, true);
    assert_eq!(role(&roster), known(Role::None), "ann leaves later");
    let guest = User::guest("7").expect("a good name");
    roster.enter(&guest);
    assert_eq!(role(&roster), Some(("7".to_owned(), Role::None, 2)), "a guest and a user");
    assert_eq!(roster.of_id("Ann").count(), 0);
}
