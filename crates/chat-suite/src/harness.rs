//! The suite as tests: each case of each subject is a test of its own.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Failed, Trial};

use crate::{Case, Deviations};

/// The exit status of a test whose preflight failed, as that of a test with a failed case.
const PREFLIGHT_FAILED: u8 = 101;

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

    /// Returns the reason why every case must fail, or `None` if there is no such reason. Called before the first case.
    /// It takes a few seconds at most.
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

/// Runs all cases on all subjects: the `main` of a test with `harness = false`. If the preflight of a subject that
/// would run fails, no case runs.
///
/// `threads` is the default of `--test-threads`; without it, the harness uses one for each processor.
pub fn certify<S: Subject>(
    cases: impl Fn() -> Vec<Case<S::Stage, S::Conditions>>,
    subjects: impl IntoIterator<Item = S>,
    threads: Option<usize>,
) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = arguments.test_threads.or(threads);
    let subjects: Vec<S> = subjects.into_iter().collect();
    let problems: Vec<_> = subjects
        .iter()
        .filter(|subject| !arguments.list && runs_any(&arguments, &subject.name(), &cases()))
        .filter_map(Subject::preflight)
        .collect();
    if !problems.is_empty() {
        // The reader may be gone.
        let _unread =
            writeln!(io::stderr(), "no case runs, because the preflight failed\n\n{}", problems.join("\n"));
        return ExitCode::from(PREFLIGHT_FAILED);
    }
    let trials = subjects.into_iter().flat_map(|subject| trials(cases(), subject)).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Returns true if the arguments select a case of this subject.
fn runs_any<S, C>(arguments: &Arguments, subject: &str, cases: &[Case<S, C>]) -> bool {
    let matches =
        |name: &str, filter: &str| if arguments.exact { name == filter } else { name.contains(filter) };
    cases.iter().map(|case| format!("{subject}::{}", case.path())).any(|name| {
        arguments.filter.as_ref().is_none_or(|filter| matches(&name, filter))
            && !arguments.skip.iter().any(|skipped| matches(&name, skipped))
    })
}

/// Returns a test for each case, and one that fails for each deviation that names no case.
pub fn trials<S: Subject>(cases: Vec<Case<S::Stage, S::Conditions>>, subject: S) -> Vec<Trial> {
    let name = subject.name();
    let paths: Vec<_> = cases.iter().map(Case::path).collect();
    let problems = subject.deviations().problems(&paths).into_iter().map(|(path, problem)| {
        Trial::test(format!("{name}::deviations::{path}"), move || Err(problem.into()))
    });
    let mut trials: Vec<_> = problems.collect();
    let shared = Arc::new(subject);
    for case in cases {
        let shared = Arc::clone(&shared);
        let path = case.path();
        let reason = shared.deviations().reason(&path).or_else(|| shared.lacks(&case));
        let trial = Trial::test(format!("{name}::{path}"), move || judge(&*shared, &case, reason));
        trials.push(if reason.is_some() { trial.with_kind("deviation") } else { trial });
    }
    trials
}

fn judge<S: Subject>(
    subject: &S,
    case: &Case<S::Stage, S::Conditions>,
    deviation: Option<&str>,
) -> Result<(), Failed> {
    match (subject.run(case), deviation) {
        (Outcome::Passed, None) | (Outcome::Failed(_), Some(_)) => Ok(()),
        (Outcome::Passed, Some(reason)) => Err(format!(
            "{}\n  expected  a failure: the case is listed as a deviation ({reason})\n  actual    a pass: remove the \
             deviation from the list",
            case.statement
        )
        .into()),
        (Outcome::Failed(problem), None) | (Outcome::NotRun(problem), _) => Err(problem.into()),
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
    }

    fn judged(number: u32, reason: Option<&str>) -> Result<(), Failed> {
        let subject = Number { number, ..Number::default() };
        judge(&subject, &cases()[0], reason)
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
    fn only_a_subject_with_a_selected_case_needs_a_preflight() {
        let runs = |arguments: &[&str]| {
            let arguments = Arguments::from_iter(["test"].iter().chain(arguments));
            runs_any(&arguments, "3", &cases())
        };
        for selecting in [&[][..], &["3::"], &["even"], &["--exact", "3::parity::the_number_is_even"]] {
            assert!(runs(selecting), "{selecting:?}");
        }
        for other in [&["4::"][..], &["--exact", "3::parity"], &["--skip", "3::"]] {
            assert!(!runs(other), "{other:?}");
        }
    }
}
