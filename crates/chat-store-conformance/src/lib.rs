//! The conformance suite for stores of rooms: named cases for the promises of [`chat_core::Store`] and
//! [`chat_core::Room`].
//!
//! A store runs the suite as a test of its own. The test target has a `main`, so `Cargo.toml` needs `harness = false`.
//! Without it no case runs and the test passes.
//!
//! ```toml
//! [dev-dependencies]
//! async-trait = "0.1"
//! chat-core = { path = "../chat-core" }
//! chat-store-conformance = { path = "../chat-store-conformance" }
//!
//! [[test]]
//! name = "conformance"
//! harness = false
//! ```
//!
//! `tests/conformance.rs` gives the suite a [`Fixture`]: an empty store for each case, and the way to restart it. Here
//! the store is the one that keeps rooms in memory. A [`Backend`] names the [`Capability`]s that the store lacks.
//!
//! ```no_run
//! use std::process::ExitCode;
//! use std::sync::Arc;
//!
//! use chat_core::{MemoryStore, Store};
//! use chat_store_conformance::{Backend, Capability, Fixture, certify};
//!
//! #[derive(Default)]
//! struct InMemory(Arc<MemoryStore>);
//!
//! #[async_trait::async_trait]
//! impl Fixture for InMemory {
//!     fn store(&self, node: usize) -> Option<Arc<dyn Store>> {
//!         (node == 0).then(|| Arc::clone(&self.0) as Arc<dyn Store>)
//!     }
//!
//!     async fn restart(&mut self) {}
//! }
//!
//! fn main() -> ExitCode {
//!     let backend = Backend::new("memory", |_limits| async { InMemory::default() })
//!         .without(Capability::Persistence, "the log ends with its room")
//!         .without(Capability::MultipleNodes, "the log is in one process")
//!         .without(Capability::Outage, "memory is always reachable")
//!         .without(Capability::Renewal, "a log in memory is not lost while it is open");
//!     certify([backend])
//! }
//! ```
//!
//! `cargo test --test conformance` runs each of the [`cases`] on each backend as a test of its own:
//! `memory::keys::a_repeat_stores_nothing`. A case that is listed as a deviation also runs. Its test fails if the case
//! passes, so that an outdated deviation is noticed.
//!
//! The module [`bus`] is the suite for buses between the nodes of a chat.
//!
//! Reports of a store reach its sink in any order, more than once, and before or after the answer of an append. The
//! suite waits for each report for [`TIME_LIMIT`].

pub mod bus;

mod backend;
mod capability;
mod cases;
mod stage;

use std::process::ExitCode;
use std::time::Duration;

pub use backend::{Backend, Fixture};
pub use capability::{Capability, Conditions};
pub use cases::cases;
pub use chat_suite::{Failure, Outcome, Subject, Verdict};
pub use stage::{Frame, OpenRoom, Peer, Reports, Stage, TestChat};

/// The time limit for work that a store does in the background, for example the report of an entry of another node.
pub const TIME_LIMIT: Duration = Duration::from_secs(10);

/// One promise of the contract, and the function that checks it.
pub type Case = chat_suite::Case<Stage, Conditions>;

/// Runs all cases on all backends: the `main` of a test with `harness = false`.
pub fn certify(backends: impl IntoIterator<Item = Backend>) -> ExitCode {
    chat_suite::certify(cases, backends, None)
}

/// Runs all cases on all backends, as [`certify`] does, but this number of cases at the same time. It is for stores
/// whose cases mostly wait for servers. `--test-threads` overrides the number.
pub fn certify_concurrently(threads: usize, backends: impl IntoIterator<Item = Backend>) -> ExitCode {
    chat_suite::certify(cases, backends, Some(threads))
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const CONTRACT: &str = include_str!("../../chat-core/src/store.rs");

    #[test]
    fn each_case_has_a_path_of_its_own_a_statement_and_a_source() {
        chat_suite::assert_well_formed(&cases());
    }

    #[test]
    fn each_promise_of_a_room_has_a_case_and_each_case_cites_a_promise() {
        let promises: BTreeSet<_> = CONTRACT
            .lines()
            .filter_map(|line| line.strip_prefix("/// - **")?.split_once(".** ").map(|(promise, _)| promise))
            .collect();
        let cases = cases();
        let sources: BTreeSet<_> = cases.iter().map(|case| case.source).collect();
        let of_rooms: BTreeSet<_> =
            sources.iter().filter_map(|source| source.strip_prefix("chat_core::Room, ")).collect();
        assert_eq!(of_rooms, promises);
        let of_stores: BTreeSet<_> =
            sources.iter().filter_map(|source| source.strip_prefix("chat_core::Store, ")).collect();
        assert_eq!(of_stores, BTreeSet::from(["close", "health", "open"]));
        for method in of_stores {
            assert!(CONTRACT.contains(&format!("fn {method}(")), "{method}");
        }
        assert_eq!(of_rooms.len() + 3, sources.len());
    }
}
