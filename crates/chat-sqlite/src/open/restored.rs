//! Deletions that are applied to a restored backup again.

use std::sync::Arc;

use chat_core::{Act, Change, Limits, NewAct, NewChange, Role, User};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use crate::database::row::message_id;
use crate::database::{Deletion, ErasureList, Identity, Purge, PurgedRange, StoreTimes};
use crate::write::{AppendBatch, BatchLimits, Clock, KeyCounts, Now, Outcome, PreparedChange};

/// Deletions that are applied in one transaction.
const STEP: usize = 256;

/// Applies the deletions of the list that the database does not contain. Returns the number of messages that were
/// deleted.
///
/// The database counts no commit for it, so a crash in between leaves it as it was found: the next opening continues.
/// Its positions are those of an epoch that ends.
pub(super) fn delete_again(
    connection: &mut Connection,
    list: &ErasureList,
    identity: &Identity,
    times: StoreTimes,
) -> rusqlite::Result<usize> {
    let limits = Arc::new(Limits::default());
    let now = Clock::new(times).now();
    let (mut deleted, mut from) = (0, Some(0));
    while let Some(after) = from {
        let (deletions, next) = list.after(identity.commits, after, STEP)?;
        deleted += delete(connection, deletions, now, &limits)?;
        from = next;
    }
    Ok(deleted)
}

fn delete(
    connection: &mut Connection,
    deletions: Vec<Deletion>,
    now: Now,
    limits: &Arc<Limits>,
) -> rusqlite::Result<usize> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut key_counts = KeyCounts::default();
    let batch_limits =
        BatchLimits { max_keys: 0, max_markers: 0, max_guest_follows: 0, is_full: false, is_repeat: true };
    let mut batch = AppendBatch::new(&transaction, now, batch_limits, &mut key_counts);
    let mut deleted = 0;
    for Deletion { room, seq, at, by, purged } in deletions {
        if let Some(PurgedRange { user, from }) = purged {
            let Ok(user) = User::from_id(&user) else { continue };
            let act = NewAct::new(by, Act::Purge { user }).by_host();
            let mut purge = Purge::new(0, room, act, seq);
            (purge.after, purge.until) = (from.saturating_sub(1), Some(at));
            // The host may purge everybody.
            while matches!(batch.purge(&mut purge, 0)?, Ok(false)) {}
            deleted += purge.deleted;
            continue;
        }
        let found: Option<u64> = transaction
            .prepare_cached(
                "SELECT m.at FROM messages m JOIN rooms r ON r.name = ?1 WHERE m.id = (r.id << ?3) | ?2",
            )?
            .query_row((room.as_str(), seq, message_id(1, 0).trailing_zeros()), |row| row.get(0))
            .optional()?;
        if found != Some(at) {
            continue;
        }
        let change = NewChange::new(by, seq, Change::Delete { reason: None }).with_role(Role::Owner);
        let prepared = PreparedChange { room, change, key: None, limits: Arc::clone(limits) };
        match batch.change(&prepared)? {
            Outcome::Changed(_) => deleted += 1,
            Outcome::Refused(error) => {
                tracing::error!(room = %prepared.room, seq, %error, "message not deleted again");
            }
            Outcome::Stored(..) | Outcome::Known(_) | Outcome::Purging { .. } => {}
        }
    }
    batch.finish()?;
    transaction.commit()?;
    Ok(deleted)
}
