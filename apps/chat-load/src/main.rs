//! Puts load on a chat server and checks every delivery: `chat-load --help`.

use std::io::{self, Write};
use std::process::ExitCode;

use chat_load::options::Options;
use clap::Parser;
use tokio::runtime::Builder;

fn main() -> ExitCode {
    // Ends the process with 2 by itself if it is asked for what there is not.
    let options = Options::parse();
    if let Err(problem) = options.common.check() {
        return refuse(&problem, 2);
    }
    let threads = options.common.threads as usize;
    let mut builder = if threads == 1 { Builder::new_current_thread() } else { Builder::new_multi_thread() };
    let runtime = match builder.worker_threads(threads).enable_all().build() {
        Ok(runtime) => runtime,
        Err(problem) => return refuse(&problem.into(), 1),
    };
    let ran = runtime.block_on(chat_load::run(&options));
    // What still runs has nothing more to say.
    runtime.shutdown_background();
    match ran {
        Ok(report) => {
            // Nobody may be reading.
            let _unread = io::stdout().write_all(report.table().as_bytes());
            if report.is_good() { ExitCode::SUCCESS } else { ExitCode::from(1) }
        }
        Err(problem) => refuse(&problem, 1),
    }
}

fn refuse(problem: &anyhow::Error, code: u8) -> ExitCode {
    let _unread = writeln!(io::stderr(), "error: {problem:#}");
    ExitCode::from(code)
}
