use chat_core::{Chat, Range, Text, User};
use chat_testkit::{
    Cluster, Frame, Peer, connect, guest, lobby, member, pass, seconds_until, seqs, settle, start, types,
};
use serde_json::{Value, json};

fn presence(name: &str, state: &str) -> Value {
    json!({"type": "presence", "room": "lobby", "user": guest(name), "state": state})
}

fn names(chat: &Chat) -> Vec<String> {
    chat.members(&lobby()).iter().map(|user| user.name().to_owned()).collect()
}

async fn two_nodes() -> (Cluster, Chat, Chat) {
    let cluster = Cluster::new();
    let (a, b) = (cluster.node("a"), cluster.node("b"));
    (cluster, a, b)
}

async fn watcher(chat: &Chat) -> Peer {
    let mut peer = member(chat, "watcher").await;
    peer.events().await;
    peer
}

#[tokio::test(start_paused = true)]
async fn messages_of_all_nodes_are_one_log() {
    let (_cluster, a, b) = two_nodes().await;
    let (mut ann, mut bob) = (member(&a, "ann").await, member(&b, "bob").await);
    for _ in 0..5 {
        ann.say("from a");
        bob.say("from b");
        settle().await;
    }
    for peer in [&mut ann, &mut bob] {
        assert_eq!(seqs(&peer.events().await), (1..=10).collect::<Vec<_>>());
    }
    let key = (User::guest("ann").expect("a name"), Text::new("once"));
    let first = a.post_with_key(&lobby(), &key.0, &key.1, "k").await.expect("posted");
    let again = b.post_with_key(&lobby(), &key.0, &key.1, "k").await.expect("posted");
    assert_eq!((again.seq, again.duplicate), (first.seq, true));
    let page = b.history(&lobby(), Range::newest(1)).await.expect("a page");
    assert_eq!(page.messages[0].seq, 11);
}

#[tokio::test(start_paused = true)]
async fn presence_reports_the_first_and_the_last_connection_over_all_nodes() {
    let (_cluster, a, b) = two_nodes().await;
    let (mut on_a, mut on_b) = (watcher(&a).await, watcher(&b).await);
    on_a.events().await;
    let here = member(&a, "bob").await;
    let mut there = connect(&b, "bob").await;
    assert_eq!(there.join("lobby").await["members"], 2, "the members are the watcher and bob");
    for watcher in [&mut on_a, &mut on_b] {
        assert_eq!(watcher.events().await, [presence("bob", "joined")]);
    }
    here.kill();
    settle().await;
    for watcher in [&mut on_a, &mut on_b] {
        assert_eq!(watcher.events().await, [] as [Value; 0], "bob is still there");
    }
    assert_eq!(
        (names(&a), names(&b)),
        (vec!["bob".into(), "watcher".into()], vec!["bob".into(), "watcher".into()])
    );
    there.ask(json!({"type": "leave", "room": "lobby"})).await;
    for watcher in [&mut on_a, &mut on_b] {
        assert_eq!(watcher.events().await, [presence("bob", "left")]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_opens_a_room_gets_the_members_of_other_nodes() {
    let (_cluster, a, b) = two_nodes().await;
    let _ann = member(&a, "ann").await;
    let mut bob = connect(&b, "bob").await;
    assert_eq!(bob.join("lobby").await["members"], 2);
    let members = bob.ask(json!({"type": "members", "room": "lobby"})).await;
    assert_eq!(members["members"], json!([guest("ann"), guest("bob")]));
}

#[tokio::test(start_paused = true)]
async fn typing_is_shown_on_all_nodes() {
    let (_cluster, a, b) = two_nodes().await;
    let (mut ann, mut bob) = (member(&a, "ann").await, member(&b, "bob").await);
    ann.events().await;
    bob.events().await;
    ann.send(json!({"type": "typing", "room": "lobby", "active": true}));
    let typing = json!({"type": "typing", "room": "lobby", "user": guest("ann"), "active": true});
    assert_eq!(bob.events().await, [typing]);
    assert_eq!(ann.events().await, [] as [Value; 0]);
    let end = json!({"type": "typing", "room": "lobby", "user": guest("ann"), "active": false});
    ann.kill();
    let seconds = seconds_until(async { assert_eq!(bob.event().await, end) }).await;
    assert_eq!(seconds.round(), 2.0, "before ann leaves");
}

#[tokio::test(start_paused = true)]
async fn a_kick_closes_the_connections_of_a_user_on_all_nodes() {
    let (_cluster, a, b) = two_nodes().await;
    let (mut here, mut there) = (member(&a, "ann").await, connect(&b, "ann").await);
    let bob = member(&b, "bob").await;
    assert_eq!(
        a.kick(User::guest("ann").expect("a name")),
        1,
        "the result counts the connections of this node"
    );
    for peer in [&mut here, &mut there] {
        assert_eq!(peer.until_gone().await.last(), Some(&Frame::Close(Some(4503))));
    }
    settle().await;
    assert_eq!((a.counts().connections, b.counts().connections), (0, 1));
    assert_eq!(bob.closed_with(), None);
}

#[tokio::test(start_paused = true)]
async fn a_kicked_user_leaves_at_once_on_all_nodes() {
    let (_cluster, a, b) = two_nodes().await;
    let _open = a.subscribe(&lobby()).await.expect("a subscription");
    let mut watcher = watcher(&b).await;
    for kicking in [&a, &b] {
        let _connections = (member(&a, "ann").await, member(&a, "ann").await, member(&b, "ann").await);
        kicking.kick(User::guest("ann").expect("a name"));
        assert_eq!(watcher.events().await, [presence("ann", "joined"), presence("ann", "left")]);
        assert_eq!((names(&a), names(&b)), (vec!["watcher".to_owned()], vec!["watcher".to_owned()]));
    }
}

#[tokio::test(start_paused = true)]
async fn the_users_of_a_lost_node_leave() {
    let (cluster, a, b) = two_nodes().await;
    let mut watcher = watcher(&a).await;
    let _ann = member(&b, "ann").await;
    let _both = (member(&a, "bob").await, member(&b, "bob").await);
    assert_eq!(watcher.events().await, [presence("ann", "joined"), presence("bob", "joined")]);
    cluster.lose("b");
    pass(9.9).await;
    assert_eq!(watcher.events().await, [] as [Value; 0], "the node may come back");
    assert_eq!(names(&a), ["ann", "bob", "watcher"]);
    pass(0.2).await;
    assert_eq!(watcher.events().await, [presence("ann", "left")]);
    assert_eq!(names(&a), ["bob", "watcher"]);
}

#[tokio::test(start_paused = true)]
async fn guests_and_connections_have_unique_names_on_all_nodes() {
    let (_cluster, a, b) = two_nodes().await;
    let mut seen = std::collections::BTreeSet::new();
    for chat in [&a, &b] {
        for _ in 0..2 {
            let welcome = start(chat, "/ws").await.event().await;
            assert!(seen.insert(welcome["connection"].to_string()), "{welcome}");
            assert!(seen.insert(welcome["user"]["id"].to_string()), "{welcome}");
            assert_eq!(welcome["user"]["id"].as_str().map(|id| id.starts_with("guest-")), Some(true));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn counts_reach_the_other_nodes_in_the_order_of_the_changes() {
    let (_cluster, a, b) = two_nodes().await;
    let mut watcher = watcher(&b).await;
    for _ in 0..50 {
        let mut first = member(&a, "bob").await;
        let mut second = member(&a, "bob").await;
        for peer in [&mut first, &mut second] {
            peer.ask(json!({"type": "leave", "room": "lobby"})).await;
            peer.kill();
        }
        settle().await;
    }
    let events = watcher.events().await;
    assert_eq!(types(&events).len(), 100);
    for pair in events.chunks(2) {
        assert_eq!(pair, [presence("bob", "joined"), presence("bob", "left")]);
    }
    assert_eq!(names(&b), ["watcher"]);
}
