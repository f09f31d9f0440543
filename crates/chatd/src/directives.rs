//! The directives of `--log-level` and `RUST_LOG`.

use std::str::FromStr;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// The filter without directives of the operator. actix logs errors for requests that are merely malformed; errors of
/// the server itself are returned to it, so nothing is lost.
const DEFAULT: &str = "info,actix_http=off";

/// The directive that comes first, so that errors are logged unless another directive turns them off.
const ERRORS: &str = "error";

/// The directive for the warning of this module. Otherwise the wanted directives could filter it out.
const WARNING: &str = "chatd::directives=warn";

/// Beginnings of the targets that have log lines.
const TARGETS: [&str; 19] = [
    "actix",
    "async_nats",
    "axum",
    "chat_actix",
    "chat_adapter",
    "chat_auth",
    "chat_core",
    "chat_jetstream",
    "chat_sqlite",
    "chatd",
    "h2",
    "hyper",
    "mio",
    "rusqlite",
    "rustls",
    "tokio",
    "tower",
    "tungstenite",
    "warp",
];

/// The directives for log lines, and a warning for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Directives {
    pub(crate) text: String,
    /// The first target that has no log lines.
    pub(crate) unknown_target: Option<String>,
}

impl Default for Directives {
    fn default() -> Self {
        Self { text: DEFAULT.to_owned(), unknown_target: None }
    }
}

impl Directives {
    /// Returns the filter.
    pub(crate) fn filter(&self) -> EnvFilter {
        EnvFilter::new(&self.text)
    }

    /// Returns true if a directive depends on spans.
    pub(crate) fn has_spans(&self) -> bool {
        self.text.contains('[')
    }

    /// Logs the warning, if there is one.
    pub(crate) fn warn(&self) {
        if let Some(target) = &self.unknown_target {
            tracing::warn!(directive = %target.escape_debug(), "RUST_LOG names a target without log lines");
        }
    }
}

/// Parses the value of `--log-level` or `RUST_LOG`.
pub(crate) fn log_level(wanted: &str) -> Result<Directives, String> {
    let directives = read(wanted).map_err(|word| {
        let word = word.escape_debug();
        format!(
            "`{word}` is neither a level (error, warn, info, debug, trace, off) nor a target like chat_core"
        )
    })?;
    EnvFilter::try_new(&directives.text).map_err(|error| error.to_string())?;
    Ok(directives)
}

/// Reads directives. An empty text means that there are none.
///
/// The error is a word that is neither a level nor a target. It would turn off all log lines.
fn read(wanted: &str) -> Result<Directives, String> {
    if wanted.trim().is_empty() {
        return Ok(Directives::default());
    }
    let mut unknown_target = None;
    for directive in wanted.split(',').map(str::trim).filter(|directive| !directive.is_empty()) {
        let target = directive.split(['=', '[']).next().unwrap_or_default();
        let is_known = target.is_empty() || TARGETS.iter().any(|known| target.starts_with(known));
        if is_known || LevelFilter::from_str(directive).is_ok() {
            continue;
        }
        if target == directive {
            return Err(directive.to_owned());
        }
        unknown_target.get_or_insert_with(|| target.to_owned());
    }
    let first = if unknown_target.is_some() { format!("{ERRORS},{WARNING}") } else { ERRORS.to_owned() };
    Ok(Directives { text: format!("{first},{wanted}"), unknown_target })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unknown(wanted: &str) -> Option<String> {
        read(wanted).expect("valid directives").unknown_target
    }

    #[test]
    fn a_word_that_is_neither_a_level_nor_a_target_is_refused() {
        for wanted in ["warning", "verbose", "chat-core", "info,loud", "5x"] {
            let word = wanted.rsplit(',').next().expect("a word");
            assert_eq!(read(wanted), Err(word.to_owned()));
        }
    }

    #[test]
    fn levels_and_targets_are_accepted() {
        for wanted in [
            "warn",
            "WARN",
            "off",
            "3",
            "chat_core",
            "chat_core=debug",
            "chatd::storage=trace,warn",
            "warn,hyper=off,",
            "async_nats=warn,chat_jetstream=debug",
            "[connection]=debug",
            "chat_core[connection{user=ann}]=debug",
        ] {
            assert_eq!(unknown(wanted), None, "{wanted}");
            let filter = read(wanted).expect("valid").text.parse::<EnvFilter>();
            assert!(filter.is_ok(), "{wanted}: {filter:?}");
        }
        assert_eq!(unknown("info,my_service=debug").as_deref(), Some("my_service"));
    }

    #[test]
    fn the_warning_about_an_unknown_target_passes_its_own_filter() {
        for wanted in ["chat_cor=debug", "my_service=debug", "off,my_service=debug", "error,my_service=off"] {
            let directives = read(wanted).expect("valid directives");
            let filter: EnvFilter = directives.text.parse().expect("valid directives");
            let (sender, lines) = std::sync::mpsc::channel();
            let writer = move || Line(sender.clone());
            let subscriber =
                tracing_subscriber::fmt().with_ansi(false).with_env_filter(filter).with_writer(writer);
            tracing::subscriber::with_default(subscriber.finish(), || directives.warn());
            let log: String = lines.try_iter().collect();
            let target = directives.unknown_target.expect("an unknown target");
            assert!(log.contains(&format!("directive={target}")), "{wanted}: {log:?}");
        }
    }

    /// A writer of log lines.
    struct Line(std::sync::mpsc::Sender<String>);

    impl std::io::Write for Line {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.send(String::from_utf8_lossy(bytes).into_owned()).map_err(std::io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_empty_value_means_the_default() {
        assert_eq!(read(" ").expect("valid").text, DEFAULT);
    }

    #[test]
    fn errors_are_logged_unless_a_directive_turns_them_off() {
        use tracing::level_filters::LevelFilter;
        use tracing_subscriber::layer::{Layer, SubscriberExt};
        for (wanted, logs_errors) in
            [("foo=debug", true), ("chat_core=warn", true), ("off", false), ("warn", true)]
        {
            let filter: EnvFilter = read(wanted).expect("valid").text.parse().expect("valid");
            let subscriber = tracing_subscriber::registry().with(filter.with_filter(LevelFilter::TRACE));
            let logs = tracing::subscriber::with_default(
                subscriber,
                || tracing::enabled!(target: "chat_sqlite", tracing::Level::ERROR),
            );
            assert_eq!(logs, logs_errors, "{wanted}");
        }
    }
}
