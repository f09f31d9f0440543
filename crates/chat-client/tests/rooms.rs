//! Threads, mentions, markers, followed rooms, rules and roles against a real server.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use chat_client::{
    ActState, Client, ClientEvent, Error, ErrorCode, Events, JoinFrom, JoinRule, Links, Mentions, Range,
    ReceivedAct, Restrict, Restriction, Right, Role, RoomName, RoomRules, RoomView, Text, User,
};
use chat_core::{Chat, Denied, Identify, IdentifyRequest, Identity};
use support::{Server, eager, lobby, message, next};

/// Returns a host whose tokens are the ids of its users.
fn users() -> impl Identify {
    |request: &IdentifyRequest<'_>| {
        let token = request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
        let user = token.and_then(|id| User::new(id, &id.to_uppercase()).ok());
        user.map(Identity::from).ok_or(Denied::Unauthorized)
    }
}

async fn connect(server: &Server, id: &'static str) -> (Client, Events) {
    let builder = Client::builder(&server.url()).token(move || id.to_owned()).reconnect(eager());
    builder.connect().await.unwrap()
}

/// Waits for the next act.
async fn act(events: &mut Events) -> ReceivedAct {
    match next(events).await {
        ClientEvent::Act(act) => act,
        other => panic!("expected an act, got {other:?}"),
    }
}

fn code<T: std::fmt::Debug>(refused: Result<T, Error>) -> ErrorCode {
    match refused.unwrap_err() {
        Error::Refused(error) => error.code,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[tokio::test]
async fn two_users_find_their_direct_room_and_it_resumes() {
    let server = Server::with_users(users());
    let (ann, mut anns) = connect(&server, "ann").await;
    let joined = ann.join_direct(&User::from_id("bob").unwrap(), JoinFrom::Now).await.unwrap();
    let room = joined.room.clone();
    assert!(room.is_direct() && joined.with.unwrap().id() == "bob");
    ann.send(&room, &Text::new("one")).await.unwrap();
    assert_eq!(message(&mut anns).await.room, room);
    let (bob, mut bobs) = connect(&server, "bob").await;
    let joined = bob.join_direct(ann.user(), JoinFrom::Last(1)).await.unwrap();
    assert_eq!((&joined.room, joined.with.as_ref()), (&room, Some(ann.user())));
    let one = message(&mut bobs).await;
    assert_eq!((one.seq, one.text().as_deref()), (2, Some("one")));
    let named = act(&mut bobs).await.seq;

    // Bob joins the room again while the connection is lost.
    bob.reconnect().await.unwrap();
    assert_eq!(bob.join_direct(ann.user(), JoinFrom::Now).await.unwrap().room, room);
    let ClientEvent::Disconnected { .. } = next(&mut bobs).await else { panic!() };
    let ClientEvent::Reconnected = next(&mut bobs).await else { panic!() };
    let ClientEvent::Resumed(resumed) = next(&mut bobs).await else { panic!() };
    assert!(resumed.recovered && resumed.room == room && resumed.with.as_ref() == Some(ann.user()));
    for text in ["two", "three"] {
        ann.send(&room, &Text::new(text)).await.unwrap();
    }
    assert_eq!([message(&mut bobs).await.seq, message(&mut bobs).await.seq], [named + 1, named + 2]);
    bob.leave(&room).await.unwrap();

    let guests = Server::start(Chat::default());
    let (guest, _events) = guests.member().await;
    assert_eq!(code(guest.join_direct(ann.user(), JoinFrom::Now).await), ErrorCode::Forbidden);
}

#[tokio::test]
async fn a_message_answers_another_is_in_a_thread_and_mentions_users() {
    let server = Server::start(Chat::default());
    let (ann, _anns) = server.member().await;
    let (bob, mut bobs) = server.member().await;
    let root = ann.send(&lobby(), &Text::new("lunch?")).await.unwrap().seq;
    let mut held = message(&mut bobs).await;
    let links = Links::default().with_reply_to(root).with_thread(root);
    let links = links.with_mentions(Mentions::users([bob.user().id()]));
    let sent = ann.send_with(&lobby(), &Text::new("bob?"), "k1", links.clone()).await.unwrap();
    let again = ann.send_with(&lobby(), &Text::new("bob?"), "k1", links.clone()).await.unwrap();
    assert_eq!((again.seq, again.duplicate), (sent.seq, true));
    let reply = message(&mut bobs).await;
    assert_eq!(reply.links.as_deref(), Some(&links));
    assert!(held.count_reply(&reply) && !held.count_reply(&reply));

    let thread = bob.thread(&lobby(), root, Range::newest(10)).await.unwrap();
    assert_eq!((thread.messages.len(), thread.messages[0].seq, thread.more), (1, sent.seq, false));
    assert_eq!(bob.messages(&lobby(), &[root]).await.unwrap().messages[0].folded, held.folded);
    assert_eq!(code(bob.thread(&lobby(), sent.seq, Range::newest(10)).await), ErrorCode::NoMessage);
    let everybody = Links::default().with_mentions(Mentions::Room);
    assert_eq!(code(bob.send_linked(&lobby(), &Text::new("all"), everybody).await), ErrorCode::Forbidden);

    let nobody = Some(Mentions::users([""; 0]));
    ann.edit_mentions(&lobby(), sent.seq, &Text::new("nobody"), nobody, None).await.unwrap();
    let edited = bob.messages(&lobby(), &[sent.seq]).await.unwrap().messages.remove(0);
    assert_eq!(edited.links.as_deref().unwrap().mentions, None);
}

#[tokio::test]
async fn a_marker_moves_forward_and_is_seen_by_the_other_connections_of_the_user() {
    let server = Server::with_users(users());
    let (ann, _anns) = connect(&server, "ann").await;
    ann.join(&lobby(), JoinFrom::Now).await.unwrap();
    for n in 0..3 {
        let mentions = (n == 1).then(|| Mentions::users(["bob"]));
        let links = Links::default().with_mentions(mentions);
        ann.send_linked(&lobby(), &Text::new("hi"), links).await.unwrap();
    }
    let (bob, _bobs) = connect(&server, "bob").await;
    let (other, mut others) = connect(&server, "bob").await;
    let joined = bob.join(&lobby(), JoinFrom::Now).await.unwrap();
    let unread = joined.unread.clone().unwrap();
    assert_eq!((unread.read, unread.unread, unread.mentions), (0, 3, 1));
    let mut view = RoomView::new(&joined, bob.user(), 2);
    assert_eq!(view.unread(), Some(unread));
    let mut of_other = RoomView::new(&other.join(&lobby(), JoinFrom::Now).await.unwrap(), other.user(), 2);

    view.handle_read(bob.read(&lobby(), 2).await.unwrap());
    let read = next(&mut others).await;
    assert!(matches!(read, ClientEvent::Read { seq: 2, .. }), "{read:?}");
    assert!(of_other.handle_event(&read));
    for view in [&mut view, &mut of_other] {
        // The messages are not held, so the server counts.
        assert!(view.needs_join() && view.unread().is_none());
        view.handle_joined(&bob.join(&lobby(), JoinFrom::Now).await.unwrap());
        let unread = view.unread().unwrap();
        assert_eq!((unread.read, unread.unread, unread.mentions, view.needs_join()), (2, 1, 0, false));
    }
    assert_eq!(bob.read(&lobby(), 1).await.unwrap(), 2);
    assert_eq!(code(bob.read(&lobby(), 9).await), ErrorCode::BadCursor);
}

#[tokio::test]
async fn a_receipt_of_another_user_does_not_move_the_marker() {
    let server = Server::with_users(users());
    let team: RoomName = "team-7".parse().unwrap();
    let (ann, mut anns) = connect(&server, "ann").await;
    let (bob, _bobs) = connect(&server, "bob").await;
    ann.create(&team, &RoomRules::default().with_receipts(true)).await.unwrap();
    let mut view = RoomView::new(&ann.join(&team, JoinFrom::Now).await.unwrap(), ann.user(), 9);
    bob.join(&team, JoinFrom::Now).await.unwrap();
    bob.send(&team, &Text::new("hi")).await.unwrap();
    view.handle_event(&ClientEvent::Message(message(&mut anns).await));
    let unread = view.unread().unwrap();
    assert_eq!((unread.read, unread.unread), (0, 1));

    bob.read(&team, 2).await.unwrap();
    let receipt = next(&mut anns).await;
    assert!(
        matches!(&receipt, ClientEvent::Receipt { room, user, seq: 2 } if *room == team && user == bob.user()),
        "{receipt:?}"
    );
    assert!(!view.handle_event(&receipt));
    assert_eq!(view.unread(), Some(unread));
    assert!(!view.handle_event(&ClientEvent::Read { room: team, seq: 0 }));
}

#[tokio::test]
async fn a_followed_room_announces_its_activity_also_after_a_reconnect() {
    let server = Server::with_users(users());
    let (ann, _anns) = connect(&server, "ann").await;
    let (bob, mut bobs) = connect(&server, "bob").await;
    ann.join(&lobby(), JoinFrom::Now).await.unwrap();
    ann.send(&lobby(), &Text::new("one")).await.unwrap();
    bob.follow(&lobby(), true).await.unwrap();
    ann.send(&lobby(), &Text::new("two")).await.unwrap();
    let activity = next(&mut bobs).await;
    assert!(matches!(activity, ClientEvent::Activity { seq: 2, unread: 2, .. }), "{activity:?}");

    bob.reconnect().await.unwrap();
    assert!(matches!(next(&mut bobs).await, ClientEvent::Disconnected { .. }));
    ann.send(&lobby(), &Text::new("three")).await.unwrap();
    assert!(matches!(next(&mut bobs).await, ClientEvent::Reconnected));
    let missed = next(&mut bobs).await;
    let ClientEvent::Rooms(missed) = &missed else { panic!("{missed:?}") };
    let missed: Vec<_> = missed.iter().map(|room| (room.room.clone(), room.seq, room.unread)).collect();
    assert_eq!(missed, [(lobby(), 3, 3)]);
    assert_eq!(bob.read(&lobby(), 3).await.unwrap(), 3);
    ann.send(&lobby(), &Text::new("four")).await.unwrap();
    let activity = next(&mut bobs).await;
    assert!(matches!(activity, ClientEvent::Activity { seq: 4, unread: 1, .. }), "{activity:?}");

    let rooms: Vec<RoomName> = ["a", "b"].map(|room| room.parse().unwrap()).into();
    for room in &rooms {
        bob.follow(room, true).await.unwrap();
    }
    let page = bob.rooms_page(Some(&rooms[0]), 1).await.unwrap();
    assert_eq!((&page.rooms[0].room, page.rooms.len(), page.more), (&rooms[1], 1, true));
    bob.follow(&rooms[1], false).await.unwrap();
    let listed: Vec<_> = bob.rooms().await.unwrap().into_iter().map(|room| room.room).collect();
    assert_eq!(listed, [rooms[0].clone(), lobby()]);
}

#[tokio::test]
async fn an_owner_gives_roles_and_restricts_users() {
    let server = Server::with_users(users());
    let (ann, _anns) = connect(&server, "ann").await;
    let (bob, mut bobs) = connect(&server, "bob").await;
    let team: RoomName = "team-7".parse().unwrap();
    let rules = RoomRules::default().with_join(JoinRule::Members).with_title("Team 7".to_owned());
    assert_eq!(ann.create(&team, &rules).await.unwrap(), Some(1));
    assert_eq!(ann.create(&team, &rules).await.unwrap(), None);
    assert_eq!(code(bob.create(&team, &rules).await), ErrorCode::RoomExists);
    assert_eq!(code(bob.join(&team, JoinFrom::Now).await), ErrorCode::Forbidden);
    let joined = ann.join(&team, JoinFrom::Now).await.unwrap();
    assert!(joined.role == Role::Owner && joined.may.contains(Right::Settings));
    assert_eq!(ann.role(&team, bob.user(), Role::Member).await.unwrap(), Some(2));

    let joined = bob.join(&team, JoinFrom::Last(9)).await.unwrap();
    let mut view = RoomView::new(&joined, bob.user(), 9);
    assert_eq!((view.role(), view.may().contains(Right::Pin)), (Role::Member, false));
    ann.send(&team, &Text::new("welcome")).await.unwrap();
    ann.role(&team, bob.user(), Role::Moderator).await.unwrap();
    assert_eq!(message(&mut bobs).await.seq, 3);
    let promoted = act(&mut bobs).await;
    let ActState::Standing { user, role, .. } = &promoted.state else { panic!("{promoted:?}") };
    assert_eq!((user, *role, &promoted.by, promoted.seq), (bob.user(), Role::Moderator, ann.user(), 4));
    view.handle_event(&ClientEvent::Act(promoted));
    assert!(view.needs_join());
    view.handle_joined(&bob.join(&team, JoinFrom::Now).await.unwrap());
    assert_eq!((view.role(), view.may().contains(Right::Pin)), (Role::Moderator, true));

    assert_eq!(bob.pin(&team, 3, true).await.unwrap().seq, Some(5));
    view.handle_event(&next(&mut bobs).await);
    assert_eq!(view.pins().collect::<Vec<_>>(), [3]);
    assert_eq!(ann.join(&team, JoinFrom::Now).await.unwrap().pins, [3]);

    let muted = Some(Restriction::new(Restrict::Mute, None));
    ann.restrict(&team, bob.user(), muted, Some("too loud")).await.unwrap();
    let muted = act(&mut bobs).await;
    assert!(
        matches!(&muted.state, ActState::Standing { reason: Some(reason), .. } if reason == "too loud"),
        "{muted:?}"
    );
    assert_eq!(code(bob.send(&team, &Text::new("hi")).await), ErrorCode::Muted);
    let banned = Some(Restriction::new(Restrict::Ban, None));
    ann.restrict(&team, bob.user(), banned, None).await.unwrap();
    act(&mut bobs).await;
    let expelled = next(&mut bobs).await;
    assert!(matches!(&expelled, ClientEvent::Expelled { room, .. } if *room == team), "{expelled:?}");
    assert_eq!(ann.restrict(&team, bob.user(), None, None).await.unwrap(), Some(8));
}

#[tokio::test]
async fn a_slow_consumer_gets_the_last_position_of_its_marker() {
    let server = Server::with_users(users());
    let (bob, _bobs) = connect(&server, "bob").await;
    let builder = Client::builder(&server.url()).token(|| "bob".to_owned()).event_buffer(4);
    let (slow, mut events) = builder.connect().await.unwrap();
    for client in [&bob, &slow] {
        client.join(&lobby(), JoinFrom::Now).await.unwrap();
    }
    let mut read = 0;
    for _ in 0..9 {
        let sent = bob.send(&lobby(), &Text::new("hi")).await.unwrap().seq;
        read = bob.read(&lobby(), sent).await.unwrap();
        // A command makes the client read although the consumer has no capacity.
        slow.ping().await.unwrap();
    }
    let (mut messages, mut marker) = (0, 0);
    while (messages, marker) != (9, read) {
        match next(&mut events).await {
            ClientEvent::Message(message) => {
                messages += 1;
                assert_eq!(message.seq, messages);
            }
            ClientEvent::Read { seq, .. } => marker = seq,
            other => panic!("{other:?}"),
        }
    }
}
