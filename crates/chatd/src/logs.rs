use std::{env, io};

use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;
use crate::directives;
use crate::lost_lines::LostLines;

/// Lines that wait for a slow reader of standard error. Further lines are dropped.
const BUFFERED_LINES: usize = 16 * 1024;

/// Sends log lines to standard error until the guard is dropped, filtered by `RUST_LOG`.
///
/// If standard error is full or closed, lines are dropped and counted. Logging never blocks a session. The error says
/// what is wrong with `RUST_LOG`.
pub(crate) fn start(format: LogFormat) -> Result<WorkerGuard, String> {
    let wanted = env::var(EnvFilter::DEFAULT_ENV).unwrap_or_default();
    let directives = directives::read(&wanted).map_err(|word| {
        let word = word.escape_debug();
        format!(
            "`{word}` is neither a level (error, warn, info, debug, trace, off) nor a target like chat_core"
        )
    })?;
    let filter = EnvFilter::try_new(&directives.text).map_err(|error| error.to_string())?;
    let (writer, guard) =
        NonBlockingBuilder::default().lossy(true).buffered_lines_limit(BUFFERED_LINES).finish(io::stderr());
    drop(tokio::spawn(LostLines::new(writer.error_counter()).report()));
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
    if let Some(target) = directives.unknown_target {
        tracing::warn!(directive = %target.escape_debug(), "RUST_LOG names a target without log lines");
    }
    Ok(guard)
}
