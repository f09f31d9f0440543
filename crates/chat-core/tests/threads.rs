//! Messages with links: when the host is asked for a role, what a log without threads answers, and the host's own calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chat_core::{
    Action, AppendError, Authorize, Change, ChangeError, Chat, Forbidden, Limits, Links, Mentions, NewChange,
    NewMessage, NoRight, PostError, Range, RawValue, Role, RoomName, Text, ThreadError, User, async_trait,
};
use chat_testkit::{MessagesOnly, Peer, chat, lobby, member};
use serde_json::{Value, json};

async fn send(peer: &mut Peer, more: Value) -> Value {
    let mut command = json!({"type": "send", "room": "lobby", "body": {"text": "hi"}});
    let fields = command.as_object_mut().expect("an object");
    fields.extend(more.as_object().expect("an object").clone());
    peer.ask(command).await
}

fn message(links: Links) -> NewMessage {
    let body = RawValue::from_string(r#"{"text":"hi"}"#.to_owned()).expect("JSON");
    NewMessage::new(User::new("service", "Service").expect("a user"), body).with_links(links)
}

/// A host that counts how often it is asked for a role.
#[derive(Clone, Default)]
struct Host(Arc<AtomicUsize>);

#[async_trait]
impl Authorize for Host {
    async fn authorize(&self, _: &User, _: &RoomName, _: &Action<'_>) -> Result<(), Forbidden> {
        Ok(())
    }

    async fn role(&self, user: &User, _: &RoomName) -> Result<Role, Forbidden> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(if user.name() == "warden" { Role::Moderator } else { Role::Member })
    }
}

#[tokio::test(start_paused = true)]
async fn the_host_is_asked_for_a_role_only_for_a_mention_of_the_room() {
    let host = Host::default();
    let chat = Chat::builder().authorize(host.clone()).build();
    let (mut ann, mut warden) = (member(&chat, "ann").await, member(&chat, "warden").await);
    // Each join has asked once.
    host.0.store(0, Ordering::Relaxed);
    for fields in [json!({}), json!({"thread": 1, "reply_to": 1}), json!({"mentions": ["ann"]})] {
        assert_eq!(send(&mut ann, fields).await["type"], "sent");
    }
    let edit = |mentions: Value| json!({"type": "edit", "room": "lobby", "seq": 1, "body": {"text": "ho"}, "mentions": mentions});
    assert_eq!(ann.ask(edit(json!(["bob"]))).await["type"], "done");
    assert_eq!(host.0.load(Ordering::Relaxed), 0);
    let room = json!({"mentions": "@room"});
    assert_eq!(send(&mut ann, room.clone()).await["code"], "forbidden");
    assert_eq!(send(&mut warden, room).await["type"], "sent");
    assert_eq!(host.0.load(Ordering::Relaxed), 2);
    assert_eq!(ann.ask(edit(json!("@room"))).await["code"], "forbidden");
    assert_eq!(host.0.load(Ordering::Relaxed), 3);
}

#[tokio::test(start_paused = true)]
async fn without_a_host_nobody_mentions_the_room() {
    let chat = Chat::default();
    let mut ann = member(&chat, "ann").await;
    assert_eq!(send(&mut ann, json!({"mentions": "@room"})).await["code"], "forbidden");
    assert_eq!(send(&mut ann, json!({"mentions": ["bob"]})).await["seq"], 1);
}

#[tokio::test(start_paused = true)]
async fn links_that_become_invalid_are_no_mistakes_of_a_client() {
    let chat = Chat::default();
    let mut ann = member(&chat, "ann").await;
    for _ in 0..Limits::default().connection.max_errors {
        assert_eq!(send(&mut ann, json!({"thread": 9})).await["code"], "no_message");
    }
    assert_eq!(send(&mut ann, json!({})).await["seq"], 1, "the connection is open");
}

#[tokio::test(start_paused = true)]
async fn the_host_posts_messages_with_links_and_reads_threads() {
    let chat = chat(Limits::default().with(|limits| limits.rooms.max_pins = 0));
    let seq = chat.post(&lobby(), &User::guest("ann").expect("a name"), &Text::new("hi")).await;
    let seq = seq.expect("posted").seq;
    let thread = |root| Links::default().with_thread(root);
    let posted = chat.post_message(&lobby(), message(thread(seq).with_reply_to(seq))).await;
    assert_eq!(posted.expect("posted").seq, 2);
    let page = chat.thread(&lobby(), seq, Range::newest(9)).await.expect("a thread");
    assert_eq!((page.messages.len(), page.messages[0].seq), (1, 2));
    assert_eq!(chat.thread(&lobby(), 2, Range::newest(9)).await, Err(ThreadError::NoMessage));
    let refused = chat.post_message(&lobby(), message(thread(2))).await;
    assert!(matches!(refused, Err(PostError::Links(AppendError::NoMessage))), "{refused:?}");
    let many = Mentions::users((0..51).map(|number| number.to_string()));
    for links in [thread(0), Links::default().with_mentions(many.clone())] {
        let refused = chat.post_message(&lobby(), message(links)).await;
        assert!(matches!(refused, Err(PostError::InvalidLinks)), "{refused:?}");
    }
    let room = Links::default().with_mentions(Mentions::Room);
    let refused = chat.post_message(&lobby(), message(room.clone())).await;
    assert!(matches!(refused, Err(PostError::NoRight(NoRight::Forbidden))), "{refused:?}");
    assert!(chat.post_message(&lobby(), message(room).with_role(Role::Moderator)).await.is_ok());
    let service = || User::new("service", "Service").expect("a user");
    let body = RawValue::from_string(r#"{"text":"ho"}"#.to_owned()).expect("JSON");
    let edit = NewChange::new(service(), 2, Change::Edit { body }).with_mentions(many);
    let refused = chat.change(&lobby(), edit).await;
    assert!(matches!(refused, Err(PostError::InvalidChange)), "{refused:?}");
    let pin = NewChange::new(service(), 2, Change::Pin { on: true }).with_role(Role::Moderator);
    let refused = chat.change(&lobby(), pin).await;
    assert!(matches!(refused, Err(PostError::Change(ChangeError::TooManyPins))), "{refused:?}");
}

/// A host that forbids what names others: threads, answers and mentions.
fn no_links(_: &User, _: &RoomName, action: &Action<'_>) -> Result<(), Forbidden> {
    match action {
        Action::Send { links: Some(links), .. } => {
            let fields = (links.reply_to, links.thread, links.mentions.is_some());
            Err(Forbidden::Rejected(format!("{fields:?}")))
        }
        Action::Change { mentions: Some(mentions), .. } => Err(Forbidden::Rejected(format!("{mentions:?}"))),
        _ => Ok(()),
    }
}

#[tokio::test(start_paused = true)]
async fn the_host_sees_the_links_of_messages_and_the_mentions_of_edits() {
    let chat = Chat::builder().authorize(no_links).build();
    let mut ann = member(&chat, "ann").await;
    assert_eq!(send(&mut ann, json!({})).await["seq"], 1);
    for (fields, detail) in [
        (json!({"reply_to": 1}), "(Some(1), None, false)"),
        (json!({"thread": 1, "mentions": ["bob"]}), "(None, Some(1), true)"),
        (json!({"mentions": "@room"}), "(None, None, true)"),
    ] {
        assert_eq!(send(&mut ann, fields).await["detail"], detail);
    }
    let edit = json!({"type": "edit", "room": "lobby", "seq": 1, "body": {"text": "ho"}});
    assert_eq!(ann.ask(edit.clone()).await["type"], "done");
    let mut mentioning = edit;
    mentioning["mentions"] = json!(["bob", "cid"]);
    assert_eq!(ann.ask(mentioning).await["detail"], r#"Users(["bob", "cid"])"#);
}

#[tokio::test(start_paused = true)]
async fn a_store_without_threads_answers_unsupported_and_keeps_mentions() {
    let chat = Chat::builder().store(MessagesOnly).build();
    let mut ann = member(&chat, "ann").await;
    assert_eq!(send(&mut ann, json!({"mentions": ["bob"]})).await["seq"], 1);
    assert_eq!(send(&mut ann, json!({"mentions": "@room"})).await["code"], "forbidden");
    for link in ["reply_to", "thread"] {
        let mut fields = json!({});
        fields[link] = json!(1);
        assert_eq!(send(&mut ann, fields).await["code"], "unsupported");
    }
    let thread = ann.ask(json!({"type": "history", "room": "lobby", "thread": 1})).await;
    assert_eq!(thread["code"], "unsupported");
    let history = ann.ask(json!({"type": "history", "room": "lobby"})).await;
    assert_eq!(history["messages"][0]["mentions"], json!(["bob"]));
}
