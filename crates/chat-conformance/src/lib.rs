//! The suite that certifies a server of `chat.v1`: named cases, each with what it shows and where that is
//! written, and a client of its own that can speak wrongly.
//!
//! An adapter runs it as tests of its own. Its `Cargo.toml` says that this test has a `main`: without the two lines of
//! `[[test]]` no case is run, and the test passes.
//!
//! ```toml
//! [dev-dependencies]
//! chat-conformance = { path = "../chat-conformance" }
//!
//! [[test]]
//! name = "conformance"
//! harness = false
//! ```
//!
//! And `tests/conformance.rs`:
//!
//! ```no_run
//! use chat_conformance::{InProcess, Mechanism, Mounted, certify};
//!
//! fn main() -> std::process::ExitCode {
//!     certify([Mechanism::new(InProcess::new("mine", |server: Mounted| async move {
//!         // Serve `server.endpoint` on `server.listener` until `server.stop`.
//!         server.stop.await;
//!     }))])
//! }
//! ```
//!
//! `cargo test --test conformance` then says how many it runs: all [`cases`], for each mechanism.
//!
//! Any other server is tested by the command: `chat-conformance ws://127.0.0.1:8080/ws`.

mod cases;
pub mod client;
mod compare;
mod conditions;
mod harness;
pub mod report;
mod run;
mod stage;
pub mod target;
mod transcript;

pub use cases::cases;
pub use chat_suite::{Failure, Verdict};
pub use compare::{Comparison, Difference, compare};
pub use conditions::{Case, Conditions, Needs};
pub use harness::{Mechanism, TUNGSTENITE_DEVIATIONS, certify};
pub use run::{Outcome, Report, preflight, run};
pub use stage::Stage;
pub use target::{Address, Exec, InProcess, Mounted, Server, Target};
pub use transcript::{Direction, Entry, Transcript, hex_lines};
