use std::io::{self, Write as _};

use chat_conformance::{Case, Conditions, Mechanism, Stage};
use chat_suite::{Deviations, Outcome, Subject};

/// The number of times that a case is run before its failure counts. How soon a node hears of what has happened on
/// another one is a matter of time, and some cases presume that it is soon. A defect is there every time.
const ATTEMPTS: usize = 3;

/// The lines of a failure before its transcript that are printed.
const LINES: usize = 4;

/// A mechanism of several nodes, whose cases may be run again.
pub(crate) struct Repeated(pub(crate) Mechanism);

impl Subject for Repeated {
    type Stage = Stage;
    type Conditions = Conditions;

    fn name(&self) -> String {
        Subject::name(&self.0)
    }

    fn deviations(&self) -> &Deviations {
        Subject::deviations(&self.0)
    }

    fn run(&self, case: &Case) -> Outcome {
        let path = case.path();
        let mut outcome = Subject::run(&self.0, case);
        for _ in 1..ATTEMPTS {
            let Outcome::Failed(problem) = &outcome else { break };
            if self.deviations().reason(&path).is_some() {
                break;
            }
            // Standard error, so that a case to repair is seen although it passes.
            let rule: Vec<_> = problem.lines().take(LINES).collect();
            drop(writeln!(io::stderr(), "{}::{path}: run again\n{}", self.name(), rule.join("\n")));
            outcome = Subject::run(&self.0, case);
        }
        outcome
    }
}
