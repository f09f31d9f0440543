//! Direct rooms: two users, for good.

use std::sync::Arc;

use chat_proto::{
    Act, AppendError, Change, ChangeError, Event, Limits, Log, NewAct, NewChange, NewMessage, Restrict,
    Restriction, Right, Role, RoomName, RoomRules, User, UserKey,
};

use crate::body;

fn user(id: &str) -> User {
    User::new(id, id).expect("a good name")
}

fn named(name: &str) -> Log {
    Log::new(name.parse().expect("a room name"), "e".to_owned(), Arc::new(Limits::default()))
}

/// The direct room of `ann` and `bob`, which nobody has opened.
fn direct() -> Log {
    named(RoomName::direct("ann", "bob").as_str())
}

fn open(by: &User, with: &str) -> NewAct {
    NewAct::new(by.clone(), Act::Direct { with: user(with) })
}

fn govern(log: &mut Log, act: NewAct) -> Result<Option<u64>, ChangeError> {
    log.govern(2, act).map(|(receipt, _)| receipt.seq)
}

fn send(log: &mut Log, user: User, role: Role) -> Result<u64, AppendError> {
    log.append(2, NewMessage::new(user, body("hi")).with_role(role)).map(|(receipt, _)| receipt.seq)
}

fn restrict(what: Restrict) -> Act {
    Act::Restrict { user: user("bob"), restriction: Some(Restriction::new(what, None)), reason: None }
}

fn standing(log: &Log, user: &UserKey, granted: Role) -> (Role, bool) {
    let (rules, stored) = log.standing(user);
    let standing = rules.standing(user, stored, granted);
    (standing.role, rules.check(Right::Join, &standing, 2).is_ok())
}

#[test]
fn both_open_one_room_with_one_entry() {
    for (one, other) in [("ann", "bob"), ("bob", "ann")] {
        let mut log = direct();
        let (receipt, stored) = log.govern(2, open(&user(one), other)).expect("a room");
        assert_eq!(receipt.seq, Some(1));
        let Ok(Event::Settings { created: true, rules, .. }) = stored.expect("an entry").event() else {
            panic!("no settings")
        };
        assert_eq!(rules.other(&user(one).key()), Some(&user(other)));
        assert_eq!(govern(&mut log, open(&user(other), one)), Ok(None));
        for id in ["ann", "bob"] {
            assert_eq!(standing(&log, &UserKey::new(id), Role::None), (Role::Member, true));
        }
        assert_eq!(send(&mut log, user(one), Role::None), Ok(2));
        assert_eq!(send(&mut log, user(other), Role::None), Ok(3));
    }
}

#[test]
fn others_have_no_rights_whatever_their_role_is() {
    let (mut opened, mut closed) = (direct(), direct());
    govern(&mut opened, open(&user("ann"), "bob")).expect("a room");
    let guest = User::guest("ann").expect("a name");
    for granted in [Role::None, Role::Member, Role::Owner] {
        for log in [&mut opened, &mut closed] {
            for other in [user("cid"), guest.clone()] {
                assert_eq!(standing(log, &other.key(), granted), (Role::None, false));
                assert_eq!(send(log, other, granted), Err(AppendError::Forbidden));
            }
        }
        assert_eq!(standing(&opened, &UserKey::new("ann"), granted), (Role::Member, true));
        assert_eq!(standing(&closed, &UserKey::new("ann"), granted), (Role::None, false));
        assert_eq!(send(&mut closed, user("ann"), granted), Err(AppendError::Forbidden));
    }
    let pin = NewChange::new(user("ann"), 1, Change::Pin { on: true }).with_role(Role::Owner);
    assert_eq!(opened.change(2, pin).map(|_| ()), Err(ChangeError::Forbidden));
}

#[test]
fn only_its_users_open_it_and_only_under_its_name() {
    let guest = User::guest("ann").expect("a name");
    for act in [open(&user("ann"), "cid"), open(&user("cid"), "bob"), open(&guest, "bob")] {
        assert_eq!(govern(&mut direct(), act), Err(ChangeError::Forbidden));
    }
    for name in ["lobby", "direct-7"] {
        assert_eq!(govern(&mut named(name), open(&user("ann"), "bob")), Err(ChangeError::Forbidden));
    }
}

#[test]
fn nobody_sets_its_rules_and_only_the_host_restricts() {
    let acts = [
        Act::Create { rules: RoomRules::default() },
        Act::Role { user: user("cid"), role: Role::Member },
        Act::Role { user: user("ann"), role: Role::None },
    ];
    for is_open in [true, false] {
        let mut log = direct();
        if is_open {
            govern(&mut log, open(&user("ann"), "bob")).expect("a room");
        }
        for act in acts.clone() {
            let act = NewAct::new(user("ann"), act).with_role(Role::Owner);
            assert_eq!(govern(&mut log, act.clone()), Err(ChangeError::Forbidden));
            assert_eq!(govern(&mut log, act.by_host()), Err(ChangeError::Forbidden));
        }
        let act = NewAct::new(user("ann"), restrict(Restrict::Ban)).with_role(Role::Owner);
        assert_eq!(govern(&mut log, act.clone()), Err(ChangeError::Forbidden));
        assert_eq!(govern(&mut log, act.by_host()), Ok(Some(if is_open { 2 } else { 1 })));
    }
}

#[test]
fn a_ban_of_the_host_holds_from_before_the_room_is_open() {
    let mut log = direct();
    let ban = NewAct::new(user("ops"), restrict(Restrict::Ban)).by_host();
    assert_eq!(govern(&mut log, ban), Ok(Some(1)));
    assert_eq!(govern(&mut log, open(&user("bob"), "ann")), Err(ChangeError::Forbidden));
    assert_eq!(govern(&mut log, open(&user("ann"), "bob")), Ok(Some(2)));
    assert_eq!(send(&mut log, user("bob"), Role::None), Err(AppendError::Forbidden));
    assert_eq!(send(&mut log, user("ann"), Role::None), Ok(3));
    let mute = NewAct::new(user("ops"), restrict(Restrict::Mute)).by_host();
    assert_eq!(govern(&mut log, mute), Ok(Some(4)));
    assert_eq!(send(&mut log, user("bob"), Role::None), Err(AppendError::Muted));
    assert_eq!(standing(&log, &UserKey::new("bob"), Role::None), (Role::Member, true));
}

#[test]
fn a_user_updates_the_own_name_only() {
    let mut log = direct();
    let (ann, bob) = (User::new("ann", "Ann").expect("a user"), User::new("bob", "Bob").expect("a user"));
    let names = |log: &Log| {
        let rules = log.standing(&ann.key()).0;
        [&bob, &ann].map(|one| rules.other(&one.key()).map(|other| other.name().to_owned()))
    };
    assert_eq!(govern(&mut log, open(&ann, "bob")), Ok(Some(1)));
    assert_eq!(names(&log), [Some("Ann".to_owned()), Some("bob".to_owned())]);
    assert_eq!(govern(&mut log, open(&bob, "ann")), Ok(Some(2)));
    assert_eq!(govern(&mut log, open(&bob, "ann")), Ok(None));
    assert_eq!(names(&log), [Some("Ann".to_owned()), Some("Bob".to_owned())]);
}

#[test]
fn a_room_for_notes_has_one_user() {
    let mut log = named(RoomName::direct("ann", "ann").as_str());
    assert_eq!(govern(&mut log, open(&user("ann"), "ann")), Ok(Some(1)));
    assert_eq!(send(&mut log, user("ann"), Role::None), Ok(2));
    assert_eq!(send(&mut log, user("bob"), Role::None), Err(AppendError::Forbidden));
    assert_eq!(log.standing(&UserKey::new("ann")).0.other(&UserKey::new("ann")), Some(&user("ann")));
}
