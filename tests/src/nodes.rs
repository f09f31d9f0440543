//! The nodes of one chat in this process, with the store and the bus of a cluster.

#[path = "../../crates/chat-jetstream/tests/support/servers.rs"]
mod servers;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, ensure};
use chat_core::{Builder, Bus, Chat, Limits};
use chat_jetstream::{JetStreamStore, NatsBus, Options};
use serde_json::{Value, json};

use crate::eventually;
use servers::{Servers, request};

/// A server of NATS for chats of several nodes. It ends with this value.
pub struct Nats(Servers);

/// The stores and buses of the nodes of one chat, which has a stream of its own.
#[derive(Debug)]
pub struct ChatNodes {
    servers: String,
    stream: String,
    nodes: Vec<(JetStreamStore, Arc<NatsBus>)>,
}

impl Nats {
    /// Starts a server, and waits until it can create a stream. `nats-server` must be in `PATH`, or `NATS_SERVER` must
    /// be its path.
    pub async fn start() -> Self {
        let servers = Servers::start(1);
        servers.ready().await;
        Self(servers)
    }

    /// Returns the address.
    pub fn address(&self) -> String {
        format!("nats://127.0.0.1:{}", self.0.port(0))
    }
}

impl std::fmt::Debug for Nats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Nats").field(&self.address()).finish()
    }
}

impl ChatNodes {
    /// Opens the stores and buses of a new chat with these limits, at the address of a [`Nats`].
    pub async fn open(address: &str, count: usize, limits: &Limits) -> Result<Self> {
        static STREAMS: AtomicUsize = AtomicUsize::new(0);
        let stream = format!("c{}", STREAMS.fetch_add(1, Ordering::Relaxed));
        let mut nodes = Vec::new();
        for _ in 0..count {
            let options = || {
                Options::default().with(|options| {
                    options.stream.clone_from(&stream);
                    options.replicas = 1;
                    options.retain_messages = Some(limits.rooms.log_messages as u64);
                    options.max_keys_per_user = limits.rooms.log_keys;
                })
            };
            let store = JetStreamStore::open(address, options()).await?;
            nodes.push((store, Arc::new(NatsBus::open(address, &options()).await?)));
        }
        Ok(Self { servers: address.to_owned(), stream, nodes })
    }

    /// Returns the builder of the chat of each node. `wrap` makes the bus that the chat uses. The nodes have the names
    /// `n0`, `n1` and so on.
    pub fn builders<B: Bus>(&self, wrap: impl Fn(Arc<NatsBus>) -> B) -> Result<Vec<Builder>> {
        let builders = self.nodes.iter().enumerate().map(|(number, (store, bus))| {
            let name = format!("n{number}").parse()?;
            Ok(Chat::builder().node(name).store(store.clone()).bus(wrap(Arc::clone(bus))))
        });
        builders.collect()
    }

    /// Waits until each node knows all others. Their chats must be built.
    pub async fn know_each_other(&self) -> Result<()> {
        let others = self.nodes.len() as u64 - 1;
        let all_known = || self.nodes.iter().all(|(_, bus)| bus.other_nodes() == others);
        eventually(|| async { Ok(all_known()) }).await.context("nodes do not know each other")
    }

    /// Lets the logs of all rooms begin another life, as the loss of the stream does.
    pub async fn renew(&self) -> Result<()> {
        let deleted = self.delete(&self.stream).await?;
        ensure!(deleted["success"] == true, "{deleted}");
        Ok(())
    }

    /// Closes the stores, and deletes the streams.
    pub async fn close(&self) -> Result<()> {
        for (store, _) in &self.nodes {
            chat_core::Store::close(store).await?;
        }
        for part in ["", "-users", "-guests"] {
            // Those of users may not be there.
            self.delete(&format!("{}{part}", self.stream)).await?;
        }
        Ok(())
    }

    async fn delete(&self, stream: &str) -> Result<Value> {
        let client = async_nats::connect(&self.servers).await?;
        request(&client, &format!("STREAM.DELETE.{stream}"), &json!({})).await.context("no answer")
    }
}
