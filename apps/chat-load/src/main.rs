//! The program `chat-load`. See `chat-load --help`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::anyhow;
use chat_load::options::{Command, Options};
use clap::Parser;
use tokio::runtime::Builder;

fn main() -> ExitCode {
    // Exits with 2 if the options are invalid.
    let options = Options::parse();
    if let Err(problem) = options.check() {
        return fail(&problem, 2);
    }
    let scenario = match &options.command {
        Command::Run(scenario) => scenario,
        Command::Report(files) => return write_page(&files.reports, options.common.html.as_deref()),
    };
    let threads = options.common.threads as usize;
    let mut builder = if threads == 1 { Builder::new_current_thread() } else { Builder::new_multi_thread() };
    let runtime = match builder.worker_threads(threads).enable_all().build() {
        Ok(runtime) => runtime,
        Err(problem) => return fail(&problem.into(), 1),
    };
    let ran = runtime.block_on(chat_load::run(scenario, &options.common));
    // The remaining tasks have no further results.
    runtime.shutdown_background();
    match ran {
        Ok(report) => {
            // Standard output may be closed.
            let _unread = io::stdout().write_all(report.table().as_bytes());
            if report.is_good() { ExitCode::SUCCESS } else { ExitCode::from(1) }
        }
        Err(problem) => fail(&problem, 1),
    }
}

fn write_page(reports: &[PathBuf], html: Option<&Path>) -> ExitCode {
    let Some(html) = html else { return fail(&anyhow!("report: --html FILE is missing"), 2) };
    match chat_load::write_page(reports, html) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => fail(&problem, 1),
    }
}

fn fail(problem: &anyhow::Error, code: u8) -> ExitCode {
    let _unread = writeln!(io::stderr(), "error: {problem:#}");
    ExitCode::from(code)
}
