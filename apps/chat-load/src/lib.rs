//! Puts load on a chat server and checks every delivery. The program is `chat-load`; this is what it is made of.

pub mod check;
mod clock;
mod load;
mod measure;
pub mod options;
mod report;
mod scenarios;
mod talk;

use std::fs;
use std::sync::Arc;

use anyhow::{Context, Result};

use load::Load;
pub use measure::{Percentiles, Usage};
use options::{Options, Scenario};
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
        Scenario::Storm => "storm",
        Scenario::Resume(_) => "resume",
        Scenario::Slow(_) => "slow",
        Scenario::Idle => "idle",
        Scenario::Echo(_) => "echo",
    }
}
