use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chat_core::{Limits, Store};
use chat_suite::{Deviations, Outcome, Subject, block_on, within};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::{Capability, Case, Conditions, Stage};

/// The time limit of a case.
const CASE_TIMEOUT: Duration = Duration::from_secs(60);

/// A new store for one case, and the operations that only a test needs.
#[async_trait]
pub trait Fixture: Send + Sync + 'static {
    /// Returns the store as the process `node` has it open, or `None` if there are fewer nodes. Node 0 always exists.
    /// All nodes share one log for each room.
    fn store(&self, node: usize) -> Option<Arc<dyn Store>>;

    /// Restarts all nodes, like a restart of each process. No room is open.
    async fn restart(&mut self);

    /// Makes the store reachable or unreachable for node 0. Returns `false` if it cannot.
    fn set_reachable(&self, _reachable: bool) -> bool {
        false
    }

    /// Lets each open log start a new, empty epoch, like a store that has lost its logs. Returns `false` if it
    /// cannot.
    async fn renew(&self) -> bool {
        false
    }
}

type Open = dyn Fn(Arc<Limits>) -> BoxFuture<'static, Box<dyn Fixture>> + Send + Sync;

/// A kind of store under test, with the cases that it is known to fail.
pub struct Backend {
    name: String,
    open: Box<Open>,
    lacks: Vec<(Capability, &'static str)>,
    deviations: Deviations,
}

impl Backend {
    /// Returns a kind of store with all capabilities. `open` returns a fixture with an empty store for one case. The
    /// limits are those of the chat: the numbers of entries and keys that the store keeps, and the time for which it
    /// keeps them.
    pub fn new<F: Fixture, O: Future<Output = F> + Send + 'static>(
        name: impl Into<String>,
        open: impl Fn(Arc<Limits>) -> O + Send + Sync + 'static,
    ) -> Self {
        let open = move |limits| open(limits).map(|fixture| Box::new(fixture) as Box<dyn Fixture>).boxed();
        Self { name: name.into(), open: Box::new(open), lacks: Vec::new(), deviations: Deviations::new() }
    }

    /// Expects each case that needs `capability` to fail, for this reason. The cases still run, and one that passes
    /// fails the test.
    #[must_use]
    pub fn without(mut self, capability: Capability, reason: &'static str) -> Self {
        self.lacks.push((capability, reason));
        self
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
    type Conditions = Conditions;

    fn name(&self) -> String {
        self.name.clone()
    }

    fn deviations(&self) -> &Deviations {
        &self.deviations
    }

    fn lacks(&self, case: &Case) -> Option<&'static str> {
        let mut lacks = self.lacks.iter();
        lacks.find(|(capability, _)| case.conditions.needs.contains(capability)).map(|(_, reason)| *reason)
    }

    fn run(&self, case: &Case) -> Outcome {
        let limits = Arc::new(case.conditions.chat_limits());
        let verdict = block_on(async {
            let fixture = (self.open)(Arc::clone(&limits)).await;
            within(CASE_TIMEOUT, case.run(Stage::new(fixture, Arc::clone(&limits)))).await
        });
        match verdict.flatten() {
            Ok(()) => Outcome::Passed,
            Err(failure) => Outcome::Failed(case.explain(&failure) + &hints(case, &limits)),
        }
    }
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backend")
            .field("name", &self.name)
            .field("lacks", &self.lacks)
            .field("deviations", &self.deviations)
            .finish_non_exhaustive()
    }
}

/// The limits that matter for a case, and the way to declare that a store cannot pass it.
fn hints(case: &Case, limits: &Limits) -> String {
    let mut text = String::new();
    for capability in &case.conditions.needs {
        if let Some(limits) = capability.limits(limits) {
            text.push_str(&format!("\n  limits    {limits}"));
        }
        text.push_str(&format!(
            "\n  unless    the store cannot do this: `without(Capability::{capability:?}, \"<reason>\")`"
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use chat_core::MemoryStore;
    use chat_suite::{Failure, trials};

    use super::*;
    use crate::cases;

    #[derive(Default)]
    struct InMemory(Arc<MemoryStore>);

    #[async_trait]
    impl Fixture for InMemory {
        fn store(&self, node: usize) -> Option<Arc<dyn Store>> {
            (node == 0).then(|| Arc::clone(&self.0) as Arc<dyn Store>)
        }

        async fn restart(&mut self) {}
    }

    fn memory() -> Backend {
        Backend::new("memory", |_| async { InMemory::default() })
    }

    fn case(path: &str) -> Case {
        cases().into_iter().find(|case| case.path() == path).expect("a case")
    }

    #[test]
    fn a_failure_shows_the_promise_the_limits_and_the_capability() {
        let case = case("retention::the_newest_entries_stay");
        let failure = Failure::new("at least 3, 4", "none");
        let text = case.explain(&failure) + &hints(&case, &case.conditions.chat_limits());
        for part in
            ["chat_core::Room, Retention", "RoomLimits::log_messages is 5", "without(Capability::Retention,"]
        {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn a_store_that_lacks_a_capability_is_expected_to_fail() {
        let (case, reason) = (case("lives::a_restart_keeps_the_keys"), "it is only memory");
        assert!(matches!(memory().run(&case), Outcome::Failed(_)));
        assert_eq!(memory().lacks(&case), None);
        assert_eq!(memory().without(Capability::Persistence, reason).lacks(&case), Some(reason));
        let deviating = memory().deviation("lives::a_restart_keeps_the_keys", reason);
        assert_eq!(deviating.deviations().reason(&case.path()), Some(reason));
    }

    #[test]
    fn a_store_that_has_a_capability_listed_as_lacking_still_runs_the_case() {
        let case = case("search::a_search_covers_one_room");
        let backend = memory().without(Capability::Search, "an earlier version had no search");
        assert!(backend.lacks(&case).is_some());
        assert_eq!(backend.run(&case), Outcome::Passed);
    }

    #[test]
    fn a_deviation_that_names_no_case_is_a_test_that_fails() {
        let trials = trials(cases(), memory().deviation("keys::no_such_case", "the case was renamed"));
        assert!(trials.iter().any(|trial| trial.name() == "memory::deviations::keys::no_such_case"));
        assert_eq!(trials.len(), cases().len() + 1);
    }
}
