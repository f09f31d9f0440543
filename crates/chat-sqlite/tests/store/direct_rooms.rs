//! Direct rooms on disk.

use chat_core::{
    Act, Chat, Endpoint, IdentifyRequest, Identity, NewAct, Restrict, Restriction, RoomName, User, UserKey,
};
use chat_sqlite::SqliteStore;
use chat_testkit::{Peer, start_on};
use serde_json::{Value, json};

use crate::support::StoreDir;

/// Starts a session of a user that the host service knows.
async fn user(chat: &Chat, id: &str) -> Peer {
    let endpoint = Endpoint::new(chat.clone()).identify(|request: &IdentifyRequest<'_>| {
        let id = request.query("id").unwrap_or_default();
        Ok(Identity::from(User::new(&id, &id).expect("a good id")))
    });
    let mut peer = start_on(&endpoint, &format!("/ws?id={id}")).await;
    assert_eq!(peer.event().await["type"], "welcome");
    peer
}

async fn rooms(peer: &mut Peer) -> Vec<Value> {
    peer.ask(json!({"type": "rooms"})).await["rooms"].as_array().cloned().expect("a list")
}

#[tokio::test]
async fn a_room_that_was_opened_before_a_restart_is_found_by_the_other_user() {
    let dir = StoreDir::new();
    let (store, room) = (dir.open(), RoomName::direct("ann", "bob"));
    let chat = Chat::builder().store(store.clone()).build();
    let mut ann = user(&chat, "ann").await;
    let opened = ann.ask(json!({"type": "join", "with": "bob"})).await;
    assert_eq!((&opened["room"], &opened["seq"]), (&json!(room), &json!(1)));
    ann.ask(json!({"type": "send", "room": room, "body": {"text": "hi"}})).await;
    drop((ann, chat));
    store.close_blocking();
    SqliteStore::compact(dir.path()).expect("compacted");
    let report = SqliteStore::check(dir.path(), |_| ()).expect("a report");
    assert!(report.is_sound(), "{report:?}");

    let store = dir.open();
    let chat = Chat::builder().store(store.clone()).build();
    let mut bob = user(&chat, "bob").await;
    let ann = json!({"id": "ann", "name": "ann"});
    let expected = json!({"room": room, "seq": 2, "read": 0, "unread": 1, "mentions": 0, "with": ann});
    assert_eq!(rooms(&mut bob).await, [expected]);
    let joined = bob.ask(json!({"type": "join", "with": "ann"})).await;
    assert_eq!((&joined["epoch"], &joined["seq"]), (&opened["epoch"], &json!(2)), "no further entry");
    let mut cid = user(&chat, "cid").await;
    assert_eq!(cid.ask(json!({"type": "join", "room": room})).await["code"], "forbidden");
}

#[tokio::test]
async fn a_restriction_before_the_room_is_opened_holds_after_a_restart() {
    let dir = StoreDir::new();
    let (store, room) = (dir.open(), RoomName::direct("ann", "bob"));
    let chat = Chat::builder().store(store.clone()).build();
    let restriction = Some(Restriction::new(Restrict::Ban, None));
    let (ops, bob) = (User::new("service:ops", "Ops").expect("a user"), User::from_id("bob").expect("an id"));
    let ban = NewAct::new(ops, Act::Restrict { user: bob, restriction, reason: None }).by_host();
    assert_eq!(chat.govern(&room, ban).await.expect("the host").seq, Some(1));
    drop(chat);
    store.close_blocking();

    let chat = Chat::builder().store(dir.open()).build();
    let (mut ann, mut bob) = (user(&chat, "ann").await, user(&chat, "bob").await);
    assert_eq!(bob.ask(json!({"type": "join", "with": "ann"})).await["code"], "forbidden");
    assert_eq!(ann.ask(json!({"type": "join", "with": "bob"})).await["seq"], 2);
    assert_eq!(bob.ask(json!({"type": "join", "room": room})).await["code"], "forbidden");
    assert!(rooms(&mut bob).await.is_empty());
    let (_, standing) = chat.standing(&room, UserKey::new("bob")).await.expect("a standing");
    assert_eq!(standing.restriction, restriction);
}
