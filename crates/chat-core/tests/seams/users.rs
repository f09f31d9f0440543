//! Users of other nodes: their roles, their names, and direct rooms with them.

use chat_core::{Chat, NodePresence, Notice, Role, RosterEntry, User};
use chat_testkit::{Cluster, Peer, connect_with_role, lobby, member_with_role, pass, settle, types};
use serde_json::{Value, json};

async fn hello(peer: &mut Peer, token: &str) {
    assert_eq!(peer.ask(json!({"type": "hello", "token": token})).await["type"], "welcome");
    settle().await;
}

fn two_nodes() -> (Cluster, Chat, Chat) {
    let cluster = Cluster::new();
    let (a, b) = (cluster.node("a"), cluster.node("b"));
    (cluster, a, b)
}

/// The commands on a user.
fn acts(id: &str) -> [Value; 3] {
    [
        json!({"type": "restrict", "room": "lobby", "user": id, "what": "mute"}),
        json!({"type": "role", "room": "lobby", "user": id, "role": "member"}),
        json!({"type": "purge", "room": "lobby", "user": id}),
    ]
}

/// Returns true if the user cannot be muted.
async fn is_safe(boss: &mut Peer, id: &str) -> bool {
    let [mute, ..] = acts(id);
    let reply = boss.ask(mute).await;
    assert!(reply["code"] == "forbidden" || reply["type"] == "done", "{reply}");
    reply["code"] == "forbidden"
}

#[tokio::test(start_paused = true)]
async fn a_role_of_a_token_protects_its_user_on_other_nodes() {
    let (_cluster, a, b) = two_nodes();
    let mut boss = member_with_role(&a, "boss:owner").await;
    let _users = (member_with_role(&b, "ann:owner").await, member_with_role(&b, "bob:moderator").await);
    for (id, code) in [("ann", json!("forbidden")), ("bob", Value::Null)] {
        for act in acts(id) {
            let reply = boss.ask(act).await;
            assert_eq!(reply["code"], code, "{reply}");
        }
    }
    let mut moderator = member_with_role(&a, "mod:moderator").await;
    for (id, is_safe) in [("ann", true), ("bob", true), ("boss", true), ("cid", false)] {
        assert_eq!(self::is_safe(&mut moderator, id).await, is_safe, "{id}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_opens_a_room_learns_the_roles_of_users_who_are_there() {
    let (cluster, a, b) = two_nodes();
    let _users = (
        member_with_role(&b, "ann:none").await,
        member_with_role(&b, "ann:owner").await,
        member_with_role(&b, "bob:none").await,
    );
    let mut boss = member_with_role(&a, "boss:owner").await;
    assert!(is_safe(&mut boss, "ann").await && !is_safe(&mut boss, "bob").await);
    cluster.lose("b");
    pass(11.0).await;
    assert!(!is_safe(&mut boss, "ann").await, "ann is not known to be there");
    cluster.restore("b");
    settle().await;
    assert!(is_safe(&mut boss, "ann").await);
}

#[tokio::test(start_paused = true)]
async fn the_highest_role_of_all_connections_on_all_nodes_counts() {
    let (_cluster, a, b) = two_nodes();
    let mut boss = member_with_role(&a, "boss:owner").await;
    let (mut first, _second) =
        (member_with_role(&b, "ann:none").await, member_with_role(&b, "ann:moderator").await);
    assert!(!is_safe(&mut boss, "ann").await);
    let owner = member_with_role(&b, "ann:owner").await;
    assert!(is_safe(&mut boss, "ann").await);
    owner.kill();
    settle().await;
    assert!(!is_safe(&mut boss, "ann").await, "a moderator is left");
    let here = member_with_role(&a, "ann:owner").await;
    assert!(is_safe(&mut boss, "ann").await);
    here.kill();
    settle().await;
    for (token, is_owner) in [("ann:owner", true), ("ann:member", false), ("ann:owner", true)] {
        hello(&mut first, token).await;
        assert_eq!(is_safe(&mut boss, "ann").await, is_owner, "{token}");
    }
    first.ask(json!({"type": "leave", "room": "lobby"})).await;
    assert!(!is_safe(&mut boss, "ann").await);
}

#[tokio::test(start_paused = true)]
async fn an_entry_names_a_user_of_another_node() {
    let (_cluster, a, b) = two_nodes();
    let (mut boss, mut ann) =
        (member_with_role(&a, "boss:owner").await, member_with_role(&b, "ann:none").await);
    // A purge of nothing has no entry.
    ann.say("hi");
    boss.events().await;
    ann.events().await;
    for act in acts("ann") {
        assert_eq!(boss.ask(act).await["type"], "done");
    }
    for peer in [&mut boss, &mut ann] {
        let events = peer.events().await;
        let entries: Vec<_> = events.iter().filter(|event| event["seq"].is_u64()).collect();
        assert_eq!(entries.len(), 3, "{events:?}");
        for entry in entries {
            assert_eq!(entry["user"], json!({"id": "ann", "name": "ANN"}), "{entry}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_user_of_another_node_learns_of_a_direct_room() {
    let (_cluster, a, b) = two_nodes();
    let mut ann = connect_with_role(&a, "ann:none").await;
    let (mut phone, mut bob, mut cid) = (
        connect_with_role(&b, "ann:none").await,
        connect_with_role(&b, "bob:none").await,
        connect_with_role(&b, "cid:none").await,
    );
    let opened = ann.ask(json!({"type": "join", "with": "bob"})).await;
    assert_eq!(opened["type"], "joined", "{opened}");
    for (peer, with) in
        [(&mut phone, json!({"id": "bob", "name": "bob"})), (&mut bob, json!({"id": "ann", "name": "ANN"}))]
    {
        let expected = json!({"type": "activity", "room": opened["room"], "seq": 1, "unread": 0, "mentions": 0,
                              "with": with});
        assert_eq!(peer.events().await, [expected]);
    }
    pass(2.0).await;
    let sent = ann.ask(json!({"type": "send", "room": opened["room"], "body": {"text": "hi"}})).await;
    assert_eq!(sent["seq"], 2, "{sent}");
    for (peer, unread) in [(&mut phone, 0), (&mut bob, 1)] {
        let activity = peer.events().await;
        assert_eq!((activity.len(), &activity[0]["unread"]), (1, &json!(unread)), "{activity:?}");
    }
    assert_eq!(types(&cid.events().await), [""; 0], "it is about two users");
    let joined = bob.ask(json!({"type": "join", "with": "ann"})).await;
    assert_eq!((&joined["room"], &joined["seq"]), (&opened["room"], &json!(3)));
}

#[test]
fn notices_without_news_are_those_of_an_earlier_version() {
    let user = User::new("7", "Ann").expect("a user");
    let ann = r#"{"guest":false,"id":"7","name":"Ann"}"#;
    let (room, to, state, version) = (lobby(), "a".parse().expect("a name"), NodePresence::Connected, 1);
    let users = vec![RosterEntry::new(user.clone(), Role::None)];
    let followed = Notice::Followed { room: lobby(), user: user.key(), on: false };
    let presence = Notice::Presence { room: lobby(), user, state, role: Role::None, version };
    for (notice, text) in [
        (
            presence,
            format!(r#"{{"type":"presence","room":"lobby","user":{ann},"state":"connected","version":1}}"#),
        ),
        (
            Notice::Roster { to, room, users, version },
            format!(r#"{{"type":"roster","to":"a","room":"lobby","users":[{ann}],"version":1}}"#),
        ),
        (followed, r#"{"type":"unfollowed","room":"lobby","user":{"guest":false,"id":"7"}}"#.to_owned()),
    ] {
        assert_eq!(String::from_utf8(notice.encode()).expect("a text"), text);
        assert_eq!(Notice::decode(text.as_bytes()).expect("a notice"), notice);
    }
}
