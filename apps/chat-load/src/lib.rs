//! Puts load on a chat server and checks every delivery. The program is `chat-load`; this is what it is made of.
//!
//! # What it checks
//!
//! Each message has a number of this tool's own in its key. Each reader follows the `seq` of its room without a hole
//! ([`check::Stream`]), and all readers and the writer must have seen the same message under the same `seq`
//! ([`check::Ledger`]), with the body that was sent. That is done for every delivery of every reader, nothing is sampled.
//!
//! # What it costs
//!
//! Readers and writers are [`chat_client::socket::Socket`]s: parsed as a whole and checked, a delivery costs 0.8 to 3
//! microseconds of CPU, the less the more come at once. On one core (`taskset -c 0`, the server on the other,
//! both shared with other work) it took and checked 356,000 deliveries a second with 0.29 of the core. The full
//! [`chat_client::Client`], which `resume` and `slow` are made of, costs 1.9 where the socket costs 1.2. Each report says
//! what its own run cost, and warns where the tool itself had nothing left to give.

pub mod check;
mod clock;
mod load;
mod measure;
pub mod options;
mod phases;
mod report;
mod scenarios;
mod talk;
pub mod walk;

use std::fs;
use std::sync::Arc;

use anyhow::{Context, Result};

use load::Load;
pub use measure::{Percentiles, Usage};
use options::{Options, Scenario};
pub use phases::{Paged, Phase};
pub use report::{Report, Server};

/// Puts the load on the server, unless it is stopped before by Ctrl-C; what came of it.
///
/// # Errors
///
/// If there is no server, or the report cannot be written.
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
    load.hide();
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
