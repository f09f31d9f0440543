use std::time::Instant;

use super::database::open_index;
use super::index::IndexBacklog;
use crate::OpenError;
use crate::database::connection::checkpoint;
use crate::database::{Identity, Paths};
use crate::read::UnreadableMessages;

/// Builds the whole index of a store that is not open.
pub(crate) fn build_index(paths: &Paths, identity: &Identity) -> Result<(), OpenError> {
    let mut connection = open_index(paths, identity)?;
    let mut build = || {
        // A crash in between leaves an index that the server continues.
        connection.pragma_update(None, "synchronous", "off")?;
        let (mut backlog, unreadable) =
            (IndexBacklog::unknown(Instant::now()), UnreadableMessages::default());
        while backlog.due().is_some() {
            let transaction = connection.transaction()?;
            backlog.step(&transaction, &unreadable)?;
            transaction.commit()?;
        }
        connection.pragma_update(None, "synchronous", "normal")?;
        checkpoint(&connection)
    };
    build().map(drop).map_err(OpenError::sqlite(&paths.index))
}
