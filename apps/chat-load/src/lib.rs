//! The library behind `chat-load`, a program that puts load on a chat server and checks every delivery.
//!
//! # Checks
//!
//! The key of each message contains a number. Each reader checks that the `seq` of its room has no hole
//! ([`check::Stream`]). All readers and the writer must see the same message at the same `seq` ([`check::SeqTable`]),
//! with the body that was sent. The tool checks every delivery of every reader; it takes no samples.
//!
//! # Cost
//!
//! Readers and writers are [`chat_client::socket::Socket`]s. To parse and check a delivery costs 0.8 to 3 microseconds
//! of CPU time, and less if many arrive together. On one core (`taskset -c 0`, with the server on another one, both
//! shared with other work) the tool checked 356,000 deliveries per second with 0.29 of the core. The scenarios `resume`
//! and `slow` use the full [`chat_client::Client`], which costs 1.9 microseconds where the socket costs 1.2. Each
//! report includes the cost of the tool, and a warning if the tool was saturated.

pub mod abuse;
pub mod check;
mod clock;
pub mod history_reader;
mod join;
mod load;
mod measure;
pub mod options;
mod phases;
mod report;
mod scenarios;
mod workload;

use std::fs;
use std::sync::Arc;

use anyhow::{Context, Result};

use load::Load;
pub use measure::{Percentiles, Usage};
use options::{Options, Scenario};
pub use phases::{PagingReport, Phase};
pub use report::{Report, Server};

/// Runs a scenario until its end or until Ctrl-C, and returns the report.
///
/// # Errors
///
/// Fails if the server cannot be reached, or the report cannot be written.
pub async fn run(options: &Options) -> Result<Report> {
    let load = Load::new(&options.common)?;
    let stop = Arc::clone(&load);
    let interrupt = tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            stop.stop();
        }
    });
    let outcome = scenarios::run(&load, options).await;
    interrupt.abort();
    load.clear_progress();
    let report = Report::new(name(&options.scenario).to_owned(), &load, outcome?);
    if let Some(path) = &options.common.json {
        let json = serde_json::to_vec_pretty(&report)?;
        fs::write(path, json).with_context(|| format!("--json {}", path.display()))?;
    }
    Ok(report)
}

fn name(scenario: &Scenario) -> &'static str {
    match scenario {
        Scenario::Fanout(_) => "fanout",
        Scenario::Rooms(_) => "rooms",
        Scenario::Spike(_) => "spike",
        Scenario::Pages(_) => "pages",
        Scenario::Storm => "storm",
        Scenario::Resume(_) => "resume",
        Scenario::Slow(_) => "slow",
        Scenario::Idle => "idle",
        Scenario::Echo(_) => "echo",
    }
}
