use std::future::pending;
use std::time::Duration;

use async_trait::async_trait;
use chat_core::{
    Answer, Chat, Decision, Denied, Endpoint, Identify, IdentifyRequest, Identity, Limits, RequestContext,
    RequestHead, Text, Unavailable, UpgradeGuard, User,
};
use chat_testkit::{Frame, connect, guarded, handshake, lobby, seconds_until, start_on};
use serde_json::{Value, json};

/// The users of a host: the part of the target after `user=` is the id.
struct Users;

#[async_trait]
impl Identify for Users {
    async fn identify(&self, request: &IdentifyRequest<'_>) -> Result<Identity, Denied> {
        match request.head().target.split_once("user=").map_or("", |(_, id)| id) {
            "" => Err(Denied::Unauthorized),
            "failing" => Err(Unavailable::new("the directory is down").into()),
            "hanging" => pending().await,
            id => Ok(User::new(id, &id.to_uppercase()).map_err(|_| Denied::Unauthorized)?.into()),
        }
    }
}

fn endpoint(chat: &Chat) -> Endpoint {
    Endpoint::new(chat.clone()).identify(Users)
}

async fn refusal(endpoint: &Endpoint, head: &RequestHead<'_>) -> Answer {
    match endpoint.handle(head, &guarded()).await {
        Decision::Answer(answer) => answer,
        other => panic!("{other:?}"),
    }
}

fn code(answer: Answer) -> Value {
    let body: Value = serde_json::from_slice(&answer.into_body()).expect("JSON");
    body["error"]["code"].clone()
}

#[tokio::test(start_paused = true)]
async fn a_connection_has_the_user_that_the_host_identifies() {
    let chat = Chat::default();
    let mut ann = start_on(&endpoint(&chat), "/ws?user=ann").await;
    assert_eq!(ann.event().await["user"], json!({"id": "ann", "name": "ANN"}));
    ann.join("lobby").await;
    assert_eq!(chat.members(&lobby()), [User::new("ann", "ANN").expect("a name")]);
    assert_eq!(chat.rooms_of(User::new("ann", "another name").expect("a name")), [lobby()]);
    assert_eq!(chat.rooms_of(User::guest("ann").expect("a name")), [], "a guest is another user");
}

#[tokio::test(start_paused = true)]
async fn a_request_without_an_identity_is_unauthorized() {
    let chat = Chat::default();
    let answer = refusal(&endpoint(&chat), &handshake("/ws")).await;
    assert_eq!(answer.status(), 401);
    assert!(answer.headers().contains(&("www-authenticate", "Bearer".to_owned())));
    assert_eq!(code(answer), "unauthorized");
    assert_eq!(chat.counts().connections, 0);
}

#[tokio::test(start_paused = true)]
async fn an_identity_that_fails_or_hangs_is_unavailable() {
    let chat = Chat::default();
    for (user, seconds) in [("failing", 0.0), ("hanging", 5.0)] {
        let waited = seconds_until(async {
            let answer = refusal(&endpoint(&chat), &handshake(&format!("/ws?user={user}"))).await;
            assert_eq!(answer.status(), 503, "{user}");
            assert!(answer.headers().iter().any(|(name, _)| *name == "retry-after"));
            assert_eq!(code(answer), "unavailable", "{user}");
        });
        let waited = waited.await;
        assert!((seconds..seconds + 0.1).contains(&waited), "{waited}");
    }
    assert_eq!(chat.counts().connections, 0);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_away_while_it_is_identified_leaves_no_permit() {
    let chat = Chat::default();
    let (endpoint, guard, head) = (endpoint(&chat), UpgradeGuard::default(), handshake("/ws?user=hanging"));
    let context = RequestContext::default().with_guard(guard.request());
    let asked = tokio::time::timeout(Duration::from_secs(1), endpoint.handle(&head, &context)).await;
    assert!(asked.is_err(), "{asked:?}");
    assert_eq!(chat.counts().connections, 0);
    assert!(guard.observe(500).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_user_is_the_same_on_a_socket_and_in_a_post() {
    let chat = Chat::default();
    let mut ann = start_on(&endpoint(&chat), "/ws?user=ann").await;
    ann.event().await;
    ann.join("lobby").await;
    let send = json!({"type": "send", "room": "lobby", "key": "k", "body": {"text": "hi"}});
    assert_eq!(ann.ask(send.clone()).await["seq"], 1);
    let user = User::new("ann", "Ann").expect("a name");
    let posted = chat.post_with_key(&lobby(), &user, &Text::new("hi"), "k").await.expect("posted");
    assert_eq!((posted.seq, posted.duplicate), (1, true));
    let mut guest = connect(&chat, "ann").await;
    guest.join("lobby").await;
    assert_eq!(guest.ask(send).await["seq"], 2, "a guest of this name is another user");
}

#[tokio::test(start_paused = true)]
async fn the_host_reads_headers_cookies_and_the_guest() {
    let mut head = handshake("/ws?name=ann");
    head.headers.push(("Cookie", b"theme=dark; session=s1"));
    head.headers.push(("X-Twice", b"1"));
    head.headers.push(("X-Twice", b"2"));
    let endpoint = Endpoint::new(Chat::default()).identify(|request: &IdentifyRequest<'_>| {
        assert_eq!(request.cookie("session"), Some("s1"));
        assert_eq!((request.cookie("none"), request.header("x-twice")), (None, None));
        assert_eq!(request.header("host"), Some("chat.example"));
        request.guest().cloned().map(Identity::from).ok_or(Denied::Unauthorized)
    });
    let decision = endpoint.handle(&head, &guarded()).await;
    assert!(matches!(decision, Decision::Upgrade(_)), "{decision:?}");
}

#[tokio::test(start_paused = true)]
async fn a_full_or_draining_chat_does_not_ask_the_host() {
    let limits = Limits::default().with(|limits| limits.connection.max_connections = 1);
    let chat = Chat::builder().limits(limits).build();
    let endpoint = Endpoint::new(chat.clone())
        .identify(|_: &IdentifyRequest<'_>| -> Result<Identity, Denied> { panic!("the host is asked") });
    let ticket = chat.admit(chat.next_guest()).expect("the first connection");
    assert_eq!(code(refusal(&endpoint, &handshake("/ws")).await), "overloaded");
    drop(ticket);
    chat.drain(Duration::from_secs(1)).await;
    assert_eq!(code(refusal(&endpoint, &handshake("/ws")).await), "draining");
    assert_eq!(chat.counts().connections, 0);
}

/// A host that answers after a second.
struct Slow;

#[async_trait]
impl Identify for Slow {
    async fn identify(&self, _: &IdentifyRequest<'_>) -> Result<Identity, Denied> {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok(User::new("7", "Ann").map_err(|_| Denied::Unauthorized)?.into())
    }
}

#[tokio::test(start_paused = true)]
async fn a_user_that_is_kicked_while_it_is_identified_is_closed_at_once() {
    let chat = Chat::default();
    let endpoint = Endpoint::new(chat.clone()).identify(Slow);
    let kick = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        chat.kick(User::new("7", "Ann").expect("a name"))
    };
    let (mut ann, kicked) = tokio::join!(start_on(&endpoint, "/ws"), kick);
    assert_eq!(kicked, 0, "no connection of the user is admitted yet");
    let frames = ann.until_gone().await;
    assert_eq!(frames.last(), Some(&Frame::Close(Some(4503))));
}
