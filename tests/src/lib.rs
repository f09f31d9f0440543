//! What the proofs across adapters share: the adapters in this process, the binaries as processes, a client,
//! and one script with its transcript.

mod adapters;
mod client;
mod crowd;
mod daemon;
pub mod history;
mod raw;
mod script;
mod scripts;
mod seed;

pub use adapters::{ADAPTERS, Adapter, Server};
pub use client::{Client, exchange, within};
pub use crowd::{Plan, crowd, gather};
pub use daemon::{BINARIES, Binary, Daemon};
pub use raw::{Heard, RawClient};
pub use script::transcript;
pub use scripts::{Failure, Stage, Step, script};
pub use seed::{runner, seeds};
