//! Connections without a user, and credentials that a `hello` brings.

use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use chat_core::{
    Action, Authorize, Chat, Connection, Decision, Denied, Endpoint, Forbidden, Handler, Identify,
    IdentifyRequest, Identity, Incoming, Limits, Rate, RoomName, Ticket, Unavailable, User, UserKey,
    async_trait,
};
use chat_testkit::{Frame, Peer, chat, guarded, handshake, pass, seconds_until, settle, start_on};
use serde_json::{Value, json};

/// A host that takes the token of each user in a `hello`: the id, and after a colon what the identity has.
struct Tokens;

#[async_trait]
impl Identify for Tokens {
    async fn identify(&self, _: &IdentifyRequest<'_>) -> Result<Identity, Denied> {
        Err(Denied::HelloRequired)
    }

    async fn hello(&self, token: &str, peer: Option<SocketAddr>) -> Result<Identity, Denied> {
        let (id, what) = token.split_once(':').ok_or(Denied::Unauthorized)?;
        let mut identity = Identity::from(User::new(id, "Ann").map_err(|_| Denied::Unauthorized)?);
        match what {
            "hangs" => pending().await,
            "panics" => panic!("{peer:?}"),
            "fails" => Err(Unavailable::new("the keys are not there"))?,
            "slow" => tokio::time::sleep(Duration::from_secs(1)).await,
            "later" => Err(Denied::HelloRequired)?,
            "brief" => identity.expires_at = Some(SystemTime::now() + Duration::from_secs(30)),
            "long" => identity.expires_at = Some(SystemTime::now() + Duration::from_secs(100)),
            "rated" => identity.limits.rate = Some(Rate::new(1, 3)),
            room => identity.rights = Some(only(room.to_owned())),
        }
        Ok(identity)
    }
}

/// Returns rights for one room.
fn only(room: String) -> Arc<dyn Authorize> {
    Arc::new(
        move |_: &User, name: &RoomName, _: &Action<'_>| {
            if name.as_str() == room { Ok(()) } else { Err(Forbidden::Rights) }
        },
    )
}

fn hello(token: &str) -> Value {
    json!({"type": "hello", "token": token})
}

/// Opens a connection without a user.
async fn open(chat: &Chat) -> Peer {
    let peer = start_on(&Endpoint::new(chat.clone()).identify(Tokens), "/ws").await;
    settle().await;
    assert!(peer.taken().is_empty(), "nothing comes before the hello");
    peer
}

/// Waits for the end of a connection. Returns the code of its close.
async fn code_at_the_end(peer: &mut Peer) -> Option<u16> {
    match peer.until_gone().await.last() {
        Some(Frame::Close(code)) => *code,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_a_user_is_closed_in_time_and_counts_for_its_address() {
    let limits = Limits::default().with(|limits| limits.connection.max_per_address = 1);
    let chat = chat(limits);
    let endpoint = Endpoint::new(chat.clone()).identify(Tokens);
    let context = || guarded().with_peer("192.0.2.7:50000".parse().ok());
    let Decision::Upgrade(first) = endpoint.handle(&handshake("/ws"), &context()).await else {
        panic!("no upgrade")
    };
    let second = endpoint.handle(&handshake("/ws"), &context()).await;
    assert!(matches!(&second, Decision::Answer(answer) if answer.status() == 429), "{second:?}");
    drop(first);

    let mut peer = open(&chat).await;
    peer.text("x".repeat(100));
    assert_eq!(peer.event().await["code"], "bad_json");
    let seconds = seconds_until(async { assert_eq!(code_at_the_end(&mut peer).await, Some(4502)) }).await;
    assert!((9.9..10.1).contains(&seconds), "{seconds}");
    settle().await;
    assert_eq!((chat.counts().connections, chat.stats().closes.get(&4502)), (0, Some(&1)));
}

#[tokio::test(start_paused = true)]
async fn a_hello_without_an_answer_is_unavailable_and_one_that_is_not_valid_closes() {
    let chat = Chat::default();
    let mut peer = open(&chat).await;
    for (token, seconds) in [("7:fails", 0.0), ("7:panics", 0.0), ("7:hangs", 5.0)] {
        let waited = seconds_until(async {
            assert_eq!(peer.ask(hello(token)).await["code"], "unavailable", "{token}");
        });
        let waited = waited.await;
        assert!((seconds..seconds + 0.1).contains(&waited), "{token}: {waited}");
    }
    assert_eq!(peer.ask(hello("7:lobby")).await["type"], "welcome");
    for token in ["", "7:later"] {
        let mut peer = open(&chat).await;
        peer.send(hello(token));
        assert_eq!(code_at_the_end(&mut peer).await, Some(4501), "{token}");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_read_while_the_first_hello_is_in_flight() {
    let mut peer = open(&Chat::default()).await;
    peer.send(hello("7:slow"));
    for _ in 0..100 {
        peer.send(json!({"type": "ping"}));
    }
    settle().await;
    assert_eq!(peer.unread(), 100);
    peer.incoming(Incoming::End);
    assert_eq!(peer.event().await["type"], "welcome");
    for _ in 0..100 {
        assert_eq!(peer.event().await["type"], "pong");
    }
}

#[tokio::test(start_paused = true)]
async fn a_later_hello_replaces_the_rights_the_rate_and_the_expiry() {
    let no_pings =
        Limits::default().with(|limits| limits.connection.ping_interval = Duration::from_secs(1_000));
    let chat = chat(no_pings);
    let mut peer = open(&chat).await;
    peer.ask(hello("7:lobby")).await;
    peer.join("lobby").await;
    assert_eq!(peer.ask(json!({"type": "join", "room": "staff"})).await["code"], "forbidden");
    assert_eq!(peer.ask(hello("7:staff")).await["type"], "welcome");
    peer.join("staff").await;
    assert_eq!(peer.ask(json!({"type": "join", "room": "lobby"})).await["code"], "forbidden");
    assert_eq!(chat.members(&"lobby".parse().expect("a name")).len(), 1, "the user stays in the room");

    peer.ask(hello("7:brief")).await;
    assert_eq!(peer.event().await["type"], "expiring", "less than the notice is left");
    peer.ask(hello("7:long")).await;
    let seconds = seconds_until(async { assert_eq!(peer.event().await["type"], "expiring") }).await;
    assert!((39.9..40.1).contains(&seconds), "{seconds}");

    assert_eq!(peer.ask(hello("7:rated")).await["expires_at"], Value::Null);
    pass(100.0).await;
    for answer in ["pong", "pong", "pong", "error"] {
        assert_eq!(peer.ask(json!({"type": "ping"})).await["type"], answer);
    }
    assert_eq!(chat.stats().rate_limited.user, 1);
}

#[tokio::test(start_paused = true)]
async fn a_user_that_is_kicked_during_a_hello_is_closed_at_once() {
    let chat = Chat::default();
    let mut peer = open(&chat).await;
    peer.send(hello("7:slow"));
    pass(0.5).await;
    assert_eq!(chat.kick(UserKey::new("7")), 0, "the user is not known yet");
    assert_eq!(code_at_the_end(&mut peer).await, Some(4503));
    let mut peer = open(&chat).await;
    peer.ask(hello("7:lobby")).await;
    assert_eq!(chat.kick(UserKey::new("7")), 1);
    assert_eq!(code_at_the_end(&mut peer).await, Some(4503));
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_connections_without_a_user_after_their_hello() {
    let chat = Chat::default();
    let (mut idle, mut busy) = (open(&chat).await, open(&chat).await);
    busy.send(hello("7:slow"));
    settle().await;
    let drained = chat.drain(Duration::from_secs(10));
    let ends = async {
        assert_eq!(code_at_the_end(&mut idle).await, Some(1012));
        assert_eq!(busy.event().await["type"], "welcome");
        assert_eq!(code_at_the_end(&mut busy).await, Some(1012));
    };
    let (drained, ()) = tokio::join!(drained, ends);
    assert_eq!((drained.connections, drained.abandoned), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn code_that_reads_no_hello_gets_no_connection_without_a_user() {
    struct Nothing;
    impl Handler for Nothing {
        fn poll(&mut self, _: &mut std::task::Context<'_>, _: &mut dyn Connection) -> std::task::Poll<()> {
            std::task::Poll::Ready(())
        }
    }
    let endpoint = Endpoint::new(Chat::default()).identify(Tokens).handler(|_: Ticket| Box::new(Nothing));
    let decision = endpoint.handle(&handshake("/ws"), &guarded()).await;
    assert!(matches!(&decision, Decision::Answer(answer) if answer.status() == 401), "{decision:?}");
}

#[tokio::test(start_paused = true)]
async fn a_check_that_the_host_replaces_counts_for_open_connections() {
    let chat = Chat::default();
    let endpoint = Endpoint::new(chat.clone()).identify(Tokens);
    let mut ann = start_on(&endpoint, "/ws").await;
    assert_eq!(ann.ask(hello("7:lobby")).await["type"], "welcome");
    endpoint.set_identify(Some(Arc::new(|_: &IdentifyRequest<'_>| Err::<Identity, _>(Denied::Unauthorized))));
    assert_eq!(ann.ask(hello("7:lobby")).await["code"], "already_identified");
    endpoint.set_identify(Some(Arc::new(Tokens)));
    assert_eq!(ann.ask(hello("7:lobby")).await["type"], "welcome");
}

#[tokio::test(start_paused = true)]
async fn commands_between_a_hello_and_a_close_are_carried_out() {
    let chat = Chat::default();
    let mut ann = open(&chat).await;
    assert_eq!(ann.ask(hello("7:lobby")).await["type"], "welcome");
    ann.join("lobby").await;
    ann.send(hello("7:slow"));
    ann.say("the last word");
    ann.close(1000);
    ann.until_gone().await;
    let lobby = "lobby".parse().expect("a name");
    let page = chat.history(&lobby, chat_core::Range::newest(10)).await.expect("a page");
    assert_eq!(page.messages.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_hello_in_flight_is_answered_before_the_credentials_expire() {
    let chat = Chat::default();
    let mut ann = open(&chat).await;
    assert_eq!(ann.ask(hello("7:brief")).await["type"], "welcome");
    pass(15.0).await;
    assert_eq!(ann.ask(json!({"type": "ping"})).await["type"], "pong");
    pass(14.5).await;
    let renewed = ann.ask(hello("7:slow")).await;
    assert_eq!(renewed["type"], "welcome", "{renewed}");
    pass(10.0).await;
    assert_eq!(ann.ask(json!({"type": "ping"})).await["type"], "pong");
}
