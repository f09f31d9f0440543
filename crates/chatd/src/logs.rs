use std::{env, io};

use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

use crate::config::LogFormat;

/// Lines that wait for a slow reader of standard error. Further lines are dropped.
const BUFFERED_LINES: usize = 16 * 1024;

/// The filter of log lines without `RUST_LOG`. actix logs errors for requests that are merely malformed; errors of the
/// server itself are returned to it, so nothing is lost.
const DEFAULT: &str = "info,actix_http=off";

/// Sends log lines to standard error until the guard is dropped, filtered by `RUST_LOG` or by [`DEFAULT`].
///
/// If standard error is full or closed, lines are dropped. Logging never blocks a session.
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
        LogFormat::Json => {
            logs.json().flatten_event(true).with_current_span(true).with_span_list(false).init();
        }
    }
    Ok(guard)
}
