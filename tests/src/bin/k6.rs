//! Runs a k6 scenario against one chat binary or all of them, and checks the server afterwards.

#![expect(clippy::print_stdout, reason = "the program prints a table")]

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use chat_load::page;
use chat_tests::k6::{Outcome, page_run, reports, run};
use chat_tests::{BINARIES, Binary};
use clap::Parser;

/// Run a k6 scenario against a chat binary, then check the server: its log, sessions, connections, rooms, descriptors,
/// threads and memory
///
/// Reports are written to target/k6-reports. The exit code is 1 if a check fails.
#[derive(Debug, Parser)]
struct Arguments {
    /// Script in k6/: smoke, storm, fanout, rooms, spike, soak, breakpoint, resume
    scenario: String,

    /// Adapter: tungstenite, warp, actix, axum, or all to compare them
    adapter: String,

    /// Upgrade mode: hijack or framework [default: hijack; both with all]
    upgrade: Option<String>,

    /// Set a size of the scenario, such as USERS=50. Repeatable
    #[arg(short = 'e', long = "env", value_name = "NAME=VALUE")]
    sizes: Vec<String>,

    /// Number of rounds. Each round runs every binary once
    #[arg(long, default_value = "1", value_parser = clap::value_parser!(u8).range(1..=100))]
    rounds: u8,

    /// Write a page for a browser to a file. The binaries stand side by side
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run_all(&Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            println!("FAILED: {problem:#}");
            ExitCode::from(1)
        }
    }
}

async fn run_all(arguments: &Arguments) -> Result<()> {
    let mut rows: Vec<(Binary, Vec<Outcome>)> = BINARIES
        .into_iter()
        .filter(|binary| arguments.adapter == "all" || arguments.adapter == binary.adapter())
        .filter(|binary| match &arguments.upgrade {
            Some(upgrade) => binary.upgrade == upgrade,
            None => arguments.adapter == "all" || binary.upgrade == "hijack",
        })
        .map(|binary| (binary, Vec::new()))
        .collect();
    ensure!(!rows.is_empty(), "no binary is {} {:?}", arguments.adapter, arguments.upgrade);
    for round in 1..=arguments.rounds {
        for (binary, outcomes) in &mut rows {
            let name = format!("{}-{}-{}-{round}", arguments.scenario, binary.adapter(), binary.upgrade);
            let outcome = run(*binary, &arguments.scenario, &arguments.sizes, &reports(&name)?).await;
            let outcome = outcome.with_context(|| name.clone())?;
            for failure in &outcome.failures {
                println!("FAILED: {name}: {failure}");
            }
            outcomes.push(outcome);
        }
    }
    print(&rows);
    println!("\nReports are in target/k6-reports.");
    if let Some(path) = &arguments.html {
        let mut runs: Vec<_> = rows.iter().filter_map(|(_, outcomes)| page_run(outcomes)).collect();
        if let [run] = &mut runs[..] {
            run.name = format!("{} on {}", arguments.scenario, run.name);
        }
        page::write(path, &runs)?;
    }
    let failed = rows.iter().flat_map(|(_, outcomes)| outcomes).filter(|outcome| !outcome.is_good()).count();
    ensure!(failed == 0, "{failed} of {} runs", rows.len() * usize::from(arguments.rounds));
    Ok(())
}

/// Prints one line for each binary: medians over the rounds, and the CPU time relative to the first binary.
fn print(rows: &[(Binary, Vec<Outcome>)]) {
    println!(
        "| binary | delivered | us of CPU per delivery | ratio | delivery ms: median | p95 | p99 | handshake ms: p95 | \
         KiB before | at most | after |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    let mut first = None;
    for (binary, outcomes) in rows {
        let figure = |metric, name| median(outcomes, |run| run.figure(metric, name).unwrap_or(f64::NAN));
        let delivered = figure("chat_delivered", "count");
        let cpu = median(outcomes, |run| run.cpu_seconds() * 1e6) / delivered;
        let ratio = cpu / *first.get_or_insert(cpu);
        println!(
            "| {} {} | {delivered:.0} | {cpu:.1} | {ratio:.2} | {:.0} | {:.0} | {:.0} | {:.1} | {:.0} | {:.0} | {:.0} |",
            binary.adapter(),
            binary.upgrade,
            figure("chat_delivery", "med"),
            figure("chat_delivery", "p(95)"),
            figure("chat_delivery", "p(99)"),
            figure("ws_connecting", "p(95)"),
            median(outcomes, |run| run.before.kib as f64),
            median(outcomes, |run| run.after.peak_kib as f64),
            median(outcomes, |run| run.after.kib as f64),
        );
    }
}

fn median(outcomes: &[Outcome], figure: impl Fn(&Outcome) -> f64) -> f64 {
    let mut figures: Vec<_> = outcomes.iter().map(figure).collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
