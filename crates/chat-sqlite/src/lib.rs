//! Chat rooms that survive a restart, in one SQLite database.
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
//! store.close();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Guarantees
//!
//! - An acknowledged message survives the end of the process, and with [`Durability::Disk`] also a power failure.
//! - The `seq` of a message is never used twice within one epoch. If acknowledged messages may be lost, for example
//!   because an older copy of the database was restored, the next [`SqliteStore::open`] starts a new epoch. See [`Opening`].
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
//! [`SqliteStore::check`], [`SqliteStore::export`] and [`SqliteStore::rooms`] read the store of a directory without opening it. They
//! work while another process uses the store.
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
mod maintenance;
mod open;
mod options;
mod read;
mod room;
mod search;
mod store;
mod write;

pub use error::OpenError;
pub use maintenance::{Exported, Progress, Report};
pub use open::Opening;
pub use options::{Durability, Options};
pub use store::SqliteStore;
pub use write::Stats;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
