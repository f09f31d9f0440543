//! The files of a store and the format of its database, shared by all other modules.

mod change;
mod commit_mark;
pub(crate) mod connection;
mod erasure_list;
mod files;
mod identity;
mod message;
mod purge;
pub(crate) mod row;
mod rules;
mod schema;
mod staged;

use rusqlite::Connection;

pub(crate) use change::{ACT_KIND, ChangeRecord, PURGE_KIND, kind_column};
pub(crate) use commit_mark::{CommitMark, CommitMarkFile, boot_id};
pub(crate) use erasure_list::{Deletion, ErasureList, PurgedRange};
pub(crate) use files::{
    FileId, FileLock, Paths, exists, private_file, remove_database, sync_dir, verify_access, verify_files,
    with_suffix,
};
pub(crate) use identity::{Identity, StoreTimes, random_id, room_epoch};
pub(crate) use message::MessageState;
pub(crate) use purge::Purge;
pub(crate) use rules::{
    count_standings, read_rules, read_standing, remove_ended_standings, write_rules, write_standing,
};
#[cfg(test)]
pub(crate) use schema::schema_of_version;
pub(crate) use schema::{APPLICATION_ID, VERSION, migrate};
pub(crate) use staged::{Moved, StuckRooms, move_left, move_staged};

/// Size up to which each opening checks all pages of a database, in bytes.
pub(crate) const FULL_CHECK_LIMIT: u64 = 256 * 1024 * 1024;

/// A database that this process may write to, with the lock that excludes other processes.
#[derive(Debug)]
pub(crate) struct LockedDatabase {
    pub(crate) paths: Paths,
    pub(crate) connection: Connection,
    pub(crate) identity: Identity,
    pub(crate) times: StoreTimes,
    pub(crate) mark: CommitMarkFile,
    pub(crate) erasures: ErasureList,
    /// The rooms that have staged messages which cannot be moved.
    pub(crate) stuck: StuckRooms,
    /// The purges that were interrupted.
    pub(crate) purges: Vec<Purge>,
    /// Held until the writer thread ends.
    pub(crate) lock: FileLock,
}
