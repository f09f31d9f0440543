use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chat_core::{
    Bus, BusSink, Chat, CloseCode, Denied, Endpoint, Identify, IdentifyRequest, Identity, NodeId, Notice,
    User, async_trait,
};
use chat_testkit::{Frame, Peer, connect, lobby, member, pass, settle, start, start_on, ticket};
use futures_util::FutureExt;
use parking_lot::Mutex;
use serde_json::json;

fn ann() -> User {
    User::guest("ann").expect("a name")
}

async fn assert_kicked(peer: &mut Peer) {
    let frames = peer.until_gone().await;
    let closing = Frame::Text(r#"{"type":"closing","code":4503,"reason":"kicked"}"#.to_owned());
    assert_eq!(frames[frames.len() - 2..], [closing, Frame::Close(Some(4503))]);
}

#[tokio::test(start_paused = true)]
async fn all_connections_of_a_kicked_user_are_closed_and_others_stay() {
    let chat = Chat::default();
    let mut phone = member(&chat, "ann").await;
    let mut laptop = connect(&chat, "ann").await;
    let mut bob = member(&chat, "bob").await;
    settle().await;
    assert_eq!(chat.kick(ann()), 2);
    assert_kicked(&mut phone).await;
    assert_kicked(&mut laptop).await;
    settle().await;
    assert_eq!((chat.counts().connections, chat.counts().sessions), (1, 1));
    assert_eq!(chat.members(&lobby()).len(), 1);
    assert_eq!(bob.ask(serde_json::json!({"type": "ping"})).await["type"], "pong");
    assert_eq!(chat.kick(ann()), 0);
    assert_eq!(chat.kick(User::new("bob", "bob").expect("a name")), 0, "a guest is another user");
    connect(&chat, "ann").await.join("lobby").await;
}

#[tokio::test(start_paused = true)]
async fn a_user_that_is_kicked_during_the_upgrade_is_closed_when_it_starts() {
    let chat = Chat::default();
    let (ticket, guard) = ticket(&chat, "/ws?name=ann").await;
    assert_eq!(chat.kick(ann()), 1);
    assert!(guard.observe(101).is_none());
    let mut peer = Peer::new(|wire| ticket.start(async { Ok::<_, std::convert::Infallible>(wire) }));
    assert_kicked(&mut peer).await;
    settle().await;
    assert_eq!((chat.counts().connections, chat.counts().sessions), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_user_that_is_kicked_between_admission_and_session_is_closed() {
    let chat = Chat::default();
    let ticket = chat.admit(Identity::from(ann())).expect("admitted");
    assert_eq!(ticket.user(), Some(&ann()));
    chat.kick(ann());
    let mut peer = Peer::new(|wire| ticket.serve(wire));
    assert_kicked(&mut peer).await;
    settle().await;
    assert_eq!(chat.counts().connections, 0);
}

#[tokio::test(start_paused = true)]
async fn a_handler_is_notified_of_a_kick_and_a_drain() {
    let chat = Chat::default();
    let kicked = chat.admit(Identity::from(ann())).expect("admitted");
    let drained = chat.admit(chat.next_guest()).expect("admitted");
    let closes =
        |ticket: chat_core::Ticket| tokio::spawn(async move { poll_fn(|cx| ticket.poll_close(cx)).await });
    let mut kicked = closes(kicked);
    let mut drained = closes(drained);
    settle().await;
    assert!((&mut kicked).now_or_never().is_none());
    chat.kick(ann());
    assert_eq!(kicked.await.ok(), Some(CloseCode::Kicked));
    assert!((&mut drained).now_or_never().is_none());
    chat.drain(Duration::from_secs(1)).await;
    assert_eq!(drained.await.ok(), Some(CloseCode::Restarting));
    assert_eq!(chat.counts().connections, 0);
}

#[tokio::test(start_paused = true)]
async fn a_kick_does_not_wait_for_a_peer_that_does_not_read() {
    let chat = Chat::default();
    let mut peer = start(&chat, "/ws?name=ann").await;
    settle().await;
    peer.taken();
    peer.block();
    peer.send(serde_json::json!({"type": "join", "room": "lobby"}));
    settle().await;
    chat.kick(ann());
    settle().await;
    assert_eq!(chat.counts().sessions, 0);
    peer.until_gone().await;
    assert_eq!(peer.closed_with(), Some(Some(4503)));
}

/// A bus whose notices come from the test.
#[derive(Clone, Default)]
struct Held(Arc<Mutex<Option<BusSink>>>);

#[async_trait]
impl Bus for Held {
    fn connect(&self, _node: &NodeId, sink: BusSink) {
        *self.0.lock() = Some(sink);
    }

    fn publish(&self, _node: &NodeId, _notice: &Notice) {}

    async fn disconnect(&self, _: &NodeId) {}
}

impl Held {
    /// Delivers a kick of Ann that another node has given this long ago.
    fn kick(&self, version: u64, seconds: u64) {
        let (node, kick) = ("b".parse().expect("a name"), Notice::Kick { user: ann().key(), version });
        let sink = self.0.lock().clone().expect("connected");
        sink.receive_late(&node, &kick, Duration::from_secs(seconds));
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_kick_of_another_node_closes_no_newer_connection() {
    let bus = Held::default();
    let chat = Chat::builder().bus(bus.clone()).build();
    let (mut old, reserved) = (connect(&chat, "ann").await, ticket(&chat, "/ws?name=ann").await);
    pass(2.0).await;
    let mut new = connect(&chat, "ann").await;
    bus.kick(1, 1);
    assert_kicked(&mut old).await;
    let (ticket, guard) = reserved;
    assert!(guard.observe(101).is_none());
    assert_kicked(&mut Peer::new(|wire| ticket.start(async { Ok::<_, std::convert::Infallible>(wire) })))
        .await;
    assert_eq!(new.ask(json!({"type": "ping"})).await["type"], "pong");
    bus.kick(2, 0);
    assert_kicked(&mut new).await;
}

/// A host that learns each user from the `hello`, whose token is the name of a guest.
struct Hello;

#[async_trait]
impl Identify for Hello {
    async fn identify(&self, _: &IdentifyRequest<'_>) -> Result<Identity, Denied> {
        Err(Denied::HelloRequired)
    }

    async fn hello(&self, token: &str, _: Option<SocketAddr>) -> Result<Identity, Denied> {
        User::guest(token).map(Identity::from).map_err(|_| Denied::Unauthorized)
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_kick_concerns_the_connections_whose_user_was_being_identified() {
    let bus = Held::default();
    let chat = Chat::builder().bus(bus.clone()).build();
    let endpoint = Endpoint::new(chat.clone()).identify(Hello);
    let mut old = start_on(&endpoint, "/ws").await;
    pass(2.0).await;
    let mut new = start_on(&endpoint, "/ws").await;
    bus.kick(1, 1);
    for peer in [&old, &new] {
        peer.send(json!({"type": "hello", "token": "ann"}));
    }
    assert_kicked(&mut old).await;
    assert_eq!(new.event().await["type"], "welcome");
    assert_eq!(new.ask(json!({"type": "ping"})).await["type"], "pong");
    assert_eq!(chat.counts().connections, 1);
}
