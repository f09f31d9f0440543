//! Roles and rights that change while users are in a room.

use std::sync::Arc;
use std::time::Duration;

use chat_core::{
    Act, Action, Authorize, Chat, Forbidden, JoinRule, Limits, NewAct, Restrict, Restriction, Role, RoomName,
    RoomRules, User, async_trait,
};
use chat_testkit::{Frame, Mode, Peer, Store, lobby, member_with_role, pass, seconds_until, settle, types};
use serde_json::{Value, json};

async fn hello(peer: &mut Peer, token: &str) {
    assert_eq!(peer.ask(json!({"type": "hello", "token": token})).await["type"], "welcome");
}

async fn mute(peer: &mut Peer, user: &str) -> Value {
    peer.ask(json!({"type": "restrict", "room": "lobby", "user": user, "what": "mute"})).await
}

async fn govern(chat: &Chat, act: Act) {
    let ops = User::new("service:ops", "Ops").expect("a user");
    chat.govern(&lobby(), NewAct::new(ops, act).by_host()).await.expect("the host");
}

fn restrict(id: &str, what: Option<Restrict>) -> Act {
    let restriction = what.map(|what| Restriction::new(what, None));
    Act::Restrict { user: User::from_id(id).expect("an id"), restriction, reason: None }
}

#[tokio::test(start_paused = true)]
async fn acts_on_a_user_see_the_role_of_the_last_hello() {
    let chat = Chat::default();
    let (mut boss, mut ann) =
        (member_with_role(&chat, "boss:moderator").await, member_with_role(&chat, "ann:none").await);
    hello(&mut ann, "ann:moderator").await;
    assert_eq!(mute(&mut boss, "ann").await["code"], "forbidden");
    hello(&mut ann, "ann:member").await;
    assert_eq!(mute(&mut boss, "ann").await["type"], "done");
}

#[tokio::test(start_paused = true)]
async fn acts_on_a_user_see_the_role_of_the_last_hello_while_the_store_reads() {
    let store = Store::new();
    let chat = store.chat(Limits::default());
    let (mut boss, mut ann) =
        (member_with_role(&chat, "boss:moderator").await, member_with_role(&chat, "ann:none").await);
    store.standing(Mode::Slow(Duration::from_secs(1)));
    for (role, reply) in [("owner", "error"), ("member", "done"), ("moderator", "error"), ("none", "done")] {
        hello(&mut ann, &format!("ann:{role}")).await;
        let act = json!({"type": "restrict", "room": "lobby", "user": "ann", "what": "mute"});
        assert_eq!(boss.ask(act).await["type"], reply, "{role}");
        // The next `hello` comes while the decision about this one, or about the act, is in flight.
        pass(0.3).await;
        if reply == "done" {
            let act = json!({"type": "restrict", "room": "lobby", "user": "ann", "what": "none"});
            assert_eq!(boss.ask(act).await["type"], "done", "{role}");
        }
    }
    // The decisions that were in flight bring no older role back.
    pass(5.0).await;
    assert_eq!(mute(&mut boss, "ann").await["type"], "done");
}

#[tokio::test(start_paused = true)]
async fn a_hello_does_not_replace_the_decision_about_an_act() {
    let store = Store::new();
    let chat = store.chat(Limits::default());
    let mut ann = member_with_role(&chat, "ann:none").await;
    store.standing(Mode::Slow(Duration::from_secs(1)));
    govern(&chat, restrict("ann", Some(Restrict::Ban))).await;
    pass(0.3).await;
    hello(&mut ann, "ann:none").await;
    pass(5.0).await;
    assert!(types(&ann.events().await).contains(&"left"), "ann is banned");
}

#[tokio::test(start_paused = true)]
async fn acts_on_a_user_see_the_highest_role_of_the_connections_in_the_room() {
    let chat = Chat::default();
    let (mut boss, ann) =
        (member_with_role(&chat, "boss:moderator").await, member_with_role(&chat, "ann:none").await);
    let second = member_with_role(&chat, "ann:owner").await;
    assert_eq!(mute(&mut boss, "ann").await["code"], "forbidden");
    second.kill();
    settle().await;
    assert_eq!(mute(&mut boss, "ann").await["type"], "done");
    drop(ann);
}

#[tokio::test(start_paused = true)]
async fn acts_on_a_user_see_the_role_of_the_last_join() {
    let role = Arc::new(parking_lot::Mutex::new(Role::None));
    struct Host(Arc<parking_lot::Mutex<Role>>);
    #[async_trait]
    impl Authorize for Host {
        async fn authorize(&self, _: &User, _: &RoomName, _: &Action<'_>) -> Result<(), Forbidden> {
            Ok(())
        }

        async fn role(&self, user: &User, _: &RoomName) -> Result<Role, Forbidden> {
            Ok(if user.id() == "ann" { *self.0.lock() } else { Role::None })
        }
    }
    let chat = Chat::builder().authorize(Host(Arc::clone(&role))).build();
    let (mut boss, mut ann) =
        (member_with_role(&chat, "boss:moderator").await, member_with_role(&chat, "ann:none").await);
    *role.lock() = Role::Owner;
    ann.join("lobby").await;
    assert_eq!(mute(&mut boss, "ann").await["code"], "forbidden");
}

#[tokio::test(start_paused = true)]
async fn a_hello_with_a_lower_role_ends_the_memberships_that_need_the_higher_one() {
    let chat = Chat::default();
    let open = "open";
    let mut ann = member_with_role(&chat, "ann:member").await;
    ann.join(open).await;
    govern(&chat, Act::Create { rules: RoomRules::default().with_join(JoinRule::Members) }).await;
    settle().await;
    ann.events().await;
    hello(&mut ann, "ann:moderator").await;
    assert!(ann.events().await.is_empty());
    hello(&mut ann, "ann:none").await;
    assert_eq!(ann.events().await, [json!({"type": "left", "room": "lobby"})]);
    let refused = ann.ask(json!({"type": "join", "room": "lobby"})).await;
    assert_eq!(refused["code"], "forbidden");
    let sent = ann.ask(json!({"type": "send", "room": open, "body": {"text": "hi"}})).await;
    assert_eq!(sent["type"], "sent");
}

#[tokio::test(start_paused = true)]
async fn a_hello_with_the_same_role_asks_the_store_for_no_standing() {
    let store = Store::new();
    let chat = store.chat(Limits::default());
    let mut ann = member_with_role(&chat, "ann:member").await;
    govern(&chat, restrict("zoe", Some(Restrict::Mute))).await;
    settle().await;
    let before = store.standings();
    hello(&mut ann, "ann:member").await;
    settle().await;
    assert_eq!(store.standings(), before);
    hello(&mut ann, "ann:none").await;
    settle().await;
    assert_eq!(store.standings(), before + 1);
}

#[tokio::test(start_paused = true)]
async fn a_connection_whose_rights_stay_unknown_for_30_seconds_is_closed_with_1011() {
    let store = Store::new();
    let limits =
        Limits::default().with(|limits| limits.connection.ping_interval = Duration::from_secs(1_000_000));
    let chat = store.chat(limits);
    let (mut ann, mut bob) =
        (member_with_role(&chat, "ann:none").await, member_with_role(&chat, "bob:none").await);
    for mode in [Mode::Fails, Mode::Works] {
        store.standing(mode);
        govern(&chat, restrict("ann", Some(Restrict::Mute))).await;
        pass(15.0).await;
    }
    ann.events().await;
    assert_eq!(types(&[ann.ask(json!({"type": "ping"})).await]), ["pong"], "it was decided in time");
    store.standing(Mode::Fails);
    govern(&chat, restrict("ann", None)).await;
    let seconds = seconds_until(async {
        assert_eq!(ann.until_gone().await.last(), Some(&Frame::Close(Some(1011))));
    });
    let seconds = seconds.await;
    assert!((20.0..=30.5).contains(&seconds), "{seconds}");
    assert_eq!(bob.ask(json!({"type": "ping"})).await["type"], "pong", "it is not about bob");
}

#[tokio::test(start_paused = true)]
async fn rights_that_were_read_for_a_join_before_an_act_do_not_replace_later_ones() {
    let store = Store::new();
    let chat = store.chat(Limits::default());
    let (mut ann, mut bob) =
        (member_with_role(&chat, "ann:none").await, member_with_role(&chat, "bob:none").await);
    // So that the room has rules, which a join reads.
    govern(&chat, restrict("zoe", Some(Restrict::Mute))).await;
    settle().await;
    store.standing(Mode::Slow(Duration::from_secs(1)));
    bob.send(json!({"type": "join", "room": "lobby"}));
    settle().await;
    store.standing(Mode::Works);
    govern(&chat, restrict("bob", Some(Restrict::Mute))).await;
    pass(2.0).await;
    assert!(types(&bob.events().await).contains(&"joined"));
    ann.events().await;
    bob.send(json!({"type": "typing", "room": "lobby", "active": true}));
    settle().await;
    assert_eq!(types(&ann.events().await), [""; 0], "bob is muted");
}
