//! Changes of messages: what members and readers get, and what the host decides.

use chat_core::{
    Action, Authorize, Change, Chat, Forbidden, Limits, NewChange, PostError, Role, RoomName, Text, User,
    async_trait,
};
use chat_testkit::{MessagesOnly, Peer, chat, connect, lobby, member, pass, seqs, settle, types};
use serde_json::{Value, json};

async fn change(peer: &mut Peer, kind: &str, seq: u64, more: Value) -> Value {
    let mut command = json!({"type": kind, "room": "lobby", "seq": seq});
    let fields = command.as_object_mut().expect("an object");
    fields.extend(more.as_object().expect("an object").clone());
    peer.ask(command).await
}

async fn say(peer: &mut Peer, text: &str) -> u64 {
    let sent = peer.ask(json!({"type": "send", "room": "lobby", "body": {"text": text}})).await;
    sent["seq"].as_u64().unwrap_or_else(|| panic!("{sent}"))
}

async fn history(peer: &mut Peer, more: Value) -> Vec<Value> {
    let mut command = json!({"type": "history", "room": "lobby"});
    let fields = command.as_object_mut().expect("an object");
    fields.extend(more.as_object().expect("an object").clone());
    let page = peer.ask(command).await;
    page["messages"].as_array().unwrap_or_else(|| panic!("{page}")).clone()
}

#[tokio::test(start_paused = true)]
async fn members_get_a_change_and_readers_the_changed_message() {
    let chat = Chat::default();
    let (mut ann, mut bob) = (member(&chat, "ann").await, member(&chat, "bob").await);
    let seq = say(&mut ann, "helo").await;
    assert_eq!(change(&mut ann, "edit", seq, json!({"body": {"text": "hello"}})).await["seq"], 2);
    let done = change(&mut bob, "react", seq, json!({"reaction": "+1", "on": true})).await;
    assert_eq!((&done["type"], &done["seq"]), (&json!("done"), &json!(3)));
    let again = change(&mut bob, "react", seq, json!({"reaction": "+1", "on": true})).await;
    assert_eq!((&again["type"], &again["seq"]), (&json!("done"), &Value::Null));
    let events = bob.events().await;
    let entries: Vec<_> = events.iter().filter(|event| event["type"] != "presence").collect();
    assert_eq!(
        entries.iter().map(|event| event["what"].clone()).collect::<Vec<_>>(),
        [json!(null), json!("edited"), json!("reactions")]
    );
    let fresh = history(&mut bob, json!({})).await;
    assert_eq!(fresh.len(), 1);
    assert_eq!((&fresh[0]["rev"], &fresh[0]["body"]), (&json!(3), &json!({"text": "hello"})));
    assert_eq!(fresh[0]["reactions"][0]["count"], 1);
    assert_eq!(history(&mut bob, json!({"seqs": [3, 1, 2, 1, 9]})).await, fresh, "only messages");
    assert_eq!(change(&mut bob, "edit", seq, json!({"body": {"text": "mine"}})).await["code"], "forbidden");
    assert_eq!(change(&mut ann, "edit", 2, json!({"body": {"text": "x"}})).await["code"], "no_message");
    assert_eq!(change(&mut ann, "edit", seq, json!({"body": {"text": " "}})).await["code"], "empty_body");
    assert_eq!(change(&mut ann, "pin", seq, json!({"on": true})).await["code"], "forbidden");
}

#[tokio::test(start_paused = true)]
async fn the_last_messages_are_counted_without_the_changes_between_them() {
    let chat = Chat::default();
    let mut ann = member(&chat, "ann").await;
    for text in ["one", "two", "three"] {
        let seq = say(&mut ann, text).await;
        for on in [true, false, true] {
            change(&mut ann, "react", seq, json!({"reaction": "+1", "on": on})).await;
        }
    }
    for (last, first) in [(0, 13), (1, 9), (2, 5), (3, 1), (9, 1)] {
        let mut bob = connect(&chat, "bob").await;
        let joined = bob.ask(json!({"type": "join", "room": "lobby", "last": last})).await;
        assert_eq!(joined["recovered"], true);
        let mut events = bob.events().await;
        events.retain(|event| event["type"] != "presence");
        assert_eq!(seqs(&events), (first..=12).collect::<Vec<_>>(), "{last}");
        let fresh = history(&mut bob, json!({"limit": 1})).await;
        assert_eq!((fresh[0]["seq"].clone(), fresh[0]["rev"].clone()), (json!(9), json!(12)));
        bob.kill();
    }
}

#[tokio::test(start_paused = true)]
async fn a_join_with_last_replays_at_most_1000_entries() {
    let chat = Chat::default();
    let mut ann = member(&chat, "ann").await;
    for text in ["one", "two", "three"] {
        say(&mut ann, text).await;
    }
    let service = User::new("service", "Service").expect("a user");
    for n in 0..1_100 {
        let react = Change::React { reaction: "+1".to_owned(), on: n % 2 == 0 };
        chat.change(&lobby(), NewChange::new(service.clone(), 2, react)).await.expect("a reaction");
    }
    let mut bob = connect(&chat, "bob").await;
    let joined = bob.ask(json!({"type": "join", "room": "lobby", "last": 3})).await;
    let mut events = bob.events().await;
    events.retain(|event| event["type"] != "presence");
    assert_eq!((&joined["seq"], &joined["first"]), (&json!(1_103), &json!(1)));
    assert_eq!(seqs(&events), (104..=1_103).collect::<Vec<_>>(), "no message is among them, and no gap");
    let stats = chat.stats();
    assert_eq!((stats.joins, stats.resumes), (2, chat_core::Resumes::default()), "it is no resume");
}

/// Another user may have changed the message meanwhile, so such errors do not end a connection.
#[tokio::test(start_paused = true)]
async fn changes_that_come_too_late_are_no_mistakes_of_a_client() {
    let chat = chat(Limits::default().with(|limits| {
        limits.connection.max_errors = 2;
        limits.rooms.max_reaction_kinds = 1;
    }));
    let mut ann = member(&chat, "ann").await;
    let (edited, deleted) = (say(&mut ann, "one").await, say(&mut ann, "two").await);
    let text = |text: &str| json!({"body": {"text": text}, "rev": 1});
    let react = |reaction: &str| json!({"reaction": reaction, "on": true});
    change(&mut ann, "react", edited, react("a")).await;
    change(&mut ann, "edit", edited, text("1")).await;
    change(&mut ann, "delete", deleted, json!({})).await;
    for _ in 0..4 {
        for (kind, seq, more, code) in [
            ("edit", edited, text("again"), "conflict"),
            ("react", edited, react("b"), "too_many_reactions"),
            ("react", deleted, react("a"), "gone"),
            ("react", 99, react("a"), "no_message"),
        ] {
            assert_eq!(change(&mut ann, kind, seq, more).await["code"], code);
        }
    }
    // A message of another user is a mistake.
    let host = User::guest("host").expect("a name");
    let seq = chat.post(&lobby(), &host, &Text::new("mine")).await.expect("posted").seq;
    for _ in 0..2 {
        assert_eq!(change(&mut ann, "edit", seq, text("yours")).await["code"], "forbidden");
    }
    settle().await;
    assert_eq!(chat.stats().closes, [(4500, 1)].into());
}

/// Messages that fill the queue of a connection that does not read.
const FILLERS: usize = 40;

#[tokio::test(start_paused = true)]
async fn a_deleted_body_reaches_no_member_that_has_not_taken_it_yet() {
    let limits = Limits::default().with(|limits| limits.wire.max_batch_bytes = 200);
    let chat = chat(limits);
    let (mut ann, mut bob) = (member(&chat, "ann").await, member(&chat, "bob").await);
    bob.block();
    // What is queued for the connection already is on its way.
    for _ in 0..FILLERS {
        say(&mut ann, "filler").await;
    }
    let seq = say(&mut ann, "secret one").await;
    change(&mut ann, "edit", seq, json!({"body": {"text": "secret two"}})).await;
    let done = change(&mut ann, "delete", seq, json!({"reason": "a mistake"})).await;
    assert_eq!(done["seq"], seq + 2);
    bob.unblock();
    let mut events = bob.events().await;
    events.retain(|event| event["type"] != "presence");
    assert_eq!(seqs(&events), (1..=seq + 2).collect::<Vec<_>>());
    let late = &events[FILLERS..];
    assert_eq!(types(late), ["message", "changed", "changed"]);
    assert!(!json!(late).to_string().contains("secret"), "{late:?}");
    assert_eq!(late[0]["deleted"]["reason"], "a mistake");
    assert_eq!((&late[1]["what"], &late[2]["what"]), (&json!("superseded"), &json!("deleted")));
    let again = change(&mut ann, "delete", seq, json!({})).await;
    assert_eq!((&again["seq"], &again["duplicate"]), (&done["seq"], &json!(true)));
    assert_eq!(change(&mut ann, "edit", seq, json!({"body": {"text": "x"}})).await["code"], "gone");
}

/// A host whose users have a role by their name, and that forbids one reaction.
struct Host;

#[async_trait]
impl Authorize for Host {
    async fn authorize(&self, _: &User, _: &RoomName, action: &Action<'_>) -> Result<(), Forbidden> {
        match action {
            Action::Change { change: Change::React { reaction, .. }, .. } if reaction == "no" => {
                Err(Forbidden::Rejected("not here".to_owned()))
            }
            _ => Ok(()),
        }
    }

    async fn role(&self, user: &User, _: &RoomName) -> Result<Role, Forbidden> {
        pass(0.1).await;
        Ok(if user.name() == "warden" { Role::Moderator } else { Role::Member })
    }
}

#[tokio::test(start_paused = true)]
async fn the_host_gives_roles_and_sees_each_change() {
    let chat = Chat::builder().authorize(Host).build();
    let (mut ann, mut moderator) = (member(&chat, "ann").await, member(&chat, "warden").await);
    let seq = say(&mut ann, "hi").await;
    assert_eq!(change(&mut ann, "pin", seq, json!({"on": true})).await["code"], "forbidden");
    assert!(change(&mut moderator, "pin", seq, json!({"on": true})).await["seq"].is_u64());
    let rejected = change(&mut ann, "react", seq, json!({"reaction": "no", "on": true})).await;
    assert_eq!((&rejected["code"], &rejected["detail"]), (&json!("rejected"), &json!("not here")));
    assert!(change(&mut moderator, "delete", seq, json!({})).await["seq"].is_u64());
    settle().await;
}

#[tokio::test(start_paused = true)]
async fn the_host_changes_messages_itself() {
    let chat = Chat::default();
    let mut ann = member(&chat, "ann").await;
    let seq = say(&mut ann, "hi").await;
    let service = User::new("service", "Service").expect("a user");
    let edit = |body: &str| {
        let body = serde_json::from_str(body).expect("JSON");
        NewChange::new(service.clone(), seq, Change::Edit { body })
    };
    let forbidden = chat.change(&lobby(), edit(r#"{"text":"ho"}"#)).await;
    assert!(matches!(forbidden, Err(PostError::Change(_))), "{forbidden:?}");
    assert!(matches!(chat.change(&lobby(), edit(r#"{"text":" "}"#)).await, Err(PostError::Body(_))));
    let long = Change::React { reaction: "x".repeat(65), on: true };
    let invalid = chat.change(&lobby(), NewChange::new(service.clone(), seq, long)).await;
    assert!(matches!(invalid, Err(PostError::InvalidChange)), "{invalid:?}");
    let delete =
        NewChange::new(service.clone(), seq, Change::Delete { reason: None }).with_role(Role::Moderator);
    assert_eq!(chat.change(&lobby(), delete).await.expect("a deletion").seq, Some(2));
    let events = ann.events().await;
    assert_eq!(events.last().expect("an event")["what"], "deleted");
}

#[tokio::test(start_paused = true)]
async fn a_store_without_changes_answers_unsupported() {
    let chat = Chat::builder().store(MessagesOnly).build();
    let mut ann = member(&chat, "ann").await;
    chat.post(&lobby(), &User::guest("ann").expect("a name"), &Text::new("hi")).await.expect("posted");
    assert_eq!(change(&mut ann, "delete", 1, json!({})).await["code"], "unsupported");
    assert_eq!(history(&mut ann, json!({"seqs": [1]})).await.len(), 1);
}
