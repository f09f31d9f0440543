//! Rooms that last, in one SQLite file.
//!
//! A [`Store`] is a directory that one process has for itself. It hands out the rooms of a
//! [`Chat`](chat_core::Chat), commits what is written to them in groups, and reads beside that.
//!
//! ```
//! use chat_core::{Chat, Text, User};
//! use chat_sqlite::{Options, Store};
//!
//! # let dir = tempfile::tempdir()?;
//! # let dir = dir.path();
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
//! # runtime.block_on(async {
//! let store = Store::open(dir, Options::default())?;
//! let rooms = store.clone();
//! let chat: Chat = Chat::builder().rooms(move |name, limits, outlet| rooms.room(name, limits, outlet)).build();
//! chat.post(&"lobby".parse()?, &User::guest("clock")?, &Text::new("It is noon."), None).await?;
//! store.close();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod clock;
mod connect;
mod database;
mod error;
mod hub;
mod index;
mod inspect;
mod ledger;
mod mark;
mod open;
mod pages;
mod readers;
mod record;
mod room;
mod schema;
mod store;
mod sweep;
mod teller;
mod terms;
mod verify;
mod writer;

pub use error::OpenError;
pub use inspect::{Exported, Progress, Report};
pub use open::Opening;
pub use store::{Durability, Options, Stats, Store};

/// 128 random bits, as text.
fn random() -> String {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the operating system always has random numbers once it is up");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
