//! Direct rooms: two users find one room, both follow it, and nobody else is in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chat_core::{
    Act, Action, Authorize, ChangeError, Chat, CommitSink, Endpoint, Forbidden, IdentifyRequest, Identity,
    Limits, MemoryRoom, NewAct, NoRight, PostError, Restrict, Restriction, Role, Room, RoomName, Store, Text,
    Unavailable, User, UserKey, async_trait,
};
use chat_testkit::{Peer, connect, pass, settle, start_on, types};
use serde_json::{Value, json};

/// Starts a session of a user that the host service knows, with the id as the name.
async fn user(chat: &Chat, id: &str) -> Peer {
    let endpoint = Endpoint::new(chat.clone()).identify(|request: &IdentifyRequest<'_>| {
        let id = request.query("id").unwrap_or_default();
        Ok(Identity::from(User::new(&id, &id.to_uppercase()).expect("a good id")))
    });
    let mut peer = start_on(&endpoint, &format!("/ws?id={id}")).await;
    assert_eq!(peer.event().await["type"], "welcome");
    peer
}

fn with(id: &str) -> Value {
    json!({"type": "join", "with": id})
}

fn named(id: &str) -> Value {
    json!({"id": id, "name": id.to_uppercase()})
}

fn room() -> RoomName {
    RoomName::direct("ann", "bob")
}

async fn say(peer: &mut Peer) -> Value {
    peer.ask(json!({"type": "send", "room": room(), "body": {"text": "hi"}})).await
}

async fn rooms(peer: &mut Peer) -> Vec<Value> {
    peer.ask(json!({"type": "rooms"})).await["rooms"].as_array().cloned().expect("a list")
}

fn ban(id: &str) -> NewAct {
    let (ops, user) = (User::new("service:ops", "Ops"), User::from_id(id).expect("an id"));
    let restriction = Some(Restriction::new(Restrict::Ban, None));
    NewAct::new(ops.expect("a user"), Act::Restrict { user, restriction, reason: None }).by_host()
}

fn limited(change: impl FnOnce(&mut Limits)) -> Chat {
    Chat::builder().limits(Limits::default().with(change)).build()
}

#[tokio::test(start_paused = true)]
async fn a_connected_user_learns_of_the_room_and_finds_it_with_the_user() {
    let chat = Chat::default();
    let (mut ann, mut phone, mut bob) =
        (user(&chat, "ann").await, user(&chat, "ann").await, user(&chat, "bob").await);
    let joined = ann.ask(with("bob")).await;
    let unseen = json!({"id": "bob", "name": "bob"});
    assert_eq!(
        (&joined["room"], &joined["with"]),
        (&json!(room()), &unseen),
        "as of one who is not connected"
    );
    assert_eq!((&joined["role"], &joined["seq"]), (&json!("member"), &json!(1)));
    assert_eq!(joined["may"], json!(["send", "react", "edit", "delete"]));
    for (peer, other) in [(&mut phone, &unseen), (&mut bob, &named("ann"))] {
        let activity = peer.event().await;
        let expected = json!({"type": "activity", "room": room(), "seq": 1, "unread": 0, "mentions": 0,
                              "with": other});
        assert_eq!(activity, expected);
    }
    assert_eq!(say(&mut ann).await["seq"], 2);
    pass(2.0).await;
    let activity = bob.events().await;
    assert_eq!((&activity[0]["unread"], &activity[0]["with"]), (&json!(1), &named("ann")));
    let listed = rooms(&mut bob).await;
    assert_eq!((&listed[0]["room"], &listed[0]["with"]), (&json!(room()), &named("ann")));
    let joined = bob.ask(with("ann")).await;
    assert_eq!(
        (&joined["room"], &joined["with"], &joined["unread"]),
        (&json!(room()), &named("ann"), &json!(1))
    );
    assert_eq!(rooms(&mut bob).await[0]["with"], named("ann"));
    assert_eq!(bob.join(room().as_str()).await["with"], named("ann"));
    assert_eq!(types(&ann.events().await).last(), Some(&"presence"));
}

#[tokio::test(start_paused = true)]
async fn an_absent_user_finds_the_room_later_and_its_name_is_learned() {
    let chat = Chat::default();
    let mut ann = user(&chat, "ann").await;
    assert_eq!(ann.ask(with("bob")).await["with"], json!({"id": "bob", "name": "bob"}));
    let mut bob = user(&chat, "bob").await;
    let listed = rooms(&mut bob).await;
    assert_eq!((listed.len(), &listed[0]["with"], &listed[0]["seq"]), (1, &named("ann"), &json!(1)));
    let joined = bob.ask(with("ann")).await;
    assert_eq!(joined["seq"], 2, "an entry with the name");
    assert_eq!(rooms(&mut ann).await[0]["with"], named("bob"));
    bob.ask(with("ann")).await;
    let seqs: Vec<_> = ann.events().await.iter().filter_map(|event| event["seq"].as_u64()).collect();
    assert_eq!(seqs, [2], "one entry");
}

#[tokio::test]
async fn both_join_at_the_same_moment() {
    for _ in 0..50 {
        let chat = Chat::default();
        let (mut ann, mut bob) = (user(&chat, "ann").await, user(&chat, "bob").await);
        let (one, other) = tokio::join!(ann.ask(with("bob")), bob.ask(with("ann")));
        assert_eq!((&one["type"], &one["room"]), (&other["type"], &other["room"]));
        assert_eq!(say(&mut ann).await["seq"], 3, "after the opening and the name of the other user");
        for peer in [&mut ann, &mut bob] {
            assert_eq!(rooms(peer).await.len(), 1);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn others_cannot_tell_if_the_room_exists() {
    let chat = Chat::builder().authorize(Admin).build();
    let (mut ann, mut cid) = (user(&chat, "ann").await, user(&chat, "cid").await);
    ann.ask(with("bob")).await;
    let absent = RoomName::direct("ann", "zoe");
    for command in [json!({"type": "join"}), json!({"type": "create"}), json!({"type": "follow", "on": true})]
    {
        for name in [&room(), &absent, &"direct-7".parse().expect("a name")] {
            let mut asked = command.clone();
            asked["room"] = json!(name);
            let error = cid.ask(asked.clone()).await;
            let expected =
                json!({"type": "error", "code": "forbidden", "message": error["message"], "room": name});
            assert_eq!(error, expected, "{asked}");
        }
        cid = user(&chat, "cid").await;
    }
    assert_eq!(ann.ask(json!({"type": "join", "room": absent})).await["code"], "forbidden");
    let clerk = User::new("service:clerk", "Clerk").expect("a user");
    let posted = chat.post(&room(), &clerk, &Text::new("hi")).await;
    assert!(matches!(posted, Err(PostError::NoRight(NoRight::Forbidden))), "{posted:?}");
    let bob = User::new("bob", "Bob").expect("a user");
    assert_eq!(chat.post(&room(), &bob, &Text::new("hi")).await.expect("one of the two").seq, 2);
    let act = NewAct::new(bob, Act::Direct { with: User::from_id("cid").expect("an id") }).by_host();
    let governed = chat.govern(&RoomName::direct("bob", "cid"), act).await;
    assert!(matches!(governed, Err(PostError::InvalidChange)), "{governed:?}");
    let rules = Act::Create { rules: Default::default() };
    let governed = chat.govern(&room(), NewAct::new(clerk, rules).by_host()).await;
    assert!(
        matches!(governed, Err(PostError::NoRight(_) | PostError::Change(ChangeError::Forbidden))),
        "{governed:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_guest_is_on_neither_side() {
    let chat = Chat::default();
    let (mut ann, mut guest) = (user(&chat, "ann").await, connect(&chat, "bob").await);
    assert_eq!(guest.ask(with("ann")).await["code"], "forbidden");
    ann.ask(with("bob")).await;
    assert_eq!(guest.ask(json!({"type": "join", "room": room()})).await["code"], "forbidden");
    assert!(rooms(&mut guest).await.is_empty() && guest.events().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_ban_of_the_host_ends_one_side() {
    let chat = Chat::default();
    let (mut ann, mut bob) = (user(&chat, "ann").await, user(&chat, "bob").await);
    for (peer, other) in [(&mut ann, "bob"), (&mut bob, "ann")] {
        assert_eq!(peer.ask(with(other)).await["type"], "joined");
    }
    settle().await;
    chat.govern(&room(), ban("bob")).await.expect("the host");
    settle().await;
    assert_eq!(types(&bob.events().await).last(), Some(&"left"));
    assert_eq!(bob.ask(with("ann")).await["code"], "forbidden");
    assert!(rooms(&mut bob).await.is_empty());
    assert_eq!(say(&mut ann).await["type"], "sent");
    pass(2.0).await;
    assert!(bob.events().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_room_is_opened_with_a_user_whom_the_host_has_banned_before() {
    let chat = Chat::default();
    chat.govern(&room(), ban("bob")).await.expect("the host");
    let (mut ann, mut bob) = (user(&chat, "ann").await, user(&chat, "bob").await);
    assert_eq!(bob.ask(with("ann")).await["code"], "forbidden");
    assert_eq!(ann.ask(with("bob")).await["seq"], 2);
    assert_eq!(say(&mut ann).await["type"], "sent");
    assert_eq!(bob.ask(with("ann")).await["code"], "forbidden");
    pass(2.0).await;
    assert!(rooms(&mut bob).await.is_empty() && bob.events().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_host_is_asked_about_the_other_user() {
    let authorize = |user: &User, _: &RoomName, action: &Action<'_>| match action {
        Action::Direct { with: "bob" } if user.id() == "ann" => {
            Err(Forbidden::Rejected("blocked".to_owned()))
        }
        _ => Ok(()),
    };
    let chat = Chat::builder().authorize(authorize).build();
    let (mut ann, mut bob) = (user(&chat, "ann").await, user(&chat, "bob").await);
    let refused = ann.ask(with("bob")).await;
    assert_eq!((&refused["code"], &refused["detail"]), (&json!("rejected"), &json!("blocked")));
    assert!(rooms(&mut bob).await.is_empty() && bob.events().await.is_empty());
    assert_eq!(bob.ask(with("ann")).await["type"], "joined");
    assert_eq!(ann.ask(json!({"type": "join", "room": room()})).await["code"], "rejected", "by name");
    assert_eq!(ann.ask(with("cid")).await["type"], "joined");
}

#[tokio::test(start_paused = true)]
async fn a_direct_room_that_the_host_forbids_later_is_not_listed_and_has_no_activity() {
    let forbidden = Arc::new(AtomicBool::new(false));
    let is_forbidden = Arc::clone(&forbidden);
    let authorize = move |_: &User, _: &RoomName, action: &Action<'_>| match action {
        Action::Direct { .. } if is_forbidden.load(Ordering::Relaxed) => Err(Forbidden::Rights),
        _ => Ok(()),
    };
    let chat = Chat::builder().authorize(authorize).build();
    let (mut ann, mut bob) = (user(&chat, "ann").await, user(&chat, "bob").await);
    ann.ask(with("bob")).await;
    assert_eq!(bob.event().await["type"], "activity");
    pass(2.0).await;
    forbidden.store(true, Ordering::Relaxed);
    assert_eq!(say(&mut ann).await["seq"], 2);
    pass(2.0).await;
    assert!(bob.events().await.is_empty() && rooms(&mut bob).await.is_empty());
    let follow = json!({"type": "follow", "room": room(), "on": true});
    assert_eq!(bob.ask(follow.clone()).await["code"], "forbidden");
    forbidden.store(false, Ordering::Relaxed);
    assert_eq!((bob.ask(follow).await["type"].take(), rooms(&mut bob).await.len()), (json!("done"), 1));
    assert_eq!(say(&mut ann).await["seq"], 3);
    pass(2.0).await;
    assert_eq!(bob.events().await[0]["unread"], 2);
}

#[tokio::test(start_paused = true)]
async fn an_opening_beyond_the_quota_leaves_no_follow() {
    let (store, chat) = chat_testkit::Store::with_chat(Limits::default());
    store.fill();
    assert_eq!(user(&chat, "ann").await.ask(with("bob")).await["code"], "unavailable");
    assert_eq!(chat.stats().over_quota, 1);
    for id in ["ann", "bob"] {
        assert!(store.followed(&UserKey::new(id)).await.expect("followed").is_empty(), "{id}");
    }
}

#[tokio::test(start_paused = true)]
async fn direct_rooms_of_strangers_take_no_place_of_other_rooms() {
    let chat = limited(|limits| limits.rooms.max_followed_per_user = 2);
    let mut bob = user(&chat, "bob").await;
    for stranger in ["s1", "s2", "s3"] {
        let mut peer = user(&chat, stranger).await;
        let answer = peer.ask(with("bob")).await;
        let expected = if stranger == "s3" { "too_many_rooms" } else { "" };
        assert_eq!(answer["code"].as_str().unwrap_or_default(), expected);
        assert_eq!(rooms(&mut peer).await.len(), usize::from(stranger != "s3"));
    }
    for room in ["a", "b"] {
        assert_eq!(bob.ask(json!({"type": "follow", "room": room, "on": true})).await["type"], "done");
    }
    let listed = rooms(&mut bob).await;
    assert_eq!(listed.iter().filter(|room| room["with"].is_object()).count(), 2);
    assert_eq!(listed.len(), 4);
    let first = RoomName::direct("s1", "bob");
    assert_eq!(bob.ask(json!({"type": "follow", "room": first, "on": false})).await["type"], "done");
    assert_eq!(user(&chat, "s3").await.ask(with("bob")).await["type"], "joined");
    assert_eq!(user(&chat, "s1").await.ask(with("bob")).await["type"], "joined", "it is open");
    assert!(
        !rooms(&mut bob).await.iter().any(|room| room["room"] == json!(first)),
        "bob no longer follows it"
    );
}

#[tokio::test(start_paused = true)]
async fn a_user_opens_few_rooms_in_an_hour() {
    let chat = limited(|limits| limits.rooms.max_created_per_hour = 2);
    let mut ann = user(&chat, "ann").await;
    for (other, expected) in [("b", "joined"), ("c", "joined"), ("d", "error"), ("b", "joined")] {
        let answer = ann.ask(with(other)).await;
        assert_eq!(answer["type"], expected, "{other}");
        assert_eq!(answer["code"] == "rate_limited", other == "d");
    }
    let mut other = user(&chat, "d").await;
    assert!(rooms(&mut other).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_user_writes_notes() {
    let chat = Chat::default();
    let mut ann = user(&chat, "ann").await;
    let joined = ann.ask(with("ann")).await;
    assert_eq!((&joined["with"], &joined["room"]), (&named("ann"), &json!(RoomName::direct("ann", "ann"))));
    assert_eq!(rooms(&mut ann).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_store_without_markers_has_direct_rooms() {
    let chat = Chat::builder().store(WithoutMarkers).build();
    let (mut ann, mut bob) = (user(&chat, "ann").await, user(&chat, "bob").await);
    assert_eq!(ann.ask(with("bob")).await["type"], "joined");
    assert_eq!(bob.ask(with("ann")).await["seq"], 2);
    assert_eq!(say(&mut bob).await["seq"], 3);
}

/// Makes each user an owner of each room.
struct Admin;

#[async_trait]
impl Authorize for Admin {
    async fn authorize(&self, _: &User, _: &RoomName, _: &Action<'_>) -> Result<(), Forbidden> {
        Ok(())
    }

    async fn role(&self, _: &User, _: &RoomName) -> Result<Role, Forbidden> {
        Ok(Role::Owner)
    }
}

struct WithoutMarkers;

#[async_trait]
impl Store for WithoutMarkers {
    async fn open(
        &self,
        room: &RoomName,
        limits: &Arc<Limits>,
        sink: CommitSink,
    ) -> Result<Arc<dyn Room>, Unavailable> {
        Ok(Arc::new(MemoryRoom::new(room.clone(), Arc::clone(limits), sink)))
    }
}
