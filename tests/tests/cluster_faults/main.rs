//! One fault in a cluster of three servers of NATS and two nodes, while clients write and read. Afterwards, the
//! histories of all clients are checked: what was acknowledged is stored once, at its place, and everybody has read
//! the same log.
//!
//! A failure prints the seed and the fault. `CHAT_SEED=<seed> cargo test -p chat-tests --test cluster_faults
//! node_killed` plays the same fault again, possibly in another order of events. `CHAT_FAULT_RUNS=<count>` sets the
//! number of runs of each fault. The numbers are printed as a table.

mod cluster;
mod fault;
mod link;
mod participant;
mod run;
mod servers;
mod shared;
mod table;
mod version;

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use chat_tests::seeds;
use libtest_mimic::{Arguments, Failed, Trial};
use tokio::runtime::Builder;

use crate::fault::Fault;
use crate::run::{Outcome, run};

/// The default number of runs of each fault.
const RUNS: u64 = 1;

/// The clusters at the same time. Most of the time they wait.
const THREADS: usize = 4;

type Outcomes = Arc<Mutex<Vec<Outcome>>>;

fn main() -> Result<ExitCode> {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = arguments.test_threads.or(Some(THREADS));
    let seeds = seeds("CHAT_FAULT_RUNS", RUNS)?;
    let outcomes = Outcomes::default();
    let mut trials = Vec::new();
    for (number, seed) in (1..).zip(seeds) {
        for fault in Fault::ALL {
            let outcomes = Arc::clone(&outcomes);
            trials.push(Trial::test(format!("{fault}::{number}"), move || play(fault, seed, &outcomes)));
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    if !arguments.list {
        let table = table::table(&outcomes.lock().unwrap_or_else(PoisonError::into_inner));
        io::stdout().write_all(table.as_bytes())?;
    }
    Ok(conclusion.exit_code())
}

fn play(fault: Fault, seed: u64, outcomes: &Outcomes) -> Result<(), Failed> {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let outcome = runtime.block_on(run(fault, seed)).map_err(|error| {
        format!("{error:#}; run CHAT_SEED={seed} cargo test -p chat-tests --test cluster_faults {fault}")
    })?;
    outcomes.lock().unwrap_or_else(PoisonError::into_inner).push(outcome);
    Ok(())
}
