//! A test of the suite itself: stores with one defect each, and the case that must fail for each of them.
//!
//! The output is a table of defects and cases. Each case passes on the same store without the defect.

#[path = "../support/base.rs"]
mod base;
mod defects;
#[path = "../support/held.rs"]
mod held;
mod markers;
mod purges;
mod room;
mod sink;
mod spoiled;
mod threads;

use std::process::ExitCode;

use chat_store_conformance::{Backend, Outcome, Subject, cases};
use libtest_mimic::{Arguments, Failed, Trial};

use defects::{DEFECTS, Defect};
use held::Held;
use spoiled::Spoiled;

fn main() -> ExitCode {
    let trials = DEFECTS.iter().map(|(defect, name, case)| {
        Trial::test(format!("a_store_that_{name}_is_caught"), || judge(*defect, case)).with_kind(*case)
    });
    let mut arguments = Arguments::from_args();
    // A case that fails waits most of the time for what does not come.
    arguments.test_threads.get_or_insert(16);
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

fn judge(defect: Defect, path: &str) -> Result<(), Failed> {
    let case = cases().into_iter().find(|case| case.path() == path).ok_or("there is no such case")?;
    match Backend::new("sound", |_| async { Held::new() }).run(&case) {
        Outcome::Passed => {}
        outcome => return Err(format!("the store without the defect: {outcome:?}").into()),
    }
    match Backend::new("spoiled", move |_| async move { Spoiled::new(defect) }).run(&case) {
        Outcome::Failed(_) => Ok(()),
        outcome => Err(format!("{path} does not catch it: {outcome:?}").into()),
    }
}
