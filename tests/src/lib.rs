//! What the proofs across adapters share: the adapters in this process, the binaries as processes, clients, random
//! scripts with a model of the protocol, and a crowd with a check of what it saw.

mod adapters;
mod answers;
mod client;
mod crowd;
mod daemon;
pub mod history;
mod raw;
mod scripts;
mod seed;

pub use adapters::{ADAPTERS, Adapter, Server};
pub use answers::answers;
pub use client::{Client, exchange, within};
pub use crowd::{Plan, crowd, gather};
pub use daemon::{BINARIES, Binary, Daemon};
pub use raw::{Heard, RawClient};
pub use scripts::{Failure, Stage, Step, script};
pub use seed::{runner, seeds};
