//! The suite as tests: every case of every kind of store is a test of its own.

use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Failed, Trial};

use crate::{Case, Failure, Kind, cases, run};

/// Runs all cases on all kinds of stores: the `main` of a test without libtest's harness.
pub fn certify(kinds: impl IntoIterator<Item = Kind>) -> ExitCode {
    let arguments = Arguments::from_args();
    let trials = kinds.into_iter().flat_map(trials).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trials(kind: Kind) -> Vec<Trial> {
    let kind = Arc::new(kind);
    let (mut trials, cases) = (Vec::new(), cases());
    for path in kind.deviations() {
        if !cases.iter().any(|case| case.path() == path) {
            let name = format!("{}::deviations::{path}", kind.name());
            let nearest = cases.iter().map(Case::path).min_by_key(|known| strsim::levenshtein(path, known));
            let problem = format!("the deviation names no case: is it {}?", nearest.unwrap_or_default());
            trials.push(Trial::test(name, move || Err(problem.into())));
        }
    }
    for case in cases {
        let (name, reason) = (format!("{}::{}", kind.name(), case.path()), kind.reason(&case));
        let kind = Arc::clone(&kind);
        let trial = Trial::test(name, move || judge(&kind, &case, reason));
        trials.push(if reason.is_some() { trial.with_kind("deviation") } else { trial });
    }
    trials
}

fn judge(kind: &Kind, case: &Case, deviation: Option<&str>) -> Result<(), Failed> {
    match (run(kind, case), deviation) {
        (Ok(()), None) | (Err(_), Some(_)) => Ok(()),
        (Ok(()), Some(reason)) => {
            let came = format!("a pass: the deviation is no more, take it off the list ({reason})");
            Err(Failure::new("the deviation that is listed", came).explain(case).into())
        }
        (Err(failure), None) => Err(failure.explain(case).into()),
    }
}

#[cfg(test)]
mod tests {
    use chat_core::{CommitSink, Limits, MemoryRoom, Room, RoomName};

    use super::*;
    use crate::{Ability, Store};

    struct Memory;

    #[async_trait::async_trait]
    impl Store for Memory {
        fn room(&self, name: RoomName, limits: Arc<Limits>, outlet: CommitSink) -> Arc<dyn Room> {
            Arc::new(MemoryRoom::new(name, limits, outlet))
        }

        async fn reopen(self: Box<Self>) -> Box<dyn Store> {
            self
        }
    }

    fn memory() -> Kind {
        Kind::new("memory", |_| async { Memory })
    }

    fn judged(kind: &Kind, path: &str) -> Result<(), Failed> {
        let case = cases().into_iter().find(|case| case.path() == path).expect("a case");
        judge(kind, &case, kind.reason(&case))
    }

    #[test]
    fn cases_have_names_of_their_own_and_statements() {
        let cases = cases();
        let paths: std::collections::BTreeSet<_> = cases.iter().map(Case::path).collect();
        assert_eq!(paths.len(), cases.len());
        for case in cases {
            assert!(case.statement.ends_with('.'), "{}", case.path());
        }
    }

    #[test]
    fn each_case_cites_a_part_of_the_contract_that_is_there() {
        let contract = include_str!("../../chat-core/src/room.rs");
        for case in cases() {
            let promise = format!("/// - **{}.** ", case.promise);
            assert!(contract.contains(&promise), "{}: {promise}", case.path());
        }
    }

    #[test]
    fn a_failure_names_the_promise_the_limits_and_the_way_out() {
        let case =
            cases().into_iter().find(|case| case.path() == "retention::the_newest_stay").expect("a case");
        let text = Failure::new("at least 3, 4", "none").explain(&case);
        for part in ["**Retention**", "RoomLimits::log_messages is 5", "without(Ability::Retention,"] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn a_store_that_cannot_is_expected_to_fail() {
        let (case, reason) = ("lives::a_restart_keeps_the_keys", "it is only memory");
        assert!(judged(&memory(), case).is_err());
        assert!(judged(&memory().without(Ability::Lasting, reason), case).is_ok());
        assert!(judged(&memory().deviation(case, reason), case).is_ok());
    }

    #[test]
    fn a_store_that_can_and_says_that_it_cannot_fails() {
        let (case, reason) = ("search::a_search_is_of_one_room", "it was so once");
        assert!(judged(&memory(), case).is_ok());
        assert!(judged(&memory().without(Ability::Search, reason), case).is_err());
        assert!(judged(&memory().deviation(case, reason), case).is_err());
    }

    #[test]
    fn a_deviation_that_names_no_case_is_a_test_that_fails() {
        let trials = trials(memory().deviation("keys::no_such_case", "it was renamed"));
        assert!(trials.iter().any(|trial| trial.name() == "memory::deviations::keys::no_such_case"));
        assert_eq!(trials.len(), cases().len() + 1);
    }
}
