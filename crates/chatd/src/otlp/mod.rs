//! The export of traces to an OpenTelemetry collector, behind the feature `otlp`, because it needs 12 more crates.

#[cfg(feature = "otlp")]
mod collector;
#[cfg(not(feature = "otlp"))]
mod disabled;
#[cfg(feature = "otlp")]
mod queue;
#[cfg(feature = "otlp")]
mod traces;

use clap::Args;

#[cfg(feature = "otlp")]
use collector::Collector;
#[cfg(not(feature = "otlp"))]
use disabled::Collector;
#[cfg(not(feature = "otlp"))]
pub(crate) use disabled::Traces;
#[cfg(feature = "otlp")]
pub(crate) use traces::Traces;

#[derive(Debug, Args)]
pub(crate) struct OtlpOptions {
    /// Send a span for each connection to the OpenTelemetry collector at this URL, like http://127.0.0.1:4318; needs a
    /// binary that was built with --features otlp [default: off]
    #[arg(long, env = "CHATD_OTLP", value_name = "URL")]
    otlp: Option<Collector>,
}

impl OtlpOptions {
    /// Starts the export. `None` without `--otlp`. `service` is the name of the binary.
    pub(crate) fn start(&self, service: &'static str) -> Option<Traces> {
        self.otlp.as_ref().map(|collector| Traces::start(collector, service))
    }
}
