//! Each command against a real server.

mod support;

use std::time::Duration;

use chat_client::{Client, ClientEvent, ConnectError, Error, ErrorCode, JoinFrom, PresenceMode, Range, Text};
use chat_core::{Chat, Limits};
use support::{Server, lobby, member, message, next, url, within};

#[tokio::test]
async fn a_message_of_one_client_reaches_another() {
    let server = Server::start(Chat::default());
    let (ann, mut anns) = Client::builder(&server.url()).name("Ann Ö").connect().await.unwrap();
    let (bob, mut bobs) = Client::connect(&server.url()).await.unwrap();
    assert_eq!(ann.user().name(), "Ann Ö");
    assert!(bob.user().name().starts_with("visitor-"), "{:?}", bob.user());
    assert_eq!(ann.limits().max_frame, 16 * 1024);
    let joined = ann.join(&lobby(), JoinFrom::Now).await.unwrap();
    assert_eq!((joined.seq, joined.first, joined.recovered, joined.members), (0, 1, true, 1));
    bob.join(&lobby(), JoinFrom::Now).await.unwrap();
    let sent = ann.send(&lobby(), &Text::new("hi \"there\"")).await.unwrap();
    assert_eq!((sent.seq, sent.duplicate), (1, false));
    let read = message(&mut bobs).await;
    assert_eq!((read.seq, read.text().as_deref(), &read.user), (1, Some("hi \"there\""), ann.user()));
    assert_eq!(message(&mut anns).await.key, read.key);

    let members = bob.members(&lobby()).await.unwrap();
    assert_eq!(members, [ann.user().clone(), bob.user().clone()]);
    let page = bob.members_page(&lobby(), None, 1).await.unwrap();
    assert_eq!((&page.members[..], page.more, page.total), (&members[..1], true, 2));
    let page = bob.members_page(&lobby(), members.first(), 9).await.unwrap();
    assert_eq!((&page.members[..], page.more, page.total), (&members[1..], false, 2));
    bob.typing(&lobby(), true).await.unwrap();
    assert!(
        matches!(next(&mut anns).await, ClientEvent::Typing { active: true, user, .. } if user == *bob.user())
    );
    assert!(bob.ping().await.unwrap() > Duration::ZERO);

    bob.leave(&lobby()).await.unwrap();
    let refused = bob.members(&lobby()).await.unwrap_err();
    assert!(matches!(refused, Error::Refused(error) if error.code == ErrorCode::NotJoined));
}

#[tokio::test]
async fn a_log_is_read_in_pages_and_joined_at_any_entry() {
    let server = Server::start(Chat::default());
    let (client, mut events) = server.member().await;
    for n in 1..=9 {
        client.send(&lobby(), &Text::new(format!("message {n}"))).await.unwrap();
    }
    let newest = client.history(&lobby(), Range::newest(3)).await.unwrap();
    let seqs: Vec<_> = newest.messages.iter().map(|message| message.seq).collect();
    assert_eq!((seqs, newest.more), (vec![7, 8, 9], true));
    let oldest = client.history(&lobby(), Range::After { seq: 7, limit: 3 }).await.unwrap();
    assert_eq!((oldest.messages.len(), oldest.more), (2, false));
    assert_eq!(oldest.messages[0].text().as_deref(), Some("message 8"));
    let found = client.search(&lobby(), "message", 2, Some(9)).await.unwrap();
    let seqs: Vec<_> = found.messages.iter().map(|message| message.seq).collect();
    assert_eq!((seqs, found.more), (vec![8, 7], true));

    let mut fifth = None;
    for n in 1..=9 {
        let message = message(&mut events).await;
        assert_eq!(message.seq, n);
        fifth = if n == 5 { Some(message.resume()) } else { fifth };
    }
    // Another client continues at the fifth message.
    let (other, mut others) = Client::connect(&server.url()).await.unwrap();
    assert!(other.join(&lobby(), fifth.unwrap()).await.unwrap().recovered);
    assert_eq!(message(&mut others).await.seq, 6);
    let (last, mut lasts) = Client::connect(&server.url()).await.unwrap();
    last.join(&lobby(), JoinFrom::Last(2)).await.unwrap();
    assert_eq!((message(&mut lasts).await.seq, message(&mut lasts).await.seq), (8, 9));
    // A repeated join reads again.
    last.join(&lobby(), JoinFrom::Last(1)).await.unwrap();
    last.join(&lobby(), JoinFrom::Now).await.unwrap();
    assert_eq!(message(&mut lasts).await.seq, 9);
}

#[tokio::test]
async fn two_sends_with_one_key_are_one_message() {
    let server = Server::start(Chat::default());
    let (client, mut events) = server.member().await;
    let first = client.send_with_key(&lobby(), &Text::new("hi"), "k").await.unwrap();
    let again = client.send_with_key(&lobby(), &Text::new("hi"), "k").await.unwrap();
    assert_eq!((again.seq, again.at, again.duplicate), (first.seq, first.at, true));
    let other = client.send_with_key(&lobby(), &Text::new("ho"), "k").await.unwrap_err();
    assert!(matches!(other, Error::Refused(error) if error.code == ErrorCode::KeyConflict));
    client.send(&lobby(), &Text::new("end")).await.unwrap();
    assert_eq!(message(&mut events).await.text().as_deref(), Some("hi"));
    assert_eq!(message(&mut events).await.text().as_deref(), Some("end"));
}

#[tokio::test]
async fn a_command_that_is_too_long_is_not_sent() {
    let server = Server::start(Chat::default());
    let (client, _events) = server.member().await;
    let long = client.send(&lobby(), &Text::new("x".repeat(20_000))).await.unwrap_err();
    assert!(matches!(long, Error::InvalidCommand(_)));
    client.ping().await.unwrap();
}

#[tokio::test]
async fn a_hundred_commands_at_once_all_get_replies() {
    let server = Server::start(Chat::default());
    let (client, mut events) = member(Client::builder(&server.url()).max_in_flight(7)).await;
    let tasks: Vec<_> = (0..100)
        .map(|n| {
            let client = client.clone();
            tokio::spawn(async move { client.send(&lobby(), &Text::new(n.to_string())).await.unwrap().seq })
        })
        .collect();
    let mut seqs = Vec::new();
    for task in tasks {
        seqs.push(task.await.unwrap());
    }
    seqs.sort_unstable();
    assert_eq!(seqs, (1..=100).collect::<Vec<_>>());
    for seq in 1..=100 {
        assert_eq!(message(&mut events).await.seq, seq);
    }
}

#[tokio::test]
async fn close_ends_the_session_and_the_events() {
    let server = Server::start(Chat::default());
    let (client, mut events) = Client::connect(&server.url()).await.unwrap();
    let other = client.clone();
    within(client.close()).await.unwrap();
    assert!(matches!(next(&mut events).await, ClientEvent::Closed(chat_client::Closed::Locally)));
    assert!(within(events.next()).await.is_none());
    assert_eq!(other.ping().await, Err(Error::Closed(chat_client::Closed::Locally)));
    // The drop of the last handle does the same.
    let (client, mut events) = Client::connect(&server.url()).await.unwrap();
    drop(client);
    assert!(matches!(next(&mut events).await, ClientEvent::Closed(chat_client::Closed::Locally)));
    within(async {
        while server.chat.counts().connections > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_failed_connection_returns_its_reason() {
    let server = Server::start(Chat::default());
    let refused = |status| move |error: &ConnectError| matches!(error, ConnectError::Refused { status: s, .. } if *s == status);
    let error = Client::builder(&server.url()).name("\u{202e}").connect().await.unwrap_err();
    assert!(refused(400)(&error), "{error}");
    let error = Client::connect(&format!("ws://{}/nowhere", server.address)).await.unwrap_err();
    assert!(refused(404)(&error) && !error.is_temporary(), "{error}");
    for address in ["", "ws://", "http://127.0.0.1/", "ws://127.0.0.1:70000/ws"] {
        let error = Client::connect(address).await.unwrap_err();
        assert!(matches!(error, ConnectError::Address(_)), "{address}: {error}");
    }
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = Client::connect(&url(free)).await.unwrap_err();
    assert!(matches!(error, ConnectError::Io(_)) && error.is_temporary(), "{error}");
    let drained = Chat::default();
    drained.drain(Duration::ZERO).await;
    let server = Server::start(drained);
    let error = Client::connect(&server.url()).await.unwrap_err();
    assert!(refused(503)(&error) && error.is_temporary(), "{error}");
    let limits = Limits::default().with(|limits| limits.connection.max_per_address = 1);
    let server = Server::start(Chat::builder().limits(limits).build());
    let _first = Client::connect(&server.url()).await.unwrap();
    let error = Client::connect(&server.url()).await.unwrap_err();
    let retry_after = Some(Duration::from_secs(2));
    let expected =
        ConnectError::Refused { status: 429, code: "too_many_connections".to_owned(), retry_after };
    assert_eq!(error, expected);
    assert!(error.is_temporary());
    // This server accepts and sends nothing.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = url(silent.local_addr().unwrap());
    let error =
        Client::builder(&silent).connect_timeout(Duration::from_millis(50)).connect().await.unwrap_err();
    assert_eq!(error, ConnectError::Timeout);
}

#[tokio::test]
async fn a_room_that_counts_its_users_sends_their_number() {
    let limits = Limits::default().with(|limits| limits.rooms.presence_threshold = 1);
    let server = Server::start(Chat::builder().limits(limits).build());
    let (_ann, mut anns) = server.member().await;
    let (bob, _bobs) = Client::connect(&server.url()).await.unwrap();
    let joined = bob.join(&lobby(), JoinFrom::Now).await.unwrap();
    assert_eq!((joined.members, joined.presence), (2, PresenceMode::Count));
    let event = next(&mut anns).await;
    let ClientEvent::Occupancy { room, members, presence } = event else { panic!("{event:?}") };
    assert_eq!((room, members, presence), (lobby(), 2, PresenceMode::Count));
}
