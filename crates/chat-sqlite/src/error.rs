use std::io;
use std::path::{Path, PathBuf};

/// A reason why a store cannot be opened. The database is unchanged.
///
/// The text is one line: it names the file and says what to do.
///
/// ```
/// use chat_sqlite::{OpenError, Options, SqliteStore};
///
/// let dir = tempfile::tempdir()?;
/// let store = SqliteStore::open(dir.path(), Options::default())?;
/// match SqliteStore::open(dir.path(), Options::default()) {
///     Err(OpenError::InUse(lock)) => assert!(lock.ends_with("chat.lock")),
///     result => panic!("{result:?}"),
/// }
/// store.close_blocking();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process, or another [`SqliteStore`](crate::SqliteStore) of this process, holds the lock file.
    #[error(
        "the store is in use: another process has locked {}; stop that process, or choose another directory",
        .0.display()
    )]
    InUse(PathBuf),
    /// The database is missing, but another file of the store exists.
    #[error(
        "{} is missing, but {} exists: restore the database, or remove that file to start an empty store",
        .database.display(), .remaining.display()
    )]
    Missing {
        /// Path of the missing database.
        database: PathBuf,
        /// The file that shows that there was a database.
        remaining: PathBuf,
    },
    /// The file is not a database of this crate.
    #[error(
        "{} is not a chat store: {reason}; choose another directory, or restore the database",
        .path.display()
    )]
    NotAStore {
        /// Path of the file.
        path: PathBuf,
        /// The difference from a store.
        reason: String,
    },
    /// The database is a store, but part of it is lost.
    #[error(
        "{} is damaged: {reason}; restore a copy of the database, or export the messages that can be read",
        .path.display()
    )]
    Damaged {
        /// Path of the database.
        path: PathBuf,
        /// The damage that was found.
        reason: String,
    },
    /// Another user could have prepared the directory, or can change its files.
    #[error("{} is not safe to use: {reason}", .path.display())]
    Insecure {
        /// Path of the directory, or of the file in it.
        path: PathBuf,
        /// The observation, and the remedy.
        reason: String,
    },
    /// A newer version of this crate has written the database.
    #[error(
        "{} has schema version {found}, but this program supports versions up to {supported}: use a newer version",
        .path.display()
    )]
    Newer {
        /// Path of the database.
        path: PathBuf,
        /// Schema version of the database.
        found: u32,
        /// Newest schema version that this crate supports.
        supported: u32,
    },
    /// An earlier version of this crate has written the database.
    #[error(
        "{} has schema version {found}, but this task needs version {expected}: start a server of this version on it once",
        .path.display()
    )]
    Older {
        /// Path of the database.
        path: PathBuf,
        /// Schema version of the database.
        found: u32,
        /// The schema version that the task needs.
        expected: u32,
    },
    /// A file operation failed.
    #[error("cannot {action} {}: {source}", .path.display())]
    Io {
        /// The operation, as a verb phrase.
        action: &'static str,
        /// Path of the file or directory.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// SQLite reported an error.
    #[error("cannot use {}: {source}", .path.display())]
    Sqlite {
        /// Path of the database.
        path: PathBuf,
        /// Error of SQLite.
        source: rusqlite::Error,
    },
}

impl OpenError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }

    pub(crate) fn sqlite(path: &Path) -> impl Fn(rusqlite::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Sqlite { path: path.clone(), source }
    }

    pub(crate) fn not_a_store(path: &Path, reason: &str) -> Self {
        Self::NotAStore { path: path.to_owned(), reason: reason.to_owned() }
    }
}
