//! The program `chat-load`. See `chat-load --help`.

use std::io::{self, Write};
use std::process::ExitCode;

use chat_load::options::Options;
use clap::Parser;
use tokio::runtime::Builder;

fn main() -> ExitCode {
    // Exits with 2 if the options are invalid.
    let options = Options::parse();
    if let Err(problem) = options.check() {
        return fail(&problem, 2);
    }
    let threads = options.common.threads as usize;
    let mut builder = if threads == 1 { Builder::new_current_thread() } else { Builder::new_multi_thread() };
    let runtime = match builder.worker_threads(threads).enable_all().build() {
        Ok(runtime) => runtime,
        Err(problem) => return fail(&problem.into(), 1),
    };
    let ran = runtime.block_on(chat_load::run(&options));
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

fn fail(problem: &anyhow::Error, code: u8) -> ExitCode {
    let _unread = writeln!(io::stderr(), "error: {problem:#}");
    ExitCode::from(code)
}
