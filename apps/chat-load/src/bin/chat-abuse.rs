//! The program `chat-abuse`. See `chat-abuse --help`.

use std::io::{self, Write};
use std::process::ExitCode;

use chat_load::abuse::{self, Options};
use clap::Parser;
use tokio::runtime::Builder;

fn main() -> ExitCode {
    // Exits with 2 if the options are invalid.
    let options = Options::parse();
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(problem) => return fail(&problem.into()),
    };
    match runtime.block_on(abuse::run(&options)) {
        Ok(report) => {
            // Standard output may be closed.
            let _unread = io::stdout().write_all(report.table().as_bytes());
            if report.is_good() { ExitCode::SUCCESS } else { ExitCode::from(1) }
        }
        Err(problem) => fail(&problem),
    }
}

fn fail(problem: &anyhow::Error) -> ExitCode {
    let _unread = writeln!(io::stderr(), "error: {problem:#}");
    ExitCode::from(1)
}
