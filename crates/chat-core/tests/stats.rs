//! The counters of a chat.

use chat_core::{Chat, Decision, Endpoint, Limits, Rate, User};
use chat_testkit::{Frame, Peer, chat, connect, guarded, handshake, member, pass};
use serde_json::{Value, json};

fn limits() -> Limits {
    Limits::default().with(|limits| {
        limits.connection.max_errors = 2;
        limits.rooms.max_created_per_hour = 1;
        limits.rooms.log_keys = 1;
    })
}

async fn ping(peer: &mut Peer) -> Value {
    peer.ask(json!({"type": "ping"})).await["type"].take()
}

#[tokio::test(start_paused = true)]
async fn refusals_are_counted_by_their_reason() {
    let chat = chat(limits().with(|limits| {
        limits.rates.connection = Rate::new(1, 4);
        limits.rates.user = Rate::new(1, 5);
    }));
    let mut ann = connect(&chat, "ann").await;
    for _ in 0..4 {
        assert_eq!(ping(&mut ann).await, "pong");
    }
    assert_eq!(ping(&mut ann).await, "error");
    let mut again = connect(&chat, "ann").await;
    assert_eq!(ping(&mut again).await, "pong");
    assert_eq!(ping(&mut again).await, "error");
    let limited = chat.stats().rate_limited;
    assert_eq!((limited.connection, limited.user), (1, 1));

    for room in ["one", "two"] {
        pass(5.0).await;
        ann.join(room).await;
        ann.ask(json!({"type": "send", "room": room, "key": "a", "body": {"text": "x"}})).await;
    }
    ann.ask(json!({"type": "send", "room": "one", "key": "b", "body": {"text": "x"}})).await;
    let stats = chat.stats();
    assert_eq!((stats.rate_limited.created, stats.over_quota), (1, 1));
    assert_eq!((stats.errors["rate_limited"], stats.errors["unavailable"]), (3, 1));

    let refused = Endpoint::new(chat.clone()).handle(&handshake("/ws?name=%00"), &guarded()).await;
    assert!(matches!(refused, Decision::Answer(_)));
    assert_eq!(chat.stats().handshakes, [("bad_name", 1)].into());
}

#[tokio::test(start_paused = true)]
async fn the_ends_of_sessions_are_counted_by_close_code() {
    let chat = chat(limits());
    let [slow, _silent, faulty, _kicked, leaver] = peers(&chat).await;
    slow.block();
    member(&chat, "writer").await.say("hello");
    faulty.send(json!({"type": "nothing"}));
    faulty.send(json!({"type": "nothing"}));
    chat.kick(User::guest("kicked").expect("a name"));
    leaver.close(1000);
    pass(60.0).await;
    let stats = chat.stats();
    assert_eq!(stats.closes, [(4000, 1), (4001, 2), (4500, 1), (4503, 1)].into());
    assert_eq!((stats.gone, stats.errors), (1, [("unknown_type".to_owned(), 2)].into()));
    let ends = stats.ends.iter().map(|(end, count)| (end.cause, end.code, *count));
    assert!(ends.clone().any(|end| end == ("peer_closed", Some(1000), 1)), "{:?}", stats.ends);
    assert_eq!(ends.map(|(_, _, count)| count).sum::<u64>(), 6);
}

async fn peers(chat: &Chat) -> [Peer; 5] {
    let mut peers = Vec::new();
    for name in ["slow", "silent", "faulty", "kicked", "leaver"] {
        peers.push(member(chat, name).await);
    }
    peers.try_into().expect("five peers")
}

#[tokio::test(start_paused = true)]
async fn the_bytes_of_all_frames_are_counted() {
    let chat = Chat::default();
    let mut peer = chat_testkit::start(&chat, "/ws?name=ann").await;
    let commands = [json!({"type": "join", "room": "lobby"}), json!({"type": "ping"})];
    commands.iter().for_each(|command| peer.send(command.clone()));
    pass(1.0).await;
    chat.kick(User::guest("ann").expect("a name"));
    let sent = peer.until_gone().await.into_iter().map(|frame| match frame {
        Frame::Text(text) => text.len() as u64,
        _ => 0,
    });
    let (read, sent) = (commands.iter().map(|command| command.to_string().len() as u64).sum(), sent.sum());
    let stats = chat.stats();
    assert_eq!((stats.bytes_read, stats.bytes_sent), (read, sent));
}

#[tokio::test(start_paused = true)]
async fn stored_changes_are_counted_by_their_kind() {
    let chat = Chat::default();
    let mut ann = member(&chat, "ann").await;
    for text in ["one", "two"] {
        ann.ask(json!({"type": "send", "room": "lobby", "body": {"text": text}})).await;
    }
    let react = json!({"type": "react", "room": "lobby", "seq": 1, "reaction": "+1", "on": true});
    let edit = json!({"type": "edit", "room": "lobby", "seq": 1, "key": "k", "body": {"text": "1"}});
    let delete = json!({"type": "delete", "room": "lobby", "seq": 2});
    for change in [&edit, &edit, &react, &react, &delete, &delete] {
        assert_eq!(ann.ask(change.clone()).await["type"], "done");
    }
    let pin = json!({"type": "pin", "room": "lobby", "seq": 1, "on": true});
    assert_eq!(ann.ask(pin).await["code"], "forbidden");
    let stats = chat.stats();
    let changes = stats.changes;
    assert_eq!((changes.edited, changes.deleted, changes.reactions, changes.pinned), (1, 1, 1, 0));
    assert_eq!((stats.appends, stats.duplicates), (2, 2));
}
