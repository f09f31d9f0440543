//! The rules of a room and the standing of its users.

use chat_proto::{
    Act, ActContext, AppendError, Change, ChangeError, Event, JoinRule, Limits, Log, NewAct, NewChange,
    NewMessage, NoRight, PostRule, Range, Restrict, Restriction, Right, Role, RoomRules, Standing, User,
};

use crate::{body, log};

const ROLES: [Role; 4] = [Role::None, Role::Member, Role::Moderator, Role::Owner];

fn user(id: &str) -> User {
    User::new(id, id).expect("a good name")
}

fn role_of(by: &str, id: &str, role: Role) -> NewAct {
    NewAct::new(user(by), Act::Role { user: user(id), role })
}

fn restrict(by: &str, id: &str, what: impl Into<Option<Restrict>>) -> NewAct {
    let restriction = what.into().map(|what| Restriction::new(what, None));
    NewAct::new(user(by), Act::Restrict { user: user(id), restriction, reason: None })
}

fn create(by: &str, rules: RoomRules) -> NewAct {
    NewAct::new(user(by), Act::Create { rules })
}

fn govern(log: &mut Log, act: NewAct) -> Result<Option<u64>, ChangeError> {
    log.govern(2, act).map(|(receipt, _)| receipt.seq)
}

fn send(log: &mut Log, id: &str) -> Result<u64, AppendError> {
    log.append(2, NewMessage::new(user(id), body("hi"))).map(|(receipt, _)| receipt.seq)
}

fn change(log: &mut Log, id: &str, change: Change) -> Result<Option<u64>, ChangeError> {
    log.change(2, NewChange::new(user(id), 1, change)).map(|(receipt, _)| receipt.seq)
}

/// A room of an owner `ann` and a moderator `mod`.
fn created(rules: RoomRules) -> Log {
    let mut log = log(&Limits::default());
    assert_eq!(govern(&mut log, create("ann", rules)), Ok(Some(1)));
    assert_eq!(govern(&mut log, role_of("ann", "mod", Role::Moderator)), Ok(Some(2)));
    log
}

/// The rights in an open room, as in section 3 of PROTOCOL.md: a right, then banned, muted, none, member, moderator, owner.
const TABLE: [(Right, &str); 12] = [
    (Right::Join, "no yes yes yes yes yes"),
    (Right::Send, "no muted yes yes yes yes"),
    (Right::React, "no muted yes yes yes yes"),
    (Right::Edit, "no muted yes yes yes yes"),
    (Right::Delete, "no yes yes yes yes yes"),
    (Right::DeleteOthers, "no no no no yes yes"),
    (Right::Pin, "no no no no yes yes"),
    (Right::MentionRoom, "no no no no yes yes"),
    (Right::Restrict, "no no no no yes yes"),
    (Right::Role, "no no no no no yes"),
    (Right::Settings, "no no no no no yes"),
    (Right::Purge, "no no no no no yes"),
];

#[test]
fn each_cell_of_the_table_of_rights_holds_in_an_open_room() {
    let open = RoomRules::default();
    let restricted = |what| Standing::new(Role::None, Some(Restriction::new(what, None)));
    let columns = [restricted(Restrict::Ban), restricted(Restrict::Mute)]
        .into_iter()
        .chain(ROLES.map(|role| Standing::new(role, None)));
    for (column, standing) in columns.enumerate() {
        for (right, row) in TABLE {
            let expected = match row.split(' ').nth(column) {
                Some("yes") => Ok(()),
                Some("muted") => Err(NoRight::Muted),
                _ => Err(NoRight::Forbidden),
            };
            assert_eq!(open.check(right, &standing, 0), expected, "{right:?} {standing:?}");
            let is_listed = right != Right::Join && expected.is_ok();
            assert_eq!(open.rights(&standing, 0).contains(right), is_listed, "{right:?} {standing:?}");
        }
    }
}

#[test]
fn a_restriction_holds_whatever_the_role_is() {
    for role in ROLES {
        let banned = Standing::new(role, Some(Restriction::new(Restrict::Ban, None)));
        let muted = Standing::new(role, Some(Restriction::new(Restrict::Mute, None)));
        for (right, _) in TABLE {
            let open = RoomRules::default();
            assert_eq!(open.check(right, &banned, 0), Err(NoRight::Forbidden), "{role:?} {right:?}");
            let has_role = open.check(right, &Standing::new(role, None), 0).is_ok();
            let expected = match right {
                Right::Join | Right::Delete => Ok(()),
                _ if has_role => Err(NoRight::Muted),
                _ => Err(NoRight::Forbidden),
            };
            assert_eq!(open.check(right, &muted, 0), expected, "{role:?} {right:?}");
        }
    }
}

#[test]
fn the_rules_decide_who_joins_and_who_writes() {
    let post = |post| RoomRules::default().with_post(post);
    for (rules, right, lowest) in [
        (RoomRules::default().with_join(JoinRule::Members), Right::Join, Role::Member),
        (RoomRules::default().with_join(JoinRule::Members), Right::Send, Role::Member),
        (RoomRules::default().with_join(JoinRule::Members), Right::Delete, Role::Member),
        (post(PostRule::Members), Right::Join, Role::None),
        (post(PostRule::Members), Right::Delete, Role::None),
        (post(PostRule::Members), Right::Send, Role::Member),
        (post(PostRule::Members), Right::React, Role::Member),
        (post(PostRule::Moderators), Right::Send, Role::Moderator),
        (post(PostRule::Moderators), Right::Edit, Role::Moderator),
        (post(PostRule::Moderators), Right::Join, Role::None),
    ] {
        for role in ROLES {
            let has = rules.check(right, &Standing::new(role, None), 0).is_ok();
            assert_eq!(has, role >= lowest, "{rules:?} {right:?} {role:?}");
        }
    }
}

#[test]
fn a_restriction_ends_by_itself() {
    let until = Standing::new(Role::None, Some(Restriction::new(Restrict::Mute, Some(100))));
    let open = RoomRules::default();
    assert_eq!(open.check(Right::Send, &until, 99), Err(NoRight::Muted));
    assert_eq!(open.check(Right::Send, &until, 100), Ok(()));
    assert_eq!((open.writes_from(&until, 99), open.writes_from(&until, 100)), (Some(100), Some(0)));
    let forever = Standing::new(Role::None, Some(Restriction::new(Restrict::Ban, None)));
    assert_eq!(open.writes_from(&forever, 99), None);
}

#[test]
fn a_restriction_that_has_ended_can_be_removed() {
    let target = Standing::new(Role::None, Some(Restriction::new(Restrict::Mute, Some(100))));
    let context = ActContext { has_entries: true, target, ..ActContext::default() };
    let remove = restrict("ann", "bob", None).by_host();
    let effect = context.judge(&remove, 200, &Limits::default()).expect("allowed");
    let owner = user("ann");
    let (_, standing) = effect.standing(&owner).expect("a change");
    assert!(standing.is_default(), "it counts no longer: {standing:?}");
}

#[test]
fn a_restriction_whose_end_is_over_is_none() {
    let mute = |until| {
        let restriction = Some(Restriction::new(Restrict::Mute, Some(until)));
        let act = Act::Restrict { user: user("bob"), restriction, reason: None };
        NewAct::new(user("ops"), act).by_host()
    };
    let mut log = log(&Limits::default());
    assert_eq!(log.govern(100, mute(100)).expect("the host").0.seq, None, "everybody is without one already");
    assert_eq!(log.govern(100, mute(101)).expect("the host").0.seq, Some(1));
    assert_eq!(log.govern(100, mute(99)).expect("the host").0.seq, Some(2), "it ends the present one");
    assert!(log.standing(&user("bob").key()).1.is_default());
}

#[test]
fn standings_that_have_ended_make_space_for_others() {
    let mut log = log(&Limits::default().with(|limits| limits.rooms.max_standings = 3));
    let mute = |id: &str, until| {
        let restriction = Some(Restriction::new(Restrict::Mute, Some(until)));
        NewAct::new(user("ops"), Act::Restrict { user: user(id), restriction, reason: None }).by_host()
    };
    let is_full = |refused| matches!(refused, Err(ChangeError::Unavailable(_)));
    for act in [mute("bob", 10), mute("cid", 20), role_of("ops", "zoe", Role::Member).by_host()] {
        log.govern(1, act).expect("space");
    }
    assert!(is_full(log.govern(9, mute("dan", 90)).map(|(receipt, _)| receipt.seq)));
    assert_eq!(log.standing(&user("bob").key()).1.restricted(9), Some(Restrict::Mute));
    assert_eq!(log.govern(10, mute("dan", 90)).expect("the place of bob").0.seq, Some(4));
    assert_eq!(log.standing(&user("cid").key()).1.restricted(19), Some(Restrict::Mute));
    assert!(is_full(
        log.govern(19, role_of("ops", "eve", Role::Member).by_host()).map(|(receipt, _)| receipt.seq)
    ));
    log.govern(20, role_of("ops", "eve", Role::Member).by_host()).expect("the place of cid");
    assert_eq!(log.standing(&user("zoe").key()).1.role, Role::Member);
    assert!(is_full(log.govern(21, mute("fay", 90)).map(|(receipt, _)| receipt.seq)));
}

#[test]
fn a_room_is_created_once_and_its_owner_sets_the_rules() {
    let mut log = created(RoomRules::default());
    let members = RoomRules::default().with_join(JoinRule::Members);
    assert_eq!(govern(&mut log, create("bob", members.clone())), Err(ChangeError::RoomExists));
    assert_eq!(govern(&mut log, create("mod", members.clone())), Err(ChangeError::RoomExists));
    assert_eq!(govern(&mut log, create("ann", RoomRules::default())), Ok(None));
    assert_eq!(govern(&mut log, create("ann", members.clone())), Ok(Some(3)));
    assert_eq!(log.standing(&user("ann").key()), (members, Standing::new(Role::Owner, None)));
    assert!(log.bounds().has_rules);
}

#[test]
fn a_room_with_an_entry_or_of_a_guest_is_not_created() {
    let mut log = log(&Limits::default());
    let guest = NewAct::new(User::guest("ann").expect("a name"), Act::Create { rules: RoomRules::default() });
    assert_eq!(govern(&mut log, guest), Err(ChangeError::Forbidden));
    send(&mut log, "bob").expect("an open room");
    assert_eq!(govern(&mut log, create("bob", RoomRules::default())), Err(ChangeError::RoomExists));
    let owner = create("ann", RoomRules::default()).with_role(Role::Owner);
    assert_eq!(govern(&mut log, owner), Ok(Some(2)));
    assert_eq!(log.standing(&user("ann").key()).1.role, Role::None, "her token says so, the log does not");
}

#[test]
fn nobody_acts_on_an_equal_or_higher_rank() {
    let mut log = created(RoomRules::default());
    let forbidden = Err(ChangeError::Forbidden);
    assert_eq!(govern(&mut log, restrict("mod", "ann", Restrict::Ban)), forbidden);
    assert_eq!(govern(&mut log, restrict("mod", "mod", Restrict::Mute)), forbidden);
    assert_eq!(govern(&mut log, restrict("bob", "zoe", Restrict::Mute)), forbidden);
    assert_eq!(govern(&mut log, role_of("mod", "bob", Role::Member)), forbidden);
    assert_eq!(govern(&mut log, role_of("ann", "bob", Role::Owner)), forbidden);
    let of_equal = restrict("mod", "bob", Restrict::Ban).with_target_role(Role::Moderator);
    assert_eq!(govern(&mut log, of_equal), forbidden, "the credentials of bob");
    assert_eq!(govern(&mut log, restrict("mod", "bob", Restrict::Ban)), Ok(Some(3)));
    assert_eq!(govern(&mut log, restrict("ann", "mod", Restrict::Ban)), Ok(Some(4)));
    assert_eq!(govern(&mut log, restrict("mod", "bob", None)), forbidden, "banned");
    let host = |act: NewAct| act.by_host();
    assert_eq!(govern(&mut log, host(restrict("ops", "ann", Restrict::Mute))), Ok(Some(5)));
    assert_eq!(govern(&mut log, role_of("ann", "zoe", Role::Member)), Err(ChangeError::Muted));
    assert_eq!(govern(&mut log, host(role_of("ops", "zoe", Role::Owner))), Ok(Some(6)));
}

#[test]
fn a_user_may_step_down_but_the_last_owner_may_not() {
    let mut log = created(RoomRules::default());
    for role in [Role::None, Role::Member, Role::Moderator] {
        assert_eq!(govern(&mut log, role_of("ann", "ann", role)), Err(ChangeError::Forbidden));
    }
    assert_eq!(govern(&mut log, role_of("ann", "ann", Role::Owner)), Ok(None));
    assert_eq!(govern(&mut log, role_of("mod", "mod", Role::Member)), Ok(Some(3)));
    assert_eq!(govern(&mut log, role_of("mod", "mod", Role::Moderator)), Err(ChangeError::Forbidden));
    govern(&mut log, role_of("ops", "zoe", Role::Owner).by_host()).expect("the host");
    assert_eq!(govern(&mut log, role_of("ann", "ann", Role::None)), Ok(Some(5)));
    assert_eq!(govern(&mut log, role_of("zoe", "zoe", Role::None)), Err(ChangeError::Forbidden));
}

#[test]
fn after_an_act_the_log_has_nothing_that_it_forbids() {
    let mut log = log(&Limits::default());
    let react = || Change::React { reaction: "+1".to_owned(), on: true };
    send(&mut log, "bob").expect("an open room");
    govern(&mut log, restrict("ops", "bob", Restrict::Mute).by_host()).expect("the host");
    assert_eq!(send(&mut log, "bob"), Err(AppendError::Muted));
    assert_eq!(change(&mut log, "bob", Change::Edit { body: body("x") }), Err(ChangeError::Muted));
    assert_eq!(change(&mut log, "bob", react()), Err(ChangeError::Muted));
    assert_eq!(change(&mut log, "bob", Change::Pin { on: true }), Err(ChangeError::Forbidden));
    assert!(change(&mut log, "zoe", react()).is_ok());
    assert_eq!(change(&mut log, "zoe", Change::Delete { reason: None }), Err(ChangeError::Forbidden));
    assert!(change(&mut log, "bob", Change::Delete { reason: None }).is_ok(), "her own, although muted");
    govern(&mut log, restrict("ops", "bob", Restrict::Ban).by_host()).expect("the host");
    assert_eq!(send(&mut log, "bob"), Err(AppendError::Forbidden));
    govern(&mut log, restrict("ops", "bob", None).by_host()).expect("the host");
    assert!(send(&mut log, "bob").is_ok());
    let guest = NewMessage::new(User::guest("bob").expect("a name"), body("hi"));
    govern(&mut log, restrict("ops", "bob", Restrict::Mute).by_host()).expect("the host");
    assert_eq!(log.append(3, guest).err(), Some(AppendError::Muted), "a guest of the same id");
}

#[test]
fn a_muted_moderator_deletes_only_own_messages() {
    let mut log = log(&Limits::default());
    send(&mut log, "bob").expect("an open room");
    govern(&mut log, role_of("ops", "mod", Role::Moderator).by_host()).expect("the host");
    govern(&mut log, restrict("ops", "mod", Restrict::Mute).by_host()).expect("the host");
    assert_eq!(change(&mut log, "mod", Change::Delete { reason: None }), Err(ChangeError::Forbidden));
    assert_eq!(change(&mut log, "mod", Change::Pin { on: true }), Err(ChangeError::Muted));
    govern(&mut log, restrict("ops", "mod", None).by_host()).expect("the host");
    assert!(change(&mut log, "mod", Change::Pin { on: true }).is_ok(), "the role in the log counts");
    assert!(change(&mut log, "mod", Change::Delete { reason: None }).is_ok());
}

#[test]
fn a_role_in_the_log_is_not_that_of_a_guest() {
    let mut log = created(RoomRules::default().with_post(PostRule::Members));
    govern(&mut log, role_of("ann", "bob", Role::Member)).expect("a role");
    assert!(send(&mut log, "bob").is_ok());
    let guest = NewMessage::new(User::guest("bob").expect("a name"), body("hi"));
    assert_eq!(log.append(3, guest.clone()).err(), Some(AppendError::Forbidden));
    assert!(log.append(3, guest.with_role(Role::Member)).is_ok(), "the host vouches");
}

#[test]
fn acts_are_entries_that_outlive_retention_in_their_effect() {
    let limits = Limits::default().with(|limits| limits.rooms.log_messages = 3);
    let mut log = log(&limits);
    govern(&mut log, create("ann", RoomRules::default().with_post(PostRule::Moderators))).expect("a room");
    govern(&mut log, role_of("ann", "mod", Role::Moderator)).expect("a role");
    for _ in 0..2 {
        send(&mut log, "mod").expect("a moderator");
    }
    let acts = log.read(Range::acts(0, 9)).messages;
    assert_eq!(acts.iter().map(|stored| stored.seq).collect::<Vec<_>>(), [1, 2]);
    assert!(matches!(acts[1].event(), Ok(Event::Role { role: Role::Moderator, .. })));
    assert_eq!(log.read(Range::newest(9)).messages.len(), 2, "messages only");
    assert_eq!(log.read(Range::entries(1, 9)).messages.len(), 3);
    for _ in 0..3 {
        send(&mut log, "mod").expect("a moderator");
    }
    assert_eq!(log.read(Range::acts(0, 9)).messages.len(), 0);
    assert_eq!(send(&mut log, "bob"), Err(AppendError::Forbidden));
    assert_eq!(govern(&mut log, restrict("mod", "bob", Restrict::Mute)), Ok(Some(8)));
}

#[test]
fn the_standings_of_a_room_are_limited() {
    let limits = Limits::default().with(|limits| limits.rooms.max_standings = 2);
    let mut log = log(&limits);
    govern(&mut log, create("ann", RoomRules::default())).expect("a room");
    govern(&mut log, restrict("ann", "a", Restrict::Mute)).expect("the second standing");
    let beyond = govern(&mut log, restrict("ann", "b", Restrict::Mute));
    assert!(matches!(beyond, Err(ChangeError::Unavailable(unavailable)) if unavailable.is_over_quota()));
    govern(&mut log, restrict("ann", "a", None)).expect("the end of a restriction");
    govern(&mut log, restrict("ann", "b", Restrict::Mute)).expect("a place for another");
}
