//! Upgrades: from a request to a session. No session starts without a 101.

use std::future::pending;
use std::time::Duration;

use chat_core::{
    Answer, Chat, Decision, Endpoint, Incoming, Limits, MemoryStore, Readiness, RequestContext, RequestHead,
    UpgradeGuard,
};
use chat_testkit::{
    Peer, chat, connect, guarded, guest, handshake, plain, seconds_until, settle, start, ticket,
};
use serde_json::{Value, json};

type Failure = std::convert::Infallible;

async fn answer(endpoint: &Endpoint, head: &RequestHead<'_>) -> Answer {
    match endpoint.handle(head, &guarded()).await {
        Decision::Answer(answer) => answer,
        other => panic!("not answered: {other:?}"),
    }
}

fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    let mut values = answer.headers().iter().filter(|(n, _)| *n == name);
    let value = values.next().map(|(_, value)| value.as_str());
    assert!(values.next().is_none(), "{name} stands twice");
    value
}

fn body(answer: Answer) -> Value {
    serde_json::from_slice(&answer.into_body()).expect("JSON")
}

fn connections(chat: &Chat) -> (usize, usize) {
    (chat.counts().connections, chat.counts().sessions)
}

#[tokio::test(start_paused = true)]
async fn a_session_starts_when_the_101_has_passed_and_not_before() {
    let chat = Chat::default();
    let (ticket, guard) = ticket(&chat, "/ws").await;
    let mut peer = Peer::new(|wire| ticket.start(async { Ok::<_, Failure>(wire) }));
    settle().await;
    assert_eq!(peer.taken(), []);
    assert_eq!(connections(&chat), (1, 0));
    assert!(guard.observe(101).is_none());
    assert_eq!(peer.event().await["type"], "welcome");
    assert_eq!(connections(&chat), (1, 1));
    peer.close(1000);
    peer.until_gone().await;
    assert!(peer.is_over().await);
    assert_eq!(connections(&chat), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn an_unconfirmed_upgrade_ends_after_its_timeout() {
    let chat = chat(Limits::default().with(|limits| limits.http.upgrade_timeout = Duration::from_secs(3)));
    let (ticket, guard) = ticket(&chat, "/ws").await;
    let mut peer = Peer::new(|wire| ticket.start(async { Ok::<_, Failure>(wire) }));
    let waited = seconds_until(async { assert_eq!(peer.until_gone().await, []) }).await;
    assert!((3.0..3.1).contains(&waited), "{waited}");
    assert!(peer.is_over().await);
    assert_eq!(connections(&chat), (0, 0));
    let late = guard.observe(101).map(|answer| answer.status());
    assert_eq!(late, Some(500), "a 101 that comes too late");
}

#[tokio::test(start_paused = true)]
async fn an_upgrade_with_a_changed_response_gets_a_500_and_no_session() {
    let chat = Chat::default();
    for status in [200, 302, 404, 500] {
        let (ticket, guard) = ticket(&chat, "/ws").await;
        let mut peer = Peer::new(|wire| ticket.start(async { Ok::<_, Failure>(wire) }));
        let instead = guard.observe(status).expect("an answer instead");
        assert_eq!(instead.status(), 500);
        assert_eq!(body(instead)["error"]["code"], "internal_error");
        let waited = seconds_until(async { assert_eq!(peer.until_gone().await, []) }).await;
        assert!(waited < 0.1, "{waited}");
    }
    assert_eq!(connections(&chat), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn an_upgrade_whose_request_is_dropped_ends_at_once() {
    let chat = Chat::default();
    let (ticket, guard) = ticket(&chat, "/ws").await;
    let mut peer = Peer::new(|wire| ticket.start(async { Ok::<_, Failure>(wire) }));
    settle().await;
    drop(guard);
    let waited = seconds_until(async { assert_eq!(peer.until_gone().await, []) }).await;
    assert!(waited < 0.1, "{waited}");
    assert_eq!(connections(&chat), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn an_upgrade_that_yields_no_connection_ends_without_a_session() {
    let chat = chat(Limits::default().with(|limits| limits.http.upgrade_timeout = Duration::from_secs(3)));
    let (failing, guard) = ticket(&chat, "/ws").await;
    assert!(guard.observe(101).is_none());
    let mut failing = Peer::new(|wire| {
        failing.start(async move {
            drop(wire);
            Err::<chat_testkit::Wire, _>("the client went away")
        })
    });
    assert!(failing.is_over().await);
    assert_eq!(connections(&chat), (0, 0));

    let (hanging, guard) = ticket(&chat, "/ws").await;
    assert!(guard.observe(101).is_none());
    let mut hanging = Peer::new(|wire| {
        hanging.start(async {
            pending::<()>().await;
            Ok::<_, Failure>(wire)
        })
    });
    let waited = seconds_until(hanging.until_gone()).await;
    assert!((3.0..3.1).contains(&waited), "{waited}");
    assert!(hanging.is_over().await);
    assert_eq!(connections(&chat), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn an_upgrade_that_is_dropped_frees_its_connection() {
    let chat = Chat::default();
    let endpoint = Endpoint::new(chat.clone());
    let upgrade = async |guard: &UpgradeGuard| {
        let context = RequestContext::default().with_guard(guard.request());
        match endpoint.handle(&handshake("/ws"), &context).await {
            Decision::Upgrade(upgrade) => upgrade,
            other => panic!("not an upgrade: {other:?}"),
        }
    };
    let guard = UpgradeGuard::default();
    let dropped = upgrade(&guard).await;
    assert_eq!(connections(&chat), (1, 0));
    drop(dropped);
    assert_eq!(connections(&chat), (0, 0));
    assert_eq!(guard.observe(101).map(|answer| answer.status()), Some(500), "a 101 without a session");

    let guard = UpgradeGuard::default();
    let refused = upgrade(&guard).await.refuse();
    assert_eq!(refused.status(), 500);
    assert!(guard.observe(500).is_none(), "the 500 is the chat's own");
    assert_eq!(connections(&chat), (0, 0));

    let (answer, ticket) = upgrade(&UpgradeGuard::default()).await.accept();
    assert_eq!(answer.status(), 101);
    drop(ticket);
    assert_eq!(connections(&chat), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn an_upgrade_without_a_guard_is_refused() {
    let chat = Chat::default();
    let decision = Endpoint::new(chat.clone()).handle(&handshake("/ws"), &RequestContext::default()).await;
    let Decision::Answer(answer) = decision else {
        panic!("{decision:?}");
    };
    assert_eq!(answer.status(), 500);
    assert_eq!(connections(&chat), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn the_101_has_only_the_headers_of_the_handshake() {
    let endpoint = Endpoint::new(Chat::default());
    let mut head = handshake("/ws");
    let accept = [
        ("upgrade", "websocket".to_owned()),
        ("connection", "Upgrade".to_owned()),
        ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".to_owned()),
    ];
    for offered in [None, Some("chat.v0, chat.v1")] {
        let mut expected = accept.to_vec();
        if let Some(offered) = offered {
            head.headers.push(("Sec-WebSocket-Protocol", offered.as_bytes()));
            expected.push(("sec-websocket-protocol", "chat.v1".to_owned()));
        }
        let Decision::Upgrade(upgrade) = endpoint.handle(&head, &guarded()).await else {
            panic!("not an upgrade");
        };
        assert_eq!(upgrade.accept().0.headers(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_over_the_limit_is_refused_until_one_ends() {
    let chat = chat(Limits::default().with(|limits| {
        limits.connection.max_connections = 2;
        limits.http.retry_after = Duration::from_secs(7);
    }));
    let endpoint = Endpoint::new(chat.clone());
    let first = connect(&chat, "ann").await;
    let (second, _guard) = ticket(&chat, "/ws").await;
    let refused = answer(&endpoint, &handshake("/ws")).await;
    assert_eq!(refused.status(), 503);
    assert_eq!(header(&refused, "retry-after"), Some("7"));
    assert_eq!(header(&refused, "content-type"), Some("application/json"));
    assert_eq!(body(refused)["error"]["code"], "overloaded");
    assert_eq!(connections(&chat), (2, 1));
    drop(second);
    let third = connect(&chat, "cid").await;
    assert_eq!(answer(&endpoint, &handshake("/ws")).await.status(), 503);
    first.kill();
    settle().await;
    let fourth = connect(&chat, "dan").await;
    assert_eq!(connections(&chat), (2, 2));
    third.close(1000);
    fourth.incoming(Incoming::Lost(std::io::ErrorKind::ConnectionReset.into()));
    settle().await;
    assert_eq!(connections(&chat), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_draining_chat_refuses_and_advises_when_to_retry() {
    let chat = Chat::default();
    let endpoint = Endpoint::new(chat.clone()).with_status_pages();
    assert_eq!(answer(&endpoint, &plain("GET", "/readyz")).await.status(), 200);
    chat.drain(Duration::ZERO).await;
    let refused = answer(&endpoint, &handshake("/ws")).await;
    assert_eq!(refused.status(), 503);
    assert_eq!(header(&refused, "retry-after"), Some("2"));
    assert_eq!(body(refused)["error"]["code"], "draining");
    let ready = answer(&endpoint, &plain("GET", "/readyz")).await;
    assert_eq!(ready.status(), 503);
    assert_eq!(body(ready)["ready"], false);
    assert_eq!(answer(&endpoint, &plain("GET", "/healthz")).await.status(), 200);
    assert_eq!(connections(&chat), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_guest_has_the_name_it_asks_for() {
    let chat = Chat::default();
    for (target, name) in [("/ws?name=%ED%95%9C%EA%B8%80", "한글"), ("/ws?x=1&name=Ann+Lee", "Ann Lee")] {
        let mut peer = start(&chat, target).await;
        assert_eq!(peer.event().await["user"], guest(name), "{target}");
        peer.close(1000);
    }
    let endpoint = Endpoint::new(chat.clone());
    for target in ["/ws?name=", "/ws?name=+", "/ws?name=%ff", "/ws?name=a%00", "/ws?name=guest-2"] {
        let refused = answer(&endpoint, &handshake(target)).await;
        assert_eq!(refused.status(), 400, "{target}");
        assert_eq!(body(refused)["error"]["code"], "bad_name");
    }
    settle().await;
    assert_eq!(connections(&chat), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn guests_without_a_name_have_ids_that_no_chat_uses_again() {
    let mut ids = std::collections::HashSet::new();
    for _ in 0..3 {
        let chat = Chat::builder().store(MemoryStore::default()).build();
        for target in ["/ws", "/ws?", "/ws?x=1"] {
            let mut peer = start(&chat, target).await;
            let user = peer.event().await["user"].take();
            let (id, name) = (user["id"].as_str().expect("an id"), user["name"].as_str().expect("a name"));
            assert!(id.starts_with(name) && name.len() == "guest-k7f2mq".len(), "{user}");
            // No client can be this guest, and none can foretell the next one.
            let taken = answer(&Endpoint::new(chat.clone()), &handshake(&format!("/ws?name={id}"))).await;
            assert_eq!(body(taken)["error"]["code"], "bad_name");
            assert!(ids.insert(id.to_owned()), "{user}");
            peer.close(1000);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn status_pages_answer_their_paths_and_the_host_answers_all_others() {
    let chat = Chat::default();
    let _member = chat_testkit::member(&chat, "ann").await;
    let bare = Endpoint::new(chat.clone());
    for target in ["/", "/healthz", "/readyz", "/other", "/ws/", "/WS"] {
        let decision = bare.handle(&plain("GET", target), &RequestContext::default()).await;
        assert!(matches!(decision, Decision::Pass), "{target}: {decision:?}");
    }
    let site = Endpoint::new(chat).path("/chat").with_status_pages();
    let health = answer(&site, &plain("GET", "/healthz?x")).await;
    assert_eq!((health.status(), &health.into_body()[..]), (200, &b"ok\n"[..]));
    let ready = answer(&site, &plain("HEAD", "/readyz")).await;
    assert_eq!(ready.status(), 200);
    assert_eq!(header(&ready, "cache-control"), Some("no-store"));
    assert_eq!(body(ready), json!({"ready": true}));
    let page = answer(&site, &plain("GET", "/")).await;
    assert_eq!(header(&page, "content-type"), Some("text/html; charset=utf-8"));
    let page = String::from_utf8(page.into_body().to_vec()).expect("UTF-8");
    assert!(page.contains("/chat") && !page.contains("/ws"));
    for target in ["/ws", "/%68ealthz", "//", "/healthz/"] {
        let decision = site.handle(&plain("GET", target), &RequestContext::default()).await;
        assert!(matches!(decision, Decision::Pass), "{target}: {decision:?}");
    }
    let missing = Answer::not_found();
    assert_eq!(missing.status(), 404);
    assert_eq!(body(missing)["error"]["code"], "not_found");
    let wrong = answer(&site, &plain("POST", "/readyz")).await;
    assert_eq!((wrong.status(), header(&wrong, "allow")), (405, Some("GET, HEAD")));
    let wrong = answer(&site, &plain("POST", "/chat")).await;
    assert_eq!((wrong.status(), header(&wrong, "allow")), (405, Some("GET")));
    let wrong = answer(&site, &plain("GET", "/chat")).await;
    assert_eq!((wrong.status(), header(&wrong, "upgrade")), (426, Some("websocket")));
    assert_eq!(body(wrong)["error"]["code"], "upgrade_required");
}

#[tokio::test]
async fn readyz_has_numbers_for_requests_from_this_machine_only() {
    let site = Endpoint::new(Chat::default()).with_status_pages().with_readiness(|| {
        let mut readiness = Readiness::default().with("store", "failing");
        readiness.is_ready = false;
        readiness
    });
    let all = json!({"ready": false, "connections": 0, "sessions": 0, "rooms": 0, "store": "failing"});
    let brief = json!({"ready": false});
    for (peer, header, expected) in [
        (Some("127.0.0.1:5000"), None, &all),
        (Some("[::ffff:127.0.0.1]:5000"), Some("Accept"), &all),
        (Some("[::1]:5000"), Some("X-Forwarded-For"), &brief),
        (Some("127.0.0.1:5000"), Some("Forwarded"), &brief),
        (Some("127.0.0.1:5000"), Some("Via"), &brief),
        (Some("192.0.2.7:5000"), None, &brief),
        (None, None, &brief),
    ] {
        let mut head = plain("GET", "/readyz");
        head.headers.extend(header.map(|name| (name, &b"127.0.0.1"[..])));
        let context = guarded().with_peer(peer.map(|peer| peer.parse().expect("an address")));
        let Decision::Answer(answer) = site.handle(&head, &context).await else { panic!("not answered") };
        assert_eq!((answer.status(), &body(answer)), (503, expected), "{peer:?} {header:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_probe_gets_the_answer_of_a_handshake_and_takes_no_connection() {
    let chat = chat(Limits::default().with(|limits| limits.connection.max_connections = 1));
    let endpoint = Endpoint::new(chat.clone());
    let mut probe = plain("GET", "/ws");
    probe.headers.push(("Accept", b"text/plain, application/json; q=0.9"));
    for _ in 0..2 {
        let ok = answer(&endpoint, &probe).await;
        assert_eq!((ok.status(), body(ok), connections(&chat)), (200, json!({"ok": true}), (0, 0)));
    }
    let (ticket, _guard) = ticket(&chat, "/ws").await;
    let overloaded = answer(&endpoint, &probe).await;
    assert_eq!((overloaded.status(), header(&overloaded, "retry-after")), (503, Some("2")));
    assert_eq!(body(overloaded)["error"]["code"], "overloaded");
    drop(ticket);
    chat.drain(Duration::ZERO).await;
    assert_eq!(body(answer(&endpoint, &probe).await)["error"]["code"], "draining");
}
