//! The token of a client: on each connection, renewed before it expires, and after it has expired.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use chat_client::{Builder, Client, ClientEvent, Closed, ConnectError, Lost};
use chat_core::{Denied, Identify, IdentifyRequest, Identity, User, async_trait};
use support::{Server, eager, member, next, within};
use tokio::sync::mpsc;

/// A token that expires so soon that the server announces its end at once.
const BRIEF: &str = "7:30000";

/// A host whose tokens are `<id>:<milliseconds until the end>`, or `<id>:` without an end.
struct Tokens {
    /// The tokens of each `hello`. `None` if the host takes none.
    hellos: Option<mpsc::UnboundedSender<String>>,
}

fn identity(token: &str) -> Result<Identity, Denied> {
    let (id, valid_ms) = token.split_once(':').ok_or(Denied::Unauthorized)?;
    let mut identity = Identity::from(User::new(id, "Ann").map_err(|_| Denied::Unauthorized)?);
    let valid_ms = valid_ms.parse().ok();
    identity.expires_at = valid_ms.map(|valid_ms| SystemTime::now() + Duration::from_millis(valid_ms));
    Ok(identity)
}

#[async_trait]
impl Identify for Tokens {
    async fn identify(&self, request: &IdentifyRequest<'_>) -> Result<Identity, Denied> {
        let token = request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
        let missing = if self.hellos.is_some() { Denied::HelloRequired } else { Denied::Unauthorized };
        identity(token.ok_or(missing)?)
    }

    async fn hello(&self, token: &str, _: Option<SocketAddr>) -> Result<Identity, Denied> {
        let hellos = self.hellos.as_ref().ok_or(Denied::Unsupported)?;
        hellos.send(token.to_owned()).unwrap();
        identity(token)
    }
}

/// Returns a client with these tokens, of which the last one stays the newest.
fn client<const N: usize>(server: &Server, tokens: [&'static str; N]) -> Builder {
    let asked = Arc::new(AtomicUsize::new(0));
    let newest = move || tokens[asked.fetch_add(1, Ordering::SeqCst).min(N - 1)].to_owned();
    Client::builder(&server.url()).token(newest).reconnect(eager())
}

#[tokio::test]
async fn a_client_renews_its_token_when_the_server_announces_its_end() {
    let (hellos, mut asked) = mpsc::unbounded_channel();
    let server = Server::with_users(Tokens { hellos: Some(hellos) });
    let (client, mut events) = member(client(&server, [BRIEF, "7:"])).await;
    assert_eq!((client.user().id(), client.user().name()), ("7", "Ann"));
    assert!(matches!(next(&mut events).await, ClientEvent::Expiring { at: 1.. }));
    assert_eq!(within(asked.recv()).await.as_deref(), Some("7:"));
    client.ping().await.unwrap();
    assert_eq!(client.close().await, Ok(()));
}

#[tokio::test]
async fn a_client_reconnects_with_a_newer_token_after_the_end_of_the_old_one() {
    let server = Server::with_users(Tokens { hellos: None });
    let (client, mut events) = member(client(&server, ["7:300", "7:"])).await;
    loop {
        match next(&mut events).await {
            ClientEvent::Expiring { .. } | ClientEvent::Reconnected => {}
            ClientEvent::Disconnected { lost: Lost::Close { code, .. }, .. } => assert_eq!(code.code(), 4005),
            ClientEvent::Resumed(_) => break,
            other => panic!("{other:?}"),
        }
    }
    client.ping().await.unwrap();
}

#[tokio::test]
async fn a_client_whose_new_token_is_not_accepted_does_not_reconnect() {
    let (hellos, _asked) = mpsc::unbounded_channel();
    let server = Server::with_users(Tokens { hellos: Some(hellos) });
    let (_client, mut events) = member(client(&server, [BRIEF, "not a token"])).await;
    assert!(matches!(next(&mut events).await, ClientEvent::Expiring { .. }));
    match next(&mut events).await {
        ClientEvent::Closed(Closed::Lost(Lost::Close { code, .. })) => assert_eq!(code.code(), 4501),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_client_without_a_token_learns_that_the_server_waits_for_one() {
    let (hellos, _asked) = mpsc::unbounded_channel();
    let server = Server::with_users(Tokens { hellos: Some(hellos) });
    let connecting = Client::builder(&server.url()).connect_timeout(support::TIMEOUT).connect();
    let error = within(connecting).await.unwrap_err();
    assert_eq!(error, ConnectError::TokenRequired);
    assert!(!error.is_temporary(), "{error}");
}
