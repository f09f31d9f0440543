use std::collections::BTreeSet;

use chat_proto::{Roster, User};
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
