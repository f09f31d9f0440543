use std::fs::{self, File};
use std::path::Path;

use rusqlite::Connection;

use crate::OpenError;
use crate::database::connection::checkpoint;
use crate::database::{
    APPLICATION_ID, Paths, exists, migrate, private_file, random_id, remove_database, sync_dir,
};

/// Creates a database under another name and renames it, so that a crash leaves a complete database or none.
pub(super) fn create(paths: &Paths) -> Result<(), OpenError> {
    for remaining in [paths.mark.clone(), paths.wal()] {
        if exists(&remaining)? {
            return Err(OpenError::Missing { database: paths.database.clone(), remaining });
        }
    }
    create_unfinished(paths)?;
    let unfinished = paths.unfinished();
    initialize(&unfinished).map_err(OpenError::sqlite(&unfinished))?;
    finish_unfinished(paths)
}

/// Creates an empty file for a database that has not its final name yet, and removes one that was not completed.
pub(crate) fn create_unfinished(paths: &Paths) -> Result<(), OpenError> {
    let unfinished = paths.unfinished();
    remove_database(&unfinished)?;
    // SQLite gives its other files the permissions of this one.
    let created = private_file().write(true).create_new(true).open(&unfinished);
    created.map_err(OpenError::io("create", &unfinished)).map(drop)
}

/// Gives a complete database its final name.
pub(crate) fn finish_unfinished(paths: &Paths) -> Result<(), OpenError> {
    let unfinished = paths.unfinished();
    let finish = || {
        File::open(&unfinished)?.sync_all()?;
        fs::rename(&unfinished, &paths.database)?;
        sync_dir(&paths.dir)
    };
    finish().map_err(OpenError::io("create", &paths.database))
}

fn initialize(path: &Path) -> rusqlite::Result<()> {
    let mut connection = Connection::open(path)?;
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    migrate(&mut connection)?;
    let ids = (random_id(), random_id());
    connection.execute("INSERT INTO store (one, identity, epoch, commits) VALUES (1, ?1, ?2, 0)", ids)?;
    checkpoint(&connection)?;
    connection.close().map_err(|(_, error)| error)
}
