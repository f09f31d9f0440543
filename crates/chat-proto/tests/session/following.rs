//! Markers, followed rooms, and lists of rooms.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chat_proto::room::{Joined, Marked};
use chat_proto::session::{Action, Effect, Identified, Listing, Outcome, Session};
use chat_proto::{
    Event, Limits, LogBounds, Page, PresenceMode, Restrict, Restriction, Resumption, RoomName, RoomSummary,
    Unread, User,
};
use serde_json::{Value, json};

const NOW: Duration = Duration::ZERO;

fn session(max_followed: usize) -> Session<()> {
    session_of(max_followed, User::guest("ada").expect("a name"))
}

fn session_of(max_followed: usize, user: User) -> Session<()> {
    let limits = Limits::default().with(|limits| limits.rooms.max_followed_per_user = max_followed);
    Session::open(Arc::new(limits), Identified::new(user, "1"), NOW).0
}

fn room(name: &str) -> RoomName {
    name.parse().expect("a room name")
}

fn command(session: &mut Session<()>, command: &Value) -> Vec<Effect> {
    session.handle_text(NOW, Bytes::from(command.to_string()))
}

/// Expects replies only.
fn events(effects: Vec<Effect>) -> Vec<Value> {
    let event = |effect| match effect {
        Effect::Reply(event) => serde_json::from_slice(&Event::encode(&event)).expect("an event is JSON"),
        other => panic!("{other:?}"),
    };
    effects.into_iter().map(event).collect()
}

fn unread(head: u64, read: u64, unread: u64) -> Unread {
    let mut counted = Unread::new("e", head, read);
    counted.unread = unread;
    counted
}

fn join(session: &mut Session<()>, name: &str, unread: Option<Unread>) -> Vec<Value> {
    command(session, &json!({"type": "join", "room": name}));
    let resumption = Resumption { after: 9, recovered: true, gap: None };
    let bounds = LogBounds::new("e", 9);
    let (role, may) = Default::default();
    let joined = Box::new(Joined {
        bounds,
        resumption,
        members: 1,
        presence: PresenceMode::Each,
        role,
        may,
        with: None,
        title: Some("News".to_owned()),
        restricted: Some(Restriction::new(Restrict::Mute, Some(7))),
    });
    events(session.handle_outcome(NOW, Outcome::Joined { membership: Some(()), joined, unread }))
}

fn follow(session: &mut Session<()>, name: &str, on: bool) {
    let effects = command(session, &json!({"type": "follow", "room": name, "on": on}));
    let [Effect::Perform(operation)] = &effects[..] else { panic!("{effects:?}") };
    assert!(matches!(operation.action, Action::Follow(asked) if asked == on));
    let done = events(session.handle_outcome(NOW, Outcome::Followed(on)));
    assert_eq!(done, [json!({"type": "done", "room": name})]);
}

#[test]
fn joined_has_the_title_and_the_restriction() {
    let joined = join(&mut session(9), "a", None);
    assert_eq!(joined[0]["title"], "News");
    assert_eq!(joined[0]["restricted"], json!({"what": "mute", "until": 7}));
}

#[test]
fn joined_has_the_marker_of_its_epoch_only() {
    let counts = |joined: &Value| ["read", "unread", "mentions"].map(|field| joined[field].clone());
    let mut session = session(9);
    let joined = join(&mut session, "a", Some(unread(9, 4, 5)));
    assert_eq!(counts(&joined[0]), [json!(4), json!(5), json!(0)]);
    let other = Unread::new("other", 3, 3);
    for counted in [None, Some(other)] {
        assert_eq!(counts(&join(&mut session, "b", counted)[0]), [Value::Null, Value::Null, Value::Null]);
    }
}

#[test]
fn a_marker_is_for_members_and_for_users_who_follow_the_room() {
    let mut session = session(9);
    let read = json!({"type": "read", "room": "a", "seq": 3, "ref": "1"});
    assert_eq!(events(command(&mut session, &read))[0]["code"], "not_joined");
    follow(&mut session, "a", true);
    let effects = command(&mut session, &read);
    assert!(
        matches!(&effects[..], [Effect::Perform(operation)] if matches!(operation.action, Action::Read(3)))
    );
    let reply = events(session.handle_outcome(NOW, Outcome::Read(Marked::new("e", 7))));
    let user = json!({"id": "ada", "name": "ada"});
    assert_eq!(reply, [json!({"type": "read", "ref": "1", "room": "a", "user": user, "seq": 7})]);
}

#[test]
fn a_marker_that_another_connection_has_moved_is_shown_where_the_room_is_known() {
    let mut session = session(9);
    join(&mut session, "a", None);
    follow(&mut session, "b", true);
    for (name, is_shown) in [("a", true), ("b", true), ("c", false)] {
        let shown = events(session.handle_read(room(name), 3));
        assert_eq!(shown.len(), usize::from(is_shown), "{name}");
        assert!(shown.iter().all(|event| event["ref"].is_null() && event["seq"] == 3));
    }
}

#[test]
fn activity_is_for_followed_rooms_that_are_not_joined() {
    let mut session = session(9);
    let activity =
        |session: &mut Session<()>, name| events(session.handle_activity(room(name), &unread(5, 3, 2), None));
    assert!(activity(&mut session, "a").is_empty());
    follow(&mut session, "a", true);
    let expected = json!({"type": "activity", "room": "a", "seq": 5, "unread": 2, "mentions": 0});
    assert_eq!(activity(&mut session, "a"), [expected]);
    assert_eq!(session.watched().collect::<Vec<_>>(), [&room("a")]);
    join(&mut session, "a", None);
    assert_eq!((activity(&mut session, "a"), session.watched().count()), (vec![], 0));
    session.leave(&room("a"));
    assert_eq!(activity(&mut session, "a").len(), 1);
    session.handle_unfollowed(&room("a"));
    assert!(activity(&mut session, "a").is_empty());
}

#[test]
fn a_list_begins_after_a_room_and_names_the_followed_ones() {
    let mut session = session(9);
    for name in ["c", "a", "b"] {
        join(&mut session, name, None);
    }
    let effects = command(&mut session, &json!({"type": "rooms", "ref": "7", "after": "a", "limit": 5}));
    let [Effect::List(Listing { after, limit, joined })] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!((after.as_ref(), *limit), (Some(&room("a")), 5));
    assert_eq!(*joined, [room("b"), room("c")]);
    let rooms =
        vec![RoomSummary::new(room("b"), &unread(5, 3, 2)), RoomSummary::new(room("d"), &unread(1, 1, 0))];
    let outcome = Outcome::Listed { rooms, more: true, followed: vec![room("d")] };
    let expected = json!({"type": "rooms", "ref": "7", "more": true, "rooms": [
        {"room": "b", "seq": 5, "read": 3, "unread": 2, "mentions": 0},
        {"room": "d", "seq": 1, "read": 1, "unread": 0, "mentions": 0},
    ]});
    assert_eq!(events(session.handle_outcome(NOW, outcome)), [expected]);
    assert!(session.is_following(&room("d")) && !session.is_following(&room("b")));
}

#[test]
fn a_refused_list_is_an_error_without_a_room() {
    let mut session = session(9);
    let effects = command(&mut session, &json!({"type": "rooms", "ref": "7"}));
    assert!(matches!(&effects[..], [Effect::List(Listing { after: None, limit: 50, .. })]));
    let refused = events(session.handle_outcome(NOW, chat_proto::ErrorCode::Unsupported.into()));
    assert_eq!((&refused[0]["code"], &refused[0]["ref"]), (&json!("unsupported"), &json!("7")));
    assert!(refused[0]["room"].is_null());
}

#[test]
fn a_connection_follows_a_bounded_number_of_rooms() {
    let mut session = session(2);
    for name in ["b", "a", "c"] {
        follow(&mut session, name, true);
    }
    let followed: Vec<_> =
        ["a", "b", "c"].into_iter().filter(|name| session.is_following(&room(name))).collect();
    assert_eq!(followed, ["b", "c"]);
    let direct = RoomName::direct("ada", "bob");
    session.handle_followed(&direct);
    assert!([&direct, &room("b"), &room("c")].iter().all(|name| session.is_following(name)));
}

#[test]
fn a_join_with_a_user_names_the_direct_room_of_both() {
    let (ada, bob) = (User::new("ada", "Ada").expect("a user"), User::new("bob", "Bob").expect("a user"));
    let asked = json!({"type": "join", "with": "bob", "ref": "7"});
    let mut session = session_of(9, ada);
    let effects = command(&mut session, &asked);
    let [Effect::Perform(operation)] = &effects[..] else { panic!("{effects:?}") };
    let direct = RoomName::direct("bob", "ada");
    assert_eq!(operation.room, direct);
    assert!(matches!(&operation.action, Action::JoinDirect { with, .. } if with.id() == "bob"));
    session.handle_outcome(NOW, chat_proto::ErrorCode::Forbidden.into());
    session.handle_followed(&direct);
    let activity = events(session.handle_activity(direct.clone(), &unread(2, 0, 1), Some(bob)));
    assert_eq!(activity[0]["with"], json!({"id": "bob", "name": "Bob"}));
    let refused = events(command(&mut session_of(9, User::guest("ada").expect("a name")), &asked));
    assert_eq!((&refused[0]["code"], &refused[0]["ref"]), (&json!("forbidden"), &json!("7")));
    assert!(refused[0]["room"].is_null(), "{refused:?}");
}

#[test]
fn a_read_that_outlives_the_membership_is_not_answered_with_messages() {
    let mut session = session(9);
    let name = room("a");
    join(&mut session, "a", None);
    command(&mut session, &json!({"type": "history", "room": "a", "ref": "1"}));
    // The room expels the user meanwhile.
    assert!(session.leave(&name).is_some());
    let reply = events(session.handle_outcome(NOW, Outcome::History(Page::new("e", Vec::new()))));
    assert_eq!((&reply[0]["type"], &reply[0]["code"]), (&json!("error"), &json!("not_joined")));
}
