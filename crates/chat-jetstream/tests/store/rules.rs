use std::sync::Arc;
use std::time::Duration;

use async_nats::Client;
use chat_core::{
    Act, AppendError, Chat, JoinRule, Limits, NewAct, NewMessage, PostRule, RawValue, Restrict, Restriction,
    Role, RoomName, RoomRules, Standing, User, UserKey,
};
use chat_jetstream::JetStreamStore;
use futures_util::future::join_all;
use serde_json::json;

use crate::notices::lose_notices;
use crate::servers::{ALONE, Servers, request};
use crate::support::{Opened, eventually, node, node_of};

/// More users than have their roles in one message of the stream.
const MANY: usize = 150;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_roles_of_many_users_are_the_same_on_each_node_and_stored_once() {
    let servers = Servers::start(1);
    let client = servers.ready().await;
    let limits = Arc::new(Limits::default());
    // Each acts by itself.
    let stores = [node(&servers, |_| {}).await, node_of(&servers, ALONE).await];
    let mut rooms = Vec::new();
    for store in &stores {
        rooms.push(Opened::open(store, "staff", &limits).await);
    }
    let rules = RoomRules::default().with_join(JoinRule::Members).with_title("Staff".to_owned());
    govern(&rooms[0], Act::Create { rules: rules.clone() }).await;
    let roles: Vec<_> = (0..MANY).map(|number| (format!("user-{number}"), role_of(number))).collect();
    let gives = roles.iter().enumerate().map(|(number, (id, role))| {
        let room = &rooms[number % 2];
        async move { govern(room, Act::Role { user: user(id), role: *role }).await }
    });
    join_all(gives).await;
    let newest = govern(&rooms[1], restrict("user-7", Some(Restrict::Ban))).await;
    for room in &rooms {
        room.hears(newest).await;
    }
    rooms.push(Opened::open(&node(&servers, |_| {}).await, "staff", &limits).await);
    for room in &rooms {
        for (id, role) in &roles {
            let (found, standing) = room.room.standing(&user(id).key()).await.expect("a standing");
            let restriction = (id == "user-7").then(|| Restriction::new(Restrict::Ban, None));
            assert_eq!((found, standing), (rules.clone(), Standing::new(*role, restriction)), "{id}");
        }
        let nobody = room.room.standing(&user("nobody").key()).await.expect("a standing");
        assert_eq!(nobody.1, Standing::default());
    }
    assert_eq!(send(&rooms[2], "user-7").await, Err(AppendError::Forbidden));
    assert!(send(&rooms[2], "user-8").await.is_ok());
    // A user whose role ends leaves the part of the stream that has it.
    govern(&rooms[2], Act::Role { user: user("user-8"), role: Role::None }).await;
    for room in &rooms {
        assert_eq!(send(room, "user-8").await, Err(AppendError::Forbidden));
    }
    eventually("only the last form of each part stays", || async {
        let parts = rules_subjects(&client).await;
        parts.len() > 10 && parts.iter().all(|(_, count)| *count == 1)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_outlive_the_records_that_retention_removes() {
    let servers = Servers::start(1);
    let client = servers.ready().await;
    let limits = Limits::default().with(|limits| limits.rooms.key_window = Duration::from_millis(100));
    let limits = Arc::new(limits);
    let store = node(&servers, |options| options.retain_messages = Some(20)).await;
    let lobby = Opened::open(&store, "lobby", &limits).await;
    govern(&lobby, Act::Create { rules: RoomRules::default().with_post(PostRule::Members) }).await;
    govern(&lobby, Act::Role { user: user("bob"), role: Role::Member }).await;
    eventually("the records of the acts are removed", || async {
        for _ in 0..100 {
            send(&lobby, "bob").await.expect("a message");
        }
        let first = json!({ "next_by_subj": "chat.*.m.*", "seq": 1 });
        let first = request(&client, "STREAM.MSG.GET.chat", &first).await.expect("a message");
        first["message"]["seq"].as_u64() > Some(10)
    })
    .await;
    let other = Opened::open(&node_of(&servers, ALONE).await, "lobby", &limits).await;
    assert!(other.room.bounds().await.expect("bounds").has_rules);
    assert_eq!(send(&other, "zoe").await, Err(AppendError::Forbidden));
    assert!(send(&other, "bob").await.is_ok());
}

/// The second node does not hear of the first one, so it decides after what it last knew, and asks the leader.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_act_that_allows_a_message_holds_at_once_on_a_node_that_has_not_heard_of_it() {
    let servers = Servers::start(1);
    let client = servers.ready().await;
    let limits = Arc::new(Limits::default());
    let a = Opened::open(&node(&servers, |_| {}).await, "lobby", &limits).await;
    let b = Opened::open(&node_of(&servers, ALONE).await, "lobby", &limits).await;
    lose_notices(&client).await;
    for restricted in [Restrict::Mute, Restrict::Ban] {
        govern(&a, restrict("bob", Some(restricted))).await;
        assert!(send(&b, "bob").await.is_err(), "{restricted:?}");
        govern(&a, restrict("bob", None)).await;
        assert!(send(&b, "bob").await.is_ok(), "{restricted:?}");
    }
}

/// A part of the rules that is damaged on all servers gives nobody a right.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_whose_rules_are_damaged_is_unavailable() {
    let servers = Servers::start(1);
    let client = servers.ready().await;
    let limits = Arc::new(Limits::default());
    let store = node(&servers, |_| {}).await;
    let lobby = Opened::open(&store, "lobby", &limits).await;
    govern(&lobby, restrict("bob", Some(Restrict::Ban))).await;
    let (subject, _) = rules_subjects(&client).await.pop().expect("a part of the rules");
    client.request(subject, "damaged".into()).await.expect("an acknowledgement");
    let node = node_of(&servers, ALONE).await;
    let other = Opened::open(&node, "lobby", &limits).await;
    assert!(other.room.standing(&user("bob").key()).await.is_err());
    assert_eq!(node.unreadable(), 1);
    refused_once(&node, &other).await;
    // The leader lacks the part.
    request(&client, "STREAM.PURGE.chat", &json!({ "filter": "chat.*.g.*.*" })).await.expect("an answer");
    refused_once(&node, &other).await;
    assert!(send(&Opened::open(&store, "hall", &limits).await, "bob").await.is_ok(), "another room");
}

/// Checks that sends to a room without readable rules are refused, each after one read.
async fn refused_once(store: &JetStreamStore, room: &Opened) {
    for id in ["bob", "zoe"] {
        let before = store.unreadable();
        let sent = send(room, id).await;
        assert!(matches!(sent, Err(AppendError::Unavailable(_))), "{sent:?}");
        assert_eq!(store.unreadable(), before + 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_join_of_a_room_with_an_act_asks_for_the_end_of_the_log_and_for_no_rules() {
    let servers = Servers::start(1);
    servers.ready().await;
    let limits = Arc::new(Limits::default());
    let other = Opened::open(&node_of(&servers, ALONE).await, "lobby", &limits).await;
    let store = node(&servers, |_| {}).await;
    let chat = Chat::builder().store(store.clone()).build();
    let lobby: RoomName = "lobby".parse().expect("a name");
    let open = chat.subscribe(&lobby).await.expect("a subscription");
    govern(&other, Act::Create { rules: RoomRules::default() }).await;
    govern(&other, restrict("bob", Some(Restrict::Ban))).await;
    eventually("the acts are known", || async {
        let bob = chat.standing(&lobby, UserKey::new("bob")).await;
        bob.is_ok_and(|(_, standing)| standing.restriction.is_some())
    })
    .await;
    let before = store.stats().requests;
    for number in 0..50 {
        let user = UserKey::new(&format!("user-{number}"));
        let (_, standing) = chat.standing(&lobby, user).await.expect("a standing");
        assert_eq!(standing, Standing::default());
    }
    let asked = store.stats().requests - before;
    // One for each, and some of the node itself.
    assert!((50..60).contains(&asked), "{asked}");
    drop(open);
}

/// Returns the subjects of the rules in the stream, with the numbers of their messages.
async fn rules_subjects(client: &Client) -> Vec<(String, u64)> {
    let info = request(client, "STREAM.INFO.chat", &json!({ "subjects_filter": "chat.*.g.*.*" })).await;
    let info = info.expect("a stream");
    let subjects = info["state"]["subjects"].as_object().cloned().unwrap_or_default();
    subjects.into_iter().map(|(subject, count)| (subject, count.as_u64().unwrap_or_default())).collect()
}

fn role_of(number: usize) -> Role {
    if number.is_multiple_of(3) { Role::Moderator } else { Role::Member }
}

fn restrict(id: &str, what: Option<Restrict>) -> Act {
    let restriction = what.map(|what| Restriction::new(what, None));
    Act::Restrict { user: user(id), restriction, reason: None }
}

fn user(id: &str) -> User {
    User::new(id, id).expect("a user")
}

async fn govern(room: &Opened, act: Act) -> u64 {
    let receipt = room.room.govern(NewAct::new(user("ops"), act).by_host()).await.expect("a receipt");
    receipt.seq.expect("a position")
}

async fn send(room: &Opened, id: &str) -> Result<u64, AppendError> {
    let body = RawValue::from_string(r#"{"text":"hi"}"#.to_owned()).expect("JSON");
    room.room.append(NewMessage::new(user(id), body)).await.map(|receipt| receipt.seq)
}
