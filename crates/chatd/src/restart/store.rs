use std::time::Duration;

use chat_sqlite::OpenError;
use tokio::time::{Instant, sleep};
use tracing::info;

use crate::config::Config;
use crate::storage::Storage;

/// Time between two attempts to open a store that another process has.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Time that the previous process has to close the store, after the time for its sessions.
const CLOSE_TIME: Duration = Duration::from_secs(20);

/// Opens the store once the previous process has closed it. Clients that connect meanwhile wait in the socket.
///
/// The file system does not report the release of a lock, so this asks for the lock again and again. It waits for the
/// drain timeout and some seconds at most.
pub(crate) async fn wait_for_store(config: &Config) -> Result<Storage, OpenError> {
    let (start, limit) = (Instant::now(), config.drain_timeout() + CLOSE_TIME);
    let mut has_waited = false;
    loop {
        match Storage::open(config) {
            Err(OpenError::InUse(_)) if start.elapsed() < limit => {
                if !has_waited {
                    info!(?limit, "waiting for the store of the previous server");
                }
                has_waited = true;
                sleep(POLL_INTERVAL).await;
            }
            opened => {
                if has_waited {
                    info!(waited = ?start.elapsed(), "previous server has closed the store");
                }
                return opened;
            }
        }
    }
}
