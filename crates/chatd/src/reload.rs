//! The options that SIGHUP reads again.

use std::net::SocketAddr;

use chat_auth::Tickets;
use chat_core::Endpoint;
use chat_websocket::Tls;
use tokio::task::spawn_blocking;
use tracing::{error, info, warn};

use crate::config_file::Mistake;
use crate::descriptors::Descriptors;
use crate::limits;
use crate::load::{NotLoaded, Sources};
use crate::log_filter::LogFilter;
use crate::tls;
use crate::users::CurrentUsers;
use crate::values::Values;

/// The options that a running server takes over. It needs a restart for all others.
const RELOADED: [&str; 20] = [
    "allow-origin",
    "command-rate",
    "guests",
    "log-level",
    "log-rate",
    "max-connections",
    "max-per-address",
    "max-per-user",
    "proxy-secret",
    "read-rate",
    "reply-rate",
    "token-audience",
    "token-issuer",
    "token-jwks",
    "token-leeway",
    "token-public-key",
    "token-secret",
    "user-command-rate",
    "user-header",
    "user-name-header",
];

/// The parts of a server that can change while it runs, and the options that they have now.
pub(crate) struct Reload {
    pub(crate) sources: Sources,
    pub(crate) values: Values,
    pub(crate) endpoint: Endpoint,
    pub(crate) address: Option<SocketAddr>,
    pub(crate) descriptors: Descriptors,
    pub(crate) log: LogFilter,
    pub(crate) tls: Option<Tls>,
    pub(crate) users: CurrentUsers,
    pub(crate) tickets: Option<Tickets>,
}

impl Reload {
    /// Reads the certificate and all options again. A mistake in the options changes none of them, and the certificate
    /// does not depend on them.
    pub(crate) async fn run(&mut self) {
        if let Some(tls) = self.tls.clone() {
            // The result is in the log.
            let _reloaded = spawn_blocking(move || tls::reload(&tls)).await;
        }
        if let Err(mistakes) = self.apply().await {
            for mistake in mistakes {
                error!(%mistake, "configuration not reloaded");
            }
        }
    }

    async fn apply(&mut self) -> Result<(), Vec<Mistake>> {
        let sources = self.sources.clone();
        let read = spawn_blocking(move || sources.read()).await;
        let loaded = match read {
            Ok(Ok(loaded)) => loaded,
            Ok(Err(NotLoaded::Mistakes(mistakes))) => return Err(mistakes),
            Ok(Err(NotLoaded::Help(_))) | Err(_) => {
                return Err(vec![Mistake::new("the options cannot be read")]);
            }
        };
        let config = loaded.config;
        if let Some(text) = self.address.and_then(|address| config.exposure(address)) {
            return Err(vec![Mistake::new(text)]);
        }
        // Everything that can fail comes first.
        let users =
            config.users.open(self.tickets.clone()).await.map_err(|problem| vec![Mistake::new(problem)])?;

        let directives = config.log_level();
        self.log.set(&directives);
        directives.warn();
        let max_connections = self.descriptors.max_connections(config.max_connections());
        self.endpoint.chat().set_limits(&limits(&config, max_connections));
        self.endpoint.set_origins(config.allow_origin);
        self.users.set(&self.endpoint, users);

        let (changed, kept): (Vec<_>, Vec<_>) =
            self.values.changed(&loaded.values).partition(|option| is_reloaded(option));
        if !kept.is_empty() {
            warn!(options = kept.join(","), "restart the server to change these options");
        }
        info!(changed = changed.join(","), "configuration reloaded");
        self.values.accept(&loaded.values, is_reloaded);
        Ok(())
    }
}

fn is_reloaded(option: &str) -> bool {
    RELOADED.contains(&option)
}
