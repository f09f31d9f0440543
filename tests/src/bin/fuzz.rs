//! Fuzzes a chat binary with mutated conversations over sockets.

#![expect(clippy::print_stdout, reason = "the program prints figures")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use chat_tests::fuzz::{Figures, fuzz, plan, replay};
use chat_tests::{BINARIES, Binary};
use clap::{Parser, Subcommand};

/// Play mutated conversations against a chat binary, and check that it serves a well-behaved client all the time,
/// releases what it used, logs no error, answers as PROTOCOL.md says, and leaves a sound store
///
/// The exit code is 1 if a check fails. The conversations that caused it are written to a file.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Play random conversations
    Run {
        /// Time, in seconds
        seconds: u64,

        /// Adapter: tungstenite, warp, actix or axum
        adapter: String,

        /// Repeat a run with the seed that it printed [default: random]
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Play the conversations of a file
    Replay {
        /// File that a failed run has written, or a file of tests/corpus/conversations
        file: PathBuf,

        /// Adapter: tungstenite, warp, actix or axum
        adapter: String,

        /// Upgrade mode: hijack or framework
        #[arg(long, default_value = "hijack")]
        upgrade: String,

        /// Keep the limits of one client
        #[arg(long)]
        default_limits: bool,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse().task).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            println!("FAILED: {problem:#}");
            ExitCode::from(1)
        }
    }
}

async fn run(task: Task) -> Result<()> {
    match task {
        Task::Run { seconds, adapter, seed } => {
            let seed = seed.unwrap_or_else(|| fastrand::u64(..));
            println!("seed {seed}");
            let runs = plan(&adapter, Duration::from_secs(seconds));
            ensure!(!runs.is_empty(), "no adapter is named {adapter}");
            for (binary, lifted, time) in runs {
                let start = Instant::now();
                let figures = fuzz(binary, lifted, seed, time).await?;
                print(binary, lifted, figures, start.elapsed());
            }
        }
        Task::Replay { file, adapter, upgrade, default_limits } => {
            let is_named = |binary: &Binary| binary.adapter() == adapter && binary.upgrade == upgrade;
            let binary = BINARIES.into_iter().find(is_named).context("no such adapter and upgrade mode")?;
            let start = Instant::now();
            let figures = replay(binary, !default_limits, &file).await?;
            print(binary, !default_limits, figures, start.elapsed());
        }
    }
    Ok(())
}

fn print(binary: Binary, lifted: bool, figures: Figures, time: Duration) {
    let Figures { conversations, canary_messages, slowest_answer, peak_kib } = figures;
    let limits = if lifted { "lifted" } else { "default" };
    println!(
        "{} by {}, {limits} limits: {conversations} conversations in {} s; the canaries sent {canary_messages} messages, \
         slowest answer {} ms; peak memory {} MiB",
        binary.adapter(),
        binary.upgrade,
        time.as_secs(),
        slowest_answer.as_millis(),
        peak_kib / 1024,
    );
}
