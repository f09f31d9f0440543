//! The conditions of the credentials of a connection: their expiry, rights and limits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use chat_core::{
    Action, AdmitError, Authorize, Chat, Denied, Endpoint, Forbidden, IdentifyRequest, Identity, Limits,
    Rate, RequestContext, RoomName, TrustedProxies, User,
};
use chat_testkit::{Frame, chat, guarded, handshake, pass, start_on};
use serde_json::json;

fn ann() -> Identity {
    Identity::from(User::new("7", "Ann").expect("a user"))
}

/// Returns an endpoint on which each connection has this identity.
fn endpoint(chat: &Chat, identity: &Identity) -> Endpoint {
    let identity = identity.clone();
    Endpoint::new(chat.clone()).identify(move |_: &IdentifyRequest<'_>| Ok(identity.clone()))
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_closed_when_its_credentials_expire() {
    let mut identity = ann();
    identity.expires_at = Some(SystemTime::now() + Duration::from_secs(10));
    let chat = Chat::default();
    let mut peer = start_on(&endpoint(&chat, &identity), "/ws").await;
    for event in ["welcome", "expiring"] {
        assert_eq!(peer.event().await["type"], event);
    }
    pass(9.0).await;
    peer.join("lobby").await;
    pass(1.0).await;
    let frames = peer.until_gone().await;
    let Some(Frame::Text(closing)) = frames.first() else { panic!("{frames:?}") };
    assert!(closing.contains(r#""type":"closing","code":4005"#), "{closing}");
    assert_eq!(peer.closed_with(), Some(Some(4005)));
    assert_eq!(chat.stats().closes.get(&4005), Some(&1));
}

#[tokio::test(start_paused = true)]
async fn the_rights_of_the_credentials_and_those_of_the_host_must_both_allow_an_action() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let host = move |_: &User, room: &RoomName, _: &Action<'_>| {
        count.fetch_add(1, Ordering::SeqCst);
        if room.as_str() == "staff" { Err(Forbidden::Rights) } else { Ok(()) }
    };
    let mut identity = ann();
    let rights = |_: &User, room: &RoomName, _: &Action<'_>| match room.as_str() {
        "lobby" | "staff" => Ok(()),
        _ => Err(Forbidden::Rights),
    };
    identity.rights = Some(Arc::new(rights) as Arc<dyn Authorize>);
    let chat = Chat::builder().authorize(host).build();
    let mut peer = start_on(&endpoint(&chat, &identity), "/ws").await;
    assert_eq!(peer.event().await["type"], "welcome");
    for (room, answer, times) in [("lobby", "joined", 1), ("staff", "error", 2), ("secret", "error", 2)] {
        let reply = peer.ask(json!({"type": "join", "room": room})).await;
        assert_eq!(reply["type"], answer, "{room}: {reply}");
        assert_eq!(asked.load(Ordering::SeqCst), times, "{room}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_limits_of_the_credentials_replace_those_of_the_chat() {
    let chat = chat(Limits::default().with(|limits| limits.connection.max_per_user = 1));
    let mut identity = ann();
    identity.limits.max_connections = Some(2);
    identity.limits.rate = Some(Rate::new(1, 3));
    let mut first = start_on(&endpoint(&chat, &identity), "/ws").await;
    assert_eq!(first.event().await["type"], "welcome");
    let second = chat.admit(identity.clone());
    assert!(second.is_ok());
    assert_eq!(chat.admit(identity).err(), Some(AdmitError::FullForUser));
    for answer in ["pong", "pong", "pong", "error"] {
        assert_eq!(first.ask(json!({"type": "ping"})).await["type"], answer);
    }
    assert_eq!(chat.stats().rate_limited.user, 1);
}

#[tokio::test(start_paused = true)]
async fn the_direct_peer_is_the_trusted_proxy() {
    let seen = |request: &IdentifyRequest<'_>| {
        let (peer, direct) = (request.peer(), request.direct_peer());
        assert_eq!(peer.map(|peer| peer.to_string()).as_deref(), Some("203.0.113.9:0"));
        assert_eq!(direct.map(|peer| peer.to_string()).as_deref(), Some("10.0.0.1:700"));
        Err(Denied::Unauthorized)
    };
    let proxies = TrustedProxies::new(["10.0.0.0/8".parse().expect("a network")]);
    let endpoint = Endpoint::new(Chat::default()).trust_proxies(proxies).identify(seen);
    let mut head = handshake("/ws");
    head.headers.push(("X-Forwarded-For", b"203.0.113.9"));
    let context: RequestContext<'_> = guarded().with_peer("10.0.0.1:700".parse().ok());
    let decision = endpoint.handle(&head, &context).await;
    assert!(format!("{decision:?}").contains("401"), "{decision:?}");
}
