//! The lines in the log that an operator looks for.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chat_core::{
    Action, Chat, Decision, Denied, Endpoint, Forbidden, HostPolicy, IdentifyRequest, Identity, Limits,
    RequestContext, RoomName, Unavailable, UpgradeGuard, User, screen,
};
use chat_testkit::{Peer, guarded, handshake, member, pass, plain};
use parking_lot::Mutex;
use serde_json::json;
use tracing::subscriber::{DefaultGuard, set_default};

type Failure = std::convert::Infallible;

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
    /// Collects the log of this thread, which is that of the test.
    fn start() -> (Self, DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone());
        (log, set_default(subscriber.finish()))
    }

    /// Returns the lines that have this text.
    fn lines(&self, text: &str) -> Vec<String> {
        let log = String::from_utf8(self.0.lock().clone()).expect("text");
        log.lines().filter(|line| line.contains(text)).map(ToOwned::to_owned).collect()
    }
}

fn peer() -> SocketAddr {
    "192.0.2.7:50000".parse().expect("an address")
}

/// Returns a client whose session has begun.
async fn upgraded(endpoint: &Endpoint, peer: SocketAddr) -> Peer {
    let guard = UpgradeGuard::default();
    let context = RequestContext::default().with_guard(guard.request()).with_peer(peer);
    let Decision::Upgrade(upgrade) = endpoint.handle(&handshake("/ws"), &context).await else {
        panic!("refused");
    };
    let (_, ticket) = upgrade.accept();
    assert!(guard.observe(101).is_none());
    let mut client = Peer::new(|wire| ticket.start(async { Ok::<_, Failure>(wire) }));
    client.event().await;
    client
}

async fn status(endpoint: &Endpoint, context: &RequestContext<'_>) -> u16 {
    match endpoint.handle(&handshake("/ws"), context).await {
        Decision::Answer(answer) => answer.status(),
        decision => panic!("{decision:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_missing_layer_is_logged_once_with_the_fix() {
    let (log, _guard) = Log::start();
    let endpoint = Endpoint::new(Chat::default());
    for _ in 0..3 {
        assert_eq!(status(&endpoint.clone(), &RequestContext::default()).await, 500);
    }
    let lines = log.lines("ERROR");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("layer is missing") && lines[0].contains("add the adapter's UpgradeLayer"));
}

#[tokio::test(start_paused = true)]
async fn the_lines_of_an_upgrade_and_of_its_session_have_the_address_of_the_peer() {
    let (log, _guard) = Log::start();
    let endpoint = Endpoint::new(Chat::default());
    let mut ann = upgraded(&endpoint, peer()).await;
    ann.close(1000);
    ann.until_gone().await;
    assert!(ann.is_over().await);

    let guard = UpgradeGuard::default();
    let context = RequestContext::default().with_guard(guard.request()).with_peer(peer());
    let refused = endpoint.handle(&plain("GET", "/ws"), &context).await;
    assert!(matches!(refused, Decision::Answer(_)));
    assert!(guard.observe(426).is_none());
    for event in ["upgrade accepted", "session ended", "upgrade refused"] {
        let lines = log.lines(event);
        assert_eq!(lines.len(), 1, "{event}: {lines:?}");
        assert!(lines[0].contains("peer=192.0.2.7:50000"), "{lines:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn connections_of_one_address_beyond_its_lines_are_counted_and_each_has_both_lines_or_none() {
    let (log, _guard) = Log::start();
    let limits = Limits::default().with(|limits| limits.rates.log_lines = 5);
    let chat = Chat::builder().limits(limits).build();
    let endpoint = Endpoint::new(chat.clone());
    let mut peers = Vec::new();
    for (count, address) in [(5, "192.0.2.7:50000"), (1, "192.0.2.8:50000"), (1, "[2001:db8::1]:50000")] {
        for _ in 0..count {
            peers.push(upgraded(&endpoint, address.parse().expect("an address")).await);
        }
    }
    for peer in &mut peers {
        peer.close(1000);
        peer.until_gone().await;
        assert!(peer.is_over().await);
    }
    let [begun, ended] = ["upgrade accepted", "session ended"].map(|event| {
        let id = |line: &String| line.split("id=").nth(1).map(|rest| rest[..16].to_owned());
        let mut ids: Vec<_> = log.lines(event).iter().filter_map(id).collect();
        ids.sort_unstable();
        ids
    });
    assert_eq!((begun.len(), &begun), (4, &ended));
    assert!(log.lines("not logged").is_empty());
    chat.drain(Duration::from_secs(1)).await;
    let lines = log.lines("further connections not logged");
    assert!(lines.len() == 1 && lines[0].contains("address=192.0.2.7 connections=3"), "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn the_number_of_connections_without_lines_is_logged_after_a_minute() {
    let (log, _guard) = Log::start();
    let limits = Limits::default().with(|limits| limits.rates.log_lines = 2);
    let endpoint = Endpoint::new(Chat::builder().limits(limits).build());
    for _ in 0..3 {
        upgraded(&endpoint, peer()).await;
    }
    assert!(log.lines("not logged").is_empty());
    pass(61.0).await;
    let lines = log.lines("further connections not logged");
    assert!(lines.len() == 1 && lines[0].contains("address=192.0.2.7 connections=2"), "{lines:?}");
    upgraded(&endpoint, peer()).await;
    assert_eq!(log.lines("upgrade accepted").len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_identify_that_panics_refuses_the_upgrade_and_nothing_else() {
    let (log, _guard) = Log::start();
    let chat = Chat::default();
    let mut ann = member(&chat, "ann").await;
    let endpoint = Endpoint::new(chat.clone())
        .identify(|_: &IdentifyRequest<'_>| -> Result<Identity, Denied> { panic!("the host's bug") });
    assert_eq!(status(&endpoint, &guarded()).await, 503);
    let lines = log.lines("identity unavailable");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("Identify panicked"), "{lines:?}");
    assert_eq!(chat.counts().connections, 1);
    assert_eq!(ann.ask(json!({"type": "ping"})).await["type"], "pong");
}

#[tokio::test(start_paused = true)]
async fn an_authorize_that_panics_refuses_the_command_and_nothing_else() {
    let (log, _guard) = Log::start();
    let authorize = |user: &User, _: &RoomName, action: &Action<'_>| -> Result<(), Forbidden> {
        assert!(!(user.name() == "bob" && matches!(action, Action::Send { .. })), "the host's bug");
        Ok(())
    };
    let chat = Chat::builder().authorize(authorize).build();
    let mut ann = member(&chat, "ann").await;
    let mut bob = member(&chat, "bob").await;
    let send = json!({"type": "send", "room": "lobby", "body": {"text": "hi"}});
    for _ in 0..2 {
        assert_eq!(bob.ask(send.clone()).await["code"], "unavailable");
    }
    assert_eq!(bob.ask(json!({"type": "ping"})).await["type"], "pong");
    assert_eq!(ann.ask(send).await["seq"], 1);
    let lines = log.lines("Authorize panicked");
    assert_eq!(lines.len(), 1, "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn requests_that_are_refused_before_the_routes_have_one_line_in_a_minute() {
    let (log, _guard) = Log::start();
    let refuse = || screen(&plain("OPTIONS", "*"), &HostPolicy::Any, Some(peer())).expect("refused").status();
    for _ in 0..6 {
        assert_eq!(refuse(), 400);
    }
    let lines = log.lines("request refused");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("peer=192.0.2.7:50000") && lines[0].contains("suppressed=0"), "{lines:?}");
    pass(60.0).await;
    assert_eq!(refuse(), 400);
    let lines = log.lines("request refused");
    assert!(lines.len() == 2 && lines[1].contains("suppressed=5"), "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn an_identify_that_fails_has_one_line_in_a_minute() {
    let (log, _guard) = Log::start();
    let endpoint =
        Endpoint::new(Chat::default()).identify(|_: &IdentifyRequest<'_>| -> Result<Identity, Denied> {
            Err(Unavailable::new("the directory is down").into())
        });
    for _ in 0..6 {
        assert_eq!(status(&endpoint.clone(), &guarded()).await, 503);
    }
    let lines = log.lines("identity unavailable");
    assert_eq!(lines.len(), 1, "{lines:?}");
    pass(60.0).await;
    assert_eq!(status(&endpoint, &guarded()).await, 503);
    let lines = log.lines("identity unavailable");
    assert!(lines.len() == 2 && lines[1].contains("suppressed=5"), "{lines:?}");
}
