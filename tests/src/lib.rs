//! What the proofs across adapters share: the adapters in this process, the binaries as processes, clients, random
//! scripts with a model of the protocol, and a crowd with a check of what it saw.

mod adapters;
mod answers;
mod client;
mod crowd;
mod daemon;
mod fault;
mod footprint;
pub mod history;
mod k6;
mod raw;
mod scripts;
mod seed;

pub use adapters::{ADAPTERS, Adapter, Server};
pub use answers::answers;
pub use client::{Client, exchange, within};
pub use crowd::{Plan, crowd, gather};
pub use daemon::{BINARIES, Binary, Daemon, Refusal, program};
pub use fault::Fault;
pub use footprint::Footprint;
pub use k6::{Summary, check_log, k6};
pub use raw::{Heard, RawClient};
pub use scripts::{Failure, Stage, Step, script};
pub use seed::{runner, seeds};
