use std::{env, io};

use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

use crate::config::LogFormat;

/// Lines that wait for a reader of standard error that is slow; further ones are dropped.
const BUFFERED_LINES: usize = 16 * 1024;

/// What is logged unless `RUST_LOG` says otherwise. actix's HTTP logs as errors what only a peer has done wrong, a
/// malformed request or a ping in fragments; what fails the server itself comes back from it as well.
const DEFAULT: &str = "info,actix_http=off";

/// Sends log lines to standard error, as `RUST_LOG` or else [`DEFAULT`] says, until the guard is dropped.
///
/// A full pipe or a closed one costs lines, never a session.
pub(crate) fn start(format: LogFormat) -> Result<WorkerGuard, ParseError> {
    let wanted = env::var(EnvFilter::DEFAULT_ENV).unwrap_or_default();
    let filter = EnvFilter::try_new(if wanted.is_empty() { DEFAULT } else { &wanted })?;
    let (writer, guard) =
        NonBlockingBuilder::default().lossy(true).buffered_lines_limit(BUFFERED_LINES).finish(io::stderr());
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_ansi(false)
        .log_internal_errors(false);
    match format {
        LogFormat::Text => logs.init(),
        LogFormat::Json => logs.json().flatten_event(true).init(),
    }
    Ok(guard)
}
