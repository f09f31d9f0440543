//! Random scripts for a few clients, played against a model of the protocol.

mod command;
mod model;
mod play;
mod room;
mod stage;
mod step;
mod told;

pub use stage::{Failure, Stage};
pub use step::{Step, script};

use serde_json::{Value, json};

/// Bytes of a message on the wire, at most.
const MAX_FRAME: usize = 1024;
/// Bytes of a text, at most.
const MAX_BODY: usize = 64;
/// Rooms that a connection may be in.
const ROOMS_MOST: usize = 2;
/// Errors of a connection that end it.
const ERRORS: usize = 6;
/// Messages that a room keeps.
const KEPT: u64 = 8;
/// Messages in a page that nobody has given a number for.
const HISTORY_DEFAULT: u64 = 3;
/// Messages in a page, at most.
const HISTORY_MOST: u64 = 4;
/// Messages that a search finds for one that has given no number.
const FOUND_DEFAULT: u64 = 2;
/// Messages that a search finds, at most.
const FOUND_MOST: u64 = 3;

/// Adds a `ref` to a command or its reply, if there is one.
fn with_reference(reference: Option<&str>, mut object: Value) -> Value {
    if let Some(reference) = reference {
        object["ref"] = json!(reference);
    }
    object
}
