use std::future::pending;

use async_trait::async_trait;
use chat_core::{Action, Authorize, Chat, Forbidden, RoomName, Text, Unavailable, User};
use chat_testkit::{Peer, connect, lobby, member, seconds_until, seqs, settle};
use serde_json::json;

/// Rights that depend on the name of the room, and on the text.
struct Rights;

#[async_trait]
impl Authorize for Rights {
    async fn authorize(&self, user: &User, room: &RoomName, action: &Action<'_>) -> Result<(), Forbidden> {
        let body = match action {
            Action::Send { body, .. } => body.get(),
            _ => "",
        };
        match (room.as_str(), user.name()) {
            ("staff", name) if name != "boss" => Err(Forbidden::Rights),
            ("hanging", _) => pending().await,
            ("failing", _) => Err(Unavailable::new("the rights cannot be read").into()),
            _ if body.contains("panic") => panic!("this is the test's own panic"),
            _ if body.contains("spam") => Err(Forbidden::Rejected("no advertising".to_owned())),
            _ => Ok(()),
        }
    }
}

fn chat() -> Chat {
    Chat::builder().authorize(Rights).build()
}

async fn join_error(peer: &mut Peer, room: &str) -> serde_json::Value {
    let reply = peer.ask(json!({"type": "join", "room": room})).await;
    assert_eq!(reply["type"], "error", "{reply}");
    reply["code"].clone()
}

#[tokio::test(start_paused = true)]
async fn a_join_without_the_right_is_forbidden_and_opens_no_room() {
    let chat = chat();
    let mut ann = connect(&chat, "ann").await;
    assert_eq!(join_error(&mut ann, "staff").await, "forbidden");
    assert_eq!(chat.counts().rooms, 0);
    let mut boss = connect(&chat, "boss").await;
    boss.join("staff").await;
}

#[tokio::test(start_paused = true)]
async fn a_message_that_the_host_rejects_is_not_stored_and_the_client_gets_the_reason() {
    let chat = chat();
    let mut ann = member(&chat, "ann").await;
    let send = |text| json!({"type": "send", "room": "lobby", "body": {"text": text}});
    let rejected = ann.ask(send("spam")).await;
    assert_eq!((&rejected["code"], &rejected["detail"]), (&json!("rejected"), &json!("no advertising")));
    assert_eq!(ann.ask(send("hi")).await["seq"], 1);
    assert_eq!(seqs(&ann.events().await), [1]);
}

#[tokio::test(start_paused = true)]
async fn a_failed_or_unanswered_authorization_forbids() {
    let chat = chat();
    let mut ann = connect(&chat, "ann").await;
    for (room, seconds) in [("failing", 0.0), ("hanging", 5.0)] {
        let waited =
            seconds_until(async { assert_eq!(join_error(&mut ann, room).await, "unavailable") }).await;
        assert!((seconds..seconds + 0.1).contains(&waited), "{waited}");
    }
    assert_eq!(chat.counts().rooms, 0);
}

#[tokio::test(start_paused = true)]
async fn a_post_of_the_host_needs_no_authorization() {
    let chat = chat();
    let (staff, host) = ("staff".parse().expect("a room name"), User::guest("ann").expect("a name"));
    let posted = chat.post(&staff, &host, &Text::new("spam and panic")).await;
    assert_eq!(posted.expect("posted").seq, 1);
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_host_refuses_that_command_alone() {
    let chat = chat();
    let (mut ann, mut bob) = (member(&chat, "ann").await, member(&chat, "bob").await);
    settle().await;
    let send = |text: &str| json!({"type": "send", "room": "lobby", "body": {"text": text}});
    let refused = ann.ask(send("panic")).await;
    assert_eq!((&refused["type"], &refused["code"]), (&"error".into(), &"unavailable".into()));
    assert_eq!(chat.members(&lobby()).len(), 2);
    assert_eq!(ann.ask(send("hi")).await["seq"], 1, "the session goes on");
    bob.say("hi");
    assert_eq!(seqs(&bob.events().await), [1, 2]);
}
