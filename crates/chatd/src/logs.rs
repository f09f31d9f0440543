use std::fmt::{self, Write as _};
use std::io;
use std::panic::{self, PanicHookInfo};
use std::time::Duration;

use chat_core::LogThrottle;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber, error, info, warn};
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::filter::{FilterExt, FilterFn, LevelFilter};
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{fmt as lines, registry};

use crate::batches::Batches;
use crate::config::LogFormat;
use crate::directives::Directives;
use crate::line_queue::{LineGuard, LineQueue};
use crate::log_filter::LogFilter;
use crate::lost_lines::LostLines;
use crate::otlp::Traces;

/// Lines that wait for a slow reader of standard error. Further lines are dropped.
const BUFFERED_LINES: usize = 16 * 1024;

/// Time between two lines about the same problem that clients can cause.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The module of actix whose errors are failures to accept.
const ACTIX_ACCEPT: &str = "actix_server::accept";

/// Sends log lines to standard error until the guard is dropped. They are written a few milliseconds later, several at
/// once. The filter decides which ones are written.
///
/// If standard error is full or closed, lines are dropped and counted. Logging never blocks a session, and neither does
/// a panic.
pub(crate) fn start(
    format: LogFormat,
    directives: &Directives,
    traces: Option<&Traces>,
) -> io::Result<(LineGuard, LogFilter)> {
    let filter = LogFilter::new(directives);
    let (writer, guard) = LineQueue::start(BUFFERED_LINES, Batches::new(io::stderr()))?;
    drop(tokio::spawn(LostLines::new(writer.clone()).report()));
    let logs = lines::layer().with_writer(writer).with_ansi(false).log_internal_errors(false);
    let logs = match format {
        LogFormat::Text => logs.fmt_fields(debug_fn(write_field).delimited(" ")).boxed(),
        LogFormat::Json => {
            logs.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed()
        }
    };
    // Without a hint, the level of the other filter would not be one for the whole process.
    let others = FilterFn::new(|metadata: &Metadata<'_>| !is_of_actix(metadata))
        .with_max_level_hint(LevelFilter::TRACE);
    let of_actix = FilterFn::new(is_of_actix).with_max_level_hint(LevelFilter::ERROR);
    let lines = registry()
        .with(logs.with_filter(filter.clone().and(others)))
        .with(ActixErrors::default().with_filter(of_actix));
    match traces {
        Some(traces) => lines.with(traces.layer()).init(),
        // A layer that does nothing would still be called for each line.
        None => lines.init(),
    }
    panic::set_hook(Box::new(log_panic));
    directives.warn();
    Ok((guard, filter))
}

/// Writes a field of a line. The default format does the same, and looks for colours too, which costs as much as the
/// rest of a line.
fn write_field(writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    match field.name() {
        // Of another crate, perhaps with characters that change what a terminal shows.
        "message" => write!(WithoutControls(writer), "{value:?}"),
        name => write!(writer, "{}={value:?}", name.trim_start_matches("r#")),
    }
}

/// A writer that escapes control characters, except for white space.
struct WithoutControls<'w, 'l>(&'w mut Writer<'l>);

impl fmt::Write for WithoutControls<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let is_control = |c: char| c.is_control() && !c.is_whitespace();
        if !text.contains(is_control) {
            return self.0.write_str(text);
        }
        text.chars().try_for_each(|c| match is_control(c) {
            true => write!(self.0, "{}", c.escape_unicode()),
            false => self.0.write_char(c),
        })
    }
}

/// Logs a panic. The hook of the standard library would block if standard error is not read.
fn log_panic(panic: &PanicHookInfo<'_>) {
    // A formatted message may repeat something that a user sent.
    let message = panic.payload().downcast_ref::<&'static str>().copied();
    let location = panic.location().map(ToString::to_string);
    error!(location, message, "panic; report this as a bug");
}

/// The errors of actix about connections. actix logs each of them as an error of the server. This layer logs what they
/// are, as the other adapters do, and how many there were.
#[derive(Debug, Default)]
struct ActixErrors {
    malformed: LogThrottle,
    accept: LogThrottle,
}

fn is_of_actix(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    *metadata.level() == Level::ERROR && (target.starts_with("actix_http::h1") || target == ACTIX_ACCEPT)
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for ActixErrors {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut cause = Message::default();
        event.record(&mut cause);
        let Message(cause) = cause;
        if event.metadata().target() == ACTIX_ACCEPT {
            if let Some(suppressed) = self.accept.permit(LOG_INTERVAL) {
                warn!(error = cause, suppressed, "accept failed");
            }
        } else if let Some(suppressed) = self.malformed.permit(LOG_INTERVAL) {
            info!(cause, suppressed, "malformed request refused");
        }
    }
}

/// The message of an event.
#[derive(Debug, Default)]
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_cannot_change_what_a_terminal_shows() {
        let mut line = String::new();
        write!(WithoutControls(&mut Writer::new(&mut line)), "a\x1b[2J\u{9b}b\n ü").unwrap();
        assert_eq!(line, "a\\u{1b}[2J\\u{9b}b\n ü");
    }
}
