//! The identities of requests, as an endpoint asks for them.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chat_auth::{
    Auth, KeySet, NewToken, ProxyHeader, Role, SigningKey, Tickets, TokenVerifier, VerifyingKey,
};
use chat_core::{
    Chat, Decision, Denied, Endpoint, IdentifyRequest, Identity, RequestContext, TrustedProxies,
    UpgradeGuard, User,
};
use chat_testkit::{Frame, Peer, handshake, start_on};
use metrics_exporter_prometheus::PrometheusBuilder;
use parking_lot::Mutex;
use serde_json::json;

const SECRET: &str = "the current secret, of 32 bytes.";

fn key() -> SigningKey {
    SigningKey::from_secret(SECRET.as_bytes()).expect("a secret")
}

fn token() -> NewToken {
    NewToken::new("7", Duration::from_secs(60)).name("Ann").audience("chat")
}

fn auth() -> Auth {
    let keys = KeySet::new([VerifyingKey::from_secret(SECRET.as_bytes()).expect("a secret")]);
    Auth::new().tokens(TokenVerifier::new().audience("chat").leeway(Duration::ZERO), keys.expect("a set"))
}

/// Returns the id and the name of the user of a request, or the status and the body of the answer.
async fn user(
    auth: &Auth,
    target: &str,
    headers: &[(&str, &str)],
    peer: &str,
) -> Result<(String, String), (u16, String)> {
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
    user_with_bytes(auth, target, &headers, peer).await
}

async fn user_with_bytes(
    auth: &Auth,
    target: &str,
    headers: &[(&str, &[u8])],
    peer: &str,
) -> Result<(String, String), (u16, String)> {
    let proxies = TrustedProxies::new(["10.0.0.0/8".parse().expect("a network")]);
    let endpoint = Endpoint::new(Chat::default()).trust_proxies(proxies).identify(auth.clone());
    let mut head = handshake(target);
    head.headers.extend(headers);
    let peer: SocketAddr = peer.parse().expect("an address");
    let guard = UpgradeGuard::default();
    let context = RequestContext::default().with_guard(guard.request()).with_peer(peer);
    match endpoint.handle(&head, &context).await {
        Decision::Upgrade(upgrade) => {
            let (_, ticket) = upgrade.accept();
            assert!(guard.observe(101).is_none());
            let mut client = Peer::new(|wire| ticket.start(async { Ok::<_, Infallible>(wire) }));
            let user = &client.event().await["user"];
            let text = |field: &str| user[field].as_str().map(ToOwned::to_owned);
            Ok(text("id").zip(text("name")).expect("a user"))
        }
        Decision::Answer(answer) => {
            let status = answer.status();
            Err((status, String::from_utf8_lossy(&answer.into_body()).into_owned()))
        }
        decision => panic!("{decision:?}"),
    }
}

const CLIENT: &str = "192.0.2.7:50000";

#[tokio::test]
async fn a_token_is_found_in_authorization_and_in_a_subprotocol() {
    let token = token().sign(&key()).expect("a token");
    let (bearer, lower) = (format!("Bearer {token}"), format!("bearer  {token} "));
    let offered = format!("chat.v1, chat.token.{token}");
    let split = format!("chat.token.{token}");
    for headers in [
        vec![("Authorization", &*bearer)],
        vec![("authorization", &*lower)],
        vec![("Sec-WebSocket-Protocol", &*offered)],
        vec![("Sec-WebSocket-Protocol", "chat.v1"), ("Sec-WebSocket-Protocol", &*split)],
        vec![("Authorization", "Basic eDp5"), ("Sec-WebSocket-Protocol", &*offered)],
    ] {
        let ann = ("7".to_owned(), "Ann".to_owned());
        assert_eq!(user(&auth(), "/ws?name=bob", &headers, CLIENT).await, Ok(ann), "{headers:?}");
    }
}

#[tokio::test]
async fn metrics_count_refused_credentials_by_reason() {
    let auth = auth();
    for _ in 0..2 {
        let refused = user(&auth, "/ws", &[("Authorization", "Bearer x")], CLIENT).await;
        assert_eq!(refused.map_err(|(status, _)| status), Err(401));
    }
    let recorder = PrometheusBuilder::new().build_recorder();
    metrics::with_local_recorder(&recorder, || auth.publish_metrics());
    let text = recorder.handle().render();
    assert!(text.contains(r#"chat_auth_rejections_total{reason="malformed"} 2"#), "{text}");
    assert!(!text.contains("chat_auth_key_loads_total"), "{text}");
}

/// Returns tokens that are not valid, with the reason in the log.
fn invalid_tokens() -> [(&'static str, String); 10] {
    let other = SigningKey::from_secret(b"another secret with 32 bytes....").expect("a secret");
    let good = token().sign(&key()).expect("a token");
    [
        ("signature", token().sign(&other).expect("a token")),
        ("signature", good[..good.len() - 3].to_owned()),
        ("malformed", good.replace('.', "-")),
        ("audience", token().audience("other").sign(&key()).expect("a token")),
        ("expired", NewToken::new("7", Duration::ZERO).audience("chat").sign(&key()).expect("a token")),
        ("early", token().claim("nbf", 9_999_999_999_u64).sign(&key()).expect("a token")),
        ("claims", token().claim("name", json!(["a name that is a secret"])).sign(&key()).expect("a token")),
        (
            "algorithm",
            "eyJhbGciOiJub25lIn0.eyJzdWIiOiI3IiwiYXVkIjoiY2hhdCIsImV4cCI6OTk5OTk5OTk5OX0.".to_owned(),
        ),
        ("header", "eyJhbGciOnt9fQ.e30.AAAA".to_owned()),
        ("too_long", "A".repeat(9_000)),
    ]
}

#[tokio::test]
async fn refused_credentials_look_alike_and_the_log_has_the_reason_without_them() {
    let (log, _guard) = Log::start();
    let auth = auth().guests().tickets(Tickets::default());
    let (good, tokens) = (token().sign(&key()).expect("a token"), invalid_tokens());
    let mut bodies = Vec::new();
    for (_, token) in &tokens {
        bodies.push(user(&auth, "/ws", &[("Authorization", &format!("Bearer {token}"))], CLIENT).await);
    }
    bodies.push(user(&auth, "/ws?ticket=not-a-ticket", &[], CLIENT).await);
    let twice =
        [("Authorization", &*format!("Bearer {good}")), ("Authorization", &*format!("Bearer {good}"))];
    bodies.push(user(&auth, "/ws", &twice, CLIENT).await);
    assert!(bodies.iter().all(|body| matches!(body, Err((401, _))) && *body == bodies[0]), "{bodies:?}");

    let log = log.text();
    for (reason, token) in &tokens {
        assert!(log.contains(&format!("reason=\"{reason}\"")), "{reason}: {log}");
        for part in token.split('.').filter(|part| part.len() > 3) {
            assert!(!log.contains(part), "{reason}: {log}");
        }
    }
    assert!(
        !log.contains("not-a-ticket") && !log.contains("is a secret") && log.contains("192.0.2.7"),
        "{log}"
    );
    assert_eq!(auth.rejections()["signature"], 2);
    assert_eq!((auth.rejections()["ambiguous"], auth.rejections()["ticket"]), (1, 1));
}

#[tokio::test]
async fn a_hello_brings_a_token_and_each_invalid_token_closes_the_connection() {
    let (log, _guard) = Log::start();
    let auth = auth().hello_later();
    let endpoint = Endpoint::new(Chat::default()).identify(auth.clone());
    for (reason, token) in invalid_tokens() {
        let mut peer = start_on(&endpoint, "/ws").await;
        peer.send(json!({"type": "hello", "token": token}));
        let closing = r#"{"type":"closing","code":4501,"reason":"unauthorized"}"#;
        let frames = peer.until_gone().await;
        assert_eq!(frames, [Frame::Text(closing.to_owned()), Frame::Close(Some(4501))], "{reason}");
        let log = log.text();
        assert!(log.contains(&format!("reason=\"{reason}\"")), "{reason}: {log}");
        assert!(token.split('.').filter(|part| part.len() > 3).all(|part| !log.contains(part)), "{log}");
    }
    assert_eq!(auth.rejections().values().sum::<u64>(), invalid_tokens().len() as u64);

    let mut peer = start_on(&endpoint, "/ws").await;
    assert_eq!(peer.ask(json!({"type": "ping"})).await["code"], "hello_required");
    let token = token().sign(&key()).expect("a token");
    let welcome = peer.ask(json!({"type": "hello", "token": token})).await;
    assert_eq!((&welcome["type"], &welcome["user"]["id"]), (&json!("welcome"), &json!("7")));
    assert!(welcome["expires_at"].is_u64(), "{welcome}");

    assert!(user(&Auth::new().hello_later(), "/ws", &[], CLIENT).await.is_err(), "there are no tokens");
    let guest = user(&auth.guests(), "/ws?name=bob", &[], CLIENT).await;
    assert_eq!(guest, Ok(("bob".to_owned(), "bob".to_owned())));
}

#[tokio::test]
async fn a_ticket_admits_one_connection() {
    let _log = Log::start();
    let tickets = Tickets::default();
    let ticket = tickets.issue(Identity::from(User::new("7", "Ann").expect("a user"))).expect("a ticket");
    let (auth, target) = (auth().tickets(tickets), format!("/ws?ticket={ticket}"));
    assert_eq!(user(&auth, &target, &[], CLIENT).await, Ok(("7".to_owned(), "Ann".to_owned())));
    assert!(user(&auth, &target, &[], CLIENT).await.is_err());
    assert_eq!(auth.rejections()["ticket"], 1);
}

#[tokio::test]
async fn guests_are_admitted_only_without_credentials_and_if_the_host_allows_it() {
    let _log = Log::start();
    assert!(user(&auth(), "/ws?name=bob", &[], CLIENT).await.is_err());
    let auth = auth().guests();
    assert_eq!(user(&auth, "/ws?name=bob", &[], CLIENT).await, Ok(("bob".to_owned(), "bob".to_owned())));
    let unnamed = user(&auth, "/ws", &[], CLIENT).await.expect("a guest");
    assert!(unnamed.0.starts_with("guest-"));
    assert!(user(&auth, "/ws?name=bob", &[("Authorization", "Bearer x")], CLIENT).await.is_err());
    assert!(user(&auth, "/ws?name=bob", &[("Authorization", "Bearer")], CLIENT).await.is_err());
    assert!(user(&auth, "/ws?ticket=", &[], CLIENT).await.is_err());
}

#[tokio::test]
async fn malformed_credentials_make_no_guest() {
    let _log = Log::start();
    let tickets = Tickets::default();
    let ann = || Identity::from(User::new("7", "Ann").expect("a user"));
    let [good, other] = [(); 2].map(|()| tickets.issue(ann()).expect("a ticket"));
    let auth = auth().tickets(tickets).guests();
    for value in ["Bearer\tx", "bearer x\ty", "BEARER x y", "Bearer:x", "Bearer \u{e9}"] {
        let refused = user(&auth, "/ws?name=bob", &[("Authorization", value)], CLIENT).await;
        assert!(matches!(refused, Err((401, _))), "{value:?}");
    }
    for (name, value) in [
        ("Authorization", &b"Bearer \xff"[..]),
        ("Authorization", &b"Bearer\xff"[..]),
        ("Sec-WebSocket-Protocol", &b"chat.v1, chat.token.\xff"[..]),
    ] {
        let refused = user_with_bytes(&auth, "/ws?name=bob", &[(name, value)], CLIENT).await;
        assert!(matches!(refused, Err((401, _))), "{value:?}");
    }
    for target in ["/ws?ticket", "/ws?ticket&name=bob", "/ws?ticket=%ff"] {
        assert!(matches!(user(&auth, target, &[], CLIENT).await, Err((401, _))), "{target}");
    }
    assert_eq!(auth.rejections(), [("malformed", 11)].into());
    for target in [format!("/ws?ticket={good}&ticket={other}"), format!("/ws?ticket={good}&ticket")] {
        assert!(matches!(user(&auth, &target, &[], CLIENT).await, Err((401, _))), "{target}");
    }
    assert_eq!(auth.rejections()["ambiguous"], 2);
    assert!(user(&auth, &format!("/ws?ticket={good}"), &[], CLIENT).await.is_ok_and(|(id, _)| id == "7"));
}

#[tokio::test]
async fn a_request_is_shown_without_its_credentials() {
    let shown = Arc::new(Mutex::new(String::new()));
    let text = Arc::clone(&shown);
    let endpoint = Endpoint::new(Chat::default()).identify(move |request: &IdentifyRequest<'_>| {
        *text.lock() = format!("{request:?}");
        Err(Denied::Unauthorized)
    });
    let mut head = handshake("/ws?ticket=hidden");
    head.headers.push(("Authorization", b"Bearer hidden"));
    let guard = UpgradeGuard::default();
    let context = RequestContext::default().with_guard(guard.request());
    assert!(matches!(endpoint.handle(&head, &context).await, Decision::Answer(_)));
    let shown = shown.lock();
    assert!(shown.contains("\"/ws\"") && shown.contains("\"Authorization\""), "{shown}");
    let bytes = format!("{:?}", b"hidden").replace(['[', ']'], "");
    assert!(!shown.contains("hidden") && !shown.contains(&bytes), "{shown}");
}

#[tokio::test]
async fn the_header_of_a_proxy_counts_only_with_the_secret_and_from_its_network() {
    let _log = Log::start();
    let secret = "the secret of the proxy, 32 bytes.";
    let by_secret =
        ProxyHeader::with_secret("x-user", "x-secret", secret).expect("a secret").name_header("x-name");
    let network: chat_core::Network = "10.0.0.0/8".parse().expect("a network");
    let by_both = by_secret.clone().from_networks([network]);
    let by_network = ProxyHeader::with_networks("x-user", TrustedProxies::new([network]));
    let (proxy, forwarded) = ("10.0.0.1:700", ("X-Forwarded-For", "203.0.113.9"));
    let (id, name, right) = (("X-User", "7"), ("X-Name", "Ann"), ("X-Secret", secret));
    let wrong = ("X-Secret", "the secret of the proxy, 32 bytes!");
    let ann = || Ok(("7".to_owned(), "Ann".to_owned()));
    let refused = |result: &Result<_, (u16, String)>| matches!(result, Err((401, _)));

    let auth = Auth::new().proxy(by_secret).guests();
    assert_eq!(user(&auth, "/ws", &[id, name, right], CLIENT).await, ann());
    for headers in
        [vec![id], vec![id, wrong], vec![id, right, right], vec![id, id, right], vec![("X-User", ""), right]]
    {
        assert!(refused(&user(&auth, "/ws", &headers, CLIENT).await), "{headers:?}");
    }
    assert!(user(&auth, "/ws?name=bob", &[right], CLIENT).await.is_ok_and(|(id, _)| id == "bob"));

    let auth = Auth::new().proxy(by_both);
    assert_eq!(user(&auth, "/ws", &[id, name, right, forwarded], proxy).await, ann());
    assert!(refused(&user(&auth, "/ws", &[id, right], CLIENT).await));
    assert!(refused(&user(&auth, "/ws", &[id, wrong], proxy).await));

    let auth = Auth::new().proxy(by_network);
    assert_eq!(user(&auth, "/ws", &[id, forwarded], proxy).await, Ok(("7".to_owned(), "7".to_owned())));
    assert!(refused(&user(&auth, "/ws", &[id], CLIENT).await));
    assert_eq!(auth.rejections()["proxy"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_session_has_the_rights_of_its_token_until_it_expires() {
    let token = NewToken::new("7", Duration::from_secs(10)).name("Ann").audience("chat");
    let token = token.room("lobby", Role::Member).expect("a pattern").sign(&key()).expect("a token");
    let tickets = Tickets::default();
    let keys = KeySet::new([VerifyingKey::from_secret(SECRET.as_bytes()).expect("a secret")]).expect("a set");
    let verifier = TokenVerifier::new().audience("chat").leeway(Duration::ZERO);
    let claims = verifier.verify(&token, &keys, std::time::SystemTime::now()).expect("a valid token");
    let ticket = tickets.issue(Identity::from(claims)).expect("a ticket");
    let endpoint = Endpoint::new(Chat::default()).identify(Auth::new().tickets(tickets));

    let mut ann = start_on(&endpoint, &format!("/ws?ticket={ticket}")).await;
    assert_eq!(ann.event().await["user"], json!({"id": "7", "name": "Ann"}));
    ann.join("lobby").await;
    let refused = ann.ask(json!({"type": "join", "room": "staff"})).await;
    assert_eq!(refused["code"], "forbidden");
    ann.until_gone().await;
    assert_eq!(ann.closed_with(), Some(Some(4005)));
}

/// The log of one test.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Each test that may write a line of the log has a subscriber. If the first line of a kind were written on a
    /// thread without one, `tracing` could disable the lines of this kind for all threads.
    fn start() -> (Self, tracing::subscriber::DefaultGuard) {
        let (log, level) = (Self::default(), tracing::level_filters::LevelFilter::TRACE);
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_max_level(level).with_ansi(false);
        (log, tracing::subscriber::set_default(subscriber.with_writer(move || writer.clone()).finish()))
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().clone()).expect("text")
    }
}
