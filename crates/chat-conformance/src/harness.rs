//! The suite as tests: each case of each mechanism is a test of its own.

use std::fmt;
use std::process::ExitCode;

use chat_suite::Deviations;

use crate::{Case, Conditions, Outcome, Stage, Target, cases, preflight, run};

/// The number of cases that run at once. Most cases wait for the server most of the time.
const THREADS: usize = 12;

/// The cases that a WebSocket of a framework fails if the framework builds it on the crate `tungstenite`.
///
/// Such a WebSocket hides single fragments, and stops reading or writing earlier than the protocol requires. Some
/// frameworks, axum among them, also fail `close::a_client_that_sends_after_its_close_can_read_the_echo`.
///
/// ```
/// use chat_conformance::{InProcess, Mechanism, Mounted, TUNGSTENITE_DEVIATIONS};
///
/// # async fn serve(server: Mounted) {}
/// let mechanism = Mechanism::new(InProcess::new("mine_framework", serve)).deviations(TUNGSTENITE_DEVIATIONS);
/// ```
pub const TUNGSTENITE_DEVIATIONS: [(&str, &str); 4] = [
    (
        "fragments::endless_empty_fragments_are_refused",
        "the framework's WebSocket returns messages, not fragments, and its codec counts only their bytes",
    ),
    (
        "close::replies_arrive_after_a_half_close",
        "the framework's codec ends both directions when the peer ends one",
    ),
    (
        "close::commands_before_a_close_are_answered",
        "the framework's codec sends nothing after it has read a close frame",
    ),
    (
        "close::a_violation_ends_with_a_fin",
        "the framework reads nothing after a violation, so the peer's answer to the close causes a reset",
    ),
];

/// A mechanism under test: an adapter in one upgrade mode, and the cases that it is known to fail.
pub struct Mechanism {
    target: Box<dyn Target>,
    deviations: Deviations,
}

impl Mechanism {
    /// A mechanism that passes every case.
    pub fn new(target: impl Target + 'static) -> Self {
        Self { target: Box::new(target), deviations: Deviations::new() }
    }

    /// Expects the case `path` to fail, for this reason. The case still runs, and the test fails if the case passes.
    #[must_use]
    pub fn deviation(self, path: &'static str, reason: &'static str) -> Self {
        self.deviations([(path, reason)])
    }

    /// Expects each of these cases to fail, as [`deviation`](Self::deviation) does.
    #[must_use]
    pub fn deviations(mut self, list: impl IntoIterator<Item = (&'static str, &'static str)>) -> Self {
        for (path, reason) in list {
            self.deviations.add(path, reason);
        }
        self
    }
}

impl chat_suite::Subject for Mechanism {
    type Stage = Stage;
    type Conditions = Conditions;

    fn name(&self) -> String {
        self.target.name().to_owned()
    }

    fn deviations(&self) -> &Deviations {
        &self.deviations
    }

    fn run(&self, case: &Case) -> chat_suite::Outcome {
        let report = run(&*self.target, case);
        match &report.outcome {
            Outcome::Passed => chat_suite::Outcome::Passed,
            Outcome::Failed(_) => chat_suite::Outcome::Failed(report.explain(case).unwrap_or_default()),
            Outcome::NoServer(problem) => chat_suite::Outcome::NotRun(problem.clone()),
            Outcome::NotRun(needed) => {
                chat_suite::Outcome::NotRun(format!("not run: the case needs {needed}"))
            }
        }
    }

    fn preflight(&self) -> Option<String> {
        let (case, report) = preflight(&*self.target)?;
        Some(report.explain_preflight(self.target.name(), &case))
    }
}

impl fmt::Debug for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mechanism").field("deviations", &self.deviations).finish_non_exhaustive()
    }
}

/// Runs all cases on all mechanisms: the `main` of a test with `harness = false`.
///
/// First, each mechanism must welcome one client. If one does not, no case runs, and a report names the step that
/// fails.
pub fn certify(mechanisms: impl IntoIterator<Item = Mechanism>) -> ExitCode {
    chat_suite::certify(cases, mechanisms, Some(THREADS))
}

#[cfg(test)]
mod tests {
    use chat_suite::Subject;

    use super::*;
    use crate::{InProcess, Mounted};

    #[test]
    fn cases_have_a_path_a_statement_and_a_source() {
        chat_suite::assert_well_formed(&cases());
    }

    #[test]
    fn the_common_deviations_name_cases() {
        let target = InProcess::new("mine", |_: Mounted| async {});
        let mechanism = Mechanism::new(target).deviations(TUNGSTENITE_DEVIATIONS);
        let paths: Vec<_> = cases().iter().map(Case::path).collect();
        assert_eq!(mechanism.deviations.problems(&paths), []);
    }

    #[test]
    fn a_server_that_welcomes_no_client_fails_the_preflight() {
        let silent = InProcess::new("silent", |server: Mounted| async move {
            let refusing = async { while server.listener.accept().await.is_ok() {} };
            tokio::select! {
                () = refusing => {}
                () = server.stop => {}
            }
        });
        let problem = Mechanism::new(silent).preflight().expect("a failure");
        assert!(problem.contains("A plain GET at the path of the chat is answered"), "{problem}");
        assert!(problem.contains("GET /ws HTTP/1.1") && problem.contains("step 6"), "{problem}");
    }
}
