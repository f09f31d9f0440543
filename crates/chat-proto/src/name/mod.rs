//! Names of rooms and users, and the characters that texts may have.

mod characters;
mod direct;
mod guest;
mod joiners;
mod room;

pub(crate) use characters::{belongs_to, is_blank, is_letter, is_mark};
pub use characters::{has_visible, is_printable};
pub(crate) use guest::check_guest;
pub(crate) use joiners::{are_joiners_valid, without_lost_selectors};
pub use room::{InvalidRoomName, RoomName};
