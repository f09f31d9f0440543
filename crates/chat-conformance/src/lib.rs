//! The conformance suite for servers of the protocol `chat.v1`.
//!
//! The suite has more than 300 named cases. Each states one rule of PROTOCOL.md or of an RFC, and tests it with a raw
//! client that can also send invalid data. There are two ways to run them: as tests of an adapter, and as a command for
//! any server.
//!
//! # As tests of an adapter
//!
//! The test needs its own `main`. Without `harness = false` in `Cargo.toml`, no case runs and the test passes:
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
//! The file `tests/conformance.rs` tells the suite how to run a server:
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
//! `cargo test --test conformance` runs all [`cases`] on each mechanism, and `cargo test --test conformance -- close::`
//! those of one group. The output says how many ran.
//!
//! A case that the framework makes impossible is a [`deviation`](Mechanism::deviation) with a reason. The case also
//! runs. Its test fails if the case passes, so that an outdated deviation is noticed. [`TUNGSTENITE_DEVIATIONS`] are
//! those that frameworks share.
//!
//! # As tests of several nodes
//!
//! [`Nodes`] serves one chat on several nodes, which share a store and a bus. The connections of a case go to them in
//! turn. A case about an order or a limit that holds on one node only keeps its connections on one:
//! [`Conditions::one_node`] is the reason.
//!
//! # From outside this workspace
//!
//! An adapter in another repository uses the same two files. These points differ:
//!
//! - The dependency on `chat-conformance` must come from the same source as the one on `chat-core`: the same path or
//!   the same git revision. Otherwise there are two types `Endpoint`, and the test does not compile.
//! - The hint `look at` of a failure names code in this repository.
//! - Two steps apply only inside: the comparison of transcripts between mechanisms (`tests/tests/transcripts.rs`), and
//!   the list `ADAPTERS` of the other tests in `tests/`. An adapter outside skips both.
//! - The limits of a case are in [`Mounted::limits`]. Pass them to the server: the suite shortens them so that a case
//!   does not wait for long.
//!
//! # As a command
//!
//! ```text
//! chat-conformance ws://127.0.0.1:8080/ws
//! chat-conformance --exec 'my-server --listen {addr}'
//! chat-conformance --list
//! ```
//!
//! The suite needs only an address for most cases. If the command starts the server with `--exec`, the suite also runs
//! the cases that need a separate server or a drain. Some cases need short limits, or a host service that identifies
//! users and decides about their rights, so only a server in the same process runs all cases.
//!
//! # The client alone
//!
//! [`client`] is a raw WebSocket client that other tests can use.

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
pub use target::{Address, Exec, InProcess, Mounted, Nodes, Server, Shared, Target};
pub use transcript::{Direction, Entry, Transcript, hex_lines};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
