//! Several nodes of one chat, with different adapters and a stream of NATS JetStream: the conformance suite, random
//! scripts, and one room. The connections of a case or a script go to the nodes in turn. `nats-server` must be in
//! `PATH`, or `NATS_SERVER` must be its path.

mod defects;
mod mechanisms;
mod one_room;
mod repeated;
mod scripts;
mod shared;

use std::process::ExitCode;

use anyhow::Error;
use chat_conformance::{Case, cases};
use chat_tests::Nats;
use libtest_mimic::{Arguments, Failed, Trial};
use tokio::runtime::Runtime;

/// The cases that run at the same time. Most of them wait for the servers.
const THREADS: usize = 16;

/// The groups of cases about the bytes of one connection, or about its speed. The tests of each adapter run them.
const OF_ONE_CONNECTION: [&str; 14] = [
    "arrival",
    "control",
    "fragments",
    "framing",
    "handshake",
    "http",
    "json",
    "limits",
    "names",
    "origin",
    "pressure",
    "probe",
    "refusal",
    "utf8",
];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = arguments.test_threads.or(Some(THREADS));
    let nats = Runtime::new().expect("a runtime").block_on(Nats::start());
    let mut trials: Vec<Trial> = mechanisms::all(&nats.address())
        .into_iter()
        .flat_map(|mechanism| chat_suite::trials(cases_of_several_nodes(), mechanism))
        .collect();
    trials.extend(defects::trials(&nats.address()));
    let address = nats.address();
    trials.push(Trial::test("scripts", move || {
        scripts::nodes_play_random_scripts_as_the_model_predicts(&address).map_err(failed)
    }));
    let address = nats.address();
    trials.push(Trial::test("one_room", move || {
        let runtime = Runtime::new()?;
        runtime.block_on(one_room::participants_on_all_nodes_see_one_history(&address)).map_err(failed)
    }));
    trials.push(Trial::test("groups_of_one_connection_exist", || {
        let exists = |group| cases().iter().any(|case| case.group == group);
        let unknown: Vec<_> = OF_ONE_CONNECTION.into_iter().filter(|group| !exists(*group)).collect();
        if unknown.is_empty() { Ok(()) } else { Err(format!("no such groups: {unknown:?}").into()) }
    }));
    let conclusion = libtest_mimic::run(&arguments, trials);
    drop(nats);
    conclusion.exit_code()
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn failed(error: Error) -> Failed {
    format!("{error:#}").into()
}

fn cases_of_several_nodes() -> Vec<Case> {
    cases().into_iter().filter(|case| !OF_ONE_CONNECTION.contains(&case.group)).collect()
}
