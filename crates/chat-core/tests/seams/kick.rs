use chat_core::{Chat, CloseCode, Identity, User};
use chat_testkit::{Frame, Peer, connect, lobby, member, settle, start, ticket};
use futures_util::FutureExt;
use std::future::poll_fn;

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
    chat.drain(std::time::Duration::from_secs(1)).await;
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
