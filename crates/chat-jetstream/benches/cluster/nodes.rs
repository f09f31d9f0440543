//! Two nodes, and a stream of the same settings that is written to without them.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, HeaderMap, Request};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use chat_core::{Commit, CommitSink, Limits, NewMessage, RawValue, Room, Store, User};
use chat_jetstream::{JetStreamStore, Options};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::servers::Servers;

/// The name of the stream that is written to directly.
const RAW: &str = "raw";

/// The text of each message: 220 bytes.
fn text(number: u64) -> String {
    format!("{number:-<220}")
}

/// The position of a message that a node has heard of, and the time.
pub(crate) type Heard = mpsc::UnboundedReceiver<(u64, Instant)>;

/// Two nodes of a cluster.
pub(crate) struct Nodes {
    pub(crate) a: JetStreamStore,
    pub(crate) b: JetStreamStore,
    pub(crate) client: Client,
    pub(crate) limits: Arc<Limits>,
    servers: String,
}

impl Nodes {
    /// Opens the nodes of a chat with this number of streams.
    pub(crate) async fn open(
        servers: &Servers,
        client: &Client,
        (stream, streams): (&str, usize),
    ) -> Result<Self, Box<dyn Error>> {
        let options = || {
            Options::default().with(|options| {
                (options.stream, options.streams) = (stream.to_owned(), streams);
            })
        };
        let a = JetStreamStore::open(&servers.addresses(), options()).await?;
        let b = JetStreamStore::open(&servers.addresses(), options()).await?;
        let (client, limits) = (client.clone(), Arc::default());
        let nodes = Self { a, b, client, limits, servers: servers.addresses() };
        // A node answers for others when it has opened a room, and each must have heard of the other one.
        nodes.room(&nodes.a, "first").await?;
        nodes.room(&nodes.b, "first").await?;
        sleep(Duration::from_secs(5)).await;
        Ok(nodes)
    }

    /// Creates the stream that is written to directly, with the settings of that of the chat.
    pub(crate) async fn create_raw(client: &Client) -> Result<(), Box<dyn Error>> {
        let info = api(client, "STREAM.INFO.chat", &json!({})).await?;
        let mut config = info["config"].clone();
        config["name"] = json!(RAW);
        config["subjects"] = json!(["raw.>"]);
        config["republish"] = json!({ "src": "raw.>", "dest": "heard.raw.>" });
        api(client, &format!("STREAM.CREATE.{RAW}"), &config).await.map(drop)
    }

    /// Opens a room on a node.
    pub(crate) async fn room(
        &self,
        node: &JetStreamStore,
        name: &str,
    ) -> Result<Arc<dyn Room>, Box<dyn Error>> {
        Ok(node.open(&name.parse()?, &self.limits, CommitSink::new(|_| ())).await?)
    }

    /// Opens a room on a node, with the times at which the node has heard of its messages.
    pub(crate) async fn heard(
        &self,
        node: &JetStreamStore,
        name: &str,
    ) -> Result<(Arc<dyn Room>, Heard), Box<dyn Error>> {
        let (sender, heard) = mpsc::unbounded_channel();
        let sink = CommitSink::new(move |commit| {
            if let Commit::Entry { stored, .. } = commit {
                let _ended = sender.send((stored.seq, Instant::now()));
            }
        });
        Ok((node.open(&name.parse()?, &self.limits, sink).await?, heard))
    }

    /// Returns names of rooms for which node `a` appends itself.
    pub(crate) async fn rooms_of_a(&self, prefix: &str, count: usize) -> Result<Vec<String>, Box<dyn Error>> {
        let mut names = Vec::new();
        for number in 0.. {
            let name = format!("{prefix}-{number}");
            let before = self.a.stats().routed;
            self.room(&self.a, &name).await?.append(message(0)).await?;
            if self.a.stats().routed == before {
                names.push(name);
            }
            if names.len() == count {
                break;
            }
        }
        Ok(names)
    }

    /// Returns the bytes of the last record of the stream.
    pub(crate) async fn last_record(&self) -> Result<Bytes, Box<dyn Error>> {
        let info = api(&self.client, "STREAM.INFO.chat", &json!({})).await?;
        let last = json!({ "seq": info["state"]["last_seq"] });
        let found = api(&self.client, "STREAM.MSG.GET.chat", &last).await?;
        let data = found["message"]["data"].as_str().ok_or("no message")?;
        Ok(STANDARD.decode(data)?.into())
    }

    /// Starts as many listeners to what is published directly as there are nodes. They end with the returned value.
    pub(crate) async fn listen(&self) -> Result<JoinSet<()>, Box<dyn Error>> {
        let mut listeners = JoinSet::new();
        for _ in 0..2 {
            let client = async_nats::connect(self.servers.split(',').collect::<Vec<_>>()).await?;
            let mut messages = client.subscribe("heard.raw.>").await?;
            client.flush().await?;
            listeners.spawn(async move { while messages.next().await.is_some() {} });
        }
        Ok(listeners)
    }

    /// Publishes bytes directly, after the message at a place. Returns the place of the new one.
    pub(crate) async fn publish(
        &self,
        subject: String,
        last: u64,
        payload: Bytes,
    ) -> Result<u64, Box<dyn Error>> {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Expected-Stream", RAW);
        headers.insert("Nats-Expected-Last-Subject-Sequence", last.to_string().as_str());
        let request = Request::new().headers(headers).payload(payload).timeout(Some(Duration::from_secs(5)));
        let answer = self.client.send_request(subject, request).await?;
        let answer: Value = serde_json::from_slice(&answer.payload)?;
        answer["seq"].as_u64().ok_or_else(|| answer.to_string().into())
    }
}

/// Returns a message with a key.
pub(crate) fn message(number: u64) -> NewMessage {
    let body = RawValue::from_string(json!({ "text": text(number) }).to_string()).expect("JSON");
    let fresh = fresh();
    // A user has a limit of keys.
    let user = User::new(&format!("user-{}", fresh % 100), "Ann").expect("a user");
    NewMessage::new(user, body).with_key(Some(format!("k{fresh}")))
}

/// Returns a number that was not returned before.
fn fresh() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Sends a request of the JetStream API.
async fn api(client: &Client, method: &str, query: &Value) -> Result<Value, Box<dyn Error>> {
    let answer = client.request(format!("$JS.API.{method}"), query.to_string().into()).await?;
    let answer: Value = serde_json::from_slice(&answer.payload)?;
    if answer["error"].is_null() { Ok(answer) } else { Err(answer["error"].to_string().into()) }
}
