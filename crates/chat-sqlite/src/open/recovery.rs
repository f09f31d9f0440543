use crate::Durability;
use crate::database::{CommitMark, Identity, boot_id};

/// The state in which [`SqliteStore::open`](crate::SqliteStore::open) found a store.
///
/// ```
/// use chat_sqlite::{Opening, Options, SqliteStore};
///
/// let dir = tempfile::tempdir()?;
/// let store = SqliteStore::open(dir.path(), Options::default())?;
/// assert_eq!(store.opening(), Opening::New);
/// store.close_blocking();
///
/// let store = SqliteStore::open(dir.path(), Options::default())?;
/// assert_eq!(store.opening(), Opening::Closed);
/// # store.close_blocking();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Opening {
    /// There was no store. It was created.
    New,
    /// The last process closed the store.
    Closed,
    /// The last process ended without closing the store. All acknowledged messages are present.
    Crashed,
    /// Acknowledged messages may be lost, so a new epoch started.
    NewEpoch {
        /// The observation that shows the possible loss.
        reason: &'static str,
    },
}

pub(super) fn opening(
    is_new: bool,
    mark: Option<&CommitMark>,
    is_copy: bool,
    identity: &Identity,
    listed: u64,
) -> Opening {
    if is_new {
        return Opening::New;
    }
    match possible_loss(mark, is_copy, identity, listed) {
        Some(reason) => Opening::NewEpoch { reason },
        None if mark.is_some_and(|mark| mark.is_open) => Opening::Crashed,
        None => Opening::Closed,
    }
}

/// Returns the reason why the database may have lost acknowledged messages. `listed` is the newest commit of the
/// erasure list.
fn possible_loss(
    mark: Option<&CommitMark>,
    is_copy: bool,
    identity: &Identity,
    listed: u64,
) -> Option<&'static str> {
    let Some(mark) = mark else {
        return Some("the commit mark (chat.mark) is missing or unreadable");
    };
    let same_boot = mark.boot.is_some() && mark.boot == boot_id();
    if mark.store != identity.store {
        Some("the commit mark (chat.mark) belongs to another store")
    } else if mark.commits > identity.commits {
        Some("the database has fewer commits than were acknowledged")
    } else if listed > identity.commits + 1 {
        // The list is written before the commit, which a crash may have prevented.
        Some("the database has fewer commits than the erasure list (chat.erasures)")
    } else if is_copy {
        Some("the directory is a copy; the original may have newer messages")
    } else if mark.is_open && mark.durability == Durability::Process && !same_boot {
        Some("the system restarted while the store was open with durability `process`")
    } else {
        None
    }
}
