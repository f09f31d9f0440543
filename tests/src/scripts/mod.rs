//! Random scripts for a few clients, played against a model of the protocol.

mod model;
mod play;
mod step;

pub use play::{Failure, Stage};
pub use step::{Step, script};

/// Bytes of a message on the wire, at most.
const MAX_FRAME: usize = 1024;
/// Bytes of a text, at most.
const MAX_BODY: usize = 64;
/// Rooms that a connection may be in.
const ROOMS_MOST: usize = 2;
/// Errors of a connection that end it.
const ERRORS: usize = 6;
/// Messages that a room keeps.
const KEPT: u64 = 12;
/// Messages in a page that nobody has given a number for.
const HISTORY_DEFAULT: u64 = 3;
/// Messages in a page, at most.
const HISTORY_MOST: u64 = 4;
