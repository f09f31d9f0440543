use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chat_core::LogThrottle;
use metrics::{counter, describe_counter};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tracing::warn;

use super::collector::Exporter;

/// Ended spans that wait for the collector, of about 1 KiB each. Further ones are dropped.
pub(super) const QUEUED_SPANS: usize = 8 * 1024;

/// Spans of one request.
const BATCH_SPANS: usize = 512;

/// Time between two exports.
const EXPORT_INTERVAL: Duration = Duration::from_secs(1);

/// Time between two log lines about failures.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The fields of spans and of their events that are exported. They have no name, no body and no token. The id of a
/// user is not among them, because that of a guest is a name.
const FIELDS: [&str; 8] = ["id", "peer", "status", "cause", "close", "duration_ms", "received", "sent"];

/// The ended spans. It never waits, so that a collector that is away does not slow a session.
#[derive(Debug)]
pub(super) struct Queue {
    spans: mpsc::Sender<SpanData>,
    counts: Arc<Counts>,
}

/// The numbers of ended spans since the start.
#[derive(Debug, Default)]
pub(super) struct Counts {
    exported: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
}

impl Queue {
    pub(super) fn new(spans: mpsc::Sender<SpanData>, counts: Arc<Counts>) -> Self {
        Self { spans, counts }
    }
}

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, mut span: SpanData) {
        span.attributes.retain(is_exported);
        for event in &mut span.events.events {
            event.attributes.retain(is_exported);
        }
        if self.spans.try_send(span).is_err() {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

fn is_exported(field: &KeyValue) -> bool {
    FIELDS.contains(&field.key.as_str())
}

/// Exports spans until `stop`, and then all that are in the queue.
pub(super) async fn export(
    mut spans: mpsc::Receiver<SpanData>,
    mut stop: oneshot::Receiver<()>,
    exporter: Exporter,
    counts: Arc<Counts>,
) {
    let throttle = LogThrottle::default();
    let mut is_last = false;
    while !is_last {
        is_last = timeout(EXPORT_INTERVAL, &mut stop).await.is_ok();
        if is_last {
            spans.close();
        }
        while !spans.is_empty() {
            let mut batch = Vec::new();
            let number = spans.recv_many(&mut batch, BATCH_SPANS).await as u64;
            let (rejected, problem) = match exporter.export(batch).await {
                Ok(0) => (0, None),
                Ok(rejected) => (rejected.min(number), Some("the collector has rejected spans".to_owned())),
                Err(problem) => (number, Some(problem)),
            };
            counts.exported.fetch_add(number - rejected, Ordering::Relaxed);
            counts.failed.fetch_add(rejected, Ordering::Relaxed);
            if let Some(error) = problem
                && let Some(suppressed) = throttle.permit(LOG_INTERVAL)
            {
                warn!(error, spans = rejected, suppressed, "traces not exported");
            }
        }
    }
}

impl Counts {
    pub(super) fn describe() {
        describe_counter!(
            "chat_trace_spans_total",
            "Spans of ended connections for the OpenTelemetry collector."
        );
    }

    pub(super) fn publish(&self) {
        for (result, count) in
            [("exported", &self.exported), ("failed", &self.failed), ("dropped", &self.dropped)]
        {
            counter!("chat_trace_spans_total", "result" => result).absolute(count.load(Ordering::Relaxed));
        }
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{Span as _, Tracer, TracerProvider};
    use opentelemetry_sdk::trace::SdkTracerProvider;

    use super::*;

    #[tokio::test]
    async fn a_full_queue_drops_spans_and_keeps_only_known_fields() {
        let (sender, mut spans) = mpsc::channel(1);
        let counts = Arc::new(Counts::default());
        let queue = Queue::new(sender, Arc::clone(&counts));
        let tracer = SdkTracerProvider::builder().with_span_processor(queue).build().tracer("test");
        for _ in 0..3 {
            let mut span = tracer.start("connection");
            span.set_attribute(KeyValue::new("id", "7"));
            span.set_attribute(KeyValue::new("user", "ann"));
            span.add_event("session ended", vec![KeyValue::new("close", 1000), KeyValue::new("body", "hi")]);
        }
        assert_eq!(counts.dropped.load(Ordering::Relaxed), 2);
        let span = spans.recv().await.expect("a span");
        assert_eq!(span.attributes, [KeyValue::new("id", "7")]);
        assert_eq!(span.events[0].attributes, [KeyValue::new("close", 1000)]);
    }
}
