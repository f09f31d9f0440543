use rusqlite::ErrorCode;

/// A reason why a transaction was not committed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    /// The file at the database's path is another one, or none.
    #[error("the database was removed or replaced while it was in use: restore it, or restart the process")]
    Replaced,
    /// SQLite reported an error.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
}

impl WriteError {
    /// Returns `true` if one message or room may be the cause. Then others can be written on their own.
    pub(crate) fn may_concern_one_room(&self) -> bool {
        match self {
            Self::Replaced => false,
            Self::Sqlite(error) => !matches!(
                error.sqlite_error_code(),
                Some(
                    ErrorCode::DatabaseBusy
                        | ErrorCode::DatabaseLocked
                        | ErrorCode::DiskFull
                        | ErrorCode::SystemIoFailure
                        | ErrorCode::ReadOnly
                        | ErrorCode::CannotOpen
                        | ErrorCode::NotADatabase
                        | ErrorCode::OutOfMemory
                )
            ),
        }
    }
}

/// Returns `true` for an error that a new connection would have as well.
pub(super) fn is_transient(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DiskFull))
}
