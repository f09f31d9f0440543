//! Counters, gauges and histograms, and their values in the text format of Prometheus.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use metrics::{
    Counter, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};
use parking_lot::RwLock;

/// The metrics of the process. Each of them is made by its first use, and stays.
#[derive(Debug)]
pub(crate) struct Registry {
    /// Returns the upper bounds of the buckets of a histogram, in ascending order.
    bounds: fn(&str) -> &'static [f64],
    descriptions: RwLock<HashMap<String, SharedString>>,
    counters: RwLock<HashMap<Key, Arc<AtomicU64>>>,
    /// The bits of floating-point numbers.
    gauges: RwLock<HashMap<Key, Arc<AtomicU64>>>,
    histograms: RwLock<HashMap<Key, Arc<Buckets>>>,
}

/// The values of a histogram.
#[derive(Debug)]
struct Buckets {
    bounds: &'static [f64],
    /// The number of values in each bucket. The last one has those above all bounds.
    counts: Box<[AtomicU64]>,
    /// The bits of a floating-point number.
    sum: AtomicU64,
}

impl Registry {
    pub(crate) fn new(bounds: fn(&str) -> &'static [f64]) -> Self {
        Self {
            bounds,
            descriptions: RwLock::default(),
            counters: RwLock::default(),
            gauges: RwLock::default(),
            histograms: RwLock::default(),
        }
    }

    /// Returns the present values, sorted by name and labels.
    pub(crate) fn render(&self) -> String {
        let mut families: BTreeMap<(String, &str), Vec<String>> = BTreeMap::new();
        let mut add = |key: &Key, kind: &'static str, lines: String| {
            families.entry((key.name().to_owned(), kind)).or_default().push(lines);
        };
        for (key, counter) in &*self.counters.read() {
            add(key, "counter", line(key, "", None, &counter.load(Ordering::Relaxed).to_string()));
        }
        for (key, gauge) in &*self.gauges.read() {
            add(key, "gauge", line(key, "", None, &number(gauge)));
        }
        for (key, buckets) in &*self.histograms.read() {
            add(key, "histogram", buckets.lines(key));
        }
        let descriptions = self.descriptions.read();
        let mut text = String::new();
        for ((name, kind), mut lines) in families {
            lines.sort_unstable();
            if let Some(description) = descriptions.get(&name) {
                let description = description.replace('\\', "\\\\").replace('\n', "\\n");
                text.push_str(&format!("# HELP {name} {description}\n"));
            }
            text.push_str(&format!("# TYPE {name} {kind}\n"));
            text.extend(lines);
        }
        text
    }

    fn describe(&self, key: &KeyName, description: SharedString) {
        self.descriptions.write().insert(key.as_str().to_owned(), description);
    }
}

impl Buckets {
    fn new(bounds: &'static [f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, counts, sum: AtomicU64::new(0) }
    }

    /// Returns the lines of all series. Each bucket counts the values of those below, too.
    fn lines(&self, key: &Key) -> String {
        let mut text = String::new();
        let mut total = 0;
        for (index, count) in self.counts.iter().enumerate() {
            total += count.load(Ordering::Relaxed);
            let bound = self.bounds.get(index).map_or("+Inf".to_owned(), f64::to_string);
            text.push_str(&line(key, "_bucket", Some(&bound), &total.to_string()));
        }
        text.push_str(&line(key, "_sum", None, &number(&self.sum)));
        text.push_str(&line(key, "_count", None, &total.to_string()));
        text
    }
}

impl HistogramFn for Buckets {
    fn record(&self, value: f64) {
        let index = self.bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.counts.get(index) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        GaugeFn::increment(&self.sum, value);
    }
}

impl Recorder for Registry {
    fn describe_counter(&self, key: KeyName, _: Option<Unit>, description: SharedString) {
        self.describe(&key, description);
    }

    fn describe_gauge(&self, key: KeyName, _: Option<Unit>, description: SharedString) {
        self.describe(&key, description);
    }

    fn describe_histogram(&self, key: KeyName, _: Option<Unit>, description: SharedString) {
        self.describe(&key, description);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(found_or_made(&self.counters, key, AtomicU64::default))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(found_or_made(&self.gauges, key, AtomicU64::default))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        let make = || Buckets::new((self.bounds)(key.name()));
        Histogram::from_arc(found_or_made(&self.histograms, key, make))
    }
}

fn found_or_made<K: Clone + Eq + Hash, V>(
    values: &RwLock<HashMap<K, Arc<V>>>,
    key: &K,
    make: impl FnOnce() -> V,
) -> Arc<V> {
    if let Some(found) = values.read().get(key) {
        return Arc::clone(found);
    }
    Arc::clone(values.write().entry(key.clone()).or_insert_with(|| Arc::new(make())))
}

/// Returns a floating-point number, given its bits.
fn number(bits: &AtomicU64) -> String {
    f64::from_bits(bits.load(Ordering::Relaxed)).to_string()
}

/// Returns the line of one series. `bound` is the label `le`.
fn line(key: &Key, suffix: &str, bound: Option<&str>, value: &str) -> String {
    let labels = key.labels().map(|label| format!("{}=\"{}\"", label.key(), escaped(label.value())));
    let labels: Vec<_> = labels.chain(bound.map(|bound| format!("le=\"{bound}\""))).collect();
    let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
    format!("{}{suffix}{labels} {value}\n", key.name())
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use metrics::{counter, describe_counter, gauge, histogram, with_local_recorder};

    use super::*;

    #[test]
    fn values_have_the_text_format_of_prometheus() {
        let registry = Registry::new(|_| &[0.5, 2.0]);
        with_local_recorder(&registry, || {
            describe_counter!("c_total", "Lines with \\ and\nmore.");
            counter!("c_total", "code" => "b").increment(2);
            counter!("c_total", "code" => "a\"\\\n").increment(1);
            counter!("c_total", "code" => "b").increment(3);
            gauge!("g").set(-1.5);
            gauge!("g").increment(1.0);
            for value in [0.1, 0.5, 2.5, 1.0] {
                histogram!("h_seconds", "kind" => "x").record(value);
            }
        });
        assert_eq!(
            registry.render(),
            r#"# HELP c_total Lines with \\ and\nmore.
# TYPE c_total counter
c_total{code="a\"\\\n"} 1
c_total{code="b"} 5
# TYPE g gauge
g -0.5
# TYPE h_seconds histogram
h_seconds_bucket{kind="x",le="0.5"} 2
h_seconds_bucket{kind="x",le="2"} 3
h_seconds_bucket{kind="x",le="+Inf"} 4
h_seconds_sum{kind="x"} 4.1
h_seconds_count{kind="x"} 4
"#
        );
    }
}
