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
mod changes;
pub mod check;
mod clock;
mod environment;
pub mod history_reader;
mod join;
mod load;
mod measure;
pub mod options;
pub mod page;
mod phases;
mod report;
mod scenarios;
pub mod timeline;
mod workload;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};

pub use changes::{Cost, Kind};
pub use environment::Environment;
use load::Load;
pub use measure::{Percentiles, Usage};
use options::{Common, Scenario};
pub use phases::{PagingReport, Phase};
pub use report::{FaultyMember, Report, Server};

/// Runs a scenario until its end or until Ctrl-C, and returns the report.
///
/// # Errors
///
/// Fails if the server cannot be reached, or the report cannot be written.
pub async fn run(scenario: &Scenario, common: &Common) -> Result<Report> {
    let load = Load::new(common)?;
    let stop = Arc::clone(&load);
    let interrupt = tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            stop.stop();
        }
    });
    let outcome = scenarios::run(&load, scenario).await;
    interrupt.abort();
    load.clear_progress();
    let timeline = load.finish_samples()?;
    let report = Report::new(name(scenario).to_owned(), &load, outcome?, timeline);
    if let Some(path) = &common.json {
        let json = serde_json::to_vec_pretty(&report)?;
        fs::write(path, json).with_context(|| format!("--json {}", path.display()))?;
    }
    if let Some(path) = &common.html {
        page::write(path, &[page::Run::of_report(report.title(), &report)])?;
    }
    Ok(report)
}

/// Writes a page with the reports of earlier runs. The name of a report's file is the name of its run.
///
/// # Errors
///
/// Fails if a file is not a report, or the page cannot be written.
pub fn write_page(reports: &[PathBuf], html: &Path) -> Result<()> {
    let run = |path: &PathBuf| {
        let read = || anyhow::Ok(serde_json::from_slice::<Report>(&fs::read(path)?)?);
        let report = read().with_context(|| format!("{} is not a report of a load", path.display()))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        anyhow::Ok(page::Run::of_report(name, &report))
    };
    let runs: Vec<_> = reports.iter().map(run).collect::<Result<_>>()?;
    page::write(html, &runs)
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
        Scenario::Changes(_) => "changes",
    }
}
