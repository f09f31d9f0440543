//! Chat rooms that survive a restart, in a SQLite database, with a second one for the search index.
//!
//! A [`SqliteStore`] is a directory that one process uses at a time. It provides the rooms of a
//! [`Chat`](chat_core::Chat). One thread writes: it commits all waiting messages in one transaction. A few
//! connections read and search at the same time.
//!
//! # Mount a store
//!
//! ```
//! use chat_core::{Chat, Text, User};
//! use chat_sqlite::{Options, SqliteStore};
//!
//! # let dir = tempfile::tempdir()?;
//! # let dir = dir.path();
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
//! # runtime.block_on(async {
//! let store = SqliteStore::open(dir, Options::default())?;
//! let chat = Chat::builder().store(store.clone()).build();
//! chat.post(&"lobby".parse()?, &User::guest("clock")?, &Text::new("It is noon.")).await?;
//! store.close_blocking();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Guarantees
//!
//! - An acknowledged message survives the end of the process, and with [`Durability::Disk`] also a power failure.
//! - The `seq` of a message is never used twice within one epoch. If acknowledged messages may be lost, for example
//!   because an older copy of the database was restored, the next [`SqliteStore::open`] starts a new epoch. See
//!   [`Opening`].
//! - The time of a message is never earlier than the time of the room's previous message, as long as the store still
//!   has that message.
//! - Each message has a checksum. A message that fails it is not returned. [`Stats::unreadable`] counts it.
//!
//! # Retention
//!
//! [`Options::retain_age`] and [`Options::retain_messages`] limit the messages that a room keeps. Both are off by
//! default.
//!
//! # Maintenance
//!
//! [`SqliteStore::check`], [`SqliteStore::export`] and [`SqliteStore::rooms`] read the store of a directory without
//! opening it. They work while another process uses the store. [`SqliteStore::compact`] makes the files smaller while
//! no process does. [`SqliteStore::export_all`] and [`SqliteStore::import`] move a store to another server, as text.
//!
//! # Rooms that last
//!
//! A store is a directory with five files: the database `chat.db`, the search index `chat.search`, the erasure list
//! `chat.erasures`, the commit mark `chat.mark`, and the lock `chat.lock`. A directory that belongs to another user, or
//! that other users can write to, is refused, and so is a symbolic link in place of a file. A directory that does not
//! contain a complete store of a known version is refused before anything is written to it.
//!
//! **Writes.** The writer thread takes all waiting appends, commits them in one transaction, and then sends the
//! replies. An append wakes the thread when the runtime has run the tasks that are due, so that their appends share the
//! transaction. [`Durability`] decides if the commit includes a sync. The thread wakes the task of the first reply,
//! which wakes the others. The tasks also publish the committed messages, each those of its room, because waking
//! members from the writer thread costs more. Several tasks publish at the same time, so the sinks can get the messages
//! in any order. The chat orders them by `seq`. The writer thread publishes the message of an append that was dropped,
//! or that is not polled within 10 ms. A write that fails is answered as unavailable, and nothing of it is published.
//! The store then tries again at the next append, and after one second.
//!
//! **Reads.** Reads and searches have their own connections, and do not wait for the writer thread. All connections are
//! opened at the start, so that a process without free file descriptors keeps serving. A search works in slices of
//! 100 ms: after each it gives up its snapshot and waits in a fair queue. Searches run in threads of a low priority, at
//! most two and at most one for each CPU, so that they do not delay messages on a busy machine. If the write-ahead log
//! exceeds 64 MiB, reads wait until it is emptied.
//!
//! **Staging.** Messages and keys are in tables that are ordered by room, so messages of many rooms are on as many
//! pages, all of which a commit would write. Therefore a short new message is a row of the table `staged` first, in the
//! order of its arrival. After 1,024 messages, 1 MiB or 1 s, and before each write that needs the tables, such as an
//! edit or a deletion, all staged messages are moved to their tables in one transaction. Reads and the maintenance look
//! at both places, through views. If pages of a room are damaged, so that its messages cannot be moved, they stay
//! staged and can be read, and the store answers all writes to that room as unavailable. Each sweep, and each start,
//! tries again. After a crash, the next start moves what is staged.
//!
//! **Messages.** A message is stored as the frame that is delivered, together with a checksum. Its row id contains the
//! number of the room and the `seq`. The idempotency key, if the message has one, is a row of its own. A message that
//! fails its checksum is left out and counted. A client that reads across it gets a `gap` event.
//!
//! **Epochs.** The mark contains the number of the last commit. It is written after the commit, and before the message
//! is acknowledged or published. A new epoch starts if the database has fewer commits than the mark, or if the mark is
//! missing, is damaged, or is a copy. It also starts after the system went down while a store with
//! [`Durability::Process`] was open. So an epoch never uses a `seq` twice. After `kill -9` the database has all commits
//! that the mark names, and the epoch continues.
//!
//! **Changes.** An edit, a deletion, a reaction or a pin is an entry of its own in the sequence of its room. The entry
//! says only who did what to which message. The message is stored in its present form, so a history page costs the same
//! with and without changes. The writer thread judges a change in the transaction that stores it. All reactions to one
//! message in one transaction are one entry, unless another change of the message comes between them.
//!
//! **Erasure.** A deletion overwrites the body and the key of its message, and all earlier bodies, in the transaction
//! that stores it. It is answered after the sinks of its room got the erased entries. SQLite leaves copies of rows in
//! the free space of pages where they were before; therefore the rows around the message are written again (`PRAGMA
//! secure_delete` overwrites the earlier ones). The write-ahead log is emptied right after the commit, but at most once
//! a second. It cannot be emptied while a read has a snapshot: reads of this process end within their call timeout, and
//! one of another process, such as an export, must end. The index is erased by a merge of all its parts, in steps,
//! which rests for 20 times its duration, at most 10 minutes. An edit removes the earlier text from what a search
//! finds, but starts no merge: its terms stay in the file of the index until the next deletion of any message, or until
//! SQLite merges their part. To erase a text, delete its message. A store that an earlier version has written contains
//! copies from its time until it is [compacted](SqliteStore::compact).
//!
//! **Backups.** A backup contains messages that were deleted after it. So each deletion is also a row of the erasure
//! list, before it is committed: who deleted which message, without its text. The list keeps the last million
//! deletions. When a new epoch starts, the deletions that the database does not contain are applied to it again, before
//! anyone can read it. A list that is missing, damaged or of another store begins again.
//!
//! **Keys.** The store contains digests of keys, not their texts. The age of a key is the time for which the store has
//! been open since then, so no clock can make it too old. A user who has [`Options::max_keys_per_user`] keys in a room
//! is refused further ones until the oldest expires.
//!
//! **Retention.** A message is deleted with its reactions. A room that keeps a number of messages also keeps the
//! changes among them, at most four for each message. A sweep visits the rooms between two batches and deletes at most
//! 256 rows of a room in each step. The age of a message is computed from the system clock or from the time of the
//! store, whichever is earlier. The time of the store is the newest time that it has seen, plus the time that has
//! elapsed since. If the system clock differs from it by more than 24 h, no message expires by its age until the clock
//! is set or has run evenly for 12 h. A room without messages and keys is deleted after the key window. If it is
//! created again, it continues above all positions of deleted rooms, so its epoch uses no `seq` twice.
//!
//! **Search.** The index contains each sequence of three characters within a word, so that a part of a word is found in
//! every script. A query is split in the same way into quoted terms, so no input of a user is query syntax. A
//! [`Scan`](chat_core::Scan) confirms each result of the index. The index is a database of its own, and a thread of its
//! own builds it, so it never delays appends. It works when no message has been appended for a second, and otherwise
//! when 4 MiB of messages wait, or a second after a deletion. It works in steps of 256 KiB or 50 ms, and rests for
//! three quarters of the time while messages are appended. Each room stores the position that its index has reached, in
//! the same transaction. A search scans the messages after that position one by one, so its result is exact at any time
//! and after a crash. An index that is missing, damaged or of another epoch is built again.
//!
//! # An index for another store
//!
//! A [`LogIndex`] is a search index alone, with the same terms, in a file of its own. It is for a log that another
//! store keeps, such as that of several servers: the store gives it what is appended, in order, and examines the
//! messages that it finds.
//!
//! # Platforms
//!
//! The crate supports Unix only, because it uses file modes, inode numbers and positioned writes. It does not compile
//! on other systems. The tests run on Linux. Other Unix systems do not provide Linux's boot id. There, a store that was
//! not closed starts a new epoch if it used [`Durability::Process`].

#[cfg(not(unix))]
compile_error!("chat-sqlite supports Unix only: it uses file modes, inode numbers and positioned writes");

mod database;
mod error;
mod log_index;
mod maintenance;
mod open;
mod options;
mod publish;
mod read;
mod room;
mod search;
mod store;
mod threads;
mod write;

pub use chat_core::{Exported, Imported, ReadExportError};
pub use error::OpenError;
pub use log_index::{Candidates, IndexStep, LogIndex};
pub use maintenance::{Compacted, ImportError, Progress, Report};
pub use open::Opening;
pub use options::{Durability, Options};
pub use publish::describe_metrics;
pub use store::SqliteStore;
pub use write::Stats;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
