//! Random scripts for a few clients, and a model of the protocol that predicts the events of each step.
//!
//! The limits are small, so that short scripts reach all of them.

mod change;
mod command;
mod expected;
mod links;
mod malformed;
mod model;
mod node;
mod play;
mod room;
mod run;
mod server;
mod step;

pub use run::run_scripts;
pub use server::{Failure, ScriptServer};
pub use step::{Step, script};

use serde_json::{Value, json};

/// The limit of a message on the wire, in bytes.
const MAX_FRAME: usize = 1024;
/// The limit of a text, in bytes.
const MAX_BODY: usize = 64;
/// The limit of rooms for one connection.
const MAX_ROOMS: usize = 2;
/// The number of errors that closes a connection.
const MAX_ERRORS: usize = 6;
/// The number of messages that a room retains.
const RETAINED: u64 = 8;
/// The default number of messages in a page.
const DEFAULT_PAGE: u64 = 3;
/// The limit of messages in a page.
const MAX_PAGE: u64 = 4;
/// The default number of messages that a search returns.
const DEFAULT_FOUND: u64 = 2;
/// The limit of messages that a search returns.
const MAX_FOUND: u64 = 3;

/// Adds a `ref`, if there is one, to a command or a reply.
fn with_reference(reference: Option<&str>, mut object: Value) -> Value {
    if let Some(reference) = reference {
        object["ref"] = json!(reference);
    }
    object
}
