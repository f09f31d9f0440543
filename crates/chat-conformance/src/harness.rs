//! The suite as tests: every case of every mechanism is a test of its own.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use libtest_mimic::{Arguments, Failed, Trial};

use crate::{Case, Failure, Outcome, Target, Transcript, cases, preflight, run};

/// Cases at once: most of them wait for the server most of the time.
const THREADS: usize = 12;

/// A mechanism, and where it is known not to do as the contract says.
pub struct Mechanism {
    target: Arc<dyn Target>,
    deviations: Vec<(&'static str, &'static str)>,
}

impl Mechanism {
    /// A mechanism that does everything as the contract says.
    pub fn new(target: impl Target + 'static) -> Self {
        Self { target: Arc::new(target), deviations: Vec::new() }
    }

    /// Expects the case `path` to fail, for this reason. It is run all the same, and fails if it passes.
    #[must_use]
    pub fn deviation(mut self, path: &'static str, reason: &'static str) -> Self {
        self.deviations.push((path, reason));
        self
    }

    fn trials(self) -> Vec<Trial> {
        let Self { target, deviations } = self;
        let mut expected = BTreeMap::new();
        let mut trials = Vec::new();
        let mut misnamed = |path: &str, problem: String| {
            let name = format!("{}::deviations::{path}", target.name());
            trials.push(Trial::test(name, move || Err(problem.into())));
        };
        let cases = cases();
        for (path, reason) in deviations {
            if !cases.iter().any(|case| case.path() == path) {
                let nearest = nearest(path, cases.iter().map(Case::path));
                misnamed(path, format!("the deviation names no case: is it {nearest}?"));
            } else if expected.insert(path.to_owned(), reason).is_some() {
                misnamed(path, "the deviation is listed twice".to_owned());
            }
        }
        let welcome = Arc::new(Welcome::default());
        for case in cases {
            let (target, welcome) = (Arc::clone(&target), Arc::clone(&welcome));
            let reason = expected.remove(&case.path());
            let name = format!("{}::{}", target.name(), case.path());
            trials.push(Trial::test(name, move || judge(&*target, &case, reason, &welcome)));
        }
        trials
    }
}

impl std::fmt::Debug for Mechanism {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mechanism").field("deviations", &self.deviations).finish_non_exhaustive()
    }
}

/// Runs all cases on all mechanisms: the `main` of a test without libtest's harness.
pub fn certify(mechanisms: impl IntoIterator<Item = Mechanism>) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = arguments.test_threads.or(Some(THREADS));
    let trials = mechanisms.into_iter().flat_map(Mechanism::trials).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// The name that is most like this one.
fn nearest(name: &str, names: impl Iterator<Item = String>) -> String {
    names.min_by_key(|known| strsim::levenshtein(name, known)).unwrap_or_default()
}

/// Why a mechanism welcomes nobody, if it does not: asked once, when a case has failed.
type Welcome = OnceLock<Option<String>>;

fn judge(target: &dyn Target, case: &Case, deviation: Option<&str>, welcome: &Welcome) -> Result<(), Failed> {
    let report = run(target, case);
    match (report.outcome, deviation) {
        (Outcome::Passed, None) | (Outcome::Failed(_), Some(_)) => Ok(()),
        (Outcome::Passed, Some(reason)) => {
            let came = format!("a pass: the deviation is no more, take it off the list ({reason})");
            Err(Failure::new("the deviation that is listed", came).explain(case, &report.transcript).into())
        }
        (Outcome::Failed(failure), None) => {
            Err(explain(target, case, &failure, &report.transcript, welcome).into())
        }
        (Outcome::NoServer(problem), _) => Err(problem.into()),
        (Outcome::NotRun(reason), _) => Err(format!("not run, which is no pass: {reason}").into()),
    }
}

/// Who welcomes nobody fails most cases for one reason, and is told it once.
fn explain(
    target: &dyn Target,
    case: &Case,
    failure: &Failure,
    transcript: &Transcript,
    welcome: &Welcome,
) -> String {
    let mut is_first = false;
    let refused = welcome.get_or_init(|| {
        is_first = true;
        let (case, report) = preflight(target);
        report.explain(&case)
    });
    match refused {
        None => failure.explain(case, transcript),
        Some(refused) if is_first => {
            format!("{failure}\n\n{} welcomes nobody, so most cases fail:\n\n{refused}", target.name())
        }
        Some(_) => format!("{failure}\n\n{} welcomes nobody: another failure says why", target.name()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{InProcess, Mounted};

    #[test]
    fn a_mechanism_that_welcomes_nobody_is_told_why_once() {
        let mute = InProcess::new("mute", |server: Mounted| async move {
            let refusing = async { while server.listener.accept().await.is_ok() {} };
            tokio::select! {
                () = refusing => {}
                () = server.stop => {}
            }
        });
        let (welcome, statement) = (Welcome::default(), cases::preflight().statement);
        let cases = cases().into_iter().filter(|case| case.path().starts_with("close::")).take(3);
        let told = cases.map(|case| judge(&mute, &case, None, &welcome).unwrap_err());
        let told: Vec<_> = told.map(|failed| failed.message().unwrap_or_default().to_owned()).collect();
        let says_why: Vec<_> = told.iter().map(|text| text.contains(&*statement)).collect();
        assert_eq!(says_why, [true, false, false], "{told:#?}");
        assert!(told.iter().all(|text| text.contains("mute welcomes nobody")), "{told:#?}");
    }

    #[test]
    fn a_name_that_is_mistyped_is_recognised() {
        let paths = || cases().into_iter().map(|case| case.path());
        assert_eq!(nearest("close::client_close_echoed", paths()), "close::client_close_is_echoed");
        assert_eq!(nearest("client_close_is_echoed", paths()), "close::client_close_is_echoed");
    }
}
