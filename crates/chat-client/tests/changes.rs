//! Changes of messages against a real server.

mod support;

use chat_client::{
    Client, ClientEvent, Error, ErrorCode, Events, JoinFrom, Range, ReceivedChange, ReceivedMessage,
    RoomView, Text, What,
};
use chat_core::Chat;
use support::{Server, eager, lobby, member, message, next};

/// Waits for the next change.
async fn change(events: &mut Events) -> ReceivedChange {
    match next(events).await {
        ClientEvent::Changed(changed) => changed,
        other => panic!("expected a change, got {other:?}"),
    }
}

#[tokio::test]
async fn a_message_is_edited_reacted_to_and_deleted() {
    let server = Server::start(Chat::default());
    let (ann, _anns) = server.member().await;
    let (bob, mut bobs) = server.member().await;
    let seq = ann.send(&lobby(), &Text::new("helo")).await.unwrap().seq;
    let mut held = message(&mut bobs).await;

    let edited = ann.edit(&lobby(), seq, &Text::new("hello"), Some(seq)).await.unwrap();
    assert_eq!((edited.seq, edited.duplicate), (Some(2), false));
    let changed = change(&mut bobs).await;
    assert_eq!((changed.seq, changed.target, &changed.by), (2, seq, ann.user()));
    assert!(held.apply(&changed) && !held.apply(&changed));
    assert_eq!((held.text().as_deref(), held.rev()), (Some("hello"), 2));
    let conflict = ann.edit(&lobby(), seq, &Text::new("hi"), Some(seq)).await.unwrap_err();
    assert!(matches!(conflict, Error::Refused(error) if error.code == ErrorCode::Conflict));

    assert_eq!(bob.react(&lobby(), seq, "+1", true).await.unwrap().seq, Some(3));
    assert_eq!(bob.react(&lobby(), seq, "+1", true).await.unwrap().seq, None);
    let forbidden = bob.pin(&lobby(), seq, true).await.unwrap_err();
    assert!(matches!(forbidden, Error::Refused(error) if error.code == ErrorCode::Forbidden));
    assert!(held.apply(&change(&mut bobs).await));
    let read = bob.messages(&lobby(), &[99, seq]).await.unwrap().messages;
    assert_eq!((read.len(), &read[0].folded), (1, &held.folded));

    assert_eq!(ann.delete(&lobby(), seq, Some("wrong room")).await.unwrap().seq, Some(4));
    let again = ann.delete(&lobby(), seq, None).await.unwrap();
    assert_eq!((again.seq, again.duplicate), (Some(4), true));
    let changed = change(&mut bobs).await;
    assert!(matches!(&changed.what, What::Deleted { reason: Some(reason) } if reason == "wrong room"));
    assert!(held.apply(&changed) && held.is_deleted() && held.text().is_none() && held.key.is_none());
    let read = bob.messages(&lobby(), &[seq]).await.unwrap().messages;
    assert_eq!(read[0].folded, held.folded);
}

#[tokio::test]
async fn a_view_has_what_a_new_reader_gets_after_each_reconnect() {
    let server = Server::start(Chat::default());
    let (writer, _) = server.member().await;
    let (reader, mut events) = Client::builder(&server.url()).reconnect(eager()).connect().await.unwrap();
    let joined = reader.join(&lobby(), JoinFrom::Now).await.unwrap();
    let mut view = RoomView::new(&joined, reader.user(), 5);
    let mut head = 0_u64;
    for round in 0..6 {
        let seq = writer.send(&lobby(), &Text::new(round.to_string())).await.unwrap().seq;
        reader.reconnect().await.unwrap();
        let earlier = view.messages().next_back().map_or(seq, |newest| newest.seq);
        let reacted = writer.react(&lobby(), earlier, &round.to_string(), true).await.unwrap();
        head = head.max(reacted.seq.unwrap());
        if round % 2 == 0 {
            let edited = writer.edit(&lobby(), earlier, &Text::new("edited"), None).await.unwrap();
            head = head.max(edited.seq.unwrap());
        }
        if round % 3 == 2 {
            head = head.max(writer.delete(&lobby(), earlier, None).await.unwrap().seq.unwrap());
        }
        let mut seen = 0;
        while seen < head {
            let event = next(&mut events).await;
            seen = match &event {
                ClientEvent::Message(ReceivedMessage { seq, .. })
                | ClientEvent::Changed(ReceivedChange { seq, .. }) => *seq,
                _ => seen,
            };
            view.handle_event(&event);
        }
        let fresh = writer.history(&lobby(), Range::newest(5)).await.unwrap().messages;
        let state = |message: &ReceivedMessage| (message.seq, message.text(), message.folded.clone());
        assert_eq!(
            view.messages().map(state).collect::<Vec<_>>(),
            fresh.iter().map(state).collect::<Vec<_>>(),
            "round {round}"
        );
    }
    // All messages were new to the view.
    assert_eq!(view.messages().count(), 5);
}

#[tokio::test]
async fn a_join_from_the_newest_messages_gets_the_changes_after_them() {
    let server = Server::start(Chat::default());
    let (writer, _) = server.member().await;
    for text in ["one", "two"] {
        writer.send(&lobby(), &Text::new(text)).await.unwrap();
    }
    for number in 0..5 {
        writer.edit(&lobby(), 1, &Text::new(number.to_string()), None).await.unwrap();
    }
    let (_reader, mut events) = member(Client::builder(&server.url())).await;
    let (other, mut others) = Client::connect(&server.url()).await.unwrap();
    other.join(&lobby(), JoinFrom::Last(1)).await.unwrap();
    assert_eq!(message(&mut others).await.text().as_deref(), Some("two"));
    for seq in 3..=7 {
        assert_eq!(change(&mut others).await.seq, seq);
    }
    writer.send(&lobby(), &Text::new("three")).await.unwrap();
    assert_eq!((message(&mut events).await.seq, message(&mut others).await.seq), (8, 8));
}
