use std::path::Path;

use chat_core::{Builder, Readiness};
use chat_sqlite::{OpenError, Opening, Options, SqliteStore};
use serde_json::{Value, json};
use tracing::info;

use crate::config::Config;
use crate::metrics_recorder::Metrics;

/// The place of the rooms: a directory, or `None` for rooms that end with the process.
#[derive(Clone, Debug)]
pub(crate) struct Storage(Option<SqliteStore>);

impl Storage {
    /// Opens the store that the configuration names, and logs the state in which it was found.
    pub(crate) fn open(config: &Config) -> Result<Self, OpenError> {
        let Some(dir) = config.data().filter(|_| !config.echo) else {
            info!(data = ":memory:", "store opened");
            return Ok(Self(None));
        };
        let options = config.options();
        let store = SqliteStore::open(dir, options.clone())?;
        log_opening(dir, &options, store.opening());
        Ok(Self(Some(store)))
    }

    /// Gives the store to a chat.
    pub(crate) fn attach(&self, chat: Builder) -> Builder {
        match self.0.clone() {
            Some(store) => chat.store(store),
            None => chat,
        }
    }

    /// Adds the store to the metrics.
    pub(crate) fn publish(&self, metrics: &mut Metrics) {
        if let Some(store) = self.0.clone() {
            chat_sqlite::describe_metrics();
            metrics.source(move || store.publish_metrics());
        }
    }

    /// Returns the store's part of `/readyz`.
    pub(crate) fn readiness(&self) -> Readiness {
        Readiness::default().with("store", self.state())
    }

    fn state(&self) -> Value {
        let Some(store) = &self.0 else { return json!({ "state": "memory" }) };
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
