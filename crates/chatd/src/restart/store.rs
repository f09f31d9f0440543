use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::info;

use super::Origin;
use crate::config::Config;
use crate::storage::{OpenError, Storage};

/// Time between two attempts to open a store that another process has.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Time between two attempts to get a name in a cluster, each of which makes a connection.
const CLUSTER_POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Time between two log lines while it waits.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Time that the previous process has to close the store, after the time for its sessions.
const CLOSE_TIME: Duration = Duration::from_secs(20);

/// Opens the store once the previous process has closed it. Clients that connect meanwhile wait in the socket.
///
/// Neither a file system nor a cluster reports the release, so this asks again and again. A process that has
/// handed its socket over drains for as long as its own options say, so there is no limit after a handover. systemd
/// ends the previous process before it starts this one.
pub(crate) async fn wait_for_store(config: &Config, origin: Origin) -> Result<Storage, OpenError> {
    let (start, limit) = (Instant::now(), config.drain_timeout() + CLOSE_TIME);
    let interval = if config.cluster.is_on() { CLUSTER_POLL_INTERVAL } else { POLL_INTERVAL };
    let mut logged: Option<Instant> = None;
    loop {
        match Storage::open(config).await {
            Err(OpenError::InUse(_)) if origin == Origin::Handover || start.elapsed() < limit => {
                if logged.is_none_or(|logged| logged.elapsed() >= LOG_INTERVAL) {
                    info!(waited = ?start.elapsed(), "waiting for the store of the previous server");
                    logged = Some(Instant::now());
                }
                sleep(interval).await;
            }
            opened => {
                if logged.is_some() {
                    info!(waited = ?start.elapsed(), "previous server has closed the store");
                }
                return opened;
            }
        }
    }
}
