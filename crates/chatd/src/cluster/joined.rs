use std::fs;
use std::sync::Arc;

use chat_core::{Builder, Health, NodeId, Store};
use chat_jetstream::{ConnectOptions, JetStreamStore, NatsBus, Options, StreamStatus};
use serde_json::{Value, json};
use tracing::info;

use super::credentials::Credentials;
use super::{ClusterOptions, is_tls};
use crate::config::{Config, Durability};
use crate::metrics_recorder::Metrics;
use crate::retain::Retain;
use crate::storage::OpenError;

/// The name of the stream without `--cluster-name`.
pub(super) const DEFAULT_NAME: &str = "chat";

/// The streams in which the rooms are, without `--cluster-streams`.
pub(super) const DEFAULT_STREAMS: usize = 1;

/// A cluster that this server has joined. A clone is another handle to it.
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    store: JetStreamStore,
    bus: Arc<NatsBus>,
    node: NodeId,
    stream: String,
}

impl Cluster {
    /// Returns an error if a file of the connection cannot be read.
    pub(super) fn check_files(options: &ClusterOptions) -> Result<(), String> {
        connection(options).map(drop)
    }

    pub(super) async fn join(cluster: &ClusterOptions, config: &Config) -> Result<Self, OpenError> {
        let node = cluster.node().map_err(OpenError::Failed)?;
        let connect = connection(cluster).map_err(OpenError::Failed)?.name(format!("chat {node}"));
        let stream = cluster.cluster_name.as_deref().unwrap_or(DEFAULT_NAME).to_owned();
        let streams = cluster.cluster_streams.unwrap_or(DEFAULT_STREAMS);
        let options = || {
            Options::default().with(|options| {
                options.stream.clone_from(&stream);
                options.streams = streams;
                options.replicas = cluster.replicas();
                options.node = Some(node.clone());
                (options.retain_age, options.retain_messages) = Retain::limits(&config.retain);
                if let Some(bytes) = cluster.cluster_key_memory {
                    options.max_key_bytes = bytes;
                }
                options.state_dir.clone_from(&cluster.cluster_state);
                options.search_index.clone_from(&cluster.search_index);
                options.connect = connect.clone();
            })
        };
        let servers = cluster.cluster.join(",");
        let store = JetStreamStore::open(&servers, options()).await?;
        let wanted = cluster.replicas();
        if let Some(StreamStatus { name, copies, .. }) =
            store.streams().iter().find(|stream| stream.copies != wanted)
        {
            return Err(OpenError::Failed(format!(
                "the stream {name} has {copies} copies instead of {wanted}; set --replicas {copies}, or change it with \
                 `nats stream edit {name} --replicas {wanted}`"
            )));
        }
        let bus = Arc::new(NatsBus::open(&servers, &options()).await?);
        let durability = config.durability.unwrap_or(Durability::Disk);
        info!(stream, streams, %node, replicas = wanted, durability = durability.name(), "cluster joined");
        Ok(Self { store, bus, node, stream })
    }

    pub(crate) fn attach(&self, chat: Builder) -> Builder {
        chat.node(self.node.clone()).store(self.store.clone()).bus(Arc::clone(&self.bus))
    }

    pub(crate) fn publish(self, metrics: &mut Metrics) {
        chat_jetstream::describe_metrics();
        metrics.source(move || {
            self.store.publish_metrics();
            self.bus.publish_metrics();
        });
    }

    /// Returns the state of the cluster for `/readyz`.
    pub(crate) fn state(&self) -> Value {
        let state = match self.store.health() {
            Health::Ready if self.bus.other_nodes() == 0 => "alone",
            Health::Ready => "ok",
            Health::Degraded(_) => "degraded",
            _ => "unreachable",
        };
        let (stats, streams) = (self.store.stats(), self.store.streams());
        json!({
            "state": state,
            "node": self.node,
            "nodes": self.bus.other_nodes() + 1,
            "stream": self.stream,
            "streams": streams.len(),
            "replicas": streams.first().map(|stream| stream.copies),
            "messages": stats.messages,
            "records": stats.records,
            "conflicts": stats.conflicts,
            "routed": stats.routed,
            "missed": stats.missed,
            "new_epochs": stats.new_epochs,
            "expired": stats.expired,
            "unreadable": stats.unreadable,
        })
    }
}

/// Returns the options of the connections. It reads the credentials.
pub(super) fn connection(options: &ClusterOptions) -> Result<ConnectOptions, String> {
    let connect = ConnectOptions::new().require_tls(options.cluster.iter().all(|address| is_tls(address)));
    let connect = match &options.cluster_ca {
        Some(file) => {
            let readable = fs::File::open(file);
            readable.map_err(|error| format!("--cluster-ca: {}: {error}", file.display()))?;
            connect.add_root_certificates(file.clone())
        }
        None => connect,
    };
    Ok(match options.cluster_credentials.as_deref().map(Credentials::read).transpose()? {
        Some(Credentials::Token(token)) => connect.token(token),
        Some(Credentials::User(user, password)) => connect.user_and_password(user, password),
        None => connect,
    })
}

impl From<chat_jetstream::OpenError> for OpenError {
    fn from(error: chat_jetstream::OpenError) -> Self {
        match error {
            chat_jetstream::OpenError::NameInUse(_) => Self::InUse(format!("--node: {error}")),
            chat_jetstream::OpenError::OtherStreams { .. } => {
                Self::Failed(format!("--cluster-streams: {error}"))
            }
            chat_jetstream::OpenError::Index(chat_sqlite::OpenError::InUse(_)) => {
                Self::InUse(format!("--search-index: {error}"))
            }
            chat_jetstream::OpenError::StateInUse(_) => Self::InUse(format!("--cluster-state: {error}")),
            chat_jetstream::OpenError::State { .. } => Self::Failed(format!("--cluster-state: {error}")),
            chat_jetstream::OpenError::Index(_) => Self::Failed(format!("--search-index: {error}")),
            _ => Self::Failed(format!("--cluster: {error}")),
        }
    }
}
