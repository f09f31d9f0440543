//! Reading messages: a pool of connections, pages of a room's history, and damaged messages.

mod gate;
mod history;
mod message;
mod pool;
mod target;
mod thread;
mod unread;

pub(crate) use gate::{ClosedGate, ReadGate, WAL_LIMIT, WalSize};
pub(crate) use history::{MessagePage, RoomBounds, bounds, read_messages, read_page, standing};
pub(crate) use message::{UnreadableMessages, stored_message};
pub(crate) use pool::ReaderPool;
pub(crate) use thread::{read_linked, read_thread};
pub(crate) use unread::{followed, unread};
