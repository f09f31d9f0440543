//! Rules of rooms, roles and restrictions: what members get, and who may stay in a room.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chat_core::{
    Act, Action, AppendError, AppendReceipt, Authorize, ChangeError, ChangeReceipt, Chat, CommitSink,
    Endpoint, Forbidden, IdentifyRequest, Identity, JoinRule, Limits, LogBounds, MemoryRoom, NewAct,
    NewMessage, NoRight, Page, PostError, Range, Restrict, Restriction, Role, Room, RoomName, RoomRules,
    Standing, Store, Text, Unavailable, User, UserKey, async_trait,
};
use chat_testkit::{Peer, lobby, member, pass, settle, start_on, types};
use serde_json::{Value, json};
use tokio::sync::Notify;

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

async fn joined(chat: &Chat, id: &str) -> Peer {
    let mut peer = user(chat, id).await;
    peer.join("lobby").await;
    peer
}

async fn create(peer: &mut Peer, fields: Value) -> Value {
    ask(peer, "create", fields).await
}

async fn ask(peer: &mut Peer, kind: &str, fields: Value) -> Value {
    let mut command = json!({"type": kind, "room": "lobby"});
    command.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
    peer.ask(command).await
}

async fn say(peer: &mut Peer) -> Value {
    ask(peer, "send", json!({"body": {"text": "hi"}})).await
}

fn ban(id: &str) -> NewAct {
    restrict(id, Some(Restriction::new(Restrict::Ban, None)))
}

fn restrict(id: &str, restriction: Option<Restriction>) -> NewAct {
    let ops = User::new("service:ops", "Ops").expect("a user");
    let user = User::from_id(id).expect("an id");
    NewAct::new(ops, Act::Restrict { user, restriction, reason: None }).by_host()
}

#[tokio::test(start_paused = true)]
async fn an_owner_gives_roles_and_a_moderator_mutes() {
    let chat = Chat::default();
    let mut ann = user(&chat, "ann").await;
    assert_eq!(create(&mut ann, json!({"title": "News"})).await["seq"], 1);
    let reply = ann.ask(json!({"type": "join", "room": "lobby", "last": 9})).await;
    assert_eq!((&reply["role"], &reply["may"][9]), (&json!("owner"), &json!("settings")));
    let mut bob = joined(&chat, "bob").await;
    assert_eq!(ask(&mut ann, "role", json!({"user": "bob", "role": "moderator"})).await["seq"], 2);
    let mut zoe = joined(&chat, "zoe").await;
    let mute = json!({"user": "zoe", "what": "mute", "reason": "spam"});
    assert_eq!(ask(&mut zoe, "restrict", json!({"user": "bob", "what": "ban"})).await["code"], "forbidden");
    let done = ask(&mut bob, "restrict", mute.clone()).await;
    assert_eq!((&done["type"], &done["seq"]), (&json!("done"), &json!(3)));
    assert!(ask(&mut bob, "restrict", mute).await["seq"].is_null(), "it is so already");
    assert_eq!(say(&mut zoe).await["code"], "muted");
    assert_eq!(ask(&mut bob, "restrict", json!({"user": "zoe", "what": "none"})).await["seq"], 4);
    assert_eq!(say(&mut zoe).await["seq"], 5);
    let acts: Vec<_> = zoe.events().await.into_iter().filter(|event| event["type"] == "role").collect();
    let names = |name: &str| json!({"id": name, "name": name});
    assert_eq!((&acts[0]["by"], &acts[0]["user"]), (&names("bob"), &names("zoe")));
    assert_eq!((&acts[0]["restricted"], &acts[0]["reason"]), (&json!({"what": "mute"}), &json!("spam")));
    assert!(acts[1]["restricted"].is_null());
    let again = zoe.ask(json!({"type": "join", "room": "lobby", "last": 9})).await;
    assert_eq!(again["may"], json!(["send", "react", "edit", "delete"]));
    assert_eq!(types(&zoe.events().await), ["message"], "only messages are counted");
}

#[tokio::test(start_paused = true)]
async fn a_ban_ends_the_membership_of_each_connection_and_forbids_to_resume() {
    let chat = Chat::default();
    let mut peers = [joined(&chat, "bob").await, joined(&chat, "bob").await];
    let mut zoe = joined(&chat, "zoe").await;
    let epoch = zoe.ask(json!({"type": "join", "room": "lobby"})).await["epoch"].clone();
    // Drops what came before.
    zoe.events().await;
    assert_eq!(chat.govern(&lobby(), ban("bob")).await.expect("the host").seq, Some(1));
    settle().await;
    assert_eq!(chat.members(&lobby()).len(), 1);
    for peer in &mut peers {
        let mut events = peer.events().await;
        events.retain(|event| event["type"] != "presence");
        assert_eq!(types(&events), ["role", "left"], "{events:?}");
        assert_eq!(events[0]["restricted"]["what"], "ban");
        assert!(events[1]["ref"].is_null());
        assert_eq!(say(peer).await["code"], "not_joined");
        let resume = json!({"after": {"epoch": epoch, "seq": 0}});
        assert_eq!(ask(peer, "join", resume).await["code"], "forbidden");
    }
    assert_eq!(types(&zoe.events().await), ["role", "presence"]);
    chat.govern(&lobby(), restrict("bob", None)).await.expect("the host");
    assert_eq!(peers[0].join("lobby").await["type"], "joined");
    let old = Restriction::new(Restrict::Ban, Some(1));
    chat.govern(&lobby(), restrict("bob", Some(old))).await.expect("the host");
    settle().await;
    assert_eq!(say(&mut peers[0]).await["type"], "sent", "the ban has ended already");
}

#[tokio::test(start_paused = true)]
async fn a_banned_connection_that_does_not_read_leaves_too() {
    let chat = Chat::default();
    let (mut ann, bob) = (joined(&chat, "ann").await, joined(&chat, "bob").await);
    bob.block();
    for _ in 0..20 {
        say(&mut ann).await;
    }
    chat.govern(&lobby(), ban("bob")).await.expect("the host");
    pass(1.0).await;
    assert_eq!(chat.members(&lobby()).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_room_that_is_for_members_now_keeps_only_those_with_a_role() {
    let chat = Chat::default();
    let mut ann = user(&chat, "ann").await;
    create(&mut ann, json!({})).await;
    ann.join("lobby").await;
    let (mut bob, mut zoe) = (joined(&chat, "bob").await, joined(&chat, "zoe").await);
    ask(&mut ann, "role", json!({"user": "bob", "role": "member"})).await;
    create(&mut ann, json!({"join": "members"})).await;
    settle().await;
    let names: Vec<_> = chat.members(&lobby()).iter().map(|user| user.id().to_owned()).collect();
    assert_eq!(names, ["ann", "bob"]);
    assert_eq!(zoe.events().await.last().expect("an event")["type"], "left");
    assert_eq!(ask(&mut zoe, "join", json!({})).await["code"], "forbidden");
    assert_eq!(say(&mut bob).await["type"], "sent");
    ask(&mut ann, "role", json!({"user": "bob", "role": "none"})).await;
    settle().await;
    assert_eq!(chat.members(&lobby()).len(), 1);
    assert_eq!(say(&mut bob).await["code"], "not_joined");
}

#[tokio::test(start_paused = true)]
async fn the_typing_of_a_muted_user_is_not_shown() {
    let chat = Chat::default();
    let (mut ann, mut bob) = (joined(&chat, "ann").await, joined(&chat, "bob").await);
    chat.govern(&lobby(), restrict("bob", Some(Restriction::new(Restrict::Mute, None))))
        .await
        .expect("the host");
    settle().await;
    ann.events().await;
    let typing = json!({"type": "typing", "room": "lobby", "active": true});
    bob.send(typing.clone());
    settle().await;
    assert_eq!(types(&ann.events().await), [""; 0]);
    chat.govern(&lobby(), restrict("bob", None)).await.expect("the host");
    settle().await;
    bob.events().await;
    bob.send(typing);
    settle().await;
    assert_eq!(types(&ann.events().await), ["role", "typing"]);
}

/// A host that makes `boss` a moderator, and counts how often it is asked for a role.
struct Roles(Arc<AtomicUsize>);

#[async_trait]
impl Authorize for Roles {
    async fn authorize(&self, user: &User, _: &RoomName, action: &Action<'_>) -> Result<(), Forbidden> {
        match action {
            Action::Govern { act: Act::Role { .. } } if user.id() == "boss" => {
                Err(Forbidden::Rejected("ask an owner".to_owned()))
            }
            _ => Ok(()),
        }
    }

    async fn role(&self, user: &User, _: &RoomName) -> Result<Role, Forbidden> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(if user.id() == "boss" { Role::Moderator } else { Role::None })
    }
}

#[tokio::test(start_paused = true)]
async fn the_host_is_asked_for_a_role_where_it_matters() {
    let asked = Arc::new(AtomicUsize::new(0));
    let chat = Chat::builder().authorize(Roles(Arc::clone(&asked))).build();
    let (mut boss, mut bob) = (joined(&chat, "boss").await, joined(&chat, "bob").await);
    let before = asked.load(Ordering::SeqCst);
    assert_eq!(say(&mut bob).await["type"], "sent");
    assert_eq!(asked.load(Ordering::SeqCst), before, "a message in an open room");
    let rules = RoomRules::default().with_post(chat_core::PostRule::Moderators);
    let ops = User::new("service:ops", "Ops").expect("a user");
    chat.govern(&lobby(), NewAct::new(ops, Act::Create { rules }).by_host()).await.expect("the host");
    settle().await;
    assert_eq!(say(&mut bob).await["code"], "forbidden");
    assert_eq!(say(&mut boss).await["type"], "sent", "the role of the host counts");
    let rejected = ask(&mut boss, "role", json!({"user": "bob", "role": "member"})).await;
    assert_eq!(rejected["detail"], "ask an owner");
    let mute = json!({"user": "boss", "what": "mute"});
    assert_eq!(ask(&mut bob, "restrict", mute).await["code"], "forbidden");
    // A moderator in the log does not act on a moderator of the host.
    let act = Act::Role { user: User::from_id("bob").expect("an id"), role: Role::Moderator };
    let ops = User::new("service:ops", "Ops").expect("a user");
    chat.govern(&lobby(), NewAct::new(ops, act).by_host()).await.expect("the host");
    let mute = json!({"user": "boss", "what": "mute"});
    assert_eq!(ask(&mut bob, "restrict", mute).await["code"], "forbidden");
    let clock = User::new("service:clock", "Clock").expect("a user");
    chat.post(&lobby(), &clock, &Text::new("noon")).await.expect("the host posts as it likes");
    chat.govern(&lobby(), ban("bob")).await.expect("the host");
    let posted = chat.post(&lobby(), &User::new("bob", "Bob").expect("a user"), &Text::new("hi")).await;
    assert!(matches!(posted, Err(PostError::NoRight(NoRight::Forbidden))), "{posted:?}");
}

/// A store whose answers about standings wait, and are then out of date.
#[derive(Clone, Default)]
struct Slow(Arc<Waits>);

#[derive(Default)]
struct Waits {
    reads: AtomicUsize,
    go: Notify,
}

struct SlowRoom {
    room: MemoryRoom,
    waits: Arc<Waits>,
}

#[async_trait]
impl Store for Slow {
    async fn open(
        &self,
        room: &RoomName,
        limits: &Arc<Limits>,
        sink: CommitSink,
    ) -> Result<Arc<dyn Room>, Unavailable> {
        let room = MemoryRoom::new(room.clone(), Arc::clone(limits), sink);
        Ok(Arc::new(SlowRoom { room, waits: Arc::clone(&self.0) }))
    }
}

#[async_trait]
impl Room for SlowRoom {
    async fn append(&self, message: NewMessage) -> Result<AppendReceipt, AppendError> {
        self.room.append(message).await
    }

    async fn govern(&self, act: NewAct) -> Result<ChangeReceipt, ChangeError> {
        self.room.govern(act).await
    }

    async fn standing(&self, user: &UserKey) -> Result<(RoomRules, Standing), Unavailable> {
        let standing = self.room.standing(user).await;
        if user.id() == "bob" && self.waits.reads.fetch_add(1, Ordering::SeqCst) == 0 {
            self.waits.go.notified().await;
        }
        standing
    }

    async fn read(&self, range: Range) -> Result<Page, Unavailable> {
        self.room.read(range).await
    }

    async fn bounds(&self) -> Result<LogBounds, Unavailable> {
        self.room.bounds().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_user_who_is_banned_while_joining_leaves_again() {
    let store = Slow::default();
    let chat = Chat::builder().store(store.clone()).build();
    let _ann = joined(&chat, "ann").await;
    // So that the room has rules, which a join reads.
    chat.govern(&lobby(), ban("zoe")).await.expect("the host");
    let mut bob = user(&chat, "bob").await;
    bob.send(json!({"type": "join", "room": "lobby"}));
    settle().await;
    chat.govern(&lobby(), ban("bob")).await.expect("the host");
    settle().await;
    assert_eq!(store.0.reads.load(Ordering::SeqCst), 1, "the join waits");
    store.0.go.notify_one();
    settle().await;
    assert_eq!(chat.members(&lobby()).len(), 1);
    assert_eq!(types(&bob.events().await), ["joined", "left"]);
    assert_eq!(ask(&mut bob, "join", json!({})).await["code"], "forbidden");
}

#[tokio::test(start_paused = true)]
async fn a_guest_cannot_own_a_room_and_is_banned_by_name() {
    let chat = Chat::default();
    let mut ann = member(&chat, "ann").await;
    assert_eq!(create(&mut ann, json!({})).await["code"], "forbidden");
    assert_eq!(say(&mut ann).await["type"], "sent");
    chat.govern(&lobby(), ban("ann")).await.expect("the host");
    settle().await;
    assert_eq!(ask(&mut ann, "join", json!({})).await["code"], "forbidden");
    let (rules, standing) = chat.standing(&lobby(), UserKey::new("ann")).await.expect("a standing");
    assert_eq!(
        (rules.join, standing.restriction),
        (JoinRule::Open, Some(Restriction::new(Restrict::Ban, None)))
    );
}
