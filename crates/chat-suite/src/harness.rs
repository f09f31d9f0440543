//! The suite as tests: each case of each subject is a test of its own.

use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use libtest_mimic::{Arguments, Failed, Trial};

use crate::{Case, Deviations};

/// Something that a suite certifies: a mechanism of an adapter, or a kind of store.
pub trait Subject: Send + Sync + 'static {
    /// The value that a case works with.
    type Stage: 'static;

    /// The conditions of a case.
    type Conditions: Send + Sync + 'static;

    /// Returns the name, which is the first part of each test's name.
    fn name(&self) -> String;

    /// Returns the cases that the subject is known to fail.
    fn deviations(&self) -> &Deviations;

    /// Returns the reason why the case needs an ability that the subject does not have. Such a case is expected to
    /// fail, like a deviation.
    fn lacks(&self, _case: &Case<Self::Stage, Self::Conditions>) -> Option<&'static str> {
        None
    }

    /// Runs one case. Blocks until it is done.
    fn run(&self, case: &Case<Self::Stage, Self::Conditions>) -> Outcome;

    /// Returns the reason why every case must fail, or `None` if there is no such reason. Called once, after the first
    /// case that fails.
    fn preflight(&self) -> Option<String> {
        None
    }
}

/// The outcome of a case on a subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The subject keeps the rule.
    Passed,
    /// The subject breaks the rule. The text explains the failure.
    Failed(String),
    /// The case could not run: for example because the subject did not start. This is an error even for a deviation.
    NotRun(String),
}

/// Runs all cases on all subjects: the `main` of a test with `harness = false`.
///
/// `threads` is the default of `--test-threads`; without it, the harness uses one for each processor.
pub fn certify<S: Subject>(
    cases: impl Fn() -> Vec<Case<S::Stage, S::Conditions>>,
    subjects: impl IntoIterator<Item = S>,
    threads: Option<usize>,
) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = arguments.test_threads.or(threads);
    let trials = subjects.into_iter().flat_map(|subject| trials(cases(), subject)).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Returns a test for each case, and one that fails for each deviation that names no case.
pub fn trials<S: Subject>(cases: Vec<Case<S::Stage, S::Conditions>>, subject: S) -> Vec<Trial> {
    let name = subject.name();
    let paths: Vec<_> = cases.iter().map(Case::path).collect();
    let problems = subject.deviations().problems(&paths).into_iter().map(|(path, problem)| {
        Trial::test(format!("{name}::deviations::{path}"), move || Err(problem.into()))
    });
    let mut trials: Vec<_> = problems.collect();
    let shared = Arc::new((subject, OnceLock::new()));
    for case in cases {
        let shared = Arc::clone(&shared);
        let path = case.path();
        let reason = shared.0.deviations().reason(&path).or_else(|| shared.0.lacks(&case));
        let trial =
            Trial::test(format!("{name}::{path}"), move || judge(&shared.0, &case, reason, &shared.1));
        trials.push(if reason.is_some() { trial.with_kind("deviation") } else { trial });
    }
    trials
}

/// The answer of the preflight, which runs once.
type Preflight = OnceLock<Option<String>>;

fn judge<S: Subject>(
    subject: &S,
    case: &Case<S::Stage, S::Conditions>,
    deviation: Option<&str>,
    preflight: &Preflight,
) -> Result<(), Failed> {
    match (subject.run(case), deviation) {
        (Outcome::Passed, None) | (Outcome::Failed(_), Some(_)) => Ok(()),
        (Outcome::Passed, Some(reason)) => Err(format!(
            "{}\n  expected  a failure: the case is listed as a deviation ({reason})\n  actual    a pass: remove the \
             deviation from the list",
            case.statement
        )
        .into()),
        (Outcome::Failed(explained), None) => {
            Err(explain(&subject.name(), explained, || subject.preflight(), preflight).into())
        }
        (Outcome::NotRun(problem), _) => Err(problem.into()),
    }
}

/// Shows a reason that all failures share in full only once.
fn explain(
    name: &str,
    explained: String,
    ask: impl FnOnce() -> Option<String>,
    preflight: &Preflight,
) -> String {
    let mut is_first = false;
    let common = preflight.get_or_init(|| {
        is_first = true;
        ask()
    });
    match common {
        None => explained,
        Some(common) if is_first => format!("{name} fails most cases for one reason:\n\n{common}"),
        Some(_) => format!("{name} fails most cases for one reason, which another failure of it shows"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Verdict, check};

    type Case = crate::Case<u32>;

    mod parity {
        use super::*;

        crate::cases!(
            /// The number is even.
            #[source = "section 1"]
            async fn the_number_is_even(number: u32) -> Verdict {
                check(number.is_multiple_of(2), "an even number", number)
            }
        );
    }

    fn cases() -> Vec<Case> {
        parity::cases().into_iter().map(|case| case.in_group("parity")).collect()
    }

    #[derive(Default)]
    struct Number {
        number: u32,
        deviations: Deviations,
        lacks: Option<&'static str>,
        preflight: Option<String>,
    }

    impl Subject for Number {
        type Stage = u32;
        type Conditions = ();

        fn name(&self) -> String {
            self.number.to_string()
        }

        fn deviations(&self) -> &Deviations {
            &self.deviations
        }

        fn lacks(&self, _: &Case) -> Option<&'static str> {
            self.lacks
        }

        fn run(&self, case: &Case) -> Outcome {
            match crate::block_on(case.run(self.number)).flatten() {
                Ok(()) => Outcome::Passed,
                Err(failure) => Outcome::Failed(case.explain(&failure)),
            }
        }

        fn preflight(&self) -> Option<String> {
            self.preflight.clone()
        }
    }

    fn judged(number: u32, reason: Option<&str>) -> Result<(), Failed> {
        let subject = Number { number, ..Number::default() };
        judge(&subject, &cases()[0], reason, &Preflight::new())
    }

    fn message(judged: Result<(), Failed>) -> String {
        judged.unwrap_err().message().unwrap_or_default().to_owned()
    }

    #[test]
    fn a_deviation_passes_while_its_case_fails_and_fails_when_it_passes() {
        assert!(judged(2, None).is_ok());
        assert!(judged(3, Some("it is odd")).is_ok());
        assert!(message(judged(3, None)).contains("expected  an even number\n  source    section 1"));
        assert!(message(judged(2, Some("it was odd"))).contains("remove the deviation"));
    }

    #[test]
    fn a_subject_that_lacks_an_ability_is_expected_to_fail() {
        let lacking = Number { number: 3, lacks: Some("it is odd"), ..Number::default() };
        let trials = trials(cases(), lacking);
        assert_eq!(trials.iter().map(Trial::kind).collect::<Vec<_>>(), ["deviation"]);
    }

    #[test]
    fn a_deviation_that_names_no_case_is_a_test_that_fails() {
        let mut deviations = Deviations::new();
        deviations.add("parity::no_such_case", "it was renamed");
        let trials = trials(cases(), Number { deviations, ..Number::default() });
        let names: Vec<_> = trials.iter().map(Trial::name).collect();
        assert_eq!(names, ["0::deviations::parity::no_such_case", "0::parity::the_number_is_even"]);
    }

    #[test]
    fn a_reason_that_all_failures_share_is_shown_once() {
        let subject = Number { number: 3, preflight: Some("not a number".to_owned()), ..Number::default() };
        let preflight = Preflight::new();
        let messages: Vec<_> =
            (0..3).map(|_| message(judge(&subject, &cases()[0], None, &preflight))).collect();
        let in_full: Vec<_> = messages.iter().map(|text| text.contains("not a number")).collect();
        assert_eq!(in_full, [true, false, false], "{messages:#?}");
        assert!(messages.iter().all(|text| text.contains("3 fails most cases")), "{messages:#?}");
    }
}
