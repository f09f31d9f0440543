use std::fmt;
use std::path::Path;

use chat_core::{Builder, Readiness};
use chat_sqlite::{Opening, Options, SqliteStore};
use serde_json::{Value, json};
use tracing::info;

use crate::cluster::Cluster;
use crate::config::Config;
use crate::metrics_recorder::Metrics;

/// The place of the rooms.
#[derive(Clone, Debug)]
pub(crate) enum Storage {
    /// The rooms end with the process.
    Memory,
    Disk(SqliteStore),
    Cluster(Cluster),
}

/// A reason why the place of the rooms cannot be opened, as one line.
#[derive(Debug)]
pub(crate) enum OpenError {
    /// Another process has the directory, or the name in the cluster. It may be the previous server.
    InUse(String),
    Failed(String),
}

impl Storage {
    /// Opens the place that the configuration names, and logs the state in which it was found.
    pub(crate) async fn open(config: &Config) -> Result<Self, OpenError> {
        if config.cluster.is_on() && !config.echo {
            return config.cluster.open(config).await.map(Self::Cluster);
        }
        let Some(dir) = config.data().filter(|_| !config.echo) else {
            info!(data = ":memory:", "store opened");
            return Ok(Self::Memory);
        };
        let options = config.options();
        let store = SqliteStore::open(dir, options.clone())?;
        log_opening(dir, &options, store.opening());
        Ok(Self::Disk(store))
    }

    /// Gives the store to a chat.
    pub(crate) fn attach(&self, chat: Builder) -> Builder {
        match self {
            Self::Memory => chat,
            Self::Disk(store) => chat.store(store.clone()),
            Self::Cluster(cluster) => cluster.attach(chat),
        }
    }

    /// Adds the store to the metrics.
    pub(crate) fn publish(&self, metrics: &mut Metrics) {
        match self.clone() {
            Self::Memory => {}
            Self::Disk(store) => {
                chat_sqlite::describe_metrics();
                metrics.source(move || store.publish_metrics());
            }
            Self::Cluster(cluster) => cluster.publish(metrics),
        }
    }

    /// Returns the store's part of `/readyz`.
    pub(crate) fn readiness(&self) -> Readiness {
        match self {
            Self::Memory => Readiness::default().with("store", json!({ "state": "memory" })),
            Self::Disk(store) => Readiness::default().with("store", state(store)),
            Self::Cluster(cluster) => Readiness::default().with("cluster", cluster.state()),
        }
    }
}

fn state(store: &SqliteStore) -> Value {
    let stats = store.stats();
    let state = match stats.failing_since {
        Some(_) => "failing",
        None if stats.is_full => "full",
        None => "ok",
    };
    json!({
        "state": state,
        "failing_since": stats.failing_since,
        "appends": stats.appends,
        "commits": stats.commits,
        "unreadable": stats.unreadable,
        "wal_bytes": stats.wal_bytes,
    })
}

fn log_opening(dir: &Path, options: &Options, opening: Opening) {
    let (found, cause) = match opening {
        Opening::New => ("new", None),
        Opening::Closed => ("closed cleanly", None),
        Opening::Crashed => ("crashed, nothing lost", None),
        Opening::NewEpoch { reason } => ("new epoch", Some(reason)),
        _ => ("unknown", None),
    };
    info!(data = %dir.display(), durability = %options.durability, found, cause, "store opened");
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::InUse(text) | Self::Failed(text)) = self;
        f.write_str(text)
    }
}

impl From<chat_sqlite::OpenError> for OpenError {
    fn from(error: chat_sqlite::OpenError) -> Self {
        match error {
            chat_sqlite::OpenError::InUse(_) => Self::InUse(error.to_string()),
            _ => Self::Failed(error.to_string()),
        }
    }
}
