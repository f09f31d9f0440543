//! Opening a store: creation, verification, migration, and the decision whether a new epoch starts.

mod create;
mod recovery;
mod restored;
mod verify;

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

pub(crate) use create::{create_unfinished, finish_unfinished};
pub use recovery::Opening;
pub(crate) use verify::verify;

use crate::database::connection::{checkpoint, open_writer, set_durability};
use crate::database::{
    CommitMark, CommitMarkFile, ErasureList, FileLock, Identity, LockedDatabase, Paths, Purge, StoreTimes,
    boot_id, exists, migrate, move_left, random_id, sync_dir, verify_access,
};
use crate::{Durability, OpenError, Options};

/// Opens the store of a directory. Creates the store and its directory if they do not exist; the parent directory must
/// exist.
pub(crate) fn open(dir: &Path, options: &Options) -> Result<(LockedDatabase, Opening), OpenError> {
    let paths = Paths::of(dir);
    create_dir(dir)?;
    verify_access(&paths)?;
    let lock = FileLock::acquire(&paths.lock)?;
    let is_new = !exists(&paths.database)?;
    if is_new {
        create::create(&paths)?;
    } else {
        verify(&paths)?;
    }
    let (mark, last) = CommitMarkFile::open(&paths.mark).map_err(OpenError::io("open", &paths.mark))?;
    let sqlite = OpenError::sqlite(&paths.database);
    let mut connection =
        open_writer(&paths.database, Durability::Disk, options.lock_wait).map_err(&sqlite)?;
    let stuck = migrate(&mut connection).and_then(|()| move_left(&mut connection)).map_err(&sqlite)?;
    // An earlier process may have left writes in the cache of the operating system.
    checkpoint(&connection).map_err(&sqlite)?;
    let mut identity = Identity::read(&connection).map_err(&sqlite)?;
    let times = StoreTimes::read(&connection).map_err(&sqlite)?;
    let erasures = ErasureList::open(&paths, &identity.store, options)?;
    let listed = erasures.newest_commit().map_err(OpenError::sqlite(&paths.erasures))?;
    let opening = recovery::opening(is_new, last.as_ref(), mark.is_copy(), &identity, listed);
    if let Opening::NewEpoch { reason } = opening {
        tracing::warn!(dir = %dir.display(), reason, "new epoch started; clients must read their rooms again");
        let deleted =
            restored::delete_again(&mut connection, &erasures, &identity, times).map_err(&sqlite)?;
        if deleted > 0 {
            tracing::warn!(dir = %dir.display(), deleted, "messages deleted again that the restored database contained");
        }
        let before = last.map_or(0, |mark| mark.commits).max(identity.commits).max(listed);
        identity.epoch = random_id();
        identity.commits = before + 1;
        begin_epoch(&mut connection, &identity).map_err(&sqlite)?;
        // The write-ahead log contains the pages with the deleted messages.
        checkpoint(&connection).map_err(&sqlite)?;
    }
    let opened = CommitMark {
        store: identity.store.clone(),
        commits: identity.commits,
        is_open: true,
        durability: options.durability,
        boot: boot_id(),
    };
    mark.write_and_sync(&opened)
        .and_then(|()| sync_dir(&paths.dir))
        .map_err(OpenError::io("write", &paths.mark))?;
    set_durability(&connection, options.durability).map_err(&sqlite)?;
    erasures.set_durability(options.durability).map_err(OpenError::sqlite(&paths.erasures))?;
    let purges = Purge::take_interrupted(&connection).map_err(&sqlite)?;
    let database = LockedDatabase { paths, connection, identity, times, mark, erasures, purges, stuck, lock };
    Ok((database, opening))
}

pub(crate) fn create_dir(dir: &Path) -> Result<(), OpenError> {
    let created =
        DirBuilder::new().mode(0o700).create(dir).and_then(|()| dir.parent().map_or(Ok(()), sync_dir));
    match created {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(OpenError::io("create the directory", dir)(error))
        }
        _ => Ok(()),
    }
}

fn begin_epoch(connection: &mut Connection, identity: &Identity) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let commits = i64::try_from(identity.commits).unwrap_or(i64::MAX);
    transaction.execute("UPDATE store SET epoch = ?1, commits = ?2", (&identity.epoch, commits))?;
    // A marker counts in its epoch only.
    transaction.execute_batch("DELETE FROM markers; UPDATE rooms SET markers = 0 WHERE markers <> 0;")?;
    transaction.commit()
}
