use std::time::Duration;

use chat_core::{Health, Store};
use chat_jetstream::{JetStreamStore, OpenError, Options};
use serde_json::json;

use crate::servers::{Servers, request};
use crate::support::{eventually, node};

#[tokio::test]
async fn a_stream_of_something_else_is_refused_and_unchanged() {
    let servers = Servers::start(1);
    let client = servers.ready().await;
    let config = json!({ "name": "chat", "subjects": ["orders.*"] });
    request(&client, "STREAM.CREATE.chat", &config).await.expect("a stream");
    let refused = JetStreamStore::open(&servers.addresses(), Options::default()).await;
    assert!(matches!(refused, Err(OpenError::ForeignStream(name)) if name == "chat"));
    let info = request(&client, "STREAM.INFO.chat", &json!({})).await.expect("a stream");
    assert_eq!(info["config"]["subjects"], config["subjects"]);
}

#[tokio::test]
async fn an_error_says_what_to_do() {
    let servers = Servers::start(1);
    servers.ready().await;
    let open = |servers: String, stream: &str| {
        let options = Options::default().with(|options| options.stream = stream.to_owned());
        async move { JetStreamStore::open(&servers, options).await.expect_err("no store").to_string() }
    };
    // One server cannot keep three copies.
    let error = open(servers.addresses(), "chat").await;
    assert!(error.starts_with("the stream chat cannot be read or created: "), "{error}");
    assert!(
        error.ends_with(
            "check that JetStream is enabled, and that as many servers run as the stream has copies"
        )
    );
    let error = open("nats://127.0.0.1:1".to_owned(), "chat").await;
    assert!(error.ends_with("check the addresses and the credentials"), "{error}");
    let error = open(servers.addresses(), "no.dots").await;
    assert!(error.starts_with("the name of a stream is 1 to 64 ASCII letters"), "{error}");
    // These are streams of other chats, or will be.
    for stream in ["chat-users", "chat-guests", "chat-2"] {
        let error = open(servers.addresses(), stream).await;
        assert!(error.starts_with("the name of a stream"), "{error}");
    }
}

/// A server with a copy then answers for the stream, but nothing can be stored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_is_not_ready_while_most_copies_of_its_stream_are_gone() {
    let mut servers = Servers::start(3);
    servers.ready().await;
    let store = node(&servers, |options| options.replicas = 3).await;
    assert_eq!(store.health(), Health::Ready);
    servers.kill(0);
    servers.kill(1);
    // A lost connection makes the store impaired for a moment only. It stays unreachable without a leader.
    let is_unreachable = || matches!(store.health(), Health::Unreachable(_));
    eventually("an unreachable store", || async { is_unreachable() }).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(is_unreachable(), "{:?}", store.health());
    let late = JetStreamStore::open(&servers.addresses(), Options::default()).await;
    assert!(matches!(late, Err(OpenError::NoStream { .. })));
    servers.revive(0);
    eventually("a store that is ready", || async { store.health() == Health::Ready }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_whose_server_ends_is_unreachable_until_it_runs_again() {
    let mut servers = Servers::start(1);
    servers.ready().await;
    let store = node(&servers, |_| {}).await;
    assert_eq!(store.health(), Health::Ready);
    servers.kill(0);
    eventually("an unreachable store", || async { store.health() != Health::Ready }).await;
    servers.revive(0);
    eventually("a store that is ready", || async { store.health() == Health::Ready }).await;
}
