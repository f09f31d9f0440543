//! The commands of a session, as PROTOCOL.md defines them.

use std::time::Duration;

use chat_core::{Chat, Incoming, Limits};
use chat_testkit::{chat, connect, guest, member, members, pass, seconds_until, settle, start, types};
use serde_json::{Value, json};

#[tokio::test(start_paused = true)]
async fn the_welcome_comes_first_with_the_user_and_the_limits() {
    let chat =
        chat(Limits::default().with(|limits| limits.connection.ping_interval = Duration::from_secs(7)));
    let mut peer = start(&chat, "/ws?name=ann").await;
    peer.send(json!({"type": "ping", "ref": "1"}));
    let text = peer.text_frame().await;
    let welcome: Value = serde_json::from_str(&text).expect("JSON");
    let connection = welcome["connection"].as_str().expect("a string");
    assert_eq!(
        text.replace(connection, "1"),
        r#"{"type":"welcome","connection":"1","user":{"id":"ann","name":"ann"},"limits":{"max_frame":16384,"max_rooms":100,"max_body":4096,"max_page":200},"ping_interval":7}"#
    );
    assert_eq!(peer.text_frame().await, r#"{"type":"pong","ref":"1"}"#);
    let another = start(&chat, "/ws?name=ann").await.event().await["connection"].clone();
    assert_ne!(another, *connection, "another connection has another id");
}

#[tokio::test(start_paused = true)]
async fn every_command_gets_one_reply_with_its_ref() {
    let chat = Chat::default();
    let mut ann = connect(&chat, "ann").await;
    ann.send(json!({"type": "join", "room": "lobby", "ref": "1"}));
    let joined = ann.event().await;
    let epoch = joined["epoch"].clone();
    assert!(epoch.is_string());
    let expected = json!({"type": "joined", "ref": "1", "room": "lobby", "epoch": epoch, "seq": 0, "first": 1,
        "recovered": true, "members": 1, "presence": "each", "role": "none",
        "may": ["send", "react", "edit", "delete"], "read": 0, "unread": 0, "mentions": 0});
    assert_eq!(joined, expected);

    let body = json!({"text": "hi"});
    ann.send(json!({"type": "send", "ref": "2", "room": "lobby", "key": "a1", "body": body}));
    let seen = ann.event().await;
    let at = seen["at"].clone();
    assert!(at.as_u64() > Some(1_600_000_000_000));
    let message = json!({"type": "message", "room": "lobby", "seq": 1, "user": guest("ann"), "at": at,
        "key": "a1", "body": body});
    assert_eq!(seen, message);
    let expected = json!({"type": "sent", "ref": "2", "room": "lobby", "seq": 1, "at": at});
    assert_eq!(ann.event().await, expected);

    ann.send(json!({"type": "history", "ref": "3", "room": "lobby"}));
    let expected = json!({"type": "history", "ref": "3", "room": "lobby", "epoch": epoch,
        "messages": [message], "more": false});
    assert_eq!(ann.event().await, expected);

    ann.send(json!({"type": "members", "ref": "4", "room": "lobby"}));
    let expected = json!({"type": "members", "ref": "4", "room": "lobby", "members": [guest("ann")], "more": false, "total": 1});
    assert_eq!(ann.event().await, expected);

    ann.send(json!({"type": "ping", "ref": ""}));
    assert_eq!(ann.event().await, json!({"type": "pong", "ref": ""}));
    ann.send(json!({"type": "ping"}));
    assert_eq!(ann.event().await, json!({"type": "pong"}));

    ann.send(json!({"type": "typing", "room": "lobby", "active": true, "ref": "5"}));
    ann.send(json!({"type": "leave", "room": "lobby", "ref": "6"}));
    let expected = json!({"type": "left", "ref": "6", "room": "lobby"});
    assert_eq!(ann.event().await, expected, "typing is not answered");

    ann.send(json!({"type": "send", "ref": "7", "room": "lobby", "body": body}));
    let expected = json!({"type": "error", "ref": "7", "code": "not_joined", "message": "join the room first",
        "room": "lobby"});
    assert_eq!(ann.event().await, expected);
    ann.text("nonsense");
    let expected =
        json!({"type": "error", "code": "bad_json", "message": "the frame is not one JSON object"});
    assert_eq!(ann.event().await, expected);
    assert_eq!(ann.events().await, [] as [Value; 0]);
}

#[tokio::test(start_paused = true)]
async fn commands_for_members_are_refused_to_others() {
    let chat = Chat::default();
    let _ann = member(&chat, "ann").await;
    let mut bob = connect(&chat, "bob").await;
    for command in [
        json!({"type": "leave"}),
        json!({"type": "send", "body": {"text": "hi"}}),
        json!({"type": "history"}),
        json!({"type": "members"}),
        json!({"type": "search", "query": "hi"}),
        json!({"type": "typing", "active": true}),
    ] {
        let mut command = command;
        command["room"] = "lobby".into();
        let refused = bob.ask(command.clone()).await;
        assert_eq!(refused["code"], "not_joined", "{command}");
    }
    bob.join("lobby").await;
    let refused = bob.ask(json!({"type": "hello", "token": "t"})).await;
    assert_eq!(refused["code"], "already_identified");
}

#[tokio::test(start_paused = true)]
async fn a_search_finds_messages_as_they_were_delivered_newest_first() {
    let chat = Chat::default();
    let mut ann = member(&chat, "ann").await;
    let mut delivered = Vec::new();
    for text in ["Pears and apples", "plums", "APPLES"] {
        ann.send(json!({"type": "send", "room": "lobby", "body": {"text": text}}));
        delivered.push(ann.event().await);
        ann.event().await;
    }
    let found = ann.ask(json!({"type": "search", "room": "lobby", "query": "apple"})).await;
    let expected = json!({"type": "found", "room": "lobby",
        "messages": [delivered[2], delivered[0]], "more": false});
    assert_eq!(found, expected);
    let first = ann.ask(json!({"type": "search", "room": "lobby", "query": "apple", "limit": 1})).await;
    assert_eq!((&first["messages"], &first["more"]), (&json!([delivered[2]]), &json!(true)));
    let then = json!({"type": "search", "room": "lobby", "query": "apple", "before": 3});
    assert_eq!(ann.ask(then).await["messages"], json!([delivered[0]]));
}

#[tokio::test(start_paused = true)]
async fn all_members_see_the_same_messages_in_the_same_order() {
    let chat = Chat::default();
    let mut peers = [member(&chat, "ann").await, member(&chat, "bob").await, member(&chat, "cid").await];
    for peer in &mut peers {
        peer.events().await;
    }
    for round in 0..20 {
        for peer in &peers {
            peer.say(&format!("{round}"));
        }
    }
    let mut streams = Vec::new();
    for peer in &mut peers {
        let mut stream = peer.events().await;
        stream.retain(|event| event["type"] == "message");
        assert_eq!(chat_testkit::seqs(&stream), (1..=60).collect::<Vec<_>>());
        streams.push(stream);
    }
    assert_eq!(streams[0], streams[1]);
    assert_eq!(streams[1], streams[2]);
    for name in ["ann", "bob", "cid"] {
        let of_one = streams[0].iter().filter(|message| message["user"]["id"] == name);
        let rounds: Vec<_> =
            of_one.map(|message| message["body"]["text"].as_str().expect("text").to_owned()).collect();
        assert_eq!(rounds, (0..20).map(|round| round.to_string()).collect::<Vec<_>>());
    }
}

#[tokio::test(start_paused = true)]
async fn presence_reports_only_the_first_and_the_last_connection_of_a_user() {
    let chat = Chat::default();
    let [mut ann, mut phone] = members(&chat, ["ann", "bob"]).await;
    let presence = |state| json!({"type": "presence", "room": "lobby", "user": guest("bob"), "state": state});
    assert_eq!(ann.events().await, [presence("joined")]);
    let mut laptop = connect(&chat, "bob").await;
    assert_eq!(laptop.join("lobby").await["members"], 2);
    assert_eq!(laptop.join("lobby").await["members"], 2, "a second join changes nothing");
    phone.ask(json!({"type": "leave", "room": "lobby"})).await;
    assert_eq!(ann.events().await, [] as [Value; 0]);
    laptop.incoming(Incoming::End);
    laptop.until_gone().await;
    assert_eq!(ann.events().await, [presence("left")]);
    let members = ann.ask(json!({"type": "members", "room": "lobby"})).await;
    assert_eq!(members["members"], json!([guest("ann")]));
    assert_eq!(phone.events().await, [] as [Value; 0]);
}

#[tokio::test(start_paused = true)]
async fn typing_is_sent_to_all_members_except_its_own_connection() {
    let chat = Chat::default();
    let [mut ann, mut phone, mut laptop] = members(&chat, ["ann", "bob", "bob"]).await;
    for peer in [&mut ann, &mut phone, &mut laptop] {
        peer.events().await;
    }
    phone.send(json!({"type": "typing", "room": "lobby", "active": true}));
    phone.send(json!({"type": "typing", "room": "lobby", "active": false}));
    let typing = |active| json!({"type": "typing", "room": "lobby", "user": guest("bob"), "active": active});
    for peer in [&mut ann, &mut laptop] {
        assert_eq!(peer.events().await, [typing(true)]);
    }
    pass(2.0).await;
    for peer in [&mut ann, &mut laptop] {
        assert_eq!(peer.events().await, [typing(false)], "the last state, two seconds later");
    }
    assert_eq!(phone.events().await, [] as [Value; 0]);
}

#[tokio::test(start_paused = true)]
async fn typing_ends_by_itself_and_with_its_connection() {
    let chat = Chat::default();
    let mut ann = member(&chat, "ann").await;
    let (phone, _laptop) = (member(&chat, "bob").await, member(&chat, "bob").await);
    ann.events().await;
    let typing = |active| json!({"type": "typing", "room": "lobby", "user": guest("bob"), "active": active});
    phone.send(json!({"type": "typing", "room": "lobby", "active": true}));
    assert_eq!(ann.event().await, typing(true));
    let end = async { assert_eq!(ann.event().await, typing(false)) };
    assert_eq!(seconds_until(end).await.round(), 8.0);
    phone.send(json!({"type": "typing", "room": "lobby", "active": true}));
    assert_eq!(ann.event().await, typing(true));
    phone.kill();
    let end = async { assert_eq!(ann.event().await, typing(false), "the laptop is still there") };
    assert_eq!(seconds_until(end).await.round(), 2.0);
}

#[tokio::test(start_paused = true)]
async fn a_repeated_key_stores_one_message() {
    let chat = Chat::default();
    let [mut ann, mut bob] = members(&chat, ["ann", "bob"]).await;
    let send = |key: &str, text| json!({"type": "send", "room": "lobby", "key": key, "body": {"text": text}});
    let first = ann.ask(send("k", "once")).await;
    let again = ann.ask(send("k", "once")).await;
    let expected = json!({"type": "sent", "room": "lobby", "seq": 1, "at": first["at"], "duplicate": true});
    assert_eq!(again, expected);
    let conflict = ann.ask(send("k", "twice")).await;
    assert_eq!(conflict["code"], "key_conflict");
    assert_eq!(bob.ask(send("k", "mine")).await["seq"], 2, "another user's key");
    ann.join("hall").await;
    let mut elsewhere = send("k", "there");
    elsewhere["room"] = "hall".into();
    assert_eq!(ann.ask(elsewhere).await["seq"], 1, "another room's key");
    for key in ["", &"k".repeat(65)] {
        assert_eq!(ann.ask(send(key, "x")).await["code"], "bad_key");
    }
    let seen = bob.events().await;
    assert_eq!(chat_testkit::seqs(&seen), [1, 2]);
    let page = ann.ask(json!({"type": "history", "room": "lobby"})).await;
    assert_eq!(page["messages"].as_array().map(Vec::len), Some(2));
}

#[tokio::test(start_paused = true)]
async fn no_event_of_a_room_follows_left_and_other_rooms_continue() {
    let chat = Chat::default();
    let mut ann = member(&chat, "ann").await;
    ann.join("hall").await;
    let bob = member(&chat, "bob").await;
    ann.events().await;
    ann.block();
    for _ in 0..50 {
        bob.say("of the lobby");
    }
    bob.send(json!({"type": "join", "room": "hall"}));
    bob.send(json!({"type": "send", "room": "hall", "body": {"text": "of the hall"}}));
    settle().await;
    ann.send(json!({"type": "leave", "room": "lobby", "ref": "1"}));
    settle().await;
    bob.say("once more");
    ann.unblock();
    let events = ann.events().await;
    let left = events.iter().position(|event| event["type"] == "left");
    let (before, after) = events.split_at(left.expect("left"));
    let (hall, lobby): (Vec<_>, Vec<_>) = before.iter().cloned().partition(|event| event["room"] == "hall");
    assert_eq!(chat_testkit::seqs(&lobby), [1, 2, 3, 4], "the frames that the connection held");
    assert_eq!(types(&hall), ["presence", "message"]);
    assert_eq!(types(after), ["left"]);
    assert_eq!(ann.join("lobby").await["seq"], 51);
    assert_eq!(ann.events().await, [] as [Value; 0], "the old cursor is forgotten");
}

#[tokio::test(start_paused = true)]
async fn events_before_a_command_are_sent_before_its_reply() {
    let chat = Chat::default();
    let [mut ann, mut bob] = members(&chat, ["ann", "bob"]).await;
    ann.events().await;
    for n in 0..20 {
        bob.ask(send_to_lobby(n)).await;
        bob.events().await;
        ann.send(json!({"type": "ping"}));
        assert_eq!(types(&[ann.event().await, ann.event().await]), ["message", "pong"]);
    }
}

fn send_to_lobby(n: u64) -> Value {
    json!({"type": "send", "room": "lobby", "body": {"text": n.to_string()}})
}
