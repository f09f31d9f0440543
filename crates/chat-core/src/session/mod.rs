//! One session: from a ticket to the end of its connection.

mod catch_up;
mod direct;
mod driver;
mod end;
mod follow_state;
mod following;
mod govern;
mod hello;
mod host;
mod input;
mod kicks;
mod listing;
mod mechanism;
mod operation;
mod output;
mod peers;
mod rates;
mod reads;
mod registry;
mod requested;
mod returning;
mod send;
mod ticket;

pub(crate) use govern::with_target;
pub(crate) use hello::{Identification, Identities};
pub(crate) use mechanism::Mechanism;
pub(crate) use reads::ReadQueues;
pub(crate) use registry::{Permit, Phase, Reservation, Sessions};
pub(crate) use returning::Returning;
pub use ticket::Ticket;
