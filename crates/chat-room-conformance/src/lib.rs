//! The suite that certifies a store of rooms: named cases, each one sentence of what [`Room`](chat_core::Room)
//! promises.
//!
//! A store runs it as tests of its own. Its `Cargo.toml` says that this test has a `main`: without the two lines of
//! `[[test]]` no case is run, and the test passes.
//!
//! ```toml
//! [dev-dependencies]
//! async-trait = "0.1"
//! chat-core = { path = "../chat-core" }
//! chat-room-conformance = { path = "../chat-room-conformance" }
//!
//! [[test]]
//! name = "conformance"
//! harness = false
//! ```
//!
//! And `tests/conformance.rs`, here of rooms in memory:
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use chat_core::{Limits, MemoryRoom, CommitSink, Room, RoomName};
//! use chat_room_conformance::{Ability, Kind, Store, certify};
//!
//! struct Memory;
//!
//! #[async_trait::async_trait]
//! impl Store for Memory {
//!     fn room(&self, name: RoomName, limits: Arc<Limits>, outlet: CommitSink) -> Arc<dyn Room> {
//!         Arc::new(MemoryRoom::new(name, limits, outlet))
//!     }
//!
//!     async fn reopen(self: Box<Self>) -> Box<dyn Store> {
//!         self
//!     }
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     let memory = Kind::new("memory", |_: Arc<Limits>| async { Memory });
//!     certify([memory.without(Ability::Lasting, "a log in memory ends with its room")])
//! }
//! ```
//!
//! `cargo test --test conformance` then says how many it runs: all [`cases`], for each kind of store.

mod case;
mod cases;
mod harness;
mod kind;
mod run;
mod shown;
mod stage;

pub use case::{Ability, Case, Failure, Running, Verdict};
pub use cases::cases;
pub use harness::certify;
pub use kind::{Kind, Store};
pub use run::run;
pub use stage::{Opened, Stage, Told};
