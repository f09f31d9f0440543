//! The suite for buses: named cases for the promises of [`chat_core::Bus`].
//!
//! A bus runs it as a test of its own, with `harness = false`. The test gives the suite a [`Fixture`]: a new bus for
//! each case, and the way to separate a node from the others.
//!
//! ```no_run
//! use std::process::ExitCode;
//! use std::sync::Arc;
//!
//! use chat_core::{Bus, NodeId};
//! use chat_store_conformance::bus::{Backend, Fixture, certify};
//! use chat_testkit::InProcessBus;
//!
//! struct InProcess(InProcessBus);
//!
//! #[async_trait::async_trait]
//! impl Fixture for InProcess {
//!     async fn bus(&self) -> Arc<dyn Bus> {
//!         Arc::new(self.0.clone())
//!     }
//!
//!     async fn lose(&self, node: &NodeId) {
//!         self.0.lose(node);
//!     }
//!
//!     async fn restore(&self, node: &NodeId) {
//!         self.0.restore(node);
//!     }
//! }
//!
//! fn main() -> ExitCode {
//!     certify([Backend::new("in_process", || async { InProcess(InProcessBus::default()) })])
//! }
//! ```
//!
//! Some cases look at the notices, and some at chats that use the bus. The suite waits for each notice, and for each
//! report of a node, for [`TIME_LIMIT`](crate::TIME_LIMIT).

mod chats;
mod notices;
mod stage;

use std::fmt;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chat_core::{Bus, NodeId};
use chat_suite::{Deviations, Outcome, Subject, block_on, within};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

pub use stage::{Heard, Node, Stage};

/// The time limit of a case.
const CASE_TIMEOUT: Duration = Duration::from_secs(60);

/// One promise of the contract, and the function that checks it.
pub type Case = chat_suite::Case<Stage>;

/// A new bus for one case, and the operations that only a test needs.
#[async_trait]
pub trait Fixture: Send + Sync + 'static {
    /// Returns the bus as a further process of the same chat has it. The suite connects one node to it.
    async fn bus(&self) -> Arc<dyn Bus>;

    /// Separates a node from all others, like a broken network.
    async fn lose(&self, node: &NodeId);

    /// Connects a node again that was separated.
    async fn restore(&self, node: &NodeId);
}

type Open = dyn Fn() -> BoxFuture<'static, Box<dyn Fixture>> + Send + Sync;

/// A kind of bus under test, with the cases that it is known to fail.
pub struct Backend {
    name: String,
    open: Box<Open>,
    deviations: Deviations,
}

impl Backend {
    /// A kind of bus. `open` returns a fixture for one case.
    pub fn new<F: Fixture, O: Future<Output = F> + Send + 'static>(
        name: impl Into<String>,
        open: impl Fn() -> O + Send + Sync + 'static,
    ) -> Self {
        let open = move || open().map(|fixture| Box::new(fixture) as Box<dyn Fixture>).boxed();
        Self { name: name.into(), open: Box::new(open), deviations: Deviations::new() }
    }

    /// Expects the case `path` to fail, for this reason. The case still runs, and the test fails if it passes.
    #[must_use]
    pub fn deviation(mut self, path: &'static str, reason: &'static str) -> Self {
        self.deviations.add(path, reason);
        self
    }
}

impl Subject for Backend {
    type Stage = Stage;
    type Conditions = ();

    fn name(&self) -> String {
        self.name.clone()
    }

    fn deviations(&self) -> &Deviations {
        &self.deviations
    }

    fn run(&self, case: &Case) -> Outcome {
        let verdict = block_on(async {
            let fixture = (self.open)().await;
            within(CASE_TIMEOUT, case.run(Stage::new(fixture))).await
        });
        match verdict.flatten() {
            Ok(()) => Outcome::Passed,
            Err(failure) => Outcome::Failed(case.explain(&failure)),
        }
    }
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backend")
            .field("name", &self.name)
            .field("deviations", &self.deviations)
            .finish_non_exhaustive()
    }
}

/// Returns all cases, in the order of the groups.
pub fn cases() -> Vec<Case> {
    let notices = notices::cases().into_iter().map(|case| case.in_group("notices"));
    notices.chain(chats::cases().into_iter().map(|case| case.in_group("chats"))).collect()
}

/// Runs all cases on all buses: the `main` of a test with `harness = false`.
pub fn certify(backends: impl IntoIterator<Item = Backend>) -> ExitCode {
    chat_suite::certify(cases, backends, None)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const CONTRACT: &str = include_str!("../../../chat-core/src/bus/mod.rs");

    #[test]
    fn each_promise_of_a_bus_has_a_case_and_each_case_cites_a_promise() {
        let promises: BTreeSet<_> = CONTRACT
            .lines()
            .filter_map(|line| line.strip_prefix("/// - **")?.split_once(".** ").map(|(promise, _)| promise))
            .collect();
        let cases = cases();
        chat_suite::assert_well_formed(&cases);
        let sources: BTreeSet<_> =
            cases.iter().filter_map(|case| case.source.strip_prefix("chat_core::Bus, ")).collect();
        assert_eq!(sources, promises);
    }
}
