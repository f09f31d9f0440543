use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, RwLock};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Metadata, Subscriber, callsite};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::{Context, Filter};

use crate::directives::Directives;

/// The filter of log lines, which can be replaced while the process runs. A clone is another handle to the same filter.
///
/// The filter is asked once for each place in the code that logs. Only directives with a span are asked for each line.
/// For all others, this filter has no cost when a session enters its span, so it is cheaper than a plain `EnvFilter`.
#[derive(Clone, Debug)]
pub(crate) struct LogFilter(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    filter: RwLock<EnvFilter>,
    text: Mutex<String>,
    has_spans: AtomicBool,
}

impl LogFilter {
    pub(crate) fn new(directives: &Directives) -> Self {
        let (filter, has_spans) = (RwLock::new(directives.filter()), AtomicBool::new(directives.has_spans()));
        Self(Arc::new(Shared { filter, text: Mutex::new(directives.text.clone()), has_spans }))
    }

    /// Returns the directives.
    pub(crate) fn text(&self) -> String {
        self.0.text.lock().clone()
    }

    /// Replaces the filter.
    pub(crate) fn set(&self, directives: &Directives) {
        let Shared { filter, text, has_spans } = &*self.0;
        *filter.write() = directives.filter();
        text.lock().clone_from(&directives.text);
        has_spans.store(directives.has_spans(), Ordering::Relaxed);
        // The cache asks the filter again, so the lock must be free.
        callsite::rebuild_interest_cache();
    }

    fn has_spans(&self) -> bool {
        self.0.has_spans.load(Ordering::Relaxed)
    }
}

impl<S: Subscriber> Filter<S> for LogFilter {
    fn enabled(&self, metadata: &Metadata<'_>, cx: &Context<'_, S>) -> bool {
        Filter::enabled(&*self.0.filter.read(), metadata, cx)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        Filter::<S>::callsite_enabled(&*self.0.filter.read(), metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Filter::<S>::max_level_hint(&*self.0.filter.read())
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, cx: Context<'_, S>) {
        if self.has_spans() {
            Filter::on_new_span(&*self.0.filter.read(), attributes, id, cx);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, cx: Context<'_, S>) {
        if self.has_spans() {
            Filter::on_record(&*self.0.filter.read(), id, values, cx);
        }
    }

    fn on_enter(&self, id: &Id, cx: Context<'_, S>) {
        if self.has_spans() {
            Filter::on_enter(&*self.0.filter.read(), id, cx);
        }
    }

    fn on_exit(&self, id: &Id, cx: Context<'_, S>) {
        if self.has_spans() {
            Filter::on_exit(&*self.0.filter.read(), id, cx);
        }
    }

    fn on_close(&self, id: Id, cx: Context<'_, S>) {
        if self.has_spans() {
            Filter::on_close(&*self.0.filter.read(), id, cx);
        }
    }
}
