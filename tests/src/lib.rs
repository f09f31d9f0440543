//! What the proofs across adapters share: the adapters in this process, the binaries as processes, a client,
//! and one script with its transcript.

mod adapters;
mod client;
mod daemon;
mod raw;
mod script;
mod scripts;

pub use adapters::{ADAPTERS, Adapter, Server};
pub use client::{Client, exchange, within};
pub use daemon::{BINARIES, Binary, Daemon};
pub use raw::{Heard, RawClient};
pub use script::transcript;
pub use scripts::{Failure, Stage, Step, script};
