use std::io;
use std::path::{Path, PathBuf};

use crate::schema::VERSION;

/// Why a store cannot be opened. Whatever it is, the database is left as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A second process, or a second store in this one.
    #[error("the store is in use: another process has locked {}", .0.display())]
    InUse(PathBuf),
    /// The database is not there, and something says that it was.
    #[error(
        "{} is missing, but {} is there: put the database back, or remove that to begin anew",
        .database.display(), .witness.display()
    )]
    Missing {
        /// Where it should be.
        database: PathBuf,
        /// What says that it was there.
        witness: PathBuf,
    },
    /// A file of another kind, or of another program.
    #[error("{} is no chat store: {why}; choose another directory, or put the database back", .path.display())]
    NotAStore {
        /// The file.
        path: PathBuf,
        /// What tells.
        why: String,
    },
    /// A store of which something is lost.
    #[error("{} is damaged: {why}; put a copy of the database back, or export what can be read", .path.display())]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A store that a later version of this software has written.
    #[error("{} has schema {found}, this version knows up to {VERSION}: use a newer version", .path.display())]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its schema's version.
        found: u32,
    },
    /// The system does not let us.
    #[error("cannot {action} {}: {source}", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// SQLite does not let us.
    #[error("cannot use {}: {source}", .path.display())]
    Sqlite {
        /// The database.
        path: PathBuf,
        /// Why not.
        source: rusqlite::Error,
    },
}

pub(crate) fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    let path = path.to_owned();
    move |source| OpenError::Io { action, path, source }
}
