use std::path::Path;
use std::time::Duration;

use chat_core::{Builder, Message};
use chat_sqlite::{Durability, OpenError, Opening, Options, Store};
use serde_json::{Map, Value, json};
use tokio::time::timeout;
use tracing::{info, warn};

use crate::config::Config;

/// What of a drain is left for the store, where that is less than a fifth of it.
const CLOSING: Duration = Duration::from_secs(1);

/// Where the rooms are kept.
#[derive(Clone, Debug)]
pub(crate) enum Keeping {
    /// Nowhere: they end with the process.
    Memory,
    /// In a directory.
    Disk(Store),
}

impl Keeping {
    /// Opens what the configuration names, and says in the log what that was found to be.
    pub(crate) fn begin(config: &Config) -> Result<Self, OpenError> {
        if config.echo {
            return Ok(Self::Memory);
        }
        let Some(dir) = config.data() else {
            info!("rooms are in memory and end with the server");
            return Ok(Self::Memory);
        };
        let options = config.options();
        let store = Store::open(dir, options.clone())?;
        tell(dir, &options, store.opening());
        Ok(Self::Disk(store))
    }

    /// Lets a chat keep its rooms here.
    pub(crate) fn rooms<M: Message>(&self, chat: Builder<M>) -> Builder<M> {
        match self.clone() {
            Self::Memory => chat,
            Self::Disk(store) => chat.rooms(move |name, limits, outlet| store.room(name, limits, outlet)),
        }
    }

    /// What `/readyz` says of it.
    ///
    /// A store that cannot be written to still reads, and no other server could take over its rooms: so it is
    /// told, and the server stays ready.
    pub(crate) fn report(&self) -> Map<String, Value> {
        let store = match self {
            Self::Memory => json!({ "state": "memory" }),
            Self::Disk(store) => {
                let stats = store.stats();
                json!({
                    "state": if stats.failing_since.is_none() { "ok" } else { "failing" },
                    "failing_since": stats.failing_since,
                    "appends": stats.appends,
                    "commits": stats.commits,
                    "unreadable": stats.unreadable,
                })
            }
        };
        Map::from_iter([("store".to_owned(), store)])
    }

    /// How much of a drain is to be left for [`end`](Self::end).
    pub(crate) fn share(&self, drain: Duration) -> Duration {
        match self {
            Self::Memory => Duration::ZERO,
            Self::Disk(_) => CLOSING.min(drain / 5),
        }
    }

    /// Leaves everything in order; whether that could be done, and was in time.
    pub(crate) async fn end(&self, limit: Duration) -> bool {
        let Self::Disk(store) = self else { return true };
        let store = store.clone();
        let closed = tokio::task::spawn_blocking(move || store.close());
        match timeout(limit, closed).await {
            // A panic was told where it was.
            Ok(closed) => closed.unwrap_or(false),
            Err(_) => {
                warn!(
                    "the store could not be closed in time: nothing is lost, and it will be put in order later"
                );
                false
            }
        }
    }
}

fn tell(dir: &Path, options: &Options, opening: Opening) {
    let durability = match options.durability {
        Durability::Disk => "disk",
        Durability::Process => "process",
    };
    let (opened, why) = match opening {
        Opening::New => ("new", None),
        Opening::Closed => ("as it was closed", None),
        Opening::Crashed => ("after a crash, nothing lost", None),
        Opening::NewEpoch { reason } => ("with a new epoch", Some(reason)),
        _ => ("in an unknown state", None),
    };
    info!(?dir, durability, opened, why, "rooms are kept");
}
