//! Lost connections, and the events that the consumer gets.

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use chat_client::{
    Client, ClientEvent, CloseCode, Closed, ConnectError, Error, JoinFrom, Joined, Lost, Reconnect, Text,
};
use chat_core::{Chat, Limits};
use serde_json::{Value, json};
use support::{Proxy, Server, eager, lobby, member, message, next, url, within};
use support::{answer_join, connected, tell, welcomed};
use tokio::sync::watch;
use tokio::time::Instant;

#[tokio::test]
async fn events_continue_without_a_hole_or_a_duplicate_after_a_reconnect() {
    let server = Server::start(Chat::default());
    let (writer, _) = server.member().await;
    let (reader, mut events) = member(Client::builder(&server.url()).reconnect(eager())).await;
    for round in 0..5 {
        for n in 1..=20 {
            if n == 10 {
                reader.reconnect().await.unwrap();
            }
            writer.send(&lobby(), &Text::new("hi")).await.unwrap();
            if n < 10 {
                assert_eq!(message(&mut events).await.seq, round * 20 + n);
            }
        }
        for n in 10..=20 {
            assert_eq!(message(&mut events).await.seq, round * 20 + n);
        }
    }
}

#[tokio::test]
async fn the_consumer_gets_events_of_the_connection_and_of_each_room() {
    let server = Server::start(Chat::default());
    let (client, mut events) = Client::builder(&server.url()).reconnect(eager()).connect().await.unwrap();
    let rooms = ["a", "b"].map(|room| room.parse().unwrap());
    for room in &rooms {
        client.join(room, JoinFrom::Now).await.unwrap();
        // An empty room is closed with its last member, and has another epoch the next time.
        client.send(room, &Text::new("hi")).await.unwrap();
        message(&mut events).await;
    }
    client.reconnect().await.unwrap();
    assert!(matches!(
        next(&mut events).await,
        ClientEvent::Disconnected { lost: Lost::ReconnectRequested, .. }
    ));
    assert!(matches!(next(&mut events).await, ClientEvent::Reconnected));
    let mut resumed = BTreeSet::new();
    for _ in &rooms {
        let ClientEvent::Resumed(joined) = next(&mut events).await else { panic!() };
        assert!(joined.recovered);
        resumed.insert(joined.room);
    }
    assert_eq!(resumed, rooms.into());
    // The client is the same guest.
    assert_eq!(client.members(&"a".parse().unwrap()).await.unwrap(), [client.user().clone()]);
}

#[tokio::test]
async fn entries_that_the_log_no_longer_has_are_a_gap() {
    let limits = Limits::default().with(|limits| {
        limits.rooms.log_messages = 10;
        limits.rooms.tail_events = 4;
    });
    let server = Server::start(Chat::builder().limits(limits).build());
    let proxy = Proxy::start(server.address).await;
    let (client, mut events) = member(Client::builder(&url(proxy.address)).reconnect(eager())).await;
    client.send(&lobby(), &Text::new("1")).await.unwrap();
    assert_eq!(message(&mut events).await.seq, 1);
    let (writer, _) = server.member().await;
    proxy.open(false);
    proxy.cut();
    for n in 2..=30 {
        writer.send(&lobby(), &Text::new(n.to_string())).await.unwrap();
    }
    proxy.open(true);
    assert!(matches!(next(&mut events).await, ClientEvent::Disconnected { .. }));
    assert!(matches!(next(&mut events).await, ClientEvent::Reconnected));
    assert!(matches!(next(&mut events).await, ClientEvent::Resumed(Joined { recovered: false, .. })));
    assert!(matches!(next(&mut events).await, ClientEvent::Gap { from: 2, to: 20, .. }));
    for seq in 21..=30 {
        assert_eq!(message(&mut events).await.seq, seq);
    }
}

/// With changes, `seq` does not tell where the newest messages begin, so only the server can find their first one.
#[tokio::test]
async fn the_newest_messages_are_asked_for_again_if_the_connection_ends_before_the_first() {
    let (client, mut events, mut peer, mut peers) = connected().await;
    let room = lobby();
    let (joined, _) =
        tokio::join!(client.join(&room, JoinFrom::Last(2)), answer_join(&mut peer, "e", 9, true));
    joined.unwrap();
    drop(peer);
    let mut peer = welcomed(&mut peers).await;
    let join = answer_join(&mut peer, "e", 9, true).await;
    assert_eq!((&join["last"], &join["after"]), (&2.into(), &Value::Null), "{join}");
    for seq in 3..=4 {
        let entry = r#""user":{"id":"bo","name":"bo"},"at":1,"body":{"text":"hi"}"#;
        tell(&mut peer, &format!(r#"{{"type":"message","room":"lobby","seq":{seq},{entry}}}"#)).await;
        assert_eq!(message(&mut events).await.seq, seq);
    }
    drop(peer);
    let mut peer = welcomed(&mut peers).await;
    let join = answer_join(&mut peer, "e", 9, true).await;
    assert_eq!(join["after"], json!({"epoch": "e", "seq": 4}));
}

#[tokio::test]
async fn a_server_with_a_new_log_is_resumed_without_recovery() {
    let server = Server::start(Chat::default());
    let address = server.address;
    let (client, mut events) = Client::builder(&server.url()).reconnect(eager()).connect().await.unwrap();
    let before = client.join(&lobby(), JoinFrom::Now).await.unwrap();
    client.send(&lobby(), &Text::new("old")).await.unwrap();
    assert_eq!(message(&mut events).await.seq, 1);
    drop(server);
    assert!(matches!(next(&mut events).await, ClientEvent::Disconnected { .. }));
    let server = Server::start_at(address, Chat::default());
    // The send waits for the new server.
    let sent = within(client.send(&lobby(), &Text::new("new"))).await.unwrap();
    assert_eq!((sent.seq, sent.duplicate), (1, false));
    assert!(matches!(next(&mut events).await, ClientEvent::Reconnected));
    let ClientEvent::Resumed(Joined { epoch, recovered, .. }) = next(&mut events).await else { panic!() };
    assert!(!recovered && epoch != before.epoch);
    let read = message(&mut events).await;
    assert_eq!((read.seq, &read.epoch, read.text().as_deref()), (1, &epoch, Some("new")));
    drop(server);
}

#[tokio::test]
async fn a_client_reconnects_after_a_drain_when_the_server_says() {
    let chat: Chat = Chat::builder()
        .limits(Limits::default().with(|limits| limits.http.retry_after = Duration::from_millis(400)))
        .build();
    let server = Server::start(chat.clone());
    let address = server.address;
    let never_soon = Reconnect::default().first(Duration::from_nanos(1)).max(Duration::from_nanos(1));
    let (_client, mut events) = member(Client::builder(&server.url()).reconnect(never_soon)).await;
    chat.drain(Duration::from_secs(20)).await;
    let ClientEvent::Disconnected { lost, retry_in } = next(&mut events).await else { panic!() };
    assert_eq!(lost, Lost::Close { code: CloseCode::Restarting, reason: "restarting".to_owned() });
    assert!(
        retry_in >= Duration::from_millis(400),
        "{retry_in:?} is the wait of the policy, not of the server"
    );
    drop(server);
    let _next = Server::start_at(address, Chat::default());
    assert!(matches!(next(&mut events).await, ClientEvent::Reconnected));
}

/// Cuts every connection again and again, at any byte.
#[tokio::test]
async fn no_message_is_lost_or_duplicated_over_a_failing_network() {
    const SENDERS: usize = 3;
    const CUTS: usize = 80;
    // The log reaches back to the first message.
    let limits = Limits::default().with(|limits| {
        limits.rooms.log_messages = 1_000_000;
        limits.rooms.log_bytes = 1 << 30;
        limits.rooms.log_keys = 1_000_000;
    });
    let server = Server::start(Chat::builder().limits(limits).build());
    let proxy = Proxy::start(server.address).await;
    let builder =
        || Client::builder(&url(proxy.address)).reconnect(eager()).command_timeout(Duration::from_secs(60));
    let (reader, mut events) = builder().name("reader").connect().await.unwrap();
    reader.join(&lobby(), JoinFrom::Now).await.unwrap();
    let (stop, stopped) = watch::channel(false);
    let mut senders = Vec::new();
    for sender in 0..SENDERS {
        let (client, events) = builder().name(format!("sender-{sender}")).connect().await.unwrap();
        drop(events);
        client.join(&lobby(), JoinFrom::Now).await.unwrap();
        let stopped = stopped.clone();
        senders.push(tokio::spawn(async move {
            let (mut seqs, mut repeated) = (Vec::new(), 0);
            while !*stopped.borrow() {
                let sent =
                    client.send(&lobby(), &Text::new(format!("{sender} {}", seqs.len()))).await.unwrap();
                seqs.push(sent.seq);
                repeated += usize::from(sent.duplicate);
            }
            (seqs, repeated)
        }));
    }
    let cutting = async {
        let mut random = 7_u64;
        for _ in 0..CUTS {
            // A step of Knuth's generator: some cuts follow at once, some after a while.
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            tokio::time::sleep(Duration::from_millis(random >> 57)).await;
            proxy.cut();
        }
        stop.send_replace(true);
        let mut acknowledged = Vec::new();
        for sender in senders {
            acknowledged.push(within(sender).await.unwrap());
        }
        let (last, _) = server.member().await;
        last.send(&lobby(), &Text::new("end")).await.unwrap();
        acknowledged
    };
    let reading = async {
        let (mut read, mut reconnects) = (Vec::new(), 0);
        loop {
            match next(&mut events).await {
                ClientEvent::Message(message) => read.push((message.seq, message.text().unwrap())),
                ClientEvent::Reconnected => reconnects += 1,
                ClientEvent::Disconnected { .. } | ClientEvent::Resumed(Joined { recovered: true, .. }) => {}
                other => panic!("{other:?}"),
            }
            if read.last().is_some_and(|(_, text)| text == "end") {
                return (read, reconnects);
            }
        }
    };
    let (acknowledged, (read, reconnects)) = tokio::join!(cutting, reading);
    let repeated: usize = acknowledged.iter().map(|(_, repeated)| repeated).sum();
    println!("{} messages, {reconnects} reconnects, {repeated} sends repeated", read.len());
    assert!(reconnects > 5, "only {reconnects} reconnects");
    assert!(read.iter().map(|(seq, _)| *seq).eq(1..=read.len() as u64), "a hole or a duplicate");
    for (sender, (seqs, _)) in acknowledged.into_iter().enumerate() {
        let own = format!("{sender} ");
        let kept = read.iter().filter(|(_, text)| text.starts_with(&own));
        let kept: Vec<_> = kept.map(|(seq, text)| (*seq, text.clone())).collect();
        let sent: Vec<_> = seqs.into_iter().enumerate().map(|(n, seq)| (seq, format!("{own}{n}"))).collect();
        assert_eq!(kept, sent, "each message once, in the order of the sends");
    }
}

#[tokio::test]
async fn a_command_without_a_connection_is_not_carried_out() {
    let server = Server::start(Chat::default());
    let patient = Reconnect::default().first(Duration::from_millis(5)).max(Duration::from_millis(5));
    let (client, mut events) = Client::builder(&server.url())
        .reconnect(patient)
        .command_timeout(Duration::from_millis(200))
        .connect()
        .await
        .unwrap();
    client.join(&lobby(), JoinFrom::Now).await.unwrap();
    drop(server);
    assert!(matches!(next(&mut events).await, ClientEvent::Disconnected { .. }));
    let asked = Instant::now();
    assert_eq!(within(client.send(&lobby(), &Text::new("hi"))).await, Err(Error::NotConnected));
    assert!(asked.elapsed() >= Duration::from_millis(200));
    assert_eq!(within(client.ping()).await, Err(Error::NotConnected));
}

#[tokio::test]
async fn a_client_without_reconnects_ends_with_its_connection() {
    let server = Server::start(Chat::default());
    let (client, mut events) =
        Client::builder(&server.url()).reconnect(Reconnect::never()).connect().await.unwrap();
    client.reconnect().await.unwrap();
    assert!(matches!(next(&mut events).await, ClientEvent::Closed(Closed::Lost(Lost::ReconnectRequested))));
    assert_eq!(client.ping().await, Err(Error::Closed(Closed::Lost(Lost::ReconnectRequested))));
}

#[tokio::test]
async fn a_client_gives_up_after_its_limit() {
    let server = Server::start(Chat::default());
    let policy = eager().give_up(Duration::from_secs(2));
    let (client, mut events) = Client::builder(&server.url()).reconnect(policy).connect().await.unwrap();
    let ping = tokio::spawn(async move {
        let (client, mut error) = (client, None);
        while !matches!(error, Some(Error::Closed(_))) {
            error = client.ping().await.err();
            tokio::task::yield_now().await;
        }
        error
    });
    drop(server);
    assert!(matches!(next(&mut events).await, ClientEvent::Disconnected { .. }));
    let mut failures = 0;
    loop {
        match within(events.next()).await.unwrap() {
            ClientEvent::ReconnectFailed { error: ConnectError::Io(_), retry_in } => {
                assert!(retry_in <= Duration::from_millis(100));
                failures += 1;
            }
            ClientEvent::Closed(Closed::GaveUp(_)) => break,
            other => panic!("{other:?}"),
        }
    }
    assert!(failures > 0, "no attempt was announced");
    assert!(matches!(within(ping).await.unwrap(), Some(Error::Closed(Closed::GaveUp(_)))));
}
