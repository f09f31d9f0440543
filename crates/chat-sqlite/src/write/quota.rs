use rusqlite::Connection;

use crate::database::connection::used_bytes;

/// The bytes of data above which nothing is appended.
#[derive(Debug)]
pub(crate) struct Quota {
    max_bytes: Option<u64>,
    is_full: bool,
}

impl Quota {
    pub(crate) fn new(max_bytes: Option<u64>) -> Self {
        Self { max_bytes, is_full: false }
    }

    /// Returns `true` if the quota is reached. `other_bytes` are those outside the database: logs and the index.
    pub(crate) fn is_full(&mut self, connection: &Connection, other_bytes: u64) -> rusqlite::Result<bool> {
        let Some(max_bytes) = self.max_bytes else { return Ok(false) };
        let used_bytes = used_bytes(connection)? + other_bytes;
        let is_full = used_bytes >= max_bytes;
        if is_full != self.is_full {
            self.is_full = is_full;
            if is_full {
                tracing::error!(
                    used_bytes,
                    max_bytes,
                    "disk quota reached; appends are refused until messages expire: raise the quota"
                );
            } else {
                tracing::info!(used_bytes, max_bytes, "disk quota no longer reached");
            }
        }
        Ok(is_full)
    }
}
