//! The numbers of connections of one user and of one address.

use chat_core::{
    AdmitError, Answer, Chat, Decision, Denied, Endpoint, IdentifyRequest, Identity, Limits, RequestContext,
    RequestHead, TrustedProxies, Upgrade, User,
};
use chat_testkit::{chat, guarded, handshake};

fn limited(max_per_user: usize, max_per_address: usize) -> Chat {
    chat(Limits::default().with(|limits| {
        limits.connection.max_per_user = max_per_user;
        limits.connection.max_per_address = max_per_address;
    }))
}

fn from(peer: &str) -> RequestContext<'static> {
    guarded().with_peer(peer.parse().ok())
}

async fn upgrade(endpoint: &Endpoint, head: &RequestHead<'_>, peer: &str) -> Result<Upgrade, Answer> {
    match endpoint.handle(head, &from(peer)).await {
        Decision::Upgrade(upgrade) => Ok(upgrade),
        Decision::Answer(answer) => Err(answer),
        other => panic!("{other:?}"),
    }
}

async fn expect_refused(endpoint: &Endpoint, head: &RequestHead<'_>, peer: &str) {
    let answer = upgrade(endpoint, head, peer).await.expect_err("a refusal");
    assert_eq!(answer.status(), 429);
    assert!(answer.headers().contains(&("retry-after", "2".to_owned())), "{answer:?}");
    let body = String::from_utf8(answer.into_body().to_vec()).expect("UTF-8");
    assert!(body.contains(r#""code":"too_many_connections""#), "{body}");
}

#[tokio::test(start_paused = true)]
async fn connections_of_an_address_beyond_its_limit_are_refused() {
    let chat = limited(0, 2);
    let endpoint = Endpoint::new(chat.clone());
    let head = handshake("/ws");
    let first = upgrade(&endpoint, &head, "192.0.2.1:1000").await.expect("the first");
    let second = upgrade(&endpoint, &head, "192.0.2.1:1001").await.expect("the second");
    expect_refused(&endpoint, &head, "192.0.2.1:1002").await;
    let other = upgrade(&endpoint, &head, "192.0.2.2:1000").await.expect("another address");
    assert_eq!((chat.counts().connections, chat.stats().refusals.full_for_address), (3, 1));
    drop(first);
    let third = upgrade(&endpoint, &head, "192.0.2.1:1003").await.expect("one after the first has gone");
    expect_refused(&endpoint, &head, "192.0.2.1:1004").await;
    drop((second, third, other));
    assert_eq!((chat.counts().connections, chat.stats().refusals.full_for_address), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn connections_of_an_ipv6_network_are_counted_together() {
    let endpoint = Endpoint::new(limited(0, 1));
    let head = handshake("/ws");
    let _first = upgrade(&endpoint, &head, "[2001:db8::1]:1000").await.expect("the first");
    expect_refused(&endpoint, &head, "[2001:db8::2:3:4:5]:1000").await;
    let _other = upgrade(&endpoint, &head, "[2001:db8:0:1::1]:1000").await.expect("another network");
}

#[tokio::test(start_paused = true)]
async fn connections_without_an_address_or_with_a_limit_of_zero_are_not_counted() {
    let head = handshake("/ws");
    let endpoint = Endpoint::new(limited(0, 1));
    let mut held = Vec::new();
    for _ in 0..3 {
        let Decision::Upgrade(upgrade) = endpoint.handle(&head, &guarded()).await else { panic!("refused") };
        held.push(upgrade);
    }
    let endpoint = Endpoint::new(limited(0, 0));
    for _ in 0..200 {
        held.push(upgrade(&endpoint, &head, "192.0.2.1:1000").await.expect("no limit"));
    }
}

#[tokio::test(start_paused = true)]
async fn connections_of_a_user_beyond_their_limit_are_refused() {
    let chat = limited(2, 0);
    let endpoint = Endpoint::new(chat.clone());
    let ann = handshake("/ws?name=ann");
    let first = upgrade(&endpoint, &ann, "192.0.2.1:1000").await.expect("the first");
    let _second = upgrade(&endpoint, &ann, "192.0.2.2:1000").await.expect("the second");
    expect_refused(&endpoint, &ann, "192.0.2.3:1000").await;
    let _bob = upgrade(&endpoint, &handshake("/ws?name=bob"), "192.0.2.1:1000").await.expect("another user");
    assert_eq!((chat.counts().connections, chat.stats().refusals.full_for_user), (3, 1));
    let guest = User::guest("ann").expect("a name");
    assert_eq!(chat.admit(Identity::from(guest)).err(), Some(AdmitError::FullForUser));
    drop(first);
    let _third = upgrade(&endpoint, &ann, "192.0.2.3:1000").await.expect("one after the first has gone");
}

#[tokio::test(start_paused = true)]
async fn a_refused_user_does_not_count_for_the_address() {
    let chat = limited(1, 2);
    let endpoint = Endpoint::new(chat.clone());
    let ann = handshake("/ws?name=ann");
    let _first = upgrade(&endpoint, &ann, "192.0.2.1:1000").await.expect("the first");
    for _ in 0..5 {
        expect_refused(&endpoint, &ann, "192.0.2.1:1000").await;
    }
    assert_eq!(chat.counts().connections, 1);
    let bob = handshake("/ws?name=bob");
    let _bob = upgrade(&endpoint, &bob, "192.0.2.1:1000").await.expect("the second of the address");
}

#[tokio::test(start_paused = true)]
async fn an_address_with_too_many_connections_does_not_ask_the_host() {
    let chat = limited(0, 1);
    let _held =
        upgrade(&Endpoint::new(chat.clone()), &handshake("/ws"), "192.0.2.1:1000").await.expect("one");
    let endpoint = Endpoint::new(chat)
        .identify(|_: &IdentifyRequest<'_>| -> Result<Identity, Denied> { panic!("the host is asked") });
    expect_refused(&endpoint, &handshake("/ws"), "192.0.2.1:1001").await;
}

#[tokio::test(start_paused = true)]
async fn a_trusted_proxy_reports_the_address_of_the_client() {
    let proxies = TrustedProxies::new(["10.0.0.0/8".parse().expect("a network")]);
    let chat = limited(0, 1);
    let endpoint =
        Endpoint::new(chat.clone()).trust_proxies(proxies).identify(|request: &IdentifyRequest<'_>| {
            let peer = request.peer().map(|peer| peer.to_string()).unwrap_or_default();
            Ok(Identity::from(User::new(&peer, "Ann").map_err(|_| Denied::Unauthorized)?))
        });
    let forwarded = |client: &'static str| {
        let mut head = handshake("/ws");
        head.headers.push(("X-Forwarded-For", client.as_bytes()));
        head
    };
    let _first = upgrade(&endpoint, &forwarded("203.0.113.9"), "10.0.0.1:1000").await.expect("the first");
    expect_refused(&endpoint, &forwarded("198.51.100.1, 203.0.113.9"), "10.0.0.2:1000").await;
    let _other =
        upgrade(&endpoint, &forwarded("203.0.113.10"), "10.0.0.1:1000").await.expect("another client");
    assert_eq!(chat.kick(User::new("203.0.113.9:0", "Ann").expect("a user")), 1);

    let _direct = upgrade(&endpoint, &forwarded("203.0.113.11"), "192.0.2.1:1000").await.expect("a client");
    expect_refused(&endpoint, &forwarded("203.0.113.12"), "192.0.2.1:1001").await;
}

#[tokio::test(start_paused = true)]
async fn plain_connections_of_a_trusted_proxy_have_no_limit() {
    let chat = limited(0, 1);
    let max = chat.limits().connection.max_plain_per_address();
    let proxies = TrustedProxies::new(["10.0.0.0/8".parse().expect("a network")]);
    let _endpoint = Endpoint::new(chat.clone()).trust_proxies(proxies);
    let accept = |peer: &str| chat.accept(peer.parse().expect("an address"));
    let of_proxy: Vec<_> = (0..1_000).map(|_| accept("10.0.0.1:1000")).collect();
    assert!(of_proxy.iter().all(Result::is_ok));
    let of_client: Vec<_> = (0..max).map(|_| accept("192.0.2.1:1000")).collect();
    assert!(of_client.iter().all(Result::is_ok));
    assert_eq!(accept("192.0.2.1:1001").err(), Some(AdmitError::FullForAddress));
    assert_eq!(chat.stats().refusals.plain, 1);
    drop(of_client);
    assert!(accept("192.0.2.1:1002").is_ok() && accept("192.0.2.2:1000").is_ok());
}

#[tokio::test(start_paused = true)]
async fn one_address_cannot_take_all_connections_of_a_guest() {
    let endpoint = Endpoint::new(Chat::default());
    let ann = handshake("/ws?name=ann");
    let mut held = Vec::new();
    while let Ok(upgrade) = upgrade(&endpoint, &ann, "192.0.2.1:1000").await {
        held.push(upgrade);
    }
    assert_eq!(held.len(), Limits::default().connection.max_per_address);
    let _ann = upgrade(&endpoint, &ann, "192.0.2.2:1000").await.expect("the same guest at another address");
}
