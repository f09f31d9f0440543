use std::sync::Arc;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::filter::FilterFn;
use tracing_subscriber::layer::Layer;
use tracing_subscriber::registry::LookupSpan;

use super::collector::{Collector, Exporter};
use super::queue::{Counts, QUEUED_SPANS, Queue, export};

/// Time for the spans that are in the queue at the end of the process.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// The spans of connections, on their way to a collector.
#[derive(Debug)]
pub(crate) struct Traces {
    provider: SdkTracerProvider,
    counts: Arc<Counts>,
    stop: oneshot::Sender<()>,
    exports: JoinHandle<()>,
}

impl Traces {
    /// Starts the task that exports spans.
    pub(crate) fn start(collector: &Collector, service: &'static str) -> Self {
        let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        let resource = Resource::builder().with_service_name(service).with_attribute(version).build();
        let counts = Arc::new(Counts::default());
        let (spans, ended) = mpsc::channel(QUEUED_SPANS);
        let (stop, stopped) = oneshot::channel();
        let exporter = Exporter::new(collector, (&resource).into());
        let exports = tokio::spawn(export(ended, stopped, exporter, Arc::clone(&counts)));
        let queue = Queue::new(spans, Arc::clone(&counts));
        let provider =
            SdkTracerProvider::builder().with_span_processor(queue).with_resource(resource).build();
        Self { provider, counts, stop, exports }
    }

    /// Returns the layer that makes a span of OpenTelemetry for each connection. Its log lines are events of the span.
    pub(crate) fn layer<S: Subscriber + for<'a> LookupSpan<'a>>(&self) -> impl Layer<S> + use<S> {
        let tracer: SdkTracer = self.provider.tracer("chatd");
        // A session enters its span often. Only the beginning and the end of a span cost something.
        let layer = tracing_opentelemetry::layer()
            .with_tracer(tracer)
            .with_context_activation(false)
            .with_tracked_inactivity(false)
            .with_location(false)
            .with_threads(false)
            .with_target(false);
        layer.with_filter(FilterFn::new(is_of_connection).with_max_level_hint(LevelFilter::INFO))
    }

    /// Returns code that publishes the numbers of spans to the recorder of metrics.
    pub(crate) fn publisher(&self) -> impl Fn() + Send + Sync + use<> {
        Counts::describe();
        let counts = Arc::clone(&self.counts);
        move || counts.publish()
    }

    /// Exports the spans that are in the queue, for at most 2 s.
    pub(crate) async fn shutdown(self) {
        // An error means that the task has ended.
        let _stopped = self.stop.send(());
        if timeout(FLUSH_TIMEOUT, self.exports).await.is_err() {
            tracing::warn!(timeout = ?FLUSH_TIMEOUT, "traces not flushed in time");
        }
    }
}

/// Returns true for the span of a connection, and for the log lines of its session.
fn is_of_connection(metadata: &Metadata<'_>) -> bool {
    let is_wanted = !metadata.is_span() || metadata.name() == "connection";
    is_wanted && metadata.target().starts_with("chat_core") && *metadata.level() <= Level::INFO
}
