//! The page of k6 runs.

use chat_load::Environment;
use chat_load::page::{ResourcePoint, Row, Run, grouped, mib};

use super::{Outcome, Summary, version};

impl Outcome {
    /// Returns true if every check passed.
    pub fn is_good(&self) -> bool {
        self.failures.is_empty()
    }

    /// Returns a figure of k6. See [`Summary::figure`].
    pub fn figure(&self, metric: &str, name: &str) -> Option<f64> {
        self.summary.as_ref()?.figure(metric, name)
    }

    /// Returns the CPU time of the server, in seconds.
    pub fn cpu_seconds(&self) -> f64 {
        self.after.cpu_seconds - self.before.cpu_seconds
    }

    fn page_run(&self) -> Run {
        Run {
            name: format!("{} {}", self.binary.adapter(), self.binary.upgrade),
            success: if self.is_good() {
                success(self.figure("chat_delivered", "count"))
            } else {
                String::new()
            },
            failures: self.failures.clone(),
            deliveries: self.summary.as_ref().map(deliveries).unwrap_or_default(),
            latencies: self.summary.as_ref().map(latencies).unwrap_or_default(),
            resources: self.resource_rows(),
            load: self.load(),
            environment: self.environment(),
            unit: "deliveries".to_owned(),
            latency_note:
                "Latencies count from the send to the delivery, in whole milliseconds of the clock of k6. A \
                           point covers one second, or more in a long run."
                    .to_owned(),
            latency_points: self.latencies.clone(),
            resource_points: self
                .resources
                .iter()
                .map(|point| ResourcePoint {
                    at: point.end,
                    server_cores: point.server_cores,
                    tool_cores: point.own_cores,
                    server_kib: point.server_rss_kib,
                })
                .collect(),
            ..Run::default()
        }
    }

    fn resource_rows(&self) -> Vec<Row> {
        let mut rows =
            vec![Row::new("server CPU", format!("{:.2} cores", self.cpu_seconds() / self.seconds))];
        if let Some(delivered) = self.figure("chat_delivered", "count").filter(|count| *count > 0.0) {
            let each = self.cpu_seconds() * 1e6 / delivered;
            rows.push(Row::new("server CPU per delivery", format!("{each:.2} us")));
        }
        let memory = [
            ("before the load", self.before.kib),
            ("at its peak", self.after.peak_kib),
            ("after the load", self.after.kib),
        ];
        rows.extend(memory.map(|(time, kib)| Row::new(format!("server memory {time}"), mib(kib as u64))));
        for (name, of) in [
            ("descriptors", [self.before, self.after].map(|of| of.descriptors)),
            ("threads", [self.before, self.after].map(|of| of.threads)),
        ] {
            rows.push(Row::new(
                format!("server {name} before and after"),
                format!("{} and {}", of[0], of[1]),
            ));
        }
        rows
    }

    fn load(&self) -> Vec<Row> {
        let mut rows = vec![
            Row::new("scenario", self.scenario.clone()),
            Row::new("adapter", self.binary.adapter()),
            Row::new("upgrade mode", self.binary.upgrade),
            Row::new("time", format!("{:.1} s", self.seconds)),
        ];
        if !self.sizes.is_empty() {
            rows.push(Row::new("sizes", self.sizes.join(" ")));
        }
        rows
    }

    fn environment(&self) -> Vec<Row> {
        let of = Environment::of_this_program(version().unwrap_or_default(), None);
        let server = self.binary.run(&["--version"]).map(|output| output.stdout).unwrap_or_default();
        let server = String::from_utf8_lossy(&server).trim().to_owned();
        [
            ("command", of.command),
            ("load tool", of.tool),
            ("server program", server),
            ("date", of.date),
            ("CPU", of.cpu),
            ("memory", of.memory),
            ("system", of.system),
        ]
        .into_iter()
        .map(|(name, value)| Row::new(name, value))
        .collect()
    }
}

/// Returns the rounds of one binary as a run of a page. Its failures are those of all rounds. Its figures are those of
/// a failed round, or of the round with the median CPU time.
pub fn page_run(rounds: &[Outcome]) -> Option<Run> {
    let mut ordered: Vec<_> = rounds.iter().collect();
    ordered.sort_by(|one, other| f64::total_cmp(&one.cpu_seconds(), &other.cpu_seconds()));
    let shown = rounds.iter().find(|round| !round.is_good()).or(ordered.get(rounds.len() / 2).copied())?;
    let mut run = shown.page_run();
    if rounds.len() > 1 {
        let numbered = |(n, round): (usize, &Outcome)| {
            round.failures.iter().map(|failure| format!("Round {}: {failure}", n + 1)).collect::<Vec<_>>()
        };
        run.failures = rounds.iter().enumerate().flat_map(numbered).collect();
        let which =
            if run.is_good() { "the round with the median CPU time" } else { "the first failed round" };
        run.notes
            .push(format!("{} rounds were run. The figures and charts are those of {which}.", rounds.len()));
    }
    Some(run)
}

fn success(delivered: Option<f64>) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
    let delivered = grouped(delivered.unwrap_or_default() as u64);
    format!("Each of {delivered} deliveries came once and in order. The server passed all checks afterwards.")
}

fn deliveries(summary: &Summary) -> Vec<Row> {
    let count = |metric| summary.count(metric).unwrap_or_default();
    vec![
        Row::count("users", count("chat_users")),
        Row::count("messages sent", count("chat_acknowledged") + count("chat_unanswered")),
        Row::count("acknowledged", count("chat_acknowledged")),
        Row::faults("never acknowledged", count("chat_unanswered")),
        Row::count("expected deliveries", count("chat_expected")),
        Row::count("delivered", count("chat_delivered")),
        Row::faults("missing", count("chat_lost")),
        Row::faults("duplicated", count("chat_duplicated")),
        Row::faults("out of order", count("chat_reordered")),
        Row::faults("skipped in announced gaps", count("chat_skipped")),
        Row::faults("error events", count("chat_errors")),
        Row::faults("dropped connections", count("chat_dropped")),
    ]
}

fn latencies(summary: &Summary) -> Vec<Row> {
    let metrics = [
        ("delivery", "chat_delivery"),
        ("acknowledgement", "chat_acknowledgement"),
        ("handshake", "ws_connecting"),
    ];
    let percentiles =
        [("p50", "med"), ("p90", "p(90)"), ("p95", "p(95)"), ("p99", "p(99)"), ("maximum", "max")];
    let mut rows = Vec::new();
    for (name, metric) in metrics {
        for (percentile, figure) in percentiles {
            if let Some(ms) = summary.figure(metric, figure) {
                rows.push(Row::new(format!("{name}, {percentile}"), format!("{ms:.2} ms")));
            }
        }
    }
    rows
}
